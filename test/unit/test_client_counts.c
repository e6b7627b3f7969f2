/* Connections by client: the address of every form of endpoint, who is forgotten, and more clients than places. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "client_counts.h"
#include "rates.h"

static const uint64_t one[CLIENT_VALUES] = {1, 0, 100, 200};

static const struct rates_row *row_of(const struct rates *r, const char *key)
{
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->rows[i].key, key) == 0)
            return &r->rows[i];
    }
    return NULL;
}

static void test_ports_do_not_count(void **state)
{
    static const struct {
        const char *endpoint, *name;
    } rows[] = {{"192.0.2.1:5000", "192.0.2.1"}, {"192.0.2.1:1", "192.0.2.1"},   {"[2001:db8::1]:5000", "2001:db8::1"},
                {"unknown", "unknown"},          {"[]:1", CLIENT_COUNTS_OTHERS}, {"", CLIENT_COUNTS_OTHERS}};
    struct client_counts *c = client_counts_new();
    struct rates r;

    (void)state;
    rates_init(&r, CLIENT_VALUES);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        client_counts_add(c, rows[i].endpoint, one);
    client_counts_look(c, &r, 1000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_non_null(row_of(&r, rows[i].name));
    assert_int_equal(row_of(&r, "192.0.2.1")->counters[CLIENT_ENDED], 2);
    assert_int_equal(row_of(&r, "192.0.2.1")->counters[CLIENT_BYTES_OUT], 400);
    assert_int_equal(r.count, 4);
    rates_fini(&r);
    client_counts_free(&c);
    assert_null(c);
}

static void test_the_quiet_are_forgotten(void **state)
{
    struct client_counts *c = client_counts_new();
    struct rates r;

    (void)state;
    rates_init(&r, CLIENT_VALUES);
    client_counts_add(c, "192.0.2.1:1", one);
    for (unsigned look = 1; look <= CLIENT_COUNTS_QUIET + 1; look++) {
        client_counts_add(c, "192.0.2.2:1", one);
        client_counts_look(c, &r, look * 1000);
        assert_non_null(row_of(&r, "192.0.2.1"));
        assert_int_equal(row_of(&r, "192.0.2.2")->counters[CLIENT_ENDED], look);
    }
    client_counts_look(c, &r, 99000);
    assert_null(row_of(&r, "192.0.2.1"));
    assert_non_null(row_of(&r, "192.0.2.2"));
    rates_fini(&r);
    client_counts_free(&c);
}

/** Three times as many clients as places: none is lost from the sum, and the names known keep their counters. */
static void test_more_clients_than_places(void **state)
{
    struct client_counts *c = client_counts_new();
    struct rates r;
    uint64_t sum = 0;

    (void)state;
    rates_init(&r, CLIENT_VALUES);
    for (unsigned turn = 1; turn <= 2; turn++) {
        for (unsigned i = 0; i < 3 * CLIENT_COUNTS_MAX; i++) {
            char endpoint[64];
            snprintf(endpoint, sizeof endpoint, "10.%u.%u.%u:%u", i >> 16, i >> 8 & 255, i & 255, turn);
            client_counts_add(c, endpoint, one);
        }
        client_counts_look(c, &r, turn * 1000);
        assert_int_equal(r.count, CLIENT_COUNTS_MAX + 1);
        assert_int_equal(row_of(&r, "10.0.0.0")->counters[CLIENT_ENDED], turn);
        assert_int_equal(row_of(&r, CLIENT_COUNTS_OTHERS)->counters[CLIENT_ENDED], turn * 2 * CLIENT_COUNTS_MAX);
    }
    for (size_t i = 0; i < r.count; i++)
        sum += r.rows[i].counters[CLIENT_ENDED];
    assert_int_equal(sum, 6 * CLIENT_COUNTS_MAX);
    rates_fini(&r);
    client_counts_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ports_do_not_count),
        cmocka_unit_test(test_the_quiet_are_forgotten),
        cmocka_unit_test(test_more_clients_than_places),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
