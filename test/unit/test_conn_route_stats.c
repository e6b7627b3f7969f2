/* What is counted of a route: each connection once, under the number that is still its own. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "conn.h"
#include "conn_route_stats.h"
#include "stats.h"
#include "tables_with_stats.h"
#include "worker.h"

#define NUMBER     7
#define GENERATION 3

struct fixture {
    struct tables *tables;
    struct shm_stats *stats;
    struct worker worker;
    struct listener listener;
    struct conn conn;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    *state = f;
    f->tables = tables_with_stats(0, 1, &f->stats);
    f->worker.mine = &f->stats->workers[0];
    f->worker.view = f->tables->view;
    f->listener.worker = &f->worker;
    f->conn =
        (struct conn){.listener = &f->listener, .series = GENERATION << 16 | NUMBER, .bytes_in = 5, .bytes_out = 8};
    atomic_store(&f->tables->shm->route_generations[NUMBER], GENERATION);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    tables_free(&f->tables);
    munmap(f->stats, sizeof *f->stats);
    free(f);
    return 0;
}

static uint64_t count(const struct fixture *f, unsigned number, enum shm_route_count what)
{
    return stat_get(&f->stats->workers[0].routes[number].counts[what]);
}

static void test_ends(void **state)
{
    static const struct {
        enum conn_step step;
        enum close_reason reason;
        uint64_t bytes_out, failed, unanswered;
    } cases[] = {
        {CONN_STEP_RELAY, CLOSE_FINISHED, 8, 0, 0},
        {CONN_STEP_RELAY, CLOSE_FINISHED, 0, 0, 1},
        {CONN_STEP_FLUSH, CLOSE_BACKEND_RESET, 0, 0, 1},
        {CONN_STEP_RELAY, CLOSE_IDLE_TIMEOUT, 0, 0, 1},
        {CONN_STEP_FLUSH, CLOSE_CLIENT_RESET, 8, 0, 0},
        {CONN_STEP_CONNECT, CLOSE_BACKEND_REFUSED, 0, 1, 0},
        {CONN_STEP_CONNECT, CLOSE_BACKEND_TIMEOUT, 0, 1, 0},
        {CONN_STEP_CONNECT, CLOSE_BACKEND_UNREACHABLE, 0, 1, 0},
        {CONN_STEP_CONNECT, CLOSE_BACKEND_UNRESOLVED, 0, 1, 0},
        {CONN_STEP_CONNECT, CLOSE_CLIENT_RESET, 0, 0, 0},
        {CONN_STEP_CONNECT, CLOSE_NO_PORTS, 0, 0, 0},
    };
    struct fixture *f = *state;
    uint64_t failed = 0, unanswered = 0;

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        f->conn.step = (uint8_t)cases[i].step;
        f->conn.bytes_out = cases[i].bytes_out;
        conn_count_routed(&f->conn);
        conn_count_route_end(&f->conn, cases[i].reason);
        failed += cases[i].failed;
        unanswered += cases[i].unanswered;
        assert_int_equal(count(f, NUMBER, SHM_ROUTE_FAILED), failed);
        assert_int_equal(count(f, NUMBER, SHM_ROUTE_UNANSWERED), unanswered);
        assert_int_equal(count(f, NUMBER, SHM_ROUTE_CONNECTIONS), i + 1);
        assert_int_equal(count(f, NUMBER, SHM_ROUTE_BYTES_IN), 5 * (i + 1));
    }
    assert_int_equal(count(f, NUMBER, SHM_ROUTE_BYTES_OUT), 16);
    assert_int_equal(count(f, NUMBER - 1, SHM_ROUTE_CONNECTIONS), 0);
    assert_int_equal(count(f, NUMBER + 1, SHM_ROUTE_CONNECTIONS), 0);
}

static void test_the_number_of_another_route_by_now_counts_nothing(void **state)
{
    struct fixture *f = *state;

    atomic_store(&f->tables->shm->route_generations[NUMBER], GENERATION + 1);
    f->conn.step = CONN_STEP_RELAY;
    conn_count_route_end(&f->conn, CLOSE_FINISHED);
    for (unsigned what = 0; what < SHM_ROUTE_COUNTS; what++)
        assert_int_equal(count(f, NUMBER, what), 0);
}

static void test_a_route_without_number_counts_nothing(void **state)
{
    struct fixture *f = *state;

    f->conn.series = 0;
    conn_count_routed(&f->conn);
    assert_int_equal(count(f, 0, SHM_ROUTE_CONNECTIONS), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_ends),
        TEST(test_the_number_of_another_route_by_now_counts_nothing),
        TEST(test_a_route_without_number_counts_nothing),
    };
    return cmocka_run_group_tests_name("conn_route_stats", tests, NULL, NULL);
}
