/* Sets of addresses: each once, bounded, compared without order. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "addr_set.h"

static struct ip_addr ip(const char *text)
{
    char why_text[64];
    struct strbuf why = STRBUF_OF(why_text);
    struct ip_addr addr;

    assert_int_equal(ip_addr_parse(bytes_of_str(text), &addr, &why), 0);
    return addr;
}

static struct addr_set set_of(const char *const *texts)
{
    struct addr_set set = {0};

    for (; *texts != NULL; texts++) {
        struct ip_addr addr = ip(*texts);
        assert_true(addr_set_add(&set, &addr));
    }
    return set;
}

static void test_an_address_is_added_once(void **state)
{
    (void)state;
    struct addr_set set = {0};
    struct ip_addr addr = ip("192.0.2.1"), mapped = ip("::ffff:192.0.2.1");

    assert_false(addr_set_has(&set, &addr));
    assert_true(addr_set_add(&set, &addr));
    assert_false(addr_set_add(&set, &mapped));
    assert_int_equal(set.count, 1);
    assert_true(addr_set_has(&set, &mapped));
}

static void test_a_full_set_takes_no_more(void **state)
{
    (void)state;
    struct addr_set set = {0};
    struct ip_addr addr = ip("192.0.2.0");

    for (unsigned i = 0; i < SHM_BACKEND_ADDRS_MAX; i++) {
        addr.bytes[3] = (uint8_t)i;
        assert_true(addr_set_add(&set, &addr));
    }
    addr.bytes[3] = 200;
    assert_false(addr_set_add(&set, &addr));
    assert_int_equal(set.count, SHM_BACKEND_ADDRS_MAX);
    assert_false(addr_set_has(&set, &addr));
}

static void test_sets_are_equal_whatever_their_order(void **state)
{
    (void)state;
    static const struct {
        const char *a[4], *b[4];
        bool is_equal;
    } cases[] = {
        {{NULL}, {NULL}, true},
        {{"192.0.2.1"}, {NULL}, false},
        {{"192.0.2.1"}, {"192.0.2.1"}, true},
        {{"192.0.2.1"}, {"192.0.2.2"}, false},
        {{"192.0.2.1", "2001:db8::1"}, {"2001:db8::1", "192.0.2.1"}, true},
        {{"192.0.2.1", "2001:db8::1"}, {"2001:db8::1", "192.0.2.2"}, false},
        {{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, {"192.0.2.1", "192.0.2.2"}, false},
        {{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, {"192.0.2.3", "192.0.2.1", "192.0.2.2"}, true},
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct addr_set a = set_of(cases[i].a), b = set_of(cases[i].b);
        assert_int_equal(addr_set_equal(&a, &b), cases[i].is_equal);
        assert_int_equal(addr_set_equal(&b, &a), cases[i].is_equal);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_address_is_added_once),
        cmocka_unit_test(test_a_full_set_takes_no_more),
        cmocka_unit_test(test_sets_are_equal_whatever_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
