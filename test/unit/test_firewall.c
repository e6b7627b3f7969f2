/* Which addresses and countries the rules block. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "firewall_fixture.h"

struct verdict_case {
    const char *addr;
    enum firewall_verdict verdict;
};

static void expect(const struct fw_fixture *f, const struct verdict_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum firewall_verdict got = fw_verdict(f, cases[i].addr);
        if (got != cases[i].verdict)
            fail_msg("%s: verdict %d, expected %d", cases[i].addr, got, cases[i].verdict);
    }
}
#define EXPECT(f, cases) expect(f, cases, sizeof(cases) / sizeof(cases)[0])

static void rules_block_what_they_cover(void **state)
{
    static const char *const rules[] = {"192.0.2.7",      "198.51.100.0/24",   "10.0.0.0/8",      "10.1.2.3",
                                        "203.0.113.8/29", "2001:db8::7",       "2001:db8:1::/48", "fe80::/10",
                                        "100.64.0.0/10",  "2001:db8:2::1/128", "192.0.2.9/32"};
    static const struct verdict_case cases[] = {
        {"192.0.2.7", FIREWALL_BLOCKED_IP},
        {"192.0.2.6", FIREWALL_PASS},
        {"192.0.2.8", FIREWALL_PASS},
        {"192.0.2.9", FIREWALL_BLOCKED_CIDR},
        {"198.51.100.0", FIREWALL_BLOCKED_CIDR},
        {"198.51.100.255", FIREWALL_BLOCKED_CIDR},
        {"198.51.99.255", FIREWALL_PASS},
        {"198.51.101.0", FIREWALL_PASS},
        {"10.1.2.3", FIREWALL_BLOCKED_IP}, /* the longer one is named */
        {"10.1.2.4", FIREWALL_BLOCKED_CIDR},
        {"203.0.113.7", FIREWALL_PASS},
        {"203.0.113.8", FIREWALL_BLOCKED_CIDR},
        {"203.0.113.15", FIREWALL_BLOCKED_CIDR},
        {"203.0.113.16", FIREWALL_PASS},
        {"100.63.255.255", FIREWALL_PASS},
        {"100.127.255.255", FIREWALL_BLOCKED_CIDR},
        {"100.128.0.0", FIREWALL_PASS},
        {"2001:db8::7", FIREWALL_BLOCKED_IP},
        {"2001:db8::8", FIREWALL_PASS},
        {"2001:db8:1:ffff::1", FIREWALL_BLOCKED_CIDR},
        {"2001:db8:2::1", FIREWALL_BLOCKED_CIDR},
        {"2001:db8:2::2", FIREWALL_PASS},
        {"fe80::1", FIREWALL_BLOCKED_CIDR},
        {"febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", FIREWALL_BLOCKED_CIDR},
        {"fec0::", FIREWALL_PASS},
        {"::ffff:192.0.2.7", FIREWALL_BLOCKED_IP}, /* IPv4-mapped is IPv4 */
        {"::ffff:10.9.9.9", FIREWALL_BLOCKED_CIDR},
        {"::192.0.2.7", FIREWALL_PASS}, /* IPv4-compatible is not */
        {"c000:207::", FIREWALL_PASS},  /* the same leading bytes in the other family */
    };
    struct fw_fixture f;
    (void)state;

    fw_init(&f, 64 << 20, 0);
    assert_int_equal(fw_verdict(&f, "192.0.2.7"), FIREWALL_PASS);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        assert_int_equal(fw_add(&f, rules[i]), 0);
    EXPECT(&f, cases);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        assert_int_equal(fw_remove(&f, rules[i]), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(fw_verdict(&f, cases[i].addr), FIREWALL_PASS);
    fw_fini(&f);
}

