/* Whoever asked for it is called while the store takes long: from within its calls, in the caller's thread, and never otherwise. */

#include "store_fixture.h"

#include <sys/resource.h>

#include "attendance.h"
#include "store_many.h"

#define ROUTES 20000

/** Calls since the last time it was asked. */
static unsigned take_count(struct attendance *w)
{
    unsigned count = w->count;

    assert_int_equal(w->elsewhere, 0);
    w->count = 0;
    return count;
}

static struct store *open_with_listener(struct fixture *f)
{
    make_database(f);
    return must_open(f);
}

static void test_long_changes_and_lists_call_and_short_ones_do_not(void **state)
{
    struct fixture *f = *state;
    struct attendance w = {.thread = pthread_self()};
    struct store *store = open_with_listener(f);

    store_on_busy(store, attend, &w);
    put_many(f, store, 1, "10.0.0.1:1");
    expect_rc(f, store_commit(store, &f->why), 0);
    assert_int_equal(count_routes(f, store), 1);
    assert_int_equal(take_count(&w), 0);

    put_many(f, store, ROUTES, "10.0.0.2:1");
    assert_in_range(take_count(&w), ROUTES / 100, ROUTES);
    expect_rc(f, store_commit(store, &f->why), 0);
    (void)take_count(&w); /* the disk may be too fast for any */
    assert_int_equal(count_routes(f, store), ROUTES);
    assert_in_range(take_count(&w), ROUTES / 1000, ROUTES);

    store_on_busy(store, NULL, NULL);
    assert_int_equal(count_routes(f, store), ROUTES);
    assert_int_equal(take_count(&w), 0);
    store_close(&store);
}

static void test_a_snapshot_is_whole_and_calls_from_this_thread_alone(void **state)
{
    struct fixture *f = *state;
    struct attendance w = {.thread = pthread_self()};
    struct store *store = open_with_listener(f);
    struct fixture copy = {.why = STRBUF_OF(copy.words)};
    const char *path = copy.db;

    snprintf(copy.db, sizeof copy.db, "%s/copy.db", f->folder);
    store_on_busy(store, attend, &w);
    put_many(f, store, ROUTES, "10.0.0.1:1");
    expect_rc(f, store_commit(store, &f->why), 0);
    (void)take_count(&w);
    expect_rc(f, store_snapshot(store, path, &f->why), 0);
    assert_in_range(take_count(&w), 0,
                    ROUTES / 100); /* by the time it takes, not by SQLite's steps, in the other thread */
    assert_int_equal(count_routes(f, store), ROUTES);
    assert_true(take_count(&w) > 0); /* as before */
    expect_rc(f, store_snapshot(store, path, &f->why), ERR_EXISTS);
    store_close(&store);

    store = must_open(&copy);
    assert_int_equal(count_routes(&copy, store), ROUTES);
    store_close(&store);
}

static void test_a_commit_aside_that_fails_has_changed_nothing_and_says_why(void **state)
{
    struct fixture *f = *state;
    struct attendance w = {.thread = pthread_self()};
    struct store *store = open_with_listener(f);
    struct rlimit limit, before;

    store_on_busy(store, attend, &w);
    put_many(f, store, 10, "10.0.0.1:1");
    expect_rc(f, store_commit(store, &f->why), 0);
    put_many(f, store, ROUTES, "10.0.0.2:1");
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 100000; /* the -wal is to be larger */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int rc = store_commit(store, &f->why);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    expect_rc(f, rc, ERR_UNAVAILABLE);
    assert_int_equal(count_routes(f, store), 10);
    assert_true(take_count(&w) < UINT32_MAX);
    put_many(f, store, ROUTES, "10.0.0.2:1");
    expect_rc(f, store_commit(store, &f->why), 0);
    assert_int_equal(count_routes(f, store), ROUTES);
    store_close(&store);
}

int main(void)
{
#define CASE(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_long_changes_and_lists_call_and_short_ones_do_not),
        CASE(test_a_snapshot_is_whole_and_calls_from_this_thread_alone),
        CASE(test_a_commit_aside_that_fails_has_changed_nothing_and_says_why),
    };
    return cmocka_run_group_tests_name("store busy", tests, NULL, NULL);
}
