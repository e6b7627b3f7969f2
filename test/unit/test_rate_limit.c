/* The shared rate limiter: its arithmetic, changes of the rule, the wrap of its clock. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "rate_fixture.h"

/* ---- arithmetic ---- */

static void exactly_the_limit_at_once(void **state)
{
    static const struct rate_rule rules[] = {{1, 1000},      {2, 1000},       {3, 1000},    {7, 60000},
                                             {100, 60000},   {999, 1000},     {1000, 1000}, {1, RATE_WINDOW_MS_MAX},
                                             {10000, 60000}, {50000, 3600000}};
    (void)state;

    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        uint64_t window = rules[i].window_ms * 1000000ull;
        struct limiter l = limiter_new(rules[i].limit, rules[i].window_ms);
        assert_int_equal(admitted(&l, ipv4(1), START, 2 * rules[i].limit), rules[i].limit);
        assert_int_equal(admitted(&l, ipv4(2), START, 2 * rules[i].limit), rules[i].limit);
        /* After a window all of it is back, and no more. */
        assert_int_equal(admitted(&l, ipv4(1), START + window, 2 * rules[i].limit), rules[i].limit);
        assert_int_equal(admitted(&l, ipv4(1), START + 20 * window, 2 * rules[i].limit), rules[i].limit);
        limiter_free(&l);
    }
}

static void the_quota_comes_back_evenly(void **state)
{
    struct limiter l = limiter_new(60, 60000);
    (void)state;

    assert_int_equal(admitted(&l, ipv4(1), START, 100), 60);
    for (unsigned s = 1; s <= 120; s++) {
        assert_int_equal(admitted(&l, ipv4(1), START + s * SECOND - SECOND / 100, 5), 0);
        assert_int_equal(admitted(&l, ipv4(1), START + s * SECOND, 5), 1);
    }
    /* Half a window of rest gives half of the quota. */
    assert_int_equal(admitted(&l, ipv4(1), START + 150 * SECOND, 100), 30);
    limiter_free(&l);
}

static void any_window_sees_at_most_twice_the_limit(void **state)
{
    struct limiter l = limiter_new(10, 10000);
    uint32_t total = 0;
    (void)state;

    for (uint64_t ms = 0; ms < 100000; ms += 10)
        total += admitted(&l, ipv4(1), START + ms * 1000000, 3);
    assert_in_range(total, 10 + 99, 10 + 100); /* all at once, then ten each ten seconds */
    limiter_free(&l);
}

static void refused_tries_use_no_quota(void **state)
{
    struct limiter l = limiter_new(10, 10000);
    (void)state;

    assert_int_equal(admitted(&l, ipv4(1), START, 10), 10);
    for (uint64_t ms = 0; ms < 1000; ms++)
        assert_false(admit(&l, ipv4(1), START + ms * 1000000 / 2));
    assert_int_equal(admitted(&l, ipv4(1), START + SECOND, 100), 1);
    limiter_free(&l);
}

/** At every moment a look says what the next try gets, and how long it has to wait; and changes nothing. */
static void a_look_foretells_and_uses_nothing(void **state)
{
    struct limiter l = limiter_new(7, 1000);
    const struct ip_addr addr = ipv4(0x0a000001), none = {0};
    uint64_t now = START;

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        struct rate_usage usage = rate_table_look(l.table, &l.rules, &addr, now), again;
        again = rate_table_look(l.table, &l.rules, &addr, now);
        assert_true(usage.used == again.used && usage.retry_in_ns == again.retry_in_ns);
        assert_int_equal(usage.rule.limit, 7);
        assert_true(usage.used <= 7);
        if (usage.retry_in_ns > 0) {
            assert_true(usage.retry_in_ns <= 2 * SECOND / 7 + 512);
            assert_int_equal(rate_table_look(l.table, &l.rules, &addr, now + usage.retry_in_ns + 256).retry_in_ns, 0);
        }
        assert_int_equal(admit(&l, addr, now), usage.retry_in_ns == 0);
        now += (i * 2654435761ull) % (SECOND / 5);
        if (i == 10000)
            set_rule(&l, 7, 2000, now);
        if (i == 10001)
            set_rule(&l, 7, 1000, now);
    }
    assert_int_equal(rate_table_look(l.table, &l.rules, &none, now).used, 0);
    set_rule(&l, 0, 0, now);
    assert_int_equal(rate_table_look(l.table, &l.rules, &addr, now).retry_in_ns, 0);
    limiter_free(&l);
}

