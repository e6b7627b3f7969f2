/* The shared rate limiter: its arithmetic, changes of the rule, the wrap of its clock, full buckets, floods, many processes. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "rate_limit.h"
#include "shm_hash.h"

#ifdef MCPROXY_SANITIZED
#define FLOOD     1500000u
#define INNOCENTS 300000u
#else
#define FLOOD     8000000u
#define INNOCENTS 4000000u
#endif

#define SECOND 1000000000ull
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define START  (1000 * HOUR)

static const uint64_t seed[2] = {0x0123456789abcdef, 0xfedcba9876543210};

struct limiter {
    struct rate_table *table; /* shared with children */
    struct shm_rate_rules rules;
};

static struct limiter limiter_new(uint32_t limit, uint32_t window_ms)
{
    struct limiter l = {.table =
                            mmap(NULL, sizeof *l.table, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)};

    assert_true(l.table != MAP_FAILED);
    rate_table_init(l.table, seed);
    rate_rules_set(&l.rules, (struct rate_rule){limit, window_ms}, l.table, START);
    return l;
}

static void limiter_free(struct limiter *l)
{
    munmap(l->table, sizeof *l->table);
}

static void set_rule(struct limiter *l, uint32_t limit, uint32_t window_ms, uint64_t now)
{
    rate_rules_set(&l->rules, (struct rate_rule){limit, window_ms}, l->table, now);
}

static struct ip_addr ipv4(uint32_t n)
{
    return ip_addr_of_ipv4((const uint8_t[]){(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n});
}

static struct ip_addr ipv6(uint64_t high, uint64_t low)
{
    uint8_t bytes[16];

    for (unsigned i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(high >> (56 - 8 * i));
        bytes[8 + i] = (uint8_t)(low >> (56 - 8 * i));
    }
    return ip_addr_of_ipv6(bytes);
}

static bool admit(struct limiter *l, struct ip_addr addr, uint64_t now)
{
    return rate_table_admit(l->table, &l->rules, &addr, now);
}

/** How many of `tries` at one time are admitted. */
static uint32_t admitted(struct limiter *l, struct ip_addr addr, uint64_t now, uint32_t tries)
{
    uint32_t count = 0;

    while (tries-- > 0)
        count += admit(l, addr, now);
    return count;
}

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
        now += (i * 2654435761u) % (SECOND / 5);
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

/* ---- collisions and floods ---- */

static uint32_t bucket_of(uint32_t n)
{
    struct ip_addr addr = ipv4(n);
    uint64_t words[2] = {4, 0};

    memcpy(&words[1], addr.bytes, 4);
    return (uint32_t)(shm_hash_words64(seed, words, 2) % RATE_BUCKETS);
}

/** Addresses that share a bucket. */
static void find_neighbours(uint32_t *out, unsigned count)
{
    uint32_t bucket = bucket_of(1);

    for (uint32_t n = 1; count > 0; n++) {
        if (bucket_of(n) == bucket) {
            *out++ = n;
            count--;
        }
    }
}

static void a_full_bucket_forgets_the_one_nearest_to_its_end(void **state)
{
    enum { OLD = RATE_BUCKET_WORDS, NEW = 40 };
    uint32_t n[OLD + NEW];
    struct limiter l = limiter_new(10, 10000);
    (void)state;

    find_neighbours(n, OLD + NEW);
    for (unsigned i = 0; i < OLD; i++) /* full to the last one, later and later */
        assert_int_equal(admitted(&l, ipv4(n[i]), START + i * SECOND / 10, 20), 10);
    uint64_t now = START + OLD * SECOND / 10;
    for (unsigned i = 0; i < NEW; i++)
        assert_true(admit(&l, ipv4(n[OLD + i]), now));
    for (unsigned i = OLD; i-- > 1;)
        assert_false(admit(&l, ipv4(n[i]), now));
    assert_int_equal(rate_table_used(l.table, now), RATE_BUCKET_WORDS);
    assert_int_equal(admitted(&l, ipv4(n[0]), now, 20), 10); /* forgotten, so it gets more, not less */
    limiter_free(&l);
}

static uint64_t rng_state = 88172645463325252u;

static uint64_t rng64(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state * 2685821657736338717u;
}

/* Everybody in the table is over the limit; then strangers come. At worst eight words of 22 tag bits could be taken for theirs. */
static void a_flood_refuses_no_stranger(void **state)
{
    struct limiter l = limiter_new(1, 60000);
    uint32_t refused = 0;
    double bound = (double)INNOCENTS * RATE_BUCKET_WORDS / (1 << 22);
    (void)state;

    for (uint32_t i = 0; i < FLOOD; i++)
        (void)admit(&l, ipv6(rng64() | 1ull << 63, rng64()), START);
    print_message("%u of %u words in use\n", rate_table_used(l.table, START), RATE_BUCKETS * RATE_BUCKET_WORDS);
    for (uint32_t i = 0; i < INNOCENTS; i++)
        refused += !admit(&l, ipv6(i, 0), START);
    print_message("%u of %u strangers refused, %.1f expected at worst\n", refused, INNOCENTS, bound);
    assert_true(refused <= bound + 6 * (bound < 1 ? 1 : bound / 2)); /* far beyond what chance does */
    limiter_free(&l);
}

/* ---- many processes ---- */

#define PROCESSES 4

static pid_t fork_child(void)
{
    pid_t parent = getpid();
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent))
        _exit(2);
    return child;
}

