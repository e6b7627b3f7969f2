/* Questions about open connections, as a worker answers them: part by part, never more than fits, each connection that stays exactly
 * once. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "query_fixture.h"
#include "random_numbers.h"

static void test_nobody_is_there(void **state)
{
    struct ctl_query query = {.action = CTL_QUERY_LIST};

    assert_int_equal(ask(*state, &query), 0);
    assert_int_equal(query.cursor, CTL_QUERY_END);
}

static void test_a_query_looks_at_so_many_places(void **state)
{
    struct fixture *f = *state;
    struct ctl_query query = {.action = CTL_QUERY_COUNT};
    uint32_t parts = 0, left = 1300;

    open_many(f, left);
    for (; query.cursor != CTL_QUERY_END; parts++) {
        uint32_t here = left < QUERY_PLACES_MAX ? left : QUERY_PLACES_MAX;
        assert_int_equal(query.cursor, (uint64_t)parts * QUERY_PLACES_MAX);
        assert_int_equal(ask(f, &query), here);
        left -= here;
    }
    assert_int_equal(parts, (f->worker->conns.total + QUERY_PLACES_MAX - 1) / QUERY_PLACES_MAX);
    /* Places without a connection that is meant are looked at too. */
    query = (struct ctl_query){.action = CTL_QUERY_COUNT, .conn = 1300};
    assert_int_equal(ask(f, &query), 0);
    assert_int_equal(query.cursor, QUERY_PLACES_MAX);
    assert_int_equal(ask_all(f, query), 1);
}

static void test_a_cursor_behind_everything_is_the_end(void **state)
{
    static const uint64_t cursors[] = {3000, UINT32_MAX - 1, UINT32_MAX, 1ull << 32, UINT64_MAX - 1, CTL_QUERY_END};
    struct fixture *f = *state;

    open_many(f, 700);
    for (size_t i = 0; i < sizeof cursors / sizeof cursors[0]; i++) {
        struct ctl_query query = {.action = CTL_QUERY_CLOSE, .cursor = cursors[i]};
        assert_int_equal(ask(f, &query), 0);
        assert_int_equal(query.cursor, CTL_QUERY_END);
    }
    assert_int_equal(f->worker->conn_count, 700);
}

static void test_a_list_goes_on_where_the_answer_was_full(void **state)
{
    struct fixture *f = *state;
    struct ctl_query query = {.action = CTL_QUERY_LIST};
    unsigned answers = 0;

    open_many(f, 1000);
    for (uint32_t place = 0; place < 1000; place++)
        relay(pool_at(&f->worker->conns, place, CONN_MAGIC), "www.example.com", "*", "app.internal:8443");
    for (; query.cursor != CTL_QUERY_END; answers++) {
        uint64_t before = query.cursor;
        uint32_t matched = ask(f, &query);
        assert_true(matched > 0);
        if (query.cursor != CTL_QUERY_END)
            assert_int_equal(matched, query.cursor - before);
    }
    assert_true(answers > 100000 / QUERY_ANSWER_MAX); /* none is told in 100 bytes */
    expect_seen(f, 1, 1000, 1);
}

/* The first record grows byte by byte, so that the last one misses by one byte, by every number of them, and by none. */
static void test_an_answer_is_full_to_the_last_byte(void **state)
{
    enum { CONNS = 200, LENGTHS = 400 };
    struct fixture *f = *state;
    const struct ctl_query query = {.action = CTL_QUERY_LIST};
    size_t longest = 0;
    char backend[LENGTHS + 1] = "";

    open_many(f, CONNS);
    for (uint32_t place = 1; place < CONNS; place++)
        relay(pool_at(&f->worker->conns, place, CONN_MAGIC), "www.example.com", "*", "app.internal:8443");
    struct conn *first = pool_at(&f->worker->conns, 0, CONN_MAGIC);
    for (size_t i = 0; i < LENGTHS; i++) {
        backend[i] = 'b';
        free(first->facts);
        relay(first, "www.example.com", "*", backend);
        struct ctl_query_answer *answer = malloc(QUERY_ANSWER_MAX);
        assert_non_null(answer);
        size_t len = query_answer(f->worker, &query, answer);
        assert_true(len <= QUERY_ANSWER_MAX);
        assert_true(ctl_message_is_valid(CTL_FROM_WORKER, CTL_QUERY_ANSWER, bytes_of(answer, len), false));
        assert_in_range(answer->cursor, 20, CONNS - 1);
        longest = len > longest ? len : longest;
        free(answer);
    }
    assert_int_equal(longest, QUERY_ANSWER_MAX);
}

