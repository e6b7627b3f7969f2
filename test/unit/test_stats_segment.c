/* The stats segment: sealed, and nothing of a dead worker is left in it but its counters. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "stats_segment.h"

static void test_it_is_sparse_and_can_neither_grow_nor_shrink(void **state)
{
    struct stats_segment segment;
    struct stat st;

    (void)state;
    assert_int_equal(stats_segment_init(&segment), 0);
    assert_int_equal(segment.stats->magic, SHM_STATS_MAGIC);
    assert_int_equal(segment.stats->layout_version, SHM_LAYOUT_VERSION);
    assert_int_equal(segment.bytes, sizeof(struct shm_stats));
    assert_int_not_equal(ftruncate(segment.fd, (off_t)segment.bytes - 1), 0);
    assert_int_not_equal(ftruncate(segment.fd, (off_t)segment.bytes + 1), 0);
    stats_segment_use_listener(&segment, 3);
    for (unsigned slot = 0; slot < SHM_WORKERS_MAX; slot++)
        stats_segment_clear_slot(&segment, slot);
    assert_int_equal(fstat(segment.fd, &st), 0);
    assert_true(st.st_blocks * 512 < 8 * 1024 * 1024); /* of about 250 MB */
    stats_segment_fini(&segment);
}

static void test_a_dead_workers_slot_is_cleared_and_its_counters_stay(void **state)
{
    struct stats_segment segment;

    (void)state;
    assert_int_equal(stats_segment_init(&segment), 0);
    for (unsigned id = 0; id < 3; id++) {
        stats_segment_use_listener(&segment, id);
        for (unsigned slot = 0; slot < 3; slot++) {
            atomic_store(&segment.stats->active[id][slot], 10 + id);
            atomic_store(&segment.stats->workers[slot].listeners[id].accepted, 100 * (id + 1));
        }
    }
    struct shm_worker_stats *w = &segment.stats->workers[1];
    atomic_store(&w->pid, 42);
    atomic_store(&w->pinned_epoch, 9);
    assert_int_equal(stats_segment_slot_active(&segment, 1), 33);
    assert_int_equal(stats_segment_slot_accepted(&segment, 1), 600);

    stats_segment_clear_slot(&segment, 1);
    assert_int_equal(stats_segment_slot_active(&segment, 1), 0);
    assert_int_equal(stats_segment_slot_accepted(&segment, 1), 600);
    assert_int_equal(atomic_load(&w->accepted_before), 600);
    assert_int_equal(atomic_load(&w->pid), 0);
    assert_int_equal(atomic_load(&w->pinned_epoch), 0);
    assert_int_equal(stats_segment_slot_active(&segment, 0), 33); /* the neighbours keep theirs */
    assert_int_equal(stats_segment_slot_active(&segment, 2), 33);
    stats_segment_fini(&segment);
}

/* Whatever a worker was about to store when it died: accepted are those closed and those open, of which there are none any more. */
static void test_what_a_dead_worker_had_open_counts_as_closed_by_its_death(void **state)
{
    static const struct {
        uint64_t accepted, finished, no_route, died_before;
        uint64_t died;
    } cases[] = {
        {0, 0, 0, 0, 0},  {5, 5, 0, 0, 0},  {5, 3, 2, 0, 0}, {5, 1, 1, 0, 3}, {1, 0, 0, 0, 1},
        {10, 4, 2, 3, 4}, {10, 4, 3, 3, 3}, {5, 4, 2, 0, 0}, /* closed was stored and accepted got lost: cannot be, and takes nothing back */
    };

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stats_segment segment;
        assert_int_equal(stats_segment_init(&segment), 0);
        stats_segment_use_listener(&segment, 1);
        stats_segment_use_slot(&segment, 2);
        assert_int_equal(segment.slot_end, 3);
        struct shm_worker_stats *w = &segment.stats->workers[2];
        struct shm_listener_stats *l = &w->listeners[1];
        atomic_store(&l->accepted, cases[i].accepted);
        atomic_store(&l->closed[CLOSE_FINISHED], cases[i].finished);
        atomic_store(&l->closed[CLOSE_NO_ROUTE], cases[i].no_route);
        atomic_store(&l->closed[CLOSE_WORKER_DIED], cases[i].died_before);
        atomic_store(&w->conn_cap, 1000);
        stats_segment_clear_slot(&segment, 2);
        assert_int_equal(atomic_load(&l->closed[CLOSE_WORKER_DIED]), cases[i].died);
        assert_int_equal(atomic_load(&l->accepted), cases[i].accepted);
        assert_int_equal(atomic_load(&l->closed[CLOSE_FINISHED]), cases[i].finished);
        assert_int_equal(atomic_load(&w->conn_cap), 0);
        stats_segment_clear_slot(&segment, 2); /* its successor died before it had accepted any */
        assert_int_equal(atomic_load(&l->closed[CLOSE_WORKER_DIED]), cases[i].died);
        stats_segment_fini(&segment);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_sparse_and_can_neither_grow_nor_shrink),
        cmocka_unit_test(test_a_dead_workers_slot_is_cleared_and_its_counters_stay),
        cmocka_unit_test(test_what_a_dead_worker_had_open_counts_as_closed_by_its_death),
    };
    return cmocka_run_group_tests_name("stats_segment", tests, NULL, NULL);
}