static void the_rule_that_blocks_is_found(void **state)
{
    static const char *const rules[] = {"192.0.2.7", "192.0.2.0/24", "192.0.0.0/16", "2001:db8::/32",
                                        "2001:db8::1/128"};
    static const struct {
        const char *addr, *rule;
    } cases[] = {{"192.0.2.7", "192.0.2.7/32"},    {"192.0.2.8", "192.0.2.0/24"},      {"192.0.3.1", "192.0.0.0/16"},
                 {"2001:db8::2", "2001:db8::/32"}, {"2001:db8::1", "2001:db8::1/128"}, {"193.0.0.1", NULL}};
    struct fw_fixture f;
    (void)state;

    fw_init(&f, 64 << 20, 0);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        assert_int_equal(fw_add(&f, rules[i]), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[ADDRESS_TEXT_MAX];
        struct strbuf found = STRBUF_OF(text);
        struct ip_cidr rule = {.prefix_len = 99};
        struct ip_addr addr;
        assert_int_equal(ip_addr_parse(bytes_of_str(cases[i].addr), &addr, &found), 0);
        enum firewall_verdict verdict =
            firewall_find(f.tables->shm, table_pin(&f.tables->view), &addr, NULL, NULL, &rule);
        table_release(&f.tables->view);
        assert_int_equal(verdict, firewall_match_addr(f.tables->shm, table_pin(&f.tables->view), &addr));
        table_release(&f.tables->view);
        if (cases[i].rule == NULL) {
            assert_int_equal(rule.prefix_len, 99);
            continue;
        }
        ip_cidr_format(&rule, &found);
        assert_string_equal(text, cases[i].rule);
    }
    fw_fini(&f);
}