static void keys_are_addresses_and_networks_of_64_bits(void **state)
{
    struct limiter l = limiter_new(2, 60000);
    struct ip_addr mapped = ipv6(0, 0xffffull << 32 | 0xc0000207);
    struct ip_addr none = {0};
    (void)state;

    assert_true(admit(&l, ipv6(0x20010db800000001, 1), START));
    assert_true(admit(&l, ipv6(0x20010db800000001, 0xffffffffffffffff), START));
    assert_false(admit(&l, ipv6(0x20010db800000001, 7), START));
    assert_true(admit(&l, ipv6(0x20010db800000002, 7), START));
    assert_int_equal(admitted(&l, ipv4(0xc0000207), START, 9), 2);
    assert_int_equal(admitted(&l, mapped, START, 9), 0); /* the same address */
    assert_int_equal(admitted(&l, ipv4(0xc0000208), START, 9), 2);
    assert_int_equal(admitted(&l, ipv6(0xc000020900000000, 0), START, 9), 2);
    assert_int_equal(admitted(&l, ipv4(0xc0000209), START, 9), 2); /* the same bytes in the other family */
    assert_int_equal(admitted(&l, none, START, 9), 9);
    limiter_free(&l);
}

/* ---- changes of the rule ---- */

static void a_changed_rule_keeps_what_was_used(void **state)
{
    static const struct {
        struct rate_rule before;
        uint32_t used;
        struct rate_rule after;
        uint32_t left; /* at once */
    } cases[] = {
        {{10, 60000}, 10, {20, 60000}, 10},    {{10, 60000}, 7, {20, 60000}, 13},  {{10, 60000}, 7, {5, 60000}, 0},
        {{10, 60000}, 4, {5, 60000}, 1},       {{10, 60000}, 10, {10, 1000}, 0},   {{10, 60000}, 3, {10, 1000}, 7},
        {{10, 1000}, 10, {10, 60000}, 0},      {{10, 1000}, 10, {15, 3600000}, 5}, {{10, 60000}, 10, {1, 1000}, 0},
        {{1, 1000}, 1, {1000, 86400000}, 999}, {{10, 60000}, 10, {0, 0}, 50},      {{0, 0}, 50, {10, 60000}, 10},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct limiter l = limiter_new(cases[i].before.limit, cases[i].before.window_ms);
        assert_int_equal(admitted(&l, ipv4(1), START, cases[i].used), cases[i].used);
        set_rule(&l, cases[i].after.limit, cases[i].after.window_ms, START);
        uint32_t left = admitted(&l, ipv4(1), START, cases[i].after.limit > 0 ? 2 * cases[i].after.limit : 50);
        if (left != cases[i].left)
            fail_msg("case %zu: %u left, expected %u", i, left, cases[i].left);
        assert_int_equal(rate_rules_current(&l.rules).limit, cases[i].after.limit);
        limiter_free(&l);
    }
}

static void after_a_change_the_quota_comes_back_at_the_new_pace(void **state)
{
    struct limiter l = limiter_new(60, 60000);
    (void)state;

    assert_int_equal(admitted(&l, ipv4(1), START, 100), 60);
    set_rule(&l, 60, 6000, START + 10 * SECOND); /* 50 used; ten a second now */
    assert_int_equal(admitted(&l, ipv4(1), START + 10 * SECOND, 100), 10);
    assert_int_equal(admitted(&l, ipv4(1), START + 11 * SECOND, 100), 10);
    set_rule(&l, 6, 60000, START + 11 * SECOND); /* far over it: no more than all of it is owed */
    assert_int_equal(admitted(&l, ipv4(1), START + 20 * SECOND, 100), 0);
    assert_int_equal(admitted(&l, ipv4(1), START + 21 * SECOND, 100), 1);
    limiter_free(&l);
}

static void many_changes_in_a_row_forget_nobody(void **state)
{
    struct limiter l = limiter_new(10, 60000);
    (void)state;

    assert_int_equal(admitted(&l, ipv4(1), START, 10), 10);
    assert_int_equal(admitted(&l, ipv4(2), START, 4), 4);
    for (uint32_t i = 0; i < 50; i++) {
        set_rule(&l, 100 + i, 60000, START);
        set_rule(&l, 0, i, START);
        set_rule(&l, 0, i + 1, START);
        set_rule(&l, 1000, 1000 + i, START);
    }
    set_rule(&l, 10, 60000, START);
    assert_int_equal(admitted(&l, ipv4(1), START, 100), 0);
    assert_int_equal(admitted(&l, ipv4(2), START, 100), 6);
    limiter_free(&l);
}

