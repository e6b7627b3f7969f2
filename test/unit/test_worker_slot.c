/* The watch over one slot: what a number of looks without news means in each state. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "worker_slot.h"

/* Looks until the verdict falls, 0 if it does not within 1000; the heartbeat moves every `period` looks (0: never). */
static unsigned looks_until_verdict(struct worker_slot *slot, unsigned period, const char **reason_out)
{
    uint64_t heartbeat = slot->heartbeat;

    for (unsigned looks = 1; looks <= 1000; looks++) {
        if (period > 0 && looks % period == 0)
            heartbeat++;
        *reason_out = worker_slot_look(slot, heartbeat);
        if (*reason_out != NULL)
            return looks;
    }
    return 0;
}

static void test_verdicts(void **state)
{
    static const struct {
        enum slot_state state;
        bool is_down, is_killed;
        unsigned closing_looks;
        unsigned period;
        unsigned looks; /* 250 ms each */
        const char *reason;
    } cases[] = {
        {SLOT_STARTING, false, false, 0, 0, 40, "not ready 10 s"},
        {SLOT_STARTING, false, false, 0, 1, 40, "not ready 10 s"},
        {SLOT_RUNNING, false, false, 0, 1, 0, NULL},
        {SLOT_RUNNING, false, false, 0, 8, 0, NULL},
        {SLOT_RUNNING, false, false, 0, 0, 9, "heartbeat"},
        {SLOT_RETIRING, false, false, 0, 0, 9, "heartbeat"},
        {SLOT_RUNNING, true, false, 0, 1, 4, "control socket"},
        {SLOT_RUNNING, false, true, 0, 0, 0, NULL}, /* killed once is enough */
        {SLOT_DRAINING, false, false, 100, 1, 100, "exit in time"},
        {SLOT_DRAINING, false, false, 100, 0, 9, "heartbeat"},
        {SLOT_DRAINING, false, false, 4, 0, 4, "exit in time"},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct worker_slot slot;
        const char *reason;

        worker_slot_init(&slot, NULL, i);
        worker_slot_begin(&slot, 1, NULL, 77);
        worker_slot_set_state(&slot, cases[i].state);
        slot.is_down = cases[i].is_down;
        slot.is_killed = cases[i].is_killed;
        slot.closing_looks = cases[i].closing_looks;
        assert_int_equal(looks_until_verdict(&slot, cases[i].period, &reason), cases[i].looks);
        if (cases[i].reason != NULL)
            assert_non_null(strstr(reason, cases[i].reason));
        worker_slot_end(&slot, SLOT_EMPTY);
        worker_slot_fini(&slot);
    }
}

/* What a predecessor, or the time before READY, left must not count against a worker. */
static void test_a_new_state_begins_with_a_clean_record(void **state)
{
    struct worker_slot slot;
    const char *reason = NULL;

    (void)state;
    worker_slot_init(&slot, NULL, 0);
    worker_slot_begin(&slot, 1, NULL, 5);
    for (unsigned i = 0; i < 39; i++)
        assert_null(worker_slot_look(&slot, 5));
    worker_slot_set_state(&slot, SLOT_RUNNING);
    assert_int_equal(looks_until_verdict(&slot, 0, &reason), 9);
    worker_slot_end(&slot, SLOT_DEAD);
    worker_slot_begin(&slot, 2, NULL, 5);
    assert_null(worker_slot_look(&slot, 5));
    worker_slot_end(&slot, SLOT_EMPTY);
}

static void test_the_log_ring_is_made_once_and_stays(void **state)
{
    struct worker_slot slot;

    (void)state;
    worker_slot_init(&slot, NULL, 0);
    assert_int_equal(worker_slot_make_log_ring(&slot, 65536), 0);
    int fd = slot.log_fd;
    void *mapping = slot.log_mapping;
    assert_int_equal(worker_slot_make_log_ring(&slot, 65536), 0);
    assert_int_equal(slot.log_fd, fd);
    assert_ptr_equal(slot.log_mapping, mapping);
    worker_slot_fini(&slot);
    assert_int_equal(slot.log_fd, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_a_new_state_begins_with_a_clean_record),
        cmocka_unit_test(test_the_log_ring_is_made_once_and_stays),
    };
    return cmocka_run_group_tests_name("worker_slot", tests, NULL, NULL);
}
