/* The cap on pending hellos: who has to go, against a model that looks at everybody each time. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hello_budget.h"

#define WAITERS 600

struct fixture {
    struct hello_budget budget;
    struct hello_wait waits[WAITERS];
    uint64_t since[WAITERS]; /* when it began to wait; 0: it does not */
    uint64_t now;
    unsigned count;
};

static const uint64_t test_seed[2] = {0x0123456789abcdef, 0xfedcba9876543210};

static struct fixture *fixture_new(uint32_t cap)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    hello_budget_seed(&f->budget, test_seed);
    hello_budget_set_cap(&f->budget, cap);
    return f;
}

static void add(struct fixture *f, unsigned i, uint64_t network)
{
    hello_budget_add(&f->budget, &f->waits[i], network);
    f->since[i] = ++f->now;
    f->count++;
}

static void drop(struct fixture *f, unsigned i)
{
    hello_budget_remove(&f->budget, &f->waits[i]);
    f->count -= f->since[i] != 0;
    f->since[i] = 0;
}

/** Who the budget says has to go, as an index; -1: nobody. */
static int excess(struct fixture *f)
{
    struct hello_wait *w = hello_budget_excess(&f->budget);

    assert_true(hello_budget_is_over(&f->budget) == (w != NULL));
    return w != NULL ? (int)(w - f->waits) : -1;
}

static uint64_t network_of(const char *text)
{
    struct ip_addr addr;
    char data[128];
    struct strbuf why = STRBUF_OF(data);

    assert_int_equal(ip_addr_parse(bytes_of_str(text), &addr, &why), 0);
    return hello_network_of(&addr);
}