struct tally {
    _Atomic uint32_t ready;
    _Atomic uint64_t admitted;
};

/** Each of the processes calls run() at the same time; how many were admitted altogether. */
static uint64_t run_in_processes(struct limiter *l, uint64_t (*run)(struct limiter *l))
{
    struct tally *tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t children[PROCESSES];

    assert_true(tally != MAP_FAILED);
    for (unsigned i = 0; i < PROCESSES; i++) {
        children[i] = fork_child();
        if (children[i] != 0)
            continue;
        atomic_fetch_add(&tally->ready, 1);
        while (atomic_load(&tally->ready) < PROCESSES)
            usleep(50);
        atomic_fetch_add(&tally->admitted, run(l));
        _exit(0);
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status = 0;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    uint64_t total = atomic_load(&tally->admitted);
    munmap(tally, sizeof *tally);
    return total;
}

static uint64_t hammer_at_one_time(struct limiter *l)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < 300000; i++)
        count += admit(l, ipv4(7), START);
    return count;
}

static void processes_together_get_exactly_the_limit(void **state)
{
    static const uint32_t limits[] = {1, 10, 1000, 250000};
    (void)state;

    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct limiter l = limiter_new(limits[i], 3600000);
        assert_int_equal(run_in_processes(&l, hammer_at_one_time), limits[i]);
        limiter_free(&l);
    }
}

static uint64_t hammer_for_a_while(struct limiter *l)
{
    uint64_t count = 0;
    uint64_t until = clock_monotonic_ns() + SECOND / 4;

    for (uint64_t now; (now = clock_monotonic_ns()) < until;)
        count += admit(l, ipv4(7), now);
    return count;
}

static void processes_together_get_the_limit_and_what_comes_back(void **state)
{
    struct limiter l = limiter_new(100, 100);
    uint64_t begin = clock_monotonic_ns();
    uint64_t total = run_in_processes(&l, hammer_for_a_while);
    uint64_t at_most = 100 + (clock_monotonic_ns() - begin) / 1000000 + 2; /* one comes back each millisecond */
    (void)state;

    assert_in_range(total, 100 + 240, at_most);
    limiter_free(&l);
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
        cmocka_unit_test(a_full_bucket_forgets_the_one_nearest_to_its_end),
        cmocka_unit_test(a_flood_refuses_no_stranger),
        cmocka_unit_test(processes_together_get_exactly_the_limit),
        cmocka_unit_test(processes_together_get_the_limit_and_what_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
