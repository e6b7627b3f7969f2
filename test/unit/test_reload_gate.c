/* The pace of reloads: one at a time is never held up, a storm becomes a few, the last word is always heard. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "reload_gate.h"

struct storm {
    unsigned reloads;
    uint64_t last_signal_ms;
    uint64_t last_begun_ms;
    uint64_t longest_wait_ms; /* from a signal to the begin of the reload that answers it */
};

/** count signals, every_ms apart, where a reload takes took_ms; signals that come during one are heard after it, as one. */
static struct storm play(unsigned count, unsigned every_ms, unsigned took_ms)
{
    struct reload_gate g = {0};
    struct storm s = {0};
    uint64_t oldest_ms = UINT64_MAX, busy_until_ms = 0;
    bool is_missed = false;

    for (uint64_t now = 1000; now < 1000 + (uint64_t)count * every_ms + 10000; now++) {
        bool is_signal = (now - 1000) % every_ms == 0 && (now - 1000) / every_ms < count;
        if (is_signal) {
            s.last_signal_ms = now;
            oldest_ms = now < oldest_ms ? now : oldest_ms;
        }
        if (now < busy_until_ms) {
            is_missed |= is_signal;
            continue;
        }
        if (now == busy_until_ms)
            reload_gate_end(&g, now);
        if (is_signal || is_missed)
            reload_gate_ask(&g);
        is_missed = false;
        if (reload_gate_wait_ms(&g, now) != 0)
            continue;
        reload_gate_begin(&g);
        s.reloads++;
        s.last_begun_ms = now;
        if (now - oldest_ms > s.longest_wait_ms)
            s.longest_wait_ms = now - oldest_ms;
        oldest_ms = UINT64_MAX;
        busy_until_ms = now + took_ms;
    }
    assert_int_equal(reload_gate_wait_ms(&g, UINT64_MAX - 1), RELOAD_GATE_CLOSED);
    return s;
}

static void test_storms_become_few_reloads_and_the_last_signal_is_answered(void **state)
{
    static const struct {
        unsigned count, every_ms, took_ms, at_most;
    } cases[] = {
        {200, 10, 3, 20}, {200, 1, 3, 8}, {1, 10, 3, 1}, {2, 1, 3, 2}, {200, 10, 300, 10}, {1000, 2, 5, 20},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct storm s = play(cases[i].count, cases[i].every_ms, cases[i].took_ms);
        assert_true(s.reloads >= 1 && s.reloads <= cases[i].at_most);
        assert_true(s.last_begun_ms >= s.last_signal_ms);
        assert_true(s.longest_wait_ms <= RELOAD_PAUSE_MAX_MS + cases[i].took_ms);
    }
}

static void test_who_waits_for_each_reload_is_hardly_held_up(void **state)
{
    (void)state;
    struct storm s = play(1000, 30, 5);
    assert_int_equal(s.reloads, 1000);
    assert_int_equal(s.longest_wait_ms, 0);
    s = play(1000, 6, 5);
    assert_true(s.longest_wait_ms <= RELOAD_PAUSE_MAX_MS + 5);
}

static void test_after_a_storm_the_pause_is_short_again(void **state)
{
    struct reload_gate g = {0};

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        reload_gate_ask(&g);
        reload_gate_ask(&g);
        reload_gate_begin(&g);
        reload_gate_end(&g, 1000);
    }
    reload_gate_ask(&g);
    assert_int_equal(reload_gate_wait_ms(&g, 1000), RELOAD_PAUSE_MAX_MS);
    reload_gate_begin(&g);
    reload_gate_end(&g, 2000);
    reload_gate_ask(&g);
    assert_int_equal(reload_gate_wait_ms(&g, 2000), RELOAD_PAUSE_MIN_MS);
    assert_int_equal(reload_gate_wait_ms(&g, 2000 + RELOAD_PAUSE_MIN_MS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_storms_become_few_reloads_and_the_last_signal_is_answered),
        cmocka_unit_test(test_who_waits_for_each_reload_is_hardly_held_up),
        cmocka_unit_test(test_after_a_storm_the_pause_is_short_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