/* A worker that still goes by the rule of a moment ago meets a word that was carried over already, and the other way round. */
static void workers_with_different_rules_agree_on_what_was_used(void **state)
{
    struct limiter l = limiter_new(10, 60000);
    struct shm_rate_rules late;
    struct ip_addr addr = ipv4(1);
    uint32_t count = 0;
    (void)state;

    assert_int_equal(admitted(&l, addr, START, 6), 6);
    set_rule(&l, 20, 60000, START);
    memcpy(&late, &l.rules, sizeof late);
    atomic_store(&late.current, (atomic_load(&late.current) + SHM_RATE_RULES - 1) % SHM_RATE_RULES);
    for (unsigned i = 0; i < 3; i++)
        count += rate_table_admit(l.table, &late, &addr, START);
    assert_int_equal(count, 3);
    assert_int_equal(admitted(&l, addr, START, 100), 11);
    assert_false(rate_table_admit(l.table, &late, &addr, START));
    limiter_free(&l);
}

/* ---- time ---- */

#define WRAP_NS (256ull << 40) /* after this long, times begin again */

static void times_wrap_around_unnoticed(void **state)
{
    struct limiter l = limiter_new(10, 10000);
    uint32_t total = 0;
    (void)state;

    for (uint64_t ms = 0; ms < 100000; ms += 10) { /* begins 50 s before the wrap */
        uint64_t now = 15 * WRAP_NS - 50 * SECOND + ms * 1000000;
        total += admitted(&l, ipv4(1), now, 3);
        assert_true(ms > 0 || total == 3);
    }
    assert_in_range(total, 10 + 99, 10 + 100);
    limiter_free(&l);
}

static void sweeping_frees_what_has_passed(void **state)
{
    struct limiter l = limiter_new(10, RATE_WINDOW_MS_MAX);
    (void)state;

    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(admitted(&l, ipv4(i), START, i % 2 == 0 ? 10 : 5), i % 2 == 0 ? 10 : 5);
    assert_int_equal(rate_table_used(l.table, START), 1000);
    assert_int_equal(rate_table_used(l.table, START + 13 * HOUR), 500);
    rate_table_sweep(l.table, &l.rules, START + 13 * HOUR);
    assert_int_equal(rate_table_used(l.table, START + 13 * HOUR), 500);
    assert_int_equal(admitted(&l, ipv4(2), START + 13 * HOUR, 20), 5); /* what has not passed still counts */
    rate_table_sweep(l.table, &l.rules, START + 48 * HOUR);
    for (uint32_t i = 0; i < RATE_BUCKETS * RATE_BUCKET_WORDS; i++)
        assert_int_equal(atomic_load(&l.table->buckets[i / RATE_BUCKET_WORDS].words[i % RATE_BUCKET_WORDS]), 0);
    limiter_free(&l);
}

/* An address comes back at any later time, with a sweep each day: it always has all of its quota. */
static void an_old_word_is_never_held_against_an_address(void **state)
{
    (void)state;
    for (uint64_t hours = 24; hours < 400; hours += 7) {
        struct limiter l = limiter_new(3, RATE_WINDOW_MS_MAX);
        assert_int_equal(admitted(&l, ipv4(1), START, 3), 3);
        for (uint64_t day = 1; day * 24 <= hours; day++)
            rate_table_sweep(l.table, &l.rules, START + day * 24 * HOUR);
        assert_int_equal(admitted(&l, ipv4(1), START + hours * HOUR, 9), 3);
        limiter_free(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_the_limit_at_once),
        cmocka_unit_test(the_quota_comes_back_evenly),
        cmocka_unit_test(any_window_sees_at_most_twice_the_limit),
        cmocka_unit_test(refused_tries_use_no_quota),
        cmocka_unit_test(a_look_foretells_and_uses_nothing),
        cmocka_unit_test(keys_are_addresses_and_networks_of_64_bits),
        cmocka_unit_test(a_changed_rule_keeps_what_was_used),
        cmocka_unit_test(after_a_change_the_quota_comes_back_at_the_new_pace),
        cmocka_unit_test(many_changes_in_a_row_forget_nobody),
        cmocka_unit_test(workers_with_different_rules_agree_on_what_was_used),
        cmocka_unit_test(times_wrap_around_unnoticed),
        cmocka_unit_test(sweeping_frees_what_has_passed),
        cmocka_unit_test(an_old_word_is_never_held_against_an_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
