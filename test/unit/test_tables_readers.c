/*
 * The tables between processes: readers in processes of their own while the writer changes routes, grows, replaces everything and
 * reclaims. A reader may only ever see states that were, whole.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "clock.h"
#include "random_numbers.h"
#include "table_readers.h"

/* ---- readers against a busy writer ---- */

#define STRESS_MS    1500
#define STRESS_NAMES 600

static void stress_name(char out[64], unsigned i)
{
    /* Lengths differ, so that freed records are taken by other names soon. */
    (void)snprintf(out, 64, "s%u.%.*sexample.com", i, (int)(i % 5) * 3, "ab.ab.ab.ab.ab");
}

/** What a match under a pin holds must stay as it was found, however long the pin lasts. */
static void expect_stable(const struct route_match *m, const char *name, struct report *report)
{
    size_t len = strlen(name);
    bool is_exact = (m->route->flags & SHM_ROUTE_WILDCARD) == 0;

    for (unsigned look_again = 0; look_again < 3; look_again++) {
        if (is_exact)
            READER_EXPECT(report, m->route->name_len == len && memcmp(m->route->name, name, len) == 0,
                          "record of %s used again", name);
        READER_EXPECT(report, backend_is_whole(m->backend), "backend of %s used again", name);
        if (is_exact && m->backend->kind == BACKEND_IP)
            READER_EXPECT(report, number_of_backend(m->backend) % STRESS_NAMES == strtol(name + 1, NULL, 10),
                          "%s has the backend of another", name);
        if (look_again == 0)
            sched_yield(); /* let the writer run under our pin */
    }
}

static void hammer(const struct table_view *view, struct report *report, void *context, unsigned slot)
{
    static uint64_t generation;
    char name[64];

    (void)context;
    rng_state += slot; /* every reader goes its own way */
    unsigned i = rng(STRESS_NAMES);
    stress_name(name, i);
    const struct shm_root *root = table_pin(view);
    struct route_match m;
    bool found = route_match_name(view->tables, root, 0, bytes_of_str(name), &m);
    READER_EXPECT(report, root->generation >= generation, "the generation fell");
    generation = root->generation;
    /* The first third is always there; the others fall to "*" when they are not. */
    READER_EXPECT(report, found, "%s has no route", name);
    if (found) {
        bool is_exact = (m.route->flags & SHM_ROUTE_WILDCARD) == 0;
        READER_EXPECT(report, is_exact || i >= STRESS_NAMES / 3, "%s fell to the default", name);
        expect_stable(&m, name, report);
    }
    table_release(view);
}

static void stress_put(struct tables_fixture *f, unsigned i)
{
    char name[64];

    stress_name(name, i);
    fixture_put(f, 0, name, i + STRESS_NAMES * rng(1000));
}

static void stress_bulk(struct tables_fixture *f)
{
    struct route_bulk *bulk = NULL;

    assert_int_equal(route_bulk_begin(f->routes, STRESS_NAMES, &bulk), 0);
    struct host_pattern any = pattern_of("*");
    struct backend_addr b = backend_number(0);
    assert_int_equal(route_bulk_add(bulk, 0, &any, &b, false), 0);
    for (unsigned i = 0; i < STRESS_NAMES; i++) {
        char name[64];
        stress_name(name, i);
        struct host_pattern p = pattern_of(name);
        b = backend_number(i + STRESS_NAMES * rng(1000));
        if (i < STRESS_NAMES / 3 || rng(2) == 0)
            assert_int_equal(route_bulk_add(bulk, 0, &p, &b, false), 0);
    }
    route_bulk_publish(&bulk);
}

static void stress_once(struct tables_fixture *f, uint64_t round)
{
    char name[64];
    unsigned i = rng(STRESS_NAMES);

    if (round % 5000 == 0)
        stress_bulk(f);
    if (i < STRESS_NAMES / 3 || rng(2) == 0) {
        stress_put(f, i);
        return;
    }
    stress_name(name, i);
    (void)fixture_remove(f, 0, name);
}

