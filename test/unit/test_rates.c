/* Counters as rates: the first look, counters that begin again, keys that come and go, the clock, large numbers, and order. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rates.h"

struct pair {
    const char *key;
    uint64_t value;
};

static void look(struct rates *r, uint64_t ms, const struct pair *pairs, size_t count)
{
    rates_begin(r, ms);
    for (size_t i = 0; i < count; i++)
        rates_put(r, pairs[i].key, &pairs[i].value);
    rates_end(r);
}

static uint64_t rate_of(const struct rates *r, const char *key)
{
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->rows[i].key, key) == 0)
            return r->rows[i].per_second[0];
    }
    return UINT64_MAX;
}

static void test_per_second(void **state)
{
    static const struct {
        uint64_t before, after, elapsed_ms, rate;
    } rows[] = {
        {0, 0, 1000, 0},
        {0, 100, 1000, 100},
        {100, 100, 1000, 0},
        {100, 40, 1000, 40}, /* began again */
        {0, 1, 2000, 1},
        {0, 1, 2001, 0},
        {0, 10, 100, 100},
        {5, 6, 0, 0},
        {0, 3, 2000, 2},
        {7, 0, 1000, 0},
        {0, UINT64_MAX, 1000, UINT64_MAX},
        {0, UINT64_MAX, 1, UINT64_MAX},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rates_per_second(rows[i].before, rows[i].after, rows[i].elapsed_ms) != rows[i].rate)
            fail_msg("row %zu", i);
    }
}

static void test_looks(void **state)
{
    static const struct pair first[] = {{"a", 10}, {"b", 1000}}, second[] = {{"b", 1500}, {"c", 30}, {"a", 10}},
                             third[] = {{"a", 20}, {"c", 20}};
    struct rates r;

    (void)state;
    rates_init(&r, 1);
    look(&r, 5000, first, 2);
    assert_false(rates_are_known(&r));
    assert_int_equal(rate_of(&r, "b"), 0);
    look(&r, 7000, second, 3);
    assert_true(rates_are_known(&r));
    assert_int_equal(rate_of(&r, "a"), 0);
    assert_int_equal(rate_of(&r, "b"), 250);
    assert_int_equal(rate_of(&r, "c"), 15); /* was not there: had nothing */
    assert_string_equal(r.rows[0].key, "b");
    assert_string_equal(r.rows[1].key, "c");
    look(&r, 7500, third, 2);
    assert_int_equal(r.count, 2);
    assert_int_equal(rate_of(&r, "a"), 20);
    assert_int_equal(rate_of(&r, "c"), 40); /* went down: 20 since it began again, in half a second */
    look(&r, 7500, third, 2);               /* the same moment */
    assert_false(rates_are_known(&r));
    assert_int_equal(rate_of(&r, "c"), 0);
    look(&r, 8500, NULL, 0);
    assert_int_equal(r.count, 0);
    look(&r, 9500, third, 2);
    assert_int_equal(rate_of(&r, "a"), 20);
    rates_fini(&r);
}

static void test_keys_that_come_twice_and_ties(void **state)
{
    static const struct pair first[] = {{"b", 1}, {"a", 1}, {"b", 2}},
                             second[] = {{"a", 3}, {"b", 2}, {"b", 3}, {"c", 2}};
    struct rates r;

    (void)state;
    rates_init(&r, 1);
    look(&r, 1000, first, 3);
    assert_int_equal(r.count, 2);
    assert_int_equal(r.rows[0].counters[0], 3);
    assert_string_equal(r.rows[0].key, "b");
    look(&r, 2000, second, 4); /* all three grew by 2: the larger counter first */
    assert_string_equal(r.rows[0].key, "b");
    assert_string_equal(r.rows[1].key, "a");
    assert_string_equal(r.rows[2].key, "c");
    rates_fini(&r);
}

/** Many keys in and out, against the arithmetic of one. */
static void test_many_keys(void **state)
{
    uint64_t values[3000] = {0};
    uint32_t seed = 1;
    struct rates r;

    (void)state;
    rates_init(&r, 2);
    for (unsigned turn = 1; turn < 20; turn++) {
        uint64_t before[3000];
        memcpy(before, values, sizeof before);
        rates_begin(&r, turn * 700);
        for (unsigned i = 0; i < 3000; i++) {
            char key[32];
            seed = seed * 1664525u + 1013904223u;
            values[i] = seed % 50 == 0 ? seed % 7 : values[i] + seed % 1000;
            snprintf(key, sizeof key, "key%u", i);
            rates_put(&r, key, (const uint64_t[]){values[i], 2 * values[i]});
        }
        rates_end(&r);
        assert_int_equal(r.count, 3000);
        for (unsigned i = 0; i < 3000; i++) {
            unsigned index = (unsigned)atoi(r.rows[i].key + 3);
            uint64_t wanted = turn == 1 ? 0 : rates_per_second(before[index], values[index], 700);
            assert_int_equal(r.rows[i].per_second[0], wanted);
            assert_int_equal(r.rows[i].counters[1], 2 * values[index]);
            assert_true(i == 0 || r.rows[i - 1].per_second[0] >= r.rows[i].per_second[0]);
        }
    }
    rates_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_per_second),
        cmocka_unit_test(test_looks),
        cmocka_unit_test(test_keys_that_come_twice_and_ties),
        cmocka_unit_test(test_many_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
