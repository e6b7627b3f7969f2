/* Whoever asked for it is called while the store takes long: from within its calls, in the caller's thread, and never otherwise. */

#include "store_fixture.h"

#include <pthread.h>
#include <sys/resource.h>

#include "config.h"

#define ROUTES 20000

struct watcher {
    pthread_t thread;
    unsigned count;
    unsigned elsewhere;
};

static void on_busy(void *context)
{
    struct watcher *w = context;

    w->count++;
    w->elsewhere += !pthread_equal(pthread_self(), w->thread);
}

/** Calls since the last time it was asked. */
static unsigned take_count(struct watcher *w)
{
    unsigned count = w->count;

    assert_int_equal(w->elsewhere, 0);
    w->count = 0;
    return count;
}

static struct store *open_with_listener(struct fixture *f)
{
    struct config_listener listener = {.addr = {.is_dual_stack = true, .port = 443}};
    struct config config = {.listeners = &listener, .listener_count = 1};
    struct store_seeded seeded;
    struct store *store = must_open(f);

    expect_rc(f, store_seed(store, &config, &seeded, &f->why), 0);
    return store;
}

static void put_routes(struct fixture *f, struct store *store, unsigned count, const char *backend)
{
    char name[64];

    expect_rc(f, store_begin(store, &f->why), 0);
    for (unsigned i = 0; i < count; i++) {
        struct store_route route = {.listener = ":443", .hostname = name, .backend = backend};
        enum store_put put;
        snprintf(name, sizeof name, "h%u.example.com", i);
        expect_rc(f, store_put_route(store, &route, &put, &f->why), 0);
    }
}

static int count_route(const struct store_route *route, void *ctx)
{
    (void)route;
    ++*(unsigned *)ctx;
    return 0;
}

static unsigned count_routes(struct fixture *f, struct store *store)
{
    unsigned count = 0;

    expect_rc(f, store_each_route(store, count_route, &count, &f->why), 0);
    return count;
}

static void test_long_changes_and_lists_call_and_short_ones_do_not(void **state)
{
    struct fixture *f = *state;
    struct watcher w = {.thread = pthread_self()};
    struct store *store = open_with_listener(f);

    store_on_busy(store, on_busy, &w);
    put_routes(f, store, 1, "10.0.0.1:1");
    expect_rc(f, store_commit(store, &f->why), 0);
    assert_int_equal(count_routes(f, store), 1);
    assert_int_equal(take_count(&w), 0);

    put_routes(f, store, ROUTES, "10.0.0.2:1");
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
    struct watcher w = {.thread = pthread_self()};
    struct store *store = open_with_listener(f);
    struct fixture copy = {.why = STRBUF_OF(copy.words)};
    const char *path = copy.db;

    snprintf(copy.db, sizeof copy.db, "%s/copy.db", f->folder);
    store_on_busy(store, on_busy, &w);
    put_routes(f, store, ROUTES, "10.0.0.1:1");
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
    struct watcher w = {.thread = pthread_self()};
    struct store *store = open_with_listener(f);
    struct rlimit limit, before;

    store_on_busy(store, on_busy, &w);
    put_routes(f, store, 10, "10.0.0.1:1");
    expect_rc(f, store_commit(store, &f->why), 0);
    put_routes(f, store, ROUTES, "10.0.0.2:1");
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
    put_routes(f, store, ROUTES, "10.0.0.2:1");
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
