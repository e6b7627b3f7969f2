/* The master's own second thread: a commit of many changes or a snapshot, while the first one waits for it and attends to other things
 * (docs/decisions/0015-what-goes-on-during-long-work.md). What one writes is for the other only before it begins and when it has ended. */

#include "store_fixture.h"

#include "aside.h"
#include "store_many.h"

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

static void test_commits_and_snapshots_share_the_handle_with_their_caller(void **state)
{
    struct fixture *f = *state;
    unsigned attended = 0;

    make_database(f);
    struct store *store = must_open(f);
    store_on_busy(store, attend, &attended);
    for (unsigned round = 0; round < ROUNDS; round++) {
        char path[128], backend[64];
        snprintf(backend, sizeof backend, "10.0.0.%u:1", round + 1);
        put_many(f, store, ROUTES, backend);
        expect_rc(f, store_commit(store, &f->why), 0);
        snprintf(path, sizeof path, "%s/copy%u.db", f->folder, round);
        expect_rc(f, store_snapshot(store, path, &f->why), 0);
        assert_int_equal(count_routes(f, store), ROUTES);
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
