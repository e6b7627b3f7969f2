/* The master's own second thread: a commit of many changes or a snapshot, while the first one waits for it and attends to other things
 * (docs/decisions/0015-what-goes-on-during-long-work.md). What one writes is for the other only before it begins and when it has ended. */

#include "store_fixture.h"

#include "aside.h"
#include "config.h"

#define ROUNDS 3
#define ROUTES 30000 /* a snapshot of so many takes several looks of who waits for it */

struct work {
    uint64_t rounds;
    uint64_t sum;
};

static void work(void *context)
{
    struct work *w = context;

    for (uint64_t n = 0; n < w->rounds; n++)
        w->sum += n;
}

static void attend(void *attendant)
{
    ++*(unsigned *)attendant; /* the caller's own: no lock */
}

static void test_what_is_made_aside_is_seen_when_it_has_ended(void **state)
{
    unsigned attended = 0;

    (void)state;
    for (uint64_t rounds = 0; rounds < 200; rounds++) {
        struct work w = {.rounds = rounds * 1000};
        aside_run(work, &w, attend, &attended);
        assert_int_equal(w.sum, w.rounds == 0 ? 0 : w.rounds * (w.rounds - 1) / 2);
    }
}

static void put_routes(struct fixture *f, struct store *store, unsigned round)
{
    char name[64], backend[64];

    snprintf(backend, sizeof backend, "10.0.0.%u:1", round + 1);
    expect_rc(f, store_begin(store, &f->why), 0);
    for (unsigned i = 0; i < ROUTES; i++) {
        struct store_route route = {.listener = ":443", .hostname = name, .backend = backend};
        enum store_put put;
        snprintf(name, sizeof name, "h%u.example.com", i);
        expect_rc(f, store_put_route(store, &route, &put, &f->why), 0);
    }
}

static int count_route(const struct store_route *route, void *count)
{
    (void)route;
    ++*(unsigned *)count;
    return 0;
}

static void test_commits_and_snapshots_share_the_handle_with_their_caller(void **state)
{
    struct fixture *f = *state;
    struct config_listener listener = {.addr = {.is_dual_stack = true, .port = 443}};
    struct config config = {.listeners = &listener, .listener_count = 1};
    struct store_seeded seeded;
    struct store *store = must_open(f);
    unsigned attended = 0;

    expect_rc(f, store_seed(store, &config, &seeded, &f->why), 0);
    store_on_busy(store, attend, &attended);
    for (unsigned round = 0; round < ROUNDS; round++) {
        char path[128];
        unsigned routes = 0;
        put_routes(f, store, round);
        expect_rc(f, store_commit(store, &f->why), 0);
        snprintf(path, sizeof path, "%s/copy%u.db", f->folder, round);
        expect_rc(f, store_snapshot(store, path, &f->why), 0);
        expect_rc(f, store_each_route(store, count_route, &routes, &f->why), 0);
        assert_int_equal(routes, ROUTES);
    }
    assert_true(attended > 0);
    store_close(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_made_aside_is_seen_when_it_has_ended),
        cmocka_unit_test_setup_teardown(test_commits_and_snapshots_share_the_handle_with_their_caller, fixture_setup,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests_name("threads store", tests, NULL, NULL);
}