static void readers_never_see_memory_used_again_under_their_pin(void **state)
{
    struct tables_fixture f;
    struct report *report = new_report();
    pid_t readers[READERS];
    uint64_t changes = 0;
    (void)state;

    fixture_init(&f, SEGMENT, READERS);
    stress_bulk(&f);
    for (unsigned i = 0; i < READERS; i++)
        readers[i] = start_reader(&f, report, i, hammer, NULL);
    uint64_t end = clock_monotonic_ms() + STRESS_MS;
    for (; (clock_monotonic_ms() < end || changes < 1000) && atomic_load(&report->is_failed) == 0; changes++)
        stress_once(&f, changes);
    await_rounds(report, READERS);
    for (unsigned i = 0; i < READERS; i++)
        stop_reader(report, readers[i]);
    fixture_reclaim(&f);
    assert_int_equal(f.tables->retired.count, 0);
    munmap(report, sizeof *report);
    fixture_fini(&f);
}

/* ---- two changes behind the back of one look-up ---- */

static void watch_handover(const struct table_view *view, struct report *report, void *context, unsigned slot)
{
    (void)context;
    (void)slot;
    for (unsigned i = 0; i < 100; i++)
        READER_EXPECT(report, view_match(view, 0, bytes_of_str("www.a.b.c.example.com")) != 9, "fell to the default");
}

/* The exact route and a wildcard take turns, the next always there before the other goes: the default never has a claim. */
static void a_name_handed_from_route_to_route_never_falls_to_the_default(void **state)
{
    static const char *const turns[] = {"www.a.b.c.example.com", "*.a.b.c.example.com", "*.example.com",
                                        "*.c.example.com"};
    struct tables_fixture f;
    struct report *report = new_report();
    pid_t readers[READERS];
    (void)state;

    fixture_init(&f, SEGMENT, READERS);
    fixture_put(&f, 0, "*", 9);
    fixture_put(&f, 0, turns[0], 1);
    for (unsigned i = 0; i < READERS; i++)
        readers[i] = start_reader(&f, report, i, watch_handover, NULL);
    uint64_t end = clock_monotonic_ms() + STRESS_MS;
    for (unsigned turn = 0; clock_monotonic_ms() < end && atomic_load(&report->is_failed) == 0; turn++) {
        fixture_put(&f, 0, turns[(turn + 1) % 4], 1);
        assert_int_equal(fixture_remove(&f, 0, turns[turn % 4]), 0);
        /* A pause, as between commits; waking up often takes the processor from a reader in the middle of a look-up. */
        usleep(20);
    }
    for (unsigned i = 0; i < READERS; i++)
        stop_reader(report, readers[i]);
    munmap(report, sizeof *report);
    fixture_fini(&f);
}

/* ---- a reader that dies pinned ---- */

static void pin_and_hang(const struct table_view *view, struct report *report, void *context, unsigned slot)
{
    (void)context;
    (void)table_pin(view);
    atomic_fetch_add(&report->rounds[slot], 10);
    for (;;)
        pause();
}

static void a_reader_that_dies_pinned_holds_memory_only_until_it_is_cleared(void **state)
{
    struct tables_fixture f;
    struct report *report = new_report();
    int status = 0;
    (void)state;

    fixture_init(&f, SEGMENT, 1);
    fixture_put(&f, 0, "a.example.com", 1);
    fixture_reclaim(&f);
    pid_t reader = start_reader(&f, report, 0, pin_and_hang, NULL);
    while (atomic_load(&report->rounds[0]) == 0)
        sched_yield();
    assert_int_equal(kill(reader, SIGKILL), 0);
    assert_int_equal(waitpid(reader, &status, 0), reader);
    for (unsigned i = 0; i < 1000; i++)
        fixture_put(&f, 0, "a.example.com", i);
    assert_int_equal(f.tables->retired.count, 1000);
    tables_clear_pin(f.tables, 0);
    assert_int_equal(tables_reclaim(f.tables), 1000);
    munmap(report, sizeof *report);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_never_see_memory_used_again_under_their_pin),
        cmocka_unit_test(a_name_handed_from_route_to_route_never_falls_to_the_default),
        cmocka_unit_test(a_reader_that_dies_pinned_holds_memory_only_until_it_is_cleared),
    };
    return cmocka_run_group_tests_name("tables_readers", tests, NULL, NULL);
}
