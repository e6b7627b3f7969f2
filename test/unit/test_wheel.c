/* The timer wheel: nothing early, nothing lost, nothing twice, and a naive shadow agrees after random operations. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wheel.h"

#define NODES 200

struct item {
    struct wheel_node node;
    uint32_t due; /* 0: not in the wheel */
    unsigned visits;
};

struct fixture {
    struct wheel wheel;
    struct item items[NODES];
    uint32_t rearm; /* visit adds the node again this many ticks ahead; 0: not */
};

static void on_visit(struct wheel_node *node, void *context)
{
    struct fixture *f = context;
    struct item *item = (struct item *)node;

    item->visits++;
    /* Visited early only because it lies beyond the wheel's reach: then it goes in again, as connections do. */
    if ((int32_t)(item->due - f->wheel.now) > 0) {
        wheel_add(&f->wheel, node, item->due);
        return;
    }
    item->due = 0;
    if (f->rearm > 0) {
        item->due = f->wheel.now + f->rearm;
        wheel_add(&f->wheel, node, item->due);
    }
}

static void ticks_never_end_early(void **state)
{
    static const struct {
        uint32_t ms, expected;
    } cases[] = {{0, 11}, {1, 12}, {99, 12}, {100, 12}, {101, 13}, {1000, 21}, {86400000, 864011}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(wheel_tick_after(10, cases[i].ms), cases[i].expected);
}

static void a_time_lies_in_its_tick_though_the_wheel_was_not_moved_there(void **state)
{
    struct wheel wheel;
    static const struct {
        uint32_t ms, expected;
    } cases[] = {{0, 0}, {99, 0}, {100, 1}, {399, 3}, {400, 4}, {500, 5}, {600, 5}, {86400000, 5}};

    (void)state;
    wheel_init(&wheel, 7000);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(wheel_tick_at(&wheel, 7000 + cases[i].ms), cases[i].expected);
    wheel_advance(&wheel, 7300, on_visit, NULL);
    assert_int_equal(wheel_tick_at(&wheel, 7300), 3);
    assert_int_equal(wheel_tick_at(&wheel, 7450), 4);
}

static void a_node_comes_up_at_its_tick(void **state)
{
    static struct fixture f;

    (void)state;
    wheel_init(&f.wheel, 1000);
    f.items[0].due = 5;
    wheel_add(&f.wheel, &f.items[0].node, 5);
    wheel_advance(&f.wheel, 1000 + 499, on_visit, &f);
    assert_int_equal(f.items[0].visits, 0);
    wheel_advance(&f.wheel, 1000 + 500, on_visit, &f);
    assert_int_equal(f.items[0].visits, 1);
    assert_null(f.items[0].node.link);
    wheel_remove(&f.items[0].node); /* in no wheel: nothing happens */
}

static void a_past_tick_comes_up_next(void **state)
{
    static struct fixture f;

    (void)state;
    wheel_init(&f.wheel, 0);
    wheel_advance(&f.wheel, 500, on_visit, &f);
    wheel_add(&f.wheel, &f.items[0].node, 3);
    wheel_advance(&f.wheel, 600, on_visit, &f);
    assert_int_equal(f.items[0].visits, 1);
}

static void a_node_added_again_is_met_once_per_turn(void **state)
{
    static struct fixture f;

    (void)state;
    wheel_init(&f.wheel, 0);
    f.rearm = WHEEL_SLOTS - 1;
    f.items[0].due = 1;
    wheel_add(&f.wheel, &f.items[0].node, 1);
    wheel_advance(&f.wheel, 100, on_visit, &f);
    assert_int_equal(f.items[0].visits, 1);
    for (uint64_t tick = 2; tick <= WHEEL_SLOTS; tick++)
        wheel_advance(&f.wheel, tick * WHEEL_TICK_MS, on_visit, &f);
    assert_int_equal(f.items[0].visits, 2);
}

static void a_slow_turn_counts_and_a_long_stop_is_one_tick(void **state)
{
    static struct fixture f;
    uint64_t now = WHEEL_LEAP_TICKS * WHEEL_TICK_MS;

    (void)state;
    wheel_init(&f.wheel, 0);
    for (unsigned i = 0; i < NODES; i++) {
        f.items[i].due = 1 + i;
        wheel_add(&f.wheel, &f.items[i].node, f.items[i].due);
    }
    wheel_advance(&f.wheel, now, on_visit, &f);
    assert_int_equal(f.wheel.now, WHEEL_LEAP_TICKS);
    for (uint64_t stop_ms = 1000ull * 3600 * 24; stop_ms > (WHEEL_LEAP_TICKS + 1) * WHEEL_TICK_MS; stop_ms /= 7) {
        uint32_t before = f.wheel.now;
        wheel_advance(&f.wheel, now += stop_ms, on_visit, &f);
        assert_int_equal(f.wheel.now, before + 1);
        assert_true(f.wheel.start_ms + (uint64_t)f.wheel.now * WHEEL_TICK_MS <= now);
    }
    for (unsigned i = 0; i < NODES; i++)
        assert_int_equal(f.items[i].visits, i < f.wheel.now);
}

static void visiting_all_reaches_every_node_and_allows_adding(void **state)
{
    static struct fixture f;

    (void)state;
    wheel_init(&f.wheel, 0);
    f.rearm = 7;
    for (unsigned i = 0; i < NODES; i++)
        wheel_add(&f.wheel, &f.items[i].node, i);
    wheel_visit_all(&f.wheel, on_visit, &f);
    for (unsigned i = 0; i < NODES; i++) {
        assert_int_equal(f.items[i].visits, 1);
        assert_non_null(f.items[i].node.link);
    }
}

static void random_operations_match_a_naive_shadow(void **state)
{
    static struct fixture f;
    uint64_t now = 0;

    (void)state;
    srandom(1);
    wheel_init(&f.wheel, now);
    for (int round = 0; round < 200000; round++) {
        struct item *item = &f.items[(unsigned)random() % NODES];
        switch (random() % 4) {
        case 0:
        case 1:
            if (item->due == 0) {
                item->due = f.wheel.now + 1 + (uint32_t)random() % (WHEEL_SLOTS * 3);
                wheel_add(&f.wheel, &item->node, item->due);
            }
            break;
        case 2:
            wheel_remove(&item->node);
            item->due = 0;
            break;
        default:
            now += (uint64_t)random() % 500;
            wheel_advance(&f.wheel, now, on_visit, &f);
            for (unsigned i = 0; i < NODES; i++) {
                assert_true(f.items[i].due == 0 || f.items[i].due > f.wheel.now); /* nothing due was left */
                assert_true((f.items[i].due == 0) == (f.items[i].node.link == NULL));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticks_never_end_early),
        cmocka_unit_test(a_time_lies_in_its_tick_though_the_wheel_was_not_moved_there),
        cmocka_unit_test(a_node_comes_up_at_its_tick),
        cmocka_unit_test(a_past_tick_comes_up_next),
        cmocka_unit_test(a_node_added_again_is_met_once_per_turn),
        cmocka_unit_test(a_slow_turn_counts_and_a_long_stop_is_one_tick),
        cmocka_unit_test(visiting_all_reaches_every_node_and_allows_adding),
        cmocka_unit_test(random_operations_match_a_naive_shadow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