static void a_network_is_a_24_or_a_64(void **state)
{
    static const struct {
        const char *a, *b;
        bool is_same;
    } cases[] = {
        {"192.0.2.1", "192.0.2.255", true},
        {"192.0.2.1", "192.0.3.1", false},
        {"192.0.2.1", "192.1.2.1", false},
        {"192.0.2.1", "193.0.2.1", false},
        {"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
        {"2001:db8::1", "2001:db8:0:1::1", false},
        {"2001:db8::1", "3001:db8::1", false},
        {"::ffff:192.0.2.1", "192.0.2.9", true},
        {"192.0.2.1",
         "c000:0200::", true}, /* a bucket may be shared; that nobody has this IPv6 network is luck enough */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_true((network_of(cases[i].a) == network_of(cases[i].b)) == cases[i].is_same);
}

static void nobody_goes_while_the_cap_holds_or_there_is_none(void **state)
{
    struct fixture *f = fixture_new(100);

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        add(f, i, 7);
        assert_int_equal(excess(f), -1);
    }
    add(f, 100, 7);
    assert_int_equal(excess(f), 0);
    hello_budget_set_cap(&f->budget, 101);
    assert_int_equal(excess(f), -1);
    hello_budget_set_cap(&f->budget, 0);
    assert_int_equal(excess(f), -1);
    free(f);
}

static void the_fullest_network_loses_its_oldest_first(void **state)
{
    struct fixture *f = fixture_new(100);

    (void)state;
    for (unsigned i = 0; i < 40; i++)
        add(f, i, 1000 + i); /* forty strangers, all older */
    for (unsigned i = 40; i < 101; i++)
        add(f, i, 7);
    for (unsigned i = 40; i < 90; i++) { /* each newcomer of the flood costs the flood */
        assert_int_equal(excess(f), i);
        drop(f, i);
        add(f, i, 7);
    }
    free(f);
}

static void the_oldest_goes_when_no_network_stands_out(void **state)
{
    struct fixture *f = fixture_new(100);

    (void)state;
    for (unsigned i = 0; i < 101; i++)
        add(f, i, 1000 + i / HELLO_SHARE_MIN);
    assert_int_equal(excess(f), 0);
    drop(f, 0);
    assert_int_equal(excess(f), -1);
    add(f, 101, 1000 + 20); /* the fifth of this one */
    assert_int_equal(excess(f), 80);
    free(f);
}

static void the_newest_never_goes(void **state)
{
    (void)state;
    for (uint32_t cap = 1; cap < 12; cap++) {
        struct fixture *f = fixture_new(cap);
        for (unsigned i = 0; i < 50; i++) {
            add(f, i, i % 3);
            int who = excess(f);
            assert_int_not_equal(who, i);
            if (who >= 0)
                drop(f, (unsigned)who);
        }
        assert_int_equal(f->budget.count, cap);
        free(f);
    }
}

static void below_half_of_the_cap_nobody_is_counted(void **state)
{
    struct fixture *f = fixture_new(500);

    (void)state;
    for (unsigned i = 0; i < 250; i++)
        add(f, i, i);
    assert_int_equal(f->budget.heap_len, 0);
    for (unsigned i = 250; i < 500; i++)
        add(f, i, i);
    assert_null(f->budget.first_uncounted); /* at the cap all are, so that nobody has to be now */
    free(f);
}

static void a_second_removal_changes_nothing(void **state)
{
    struct fixture *f = fixture_new(2);

    (void)state;
    drop(f, 5);
    for (unsigned i = 0; i < 3; i++)
        add(f, i, 1);
    drop(f, 1);
    drop(f, 1);
    assert_int_equal(f->budget.count, 2);
    free(f);
}

/** The fullest bucket's number of waiters, by counting. */
static unsigned fullest(const struct fixture *f, unsigned per_bucket[HELLO_BUCKETS])
{
    unsigned most = 0;

    for (unsigned i = 0; i < HELLO_BUCKETS; i++)
        per_bucket[i] = 0;
    for (unsigned i = 0; i < WAITERS; i++) {
        if (f->since[i] == 0)
            continue;
        unsigned n = ++per_bucket[hello_budget_bucket(&f->budget, f->waits[i].network)];
        most = n > most ? n : most;
    }
    return most;
}

/** Is nobody older than i, of all or of its own bucket? */
static bool is_oldest(const struct fixture *f, unsigned i, bool of_its_bucket)
{
    uint16_t bucket = hello_budget_bucket(&f->budget, f->waits[i].network);

    for (unsigned k = 0; k < WAITERS; k++) {
        if (f->since[k] != 0 && f->since[k] < f->since[i] &&
            (!of_its_bucket || hello_budget_bucket(&f->budget, f->waits[k].network) == bucket))
            return false;
    }
    return true;
}

/** A heap that is wrong below its top tells lies only much later. */
static void check_heap(const struct hello_budget *b)
{
    for (uint32_t at = 0; at < b->heap_len; at++) {
        const struct hello_bucket *bucket = &b->buckets[b->heap[at]];
        assert_true(bucket->count > 0 && bucket->heap_at == at);
        assert_true(at == 0 || b->buckets[b->heap[(at - 1) / 2]].count >= bucket->count);
    }
}

static void check_against_the_model(struct fixture *f)
{
    static unsigned per_bucket[HELLO_BUCKETS];
    unsigned most = fullest(f, per_bucket);
    uint32_t cap = f->budget.cap, share = cap / HELLO_SHARE;
    int who = excess(f);

    check_heap(&f->budget);
    assert_int_equal(f->budget.count, f->count);
    if (f->count <= cap) {
        assert_int_equal(who, -1);
        return;
    }
    assert_true(who >= 0 && f->since[who] != 0);
    bool stands_out = most > (share > HELLO_SHARE_MIN ? share : HELLO_SHARE_MIN);
    if (stands_out)
        assert_int_equal(per_bucket[hello_budget_bucket(&f->budget, f->waits[who].network)], most);
    assert_true(is_oldest(f, (unsigned)who, stands_out));
}

static uint64_t draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/** Networks of very different weight: a few hold most, as in a flood. */
static uint64_t some_network(uint64_t *random)
{
    uint64_t kind = draw(random) % 4;

    return kind == 0 ? 1 : kind == 1 ? draw(random) % 8 : draw(random) % 2000 << 40;
}

static void random_operations_agree_with_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct fixture *f = fixture_new(1 + (uint32_t)seed * 25);
        uint64_t random = seed;
        for (unsigned step = 0; step < 4000; step++) {
            unsigned i = (unsigned)(draw(&random) % WAITERS);
            if (f->since[i] == 0)
                add(f, i, some_network(&random));
            else if (draw(&random) % 3 == 0)
                drop(f, i);
            if (draw(&random) % 500 == 0)
                hello_budget_set_cap(&f->budget, (uint32_t)(draw(&random) % WAITERS));
            check_against_the_model(f);
            for (int who = excess(f); who >= 0 && draw(&random) % 8 != 0; who = excess(f))
                drop(f, (unsigned)who);
        }
        for (unsigned i = 0; i < WAITERS; i++)
            drop(f, i);
        assert_null(f->budget.oldest);
        assert_null(f->budget.newest);
        assert_null(f->budget.first_uncounted);
        assert_int_equal(f->budget.heap_len, 0);
        for (unsigned i = 0; i < HELLO_BUCKETS; i++)
            assert_true(f->budget.buckets[i].oldest == NULL && f->budget.buckets[i].newest == NULL);
        free(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network_is_a_24_or_a_64),
        cmocka_unit_test(nobody_goes_while_the_cap_holds_or_there_is_none),
        cmocka_unit_test(the_fullest_network_loses_its_oldest_first),
        cmocka_unit_test(the_oldest_goes_when_no_network_stands_out),
        cmocka_unit_test(the_newest_never_goes),
        cmocka_unit_test(below_half_of_the_cap_nobody_is_counted),
        cmocka_unit_test(a_second_removal_changes_nothing),
        cmocka_unit_test(random_operations_agree_with_the_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
