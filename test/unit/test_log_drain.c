/* From the workers' rings to lines: every record is a line or counted, and slots come, die and go. */

#include "log_drain.h"

#include <ev.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "log_event.h"
#include "log_output.h"
#include "log_ring.h"
#include "shm_layout.h"

#define SLOTS      3
#define RING_BYTES (256ull * 1024)

struct rig {
    int reader; /* of the pipe behind the output, non-blocking */
    int ours;
    struct log_output *output;
    struct log_drain *drain;
    uint64_t bytes;
    void *mappings[SLOTS];
    struct log_ring *rings[SLOTS];
    /* what was read back */
    unsigned next[SLOTS];
    unsigned lines[SLOTS];
    unsigned reports[SLOTS];
    uint64_t dropped[SLOTS];
    char rest[1 << 22];
    size_t rest_len;
};

static struct rig *rig_new(void)
{
    struct rig *g = calloc(1, sizeof *g);
    int fds[2];

    assert_non_null(g);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    g->reader = fds[0];
    g->ours = fds[1];
    g->output = log_output_new(fds[1]);
    assert_non_null(g->output);
    g->drain = log_drain_new(g->output);
    assert_non_null(g->drain);
    g->bytes = log_ring_segment_bytes(RING_BYTES);
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        g->mappings[slot] = mmap(NULL, g->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(g->mappings[slot], MAP_FAILED);
        log_drain_add(g->drain, slot, g->mappings[slot], g->bytes);
        g->rings[slot] = log_ring_attach(g->mappings[slot], g->bytes);
        assert_non_null(g->rings[slot]);
    }
    return g;
}

static void rig_free(struct rig *g)
{
    log_drain_free(&g->drain);
    assert_null(g->drain);
    log_output_free(&g->output);
    for (unsigned slot = 0; slot < SLOTS; slot++)
        munmap(g->mappings[slot], g->bytes);
    close(g->reader);
    close(g->ours);
    free(g);
}

/** As a worker does it. */
static void log_from(struct rig *g, unsigned slot, unsigned n)
{
    struct log_event e;

    log_set_sink(log_ring_sink, g->rings[slot]);
    log_event_begin(&e, LOG_INFO, "record");
    log_event_u64(&e, LOG_KEY_WORKER, slot);
    log_event_u64(&e, LOG_KEY_COUNT, n);
    log_event_end(&e);
    log_set_sink(NULL, NULL);
}

/** The number behind a key in a line; it must be there. */
static unsigned long number_of(const char *line, const char *key)
{
    const char *at = strstr(line, key);

    assert_non_null(at);
    return strtoul(at + strlen(key), NULL, 10);
}

static void take_line(struct rig *g, const char *line)
{
    unsigned long slot = number_of(line, " worker=");

    assert_true(slot < SLOTS);
    if (strstr(line, " msg=\"record\" ") != NULL) {
        unsigned n = (unsigned)number_of(line, " count=");
        assert_true(n >= g->next[slot]); /* in the worker's order, never twice */
        g->next[slot] = n + 1;
        g->lines[slot]++;
    } else {
        assert_non_null(strstr(line, " level=WARN msg=\"a worker dropped log records\" "));
        assert_true(number_of(line, " dropped=") > 0);
        g->dropped[slot] += number_of(line, " dropped=");
        g->reports[slot]++;
    }
}

/** Write and read until nothing comes any more. */
static void collect(struct rig *g)
{
    for (;;) {
        bool is_all = log_output_flush(g->output, 0);
        ssize_t n = read(g->reader, g->rest + g->rest_len, sizeof g->rest - 1 - g->rest_len);
        if (n <= 0 && is_all)
            break;
        g->rest_len += n > 0 ? (size_t)n : 0;
    }
    g->rest[g->rest_len] = '\0';
    char *line = g->rest;
    for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        take_line(g, line);
    }
    assert_int_equal(*line, '\0');
    g->rest_len = 0;
}

static void wait_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