static void a_family_can_be_blocked_whole(void **state)
{
    static const struct verdict_case only4[] = {{"0.0.0.0", FIREWALL_BLOCKED_CIDR},
                                                {"255.255.255.255", FIREWALL_BLOCKED_CIDR},
                                                {"::ffff:192.0.2.1", FIREWALL_BLOCKED_CIDR},
                                                {"::", FIREWALL_PASS},
                                                {"2001:db8::1", FIREWALL_PASS}};
    static const struct verdict_case only6[] = {{"192.0.2.1", FIREWALL_PASS},
                                                {"::ffff:192.0.2.1", FIREWALL_PASS},
                                                {"::", FIREWALL_BLOCKED_CIDR},
                                                {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", FIREWALL_BLOCKED_CIDR}};
    struct fw_fixture f;
    (void)state;

    fw_init(&f, 64 << 20, 0);
    assert_int_equal(fw_add(&f, "0.0.0.0/0"), 0);
    EXPECT(&f, only4);
    assert_int_equal(fw_remove(&f, "0.0.0.0/0"), 0);
    assert_int_equal(fw_add(&f, "::/0"), 0);
    EXPECT(&f, only6);
    fw_fini(&f);
}

static void an_address_of_every_length_is_found(void **state)
{
    struct fw_fixture f;
    struct ip_addr ones[2] = {{.family = 4}, {.family = 6}};
    (void)state;

    fw_init(&f, 64 << 20, 0);
    memset(ones[0].bytes, 0xff, 4);
    memset(ones[1].bytes, 0xff, 16);
    for (unsigned family = 0; family < 2; family++) {
        for (unsigned len = 0; len <= (family == 0 ? 32 : 128); len++) {
            struct firewall_rule rule = {.kind = FIREWALL_RULE_CIDR,
                                         .prefix = {firewall_mask_addr(&ones[family], len), (uint8_t)len}};
            struct ip_addr inside = rule.prefix.addr;
            struct ip_addr outside = rule.prefix.addr;
            assert_int_equal(firewall_add(f.writer, &rule), 0);
            assert_int_equal(view_verdict(&f.tables->view, &ones[family], NULL), FIREWALL_BLOCKED_CIDR);
            assert_int_equal(view_verdict(&f.tables->view, &inside, NULL), FIREWALL_BLOCKED_CIDR);
            if (len > 0) {
                outside.bytes[(len - 1) / 8] ^= (uint8_t)(0x80 >> (len - 1) % 8);
                assert_int_equal(view_verdict(&f.tables->view, &outside, NULL), FIREWALL_PASS);
            }
            assert_int_equal(firewall_remove(f.writer, &rule), 0);
            assert_int_equal(view_verdict(&f.tables->view, &ones[family], NULL), FIREWALL_PASS);
        }
    }
    fw_fini(&f);
}

static unsigned times_asked;

static bool counting_country(void *context, const struct ip_addr *addr, char iso_code_out[2])
{
    times_asked++;
    return fixed_country(context, addr, iso_code_out);
}

static void countries_are_asked_for_only_when_a_rule_needs_it(void **state)
{
    struct fw_fixture f;
    struct ip_addr addr = addr_of("192.0.2.7");
    struct ip_addr none = {0};
    char north[] = "KP";
    char other[] = "KQ";
    const struct table_view *view;
    (void)state;

    fw_init(&f, 64 << 20, 0);
    view = &f.tables->view;
    times_asked = 0;
    assert_int_equal(firewall_match(view->tables, table_pin(view), &addr, counting_country, north), FIREWALL_PASS);
    assert_int_equal(times_asked, 0);
    assert_int_equal(fw_add(&f, "KP"), 0);
    assert_int_equal(firewall_match(view->tables, table_pin(view), &addr, counting_country, north),
                     FIREWALL_BLOCKED_COUNTRY);
    assert_int_equal(times_asked, 1);
    assert_int_equal(firewall_match(view->tables, table_pin(view), &addr, counting_country, other), FIREWALL_PASS);
    assert_int_equal(firewall_match(view->tables, table_pin(view), &addr, counting_country, NULL), FIREWALL_PASS);
    assert_int_equal(firewall_match(view->tables, table_pin(view), &addr, NULL, NULL), FIREWALL_PASS);
    assert_int_equal(firewall_match(view->tables, table_pin(view), &none, counting_country, north), FIREWALL_PASS);
    assert_int_equal(times_asked, 3);
    assert_int_equal(fw_add(&f, "192.0.2.0/24"), 0);
    assert_int_equal(firewall_match(view->tables, table_pin(view), &addr, counting_country, north),
                     FIREWALL_BLOCKED_CIDR);
    assert_int_equal(times_asked, 3);
    table_release(view);
    fw_fini(&f);
}

static void every_country_has_a_bit_of_its_own(void **state)
{
    static const char odd[][2] = {"kp", {'K', 0}, {0, 0}, {'K', '['}, {'@', 'A'}, {(char)0xff, 'A'}, {'A', (char)0x80}};
    struct fw_fixture f;
    struct ip_addr addr = addr_of("192.0.2.7");
    char iso[3] = "";
    (void)state;

    fw_init(&f, 64 << 20, 0);
    for (int bit = 0; bit < FIREWALL_COUNTRY_BITS; bit++) {
        (void)snprintf(iso, sizeof iso, "%c%c", 'A' + bit / 26, 'A' + bit % 26);
        assert_int_equal(firewall_country_bit(iso), bit);
        assert_int_equal(view_verdict(&f.tables->view, &addr, iso), FIREWALL_PASS);
        assert_int_equal(fw_add(&f, iso), 0);
        assert_int_equal(view_verdict(&f.tables->view, &addr, iso), FIREWALL_BLOCKED_COUNTRY);
    }
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        memcpy(iso, odd[i], 2);
        assert_int_equal(firewall_country_bit(odd[i]), -1);
        assert_int_equal(view_verdict(&f.tables->view, &addr, iso), FIREWALL_PASS);
    }
    assert_int_equal(firewall_writer_counts(f.writer).country, FIREWALL_COUNTRY_BITS);
    fw_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_block_what_they_cover),
        cmocka_unit_test(the_rule_that_blocks_is_found),
        cmocka_unit_test(a_family_can_be_blocked_whole),
        cmocka_unit_test(an_address_of_every_length_is_found),
        cmocka_unit_test(countries_are_asked_for_only_when_a_rule_needs_it),
        cmocka_unit_test(every_country_has_a_bit_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