static void test_who_stays_comes_once_whoever_comes_and_goes(void **state)
{
    struct fixture *f = *state;
    struct ctl_query query = {.action = CTL_QUERY_LIST};
    unsigned parts = 0;

    open_many(f, 1500);
    for (; query.cursor != CTL_QUERY_END; parts++) {
        (void)ask(f, &query);
        for (unsigned i = 0; i < 200; i++) { /* of those with an odd id some end, and their places are taken again */
            struct conn *c = pool_at(&f->worker->conns, rng(f->worker->conns.total), CONN_MAGIC);
            if (c != NULL && c->id % 2 == 1)
                end_conn(f, c);
        }
        for (unsigned i = 0; i < 60; i++)
            (void)open_conn(f, 0, client_number(i));
    }
    assert_true(parts >= 3);
    for (unsigned id = 1; id <= CONNS_MAX; id++) {
        if (f->seen[id] > 1 || (id <= 1500 && id % 2 == 0 && f->seen[id] != 1))
            fail_msg("connection %u was listed %u times", id, f->seen[id]);
    }
}

static void test_many_are_closed_part_by_part(void **state)
{
    struct fixture *f = *state;
    struct ctl_query query = {.action = CTL_QUERY_CLOSE, .has_listener = 1, .listener = 1};

    open_many(f, 1300);
    assert_int_equal(ask(f, &query), QUERY_PLACES_MAX / 2);
    assert_int_equal(f->worker->conn_count, 1300 - QUERY_PLACES_MAX / 2);
    conn_io_end_turn(f->worker);
    assert_int_equal(ask_all(f, query), 650 - QUERY_PLACES_MAX / 2);
    assert_int_equal(f->closed, 650);
    assert_int_equal(atomic_load(&f->stats[1].closed[CLOSE_OPERATOR]), 650);
    assert_int_equal(atomic_load(&f->active[0]), 650);
    assert_int_equal(atomic_load(&f->active[1]), 0);
}

static void test_a_record_tells_the_step_and_for_how_long_nothing_moved(void **state)
{
    struct fixture *f = *state;
    struct conn *c = open_conn(f, 1, client_number(1));
    struct ctl_query query = {.action = CTL_QUERY_LIST};
    struct bytes record;

    relay(c, "www.example.com", "*.example.com", "10.0.0.5:8443");
    f->worker->wheel.now = c->active_tick + 25;
    struct ctl_query_answer *answer = malloc(QUERY_ANSWER_MAX);
    assert_non_null(answer);
    struct bytes rest = ctl_answer_records(answer, bytes_of(answer, query_answer(f->worker, &query, answer)));
    assert_true(ctl_answer_next(&rest, &record));
    assert_true(bytes_equal_str(field_of(record, LOG_KEY_STATE).str, "relay"));
    assert_int_equal(field_of(record, LOG_KEY_IDLE_MS).u64, 2500);
    assert_true(bytes_equal_str(field_of(record, LOG_KEY_LISTENER).str, ":444"));
    assert_true(bytes_equal_str(field_of(record, LOG_KEY_ROUTE).str, "*.example.com"));
    assert_false(ctl_answer_next(&rest, &record));
    free(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUERY_TEST(test_nobody_is_there),
        QUERY_TEST(test_a_query_looks_at_so_many_places),
        QUERY_TEST(test_a_cursor_behind_everything_is_the_end),
        QUERY_TEST(test_a_list_goes_on_where_the_answer_was_full),
        QUERY_TEST(test_an_answer_is_full_to_the_last_byte),
        QUERY_TEST(test_who_stays_comes_once_whoever_comes_and_goes),
        QUERY_TEST(test_many_are_closed_part_by_part),
        QUERY_TEST(test_a_record_tells_the_step_and_for_how_long_nothing_moved),
    };
    return cmocka_run_group_tests_name("query", tests, NULL, NULL);
}