static void test_records_become_lines(void **state)
{
    (void)state;
    struct rig *g = rig_new();

    assert_int_equal(log_drain_run(g->drain), 0);
    for (unsigned n = 0; n < 300; n++)
        log_from(g, n % SLOTS, n / SLOTS);
    assert_int_equal(log_drain_run(g->drain), 300);
    assert_int_equal(log_drain_run(g->drain), 0);
    collect(g);
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        assert_int_equal(g->lines[slot], 100);
        assert_int_equal(g->reports[slot], 0);
    }
    rig_free(g);
}

/** A worker that floods its ring gets its turn, not more: the others' records are in the same run. */
static void test_one_run_is_bounded_and_fair(void **state)
{
    (void)state;
    struct rig *g = rig_new();

    for (unsigned n = 0; n < 4000; n++)
        log_from(g, 0, n);
    for (unsigned n = 0; n < 100; n++)
        log_from(g, 2, n);
    unsigned first = log_drain_run(g->drain);
    assert_in_range(first, 1000, 3000);
    collect(g);
    assert_int_equal(g->lines[2], 100);
    assert_int_equal(g->lines[0], first - 100);
    for (int run = 0; run < 5; run++)
        (void)log_drain_run(g->drain);
    collect(g);
    assert_int_equal(g->lines[0], 4000);
    rig_free(g);
}

static void test_full_rings_are_reported_once_a_second(void **state)
{
    (void)state;
    struct rig *g = rig_new();
    uint64_t begun_ms = clock_monotonic_ms();

    for (unsigned n = 0; n < 20000; n++)
        log_from(g, 1, n);
    for (int run = 0; run < 20; run++)
        (void)log_drain_run(g->drain);
    collect(g);
    assert_int_equal(g->reports[1], 1);
    assert_int_equal(g->lines[1] + g->dropped[1], 20000);
    assert_int_equal(g->reports[0] + g->reports[2], 0);

    for (unsigned n = 20000; n < 40000; n++)
        log_from(g, 1, n);
    for (int run = 0; run < 20; run++)
        (void)log_drain_run(g->drain);
    collect(g);
    if (clock_monotonic_ms() - begun_ms < 1000) {
        assert_int_equal(g->reports[1], 1); /* too soon */
    } else {
        print_message("this machine is too busy to see that a second report does not come within a second\n");
        assert_true(g->reports[1] <= 2);
    }
    wait_ms(1050);
    (void)log_drain_run(g->drain);
    collect(g);
    assert_in_range(g->reports[1], 2, 3);
    assert_int_equal(g->lines[1] + g->dropped[1], 40000);
    assert_int_equal(log_drain_dropped(g->drain), g->dropped[1]);
    rig_free(g);
}

/** Nobody reads: records wait in the rings, then the workers drop, and in the end everything adds up. */
static void test_stuck_output_leaves_records_in_the_rings(void **state)
{
    (void)state;
    struct rig *g = rig_new();
    unsigned n = 0;

    while (n < 60000) {
        for (unsigned k = 0; k < 1000; k++, n++)
            log_from(g, 1, n);
        (void)log_drain_run(g->drain);
    }
    assert_true(log_drain_dropped(g->drain) > 0);
    for (int round = 0; round < 30; round++) {
        collect(g);
        (void)log_drain_run(g->drain);
    }
    wait_ms(1050);
    (void)log_drain_run(g->drain);
    collect(g);
    assert_int_equal(log_output_dropped(g->output), 0);
    assert_int_equal(g->lines[1] + g->dropped[1], n);
    rig_free(g);
}

/** A dead worker's records all come, whatever it did to the ring its successor can use it. */
static void test_worker_dies_and_another_takes_over(void **state)
{
    (void)state;
    struct rig *g = rig_new();
    unsigned n = 0;

    while (n < 3500) /* more than one run reads from one ring at a time */
        log_from(g, 1, n++);
    log_drain_worker_died(g->drain, 1);
    collect(g);
    assert_int_equal(g->lines[1], 3500);

    memset(g->mappings[1], 0xee, 4096);
    log_drain_worker_died(g->drain, 1);
    g->rings[1] = log_ring_attach(g->mappings[1], g->bytes);
    assert_non_null(g->rings[1]);
    while (n < 3600)
        log_from(g, 1, n++);
    log_from(g, 0, 0);
    (void)log_drain_run(g->drain);
    collect(g);
    assert_int_equal(g->lines[1], 3600);
    assert_int_equal(g->lines[0], 1);
    rig_free(g);
}

