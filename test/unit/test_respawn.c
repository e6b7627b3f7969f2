/* The pace of replacements: at once, but never a busy loop. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "respawn.h"

/* A worker that dies 1 ms after every start: when is each replacement allowed? */
static void test_the_sixth_death_waits(void **state)
{
    struct respawn r = {0};
    uint64_t now = 100000;

    (void)state;
    for (unsigned death = 1; death <= 5; death++) {
        respawn_note_death(&r, ++now);
        assert_int_equal(respawn_wait_ms(&r, now), 0);
        respawn_note_start(&r, now);
    }
    for (unsigned death = 6; death <= 30; death++) {
        respawn_note_death(&r, ++now);
        assert_int_equal(respawn_wait_ms(&r, now), 999);
        now += 999;
        assert_int_equal(respawn_wait_ms(&r, now), 0);
        respawn_note_start(&r, now);
    }
}

static void test_after_a_quiet_time_it_is_at_once_again(void **state)
{
    struct respawn r = {0};
    uint64_t now = 5;

    (void)state;
    for (unsigned i = 0; i < 6; i++)
        respawn_note_death(&r, now);
    respawn_note_start(&r, now);
    assert_int_equal(respawn_wait_ms(&r, now), 1000);
    assert_int_equal(respawn_wait_ms(&r, now + 400), 600);
    now += RESPAWN_WINDOW_MS + 1;
    respawn_note_death(&r, now);
    respawn_note_start(&r, now);
    assert_int_equal(respawn_wait_ms(&r, now), 0);
}

/* One death every 2.1 s, for ever: never five in 10 s, so never a wait. */
static void test_rare_deaths_never_wait(void **state)
{
    struct respawn r = {0};

    (void)state;
    for (uint64_t now = 1; now < 1000000; now += 2100) {
        respawn_note_death(&r, now);
        assert_int_equal(respawn_wait_ms(&r, now), 0);
        respawn_note_start(&r, now);
    }
}

/* Everybody killed in one moment: five come back at once, the others one a second. */
static void test_all_at_once(void **state)
{
    struct respawn r = {0};
    unsigned started = 0;
    uint64_t now = 1000000, begin = now;

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        respawn_note_death(&r, now);
        started += respawn_wait_ms(&r, now) == 0;
        respawn_note_start(&r, now);
    }
    for (unsigned i = 0; i < 3; i++)
        respawn_note_death(&r, now);
    assert_int_equal(started, 5);
    for (; started < 8; started++) {
        uint64_t wait = respawn_wait_ms(&r, now);
        assert_int_equal(wait, 1000);
        now += wait;
        respawn_note_start(&r, now);
    }
    assert_int_equal(now - begin, 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_sixth_death_waits),
        cmocka_unit_test(test_after_a_quiet_time_it_is_at_once_again),
        cmocka_unit_test(test_rare_deaths_never_wait),
        cmocka_unit_test(test_all_at_once),
    };
    return cmocka_run_group_tests_name("respawn", tests, NULL, NULL);
}