static void test_slots_come_and_go(void **state)
{
    (void)state;
    struct rig *g = rig_new();

    log_drain_remove(g->drain, SHM_WORKERS_MAX - 1); /* never had one */
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        for (unsigned n = 0; n < 10000; n++)
            log_from(g, slot, n);
        log_drain_remove(g->drain, slot);
        log_drain_remove(g->drain, slot);
        collect(g);
        assert_int_equal(g->reports[slot], 1); /* at once: there is no later */
        assert_int_equal(g->lines[slot] + g->dropped[slot], 10000);
    }
    assert_int_equal(log_drain_run(g->drain), 0);
    log_drain_add(g->drain, 2, g->mappings[2], g->bytes);
    log_from(g, 2, 10000);
    assert_int_equal(log_drain_run(g->drain), 1);
    rig_free(g);
}

/** A slot that goes while nobody reads: what cannot be kept is in the count. */
static void test_removed_while_the_output_is_full(void **state)
{
    (void)state;
    struct rig *g = rig_new();
    unsigned n = 0;

    while (log_output_has_room(g->output)) {
        log_from(g, 0, n++);
        (void)log_drain_run(g->drain);
    }
    for (unsigned k = 0; k < 1000; k++)
        log_from(g, 0, n++);
    log_drain_remove(g->drain, 0);
    collect(g);
    assert_int_equal(g->dropped[0], 0); /* no room to tell it */
    (void)log_drain_run(g->drain);
    collect(g);
    assert_int_equal(g->lines[0] + g->dropped[0], n);
    assert_int_equal(g->reports[0], 1);
    rig_free(g);
}

/** At the end of the process: everything, where a run has its bounds. */
static void test_the_end_leaves_nothing(void **state)
{
    (void)state;
    struct rig *g = rig_new();

    for (unsigned slot = 0; slot < SLOTS; slot++) {
        for (unsigned n = 0; n < 3000; n++)
            log_from(g, slot, n);
    }
    log_drain_end(g->drain);
    collect(g);
    for (unsigned slot = 0; slot < SLOTS; slot++)
        assert_int_equal(g->lines[slot], 3000);
    assert_int_equal(log_drain_run(g->drain), 0);
    rig_free(g);
}

static void test_timer_drains(void **state)
{
    (void)state;
    struct rig *g = rig_new();
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);

    assert_non_null(loop);
    log_output_start(g->output, loop);
    log_drain_start(g->drain, loop);
    for (unsigned n = 0; n < 6000; n++)
        log_from(g, n % SLOTS, n);
    uint64_t until_ms = clock_monotonic_ms() + 30000;
    while (g->lines[0] + g->lines[1] + g->lines[2] < 6000 && clock_monotonic_ms() < until_ms) {
        ev_run(loop, EVRUN_ONCE);
        collect(g);
    }
    for (unsigned slot = 0; slot < SLOTS; slot++)
        assert_int_equal(g->lines[slot], 2000);
    log_drain_stop(g->drain);
    ev_run(loop, 0); /* returns: nothing is left to watch */
    rig_free(g);
    ev_loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_become_lines),
        cmocka_unit_test(test_one_run_is_bounded_and_fair),
        cmocka_unit_test(test_full_rings_are_reported_once_a_second),
        cmocka_unit_test(test_stuck_output_leaves_records_in_the_rings),
        cmocka_unit_test(test_worker_dies_and_another_takes_over),
        cmocka_unit_test(test_slots_come_and_go),
        cmocka_unit_test(test_removed_while_the_output_is_full),
        cmocka_unit_test(test_the_end_leaves_nothing),
        cmocka_unit_test(test_timer_drains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
