/*
 * The tables between processes: readers in processes of their own, over a read-only mapping, while the writer changes routes,
 * grows, replaces everything, reclaims, and dies. A reader may only ever see states that were, whole.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "tables_fixture.h"

#define READERS     2
#define SEGMENT     (256ull << 20)
#define STRESS_MS   1500
#define REPORT_SIZE 200

/* What readers tell the test: shared memory. */
struct report {
    _Atomic uint32_t stop;
    _Atomic uint64_t rounds[READERS];
    _Atomic uint32_t is_failed;
    char what[REPORT_SIZE];
};

static struct report *new_report(void)
{
    void *map = mmap(NULL, sizeof(struct report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    return map;
}

#define READER_EXPECT(report, cond, ...)                              \
    do {                                                              \
        if (!(cond) && atomic_exchange(&(report)->is_failed, 1) == 0) \
            (void)snprintf((report)->what, REPORT_SIZE, __VA_ARGS__); \
    } while (0)

/** Map the tables as a worker does. */
static struct table_view open_view(const struct tables_fixture *f, unsigned slot)
{
    uint64_t bytes = tables_bytes(f->tables);
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, tables_worker_fd(f->tables), 0);

    if (map == MAP_FAILED)
        _exit(3);
    return (struct table_view){.tables = map, .bytes = bytes, .pinned_epoch = &f->stats->workers[slot].pinned_epoch};
}

typedef void (*reader_fn)(const struct table_view *view, struct report *report, void *context, unsigned slot);

static pid_t start_reader(const struct tables_fixture *f, struct report *report, unsigned slot, reader_fn fn,
                          void *context)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that failed leaves no reader behind */
    struct table_view view = open_view(f, slot);
    while (atomic_load(&report->stop) == 0) {
        fn(&view, report, context, slot);
        atomic_fetch_add(&report->rounds[slot], 1);
    }
    _exit(0);
}

/** Every reader has begun and finished a whole round after this call began. */
static void await_rounds(struct report *report, unsigned readers)
{
    for (unsigned i = 0; i < readers; i++) {
        uint64_t now = atomic_load(&report->rounds[i]);
        while (atomic_load(&report->rounds[i]) < now + 2 && atomic_load(&report->is_failed) == 0)
            sched_yield();
    }
}

static void stop_reader(struct report *report, pid_t pid)
{
    int status = 0;

    atomic_store(&report->stop, 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (atomic_load(&report->is_failed) != 0)
        fail_msg("%s", report->what);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/** Is the backend's record whole: do text, kind and address say the same? */
static bool backend_is_whole(const struct shm_backend *b)
{
    char text[BACKEND_TEXT_MAX];
    struct bytes have = shm_backend_text(b);

    if (b->kind == BACKEND_NAME) /* its addresses all carry one number */
        return bytes_equal_str(have, "app.internal:443") && b->addr_count <= SHM_BACKEND_ADDRS_MAX &&
               (b->addr_count == 0 || b->addrs[0].addr.bytes[3] == b->addrs[b->addr_count - 1].addr.bytes[3]);
    const uint8_t *a = b->addrs[0].addr.bytes;
    (void)snprintf(text, sizeof text, "10.%u.%u.%u:8443", a[1], a[2], a[3]);
    return b->kind == BACKEND_IP && b->addr_count == 1 && bytes_equal_str(have, text);
}

/* ---- a writer that dies between any two of its stores ---- */

#define NAMES 12

static const char *const names[NAMES] = {
    "n0.example.com",
    "n1.example.com",
    "n2.example.com",
    "n3.example.com",
    "new.example.com",
    "x.new.example.com",
    "x.wild.org",
    "y.x.wild.org",
    "wild.org",
    "other.net",
    "",
    "named.example.com",
};

/** What a reader can tell of the tables: a number per name, and the limit of connections. */
struct picture {
    int64_t seen[NAMES + 1];
};

static int64_t look(const struct table_view *view, const struct shm_root *root, const char *name, bool *is_whole)
{
    struct route_match m;

    if (!route_match_name(view->tables, root, 0, bytes_of_str(name), &m))
        return -1;
    *is_whole = *is_whole && backend_is_whole(m.backend);
    int64_t flags = m.route->flags & SHM_ROUTE_SEND_PROXY_PROTOCOL ? 1 << 24 : 0;
    if (m.backend->kind == BACKEND_NAME)
        return flags | 1 << 25 | m.backend->addr_count << 8 |
               (m.backend->addr_count > 0 ? m.backend->addrs[0].addr.bytes[3] : 0);
    return flags | number_of_backend(m.backend);
}

static struct picture take_picture(const struct table_view *view, bool *is_whole)
{
    struct picture p;
    const struct shm_root *root = table_pin(view);

    for (unsigned i = 0; i < NAMES; i++)
        p.seen[i] = look(view, root, names[i], is_whole);
    p.seen[NAMES] = atomic_load(&view->tables->listeners[0].max_connections);
    table_release(view);
    return p;
}

static bool is_same(const struct picture *a, const struct picture *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static void base_routes(struct tables_fixture *f)
{
    struct host_pattern p = pattern_of("named.example.com");
    struct backend_addr b = backend_name("app.internal");

    for (unsigned i = 0; i < 4; i++)
        fixture_put(f, 0, names[i], i);
    fixture_put(f, 0, "*.example.com", 100);
    fixture_put(f, 0, "*", 101);
    assert_int_equal(route_put(f->routes, 0, &p, &b, true, NULL), 0);
    tables_set_max_connections(f->tables, 0, 10);
}

static void op_put(struct tables_fixture *f)
{
    fixture_put(f, 0, "new.example.com", 1000);
}

static void op_replace(struct tables_fixture *f)
{
    fixture_put(f, 0, "n1.example.com", 1001);
}

static void op_remove(struct tables_fixture *f)
{
    assert_int_equal(fixture_remove(f, 0, "n2.example.com"), 0);
}

static void op_put_wildcard(struct tables_fixture *f)
{
    fixture_put(f, 0, "*.new.example.com", 1002);
}

static void op_remove_wildcard(struct tables_fixture *f)
{
    assert_int_equal(fixture_remove(f, 0, "*.example.com"), 0);
}

static void op_remove_any(struct tables_fixture *f)
{
    assert_int_equal(fixture_remove(f, 0, "*"), 0);
}

/* Nothing that names[] would show: the array is built anew several times. */
static void op_grow(struct tables_fixture *f)
{
    for (unsigned i = 0; i < 2000; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "g%u.example.com", i);
        fixture_put(f, 0, name, i);
    }
}

/* Other names at other depths: every look-up must come from the old table or from the new one. */
static void op_bulk(struct tables_fixture *f)
{
    static const char *const patterns[] = {"n0.example.com", "new.example.com", "*.wild.org", "*.new.example.com", "*"};
    struct route_bulk *bulk = NULL;

    assert_int_equal(route_bulk_begin(f->routes, 8, &bulk), 0);
    for (unsigned i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        struct host_pattern p = pattern_of(patterns[i]);
        struct backend_addr b = backend_number(2000 + i);
        assert_int_equal(route_bulk_add(bulk, 0, &p, &b, true), 0);
    }
    route_bulk_publish(&bulk);
}

static void op_update(struct tables_fixture *f)
{
    struct ip_endpoint addrs[3];
    struct backend_addr b = backend_name("app.internal");
    uint32_t id = 0;

    for (unsigned i = 0; i < 3; i++)
        addrs[i] = (struct ip_endpoint){.addr = {.family = 4, .bytes = {192, 0, 2, 77}}, .port = 443};
    assert_int_equal(backend_set_acquire(f->backends, &b, &id), 0);
    assert_int_equal(backend_set_update(f->backends, id, addrs, 3), 0);
    backend_set_release(f->backends, id);
}

static void op_max_connections(struct tables_fixture *f)
{
    tables_set_max_connections(f->tables, 0, 99);
}

struct crash_case {
    const char *name;
    void (*op)(struct tables_fixture *f);
    unsigned stride; /* die at every stride-th step */
    unsigned least_steps;
};

static const struct crash_case crash_cases[] = {
    {"put", op_put, 1, 5},
    {"replace", op_replace, 1, 4},
    {"remove", op_remove, 1, 4},
    {"put wildcard", op_put_wildcard, 1, 6},
    {"remove wildcard", op_remove_wildcard, 1, 5},
    {"remove any", op_remove_any, 1, 5},
    {"grow", op_grow, 397, 8000},
    {"bulk", op_bulk, 1, 10},
    {"update of addresses", op_update, 1, 4},
    {"max_connections", op_max_connections, 1, 2},
};

static unsigned steps_left;

static void die_at_step(const char *step)
{
    (void)step;
    if (steps_left-- == 0)
        kill(getpid(), SIGKILL);
}

/* What the reader of one case compares with. */
struct crash_context {
    struct picture before;
    struct picture after;
    uint64_t generation;
    bool saw_after;
};

static void watch_pictures(const struct table_view *view, struct report *report, void *context, unsigned slot)
{
    struct crash_context *c = context;
    bool is_whole = true;
    uint64_t generation = table_pin(view)->generation;
    table_release(view);
    struct picture now = take_picture(view, &is_whole);
    bool is_after = is_same(&now, &c->after);

    (void)slot;
    READER_EXPECT(report, is_whole, "a backend record is not whole");
    READER_EXPECT(report, generation >= c->generation, "the generation fell");
    /* Several names may be asked for before and after the one store; each by itself is old or new, and stays new. */
    for (unsigned i = 0; i <= NAMES; i++)
        READER_EXPECT(report, now.seen[i] == c->before.seen[i] || now.seen[i] == c->after.seen[i], "name %u: %lld", i,
                      (long long)now.seen[i]);
    READER_EXPECT(report, is_after || !c->saw_after || is_same(&c->before, &c->after), "a new state became old again");
    c->generation = generation;
    c->saw_after = is_after;
}

/** Run op in a process that dies at `step`; false when op has fewer steps. */
static bool run_and_die(struct tables_fixture *f, void (*op)(struct tables_fixture *), unsigned step)
{
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        steps_left = step;
        tables_on_step = die_at_step;
        op(f);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSIGNALED(status))
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

static void expect_pictures(struct crash_context *c, const struct crash_case *test)
{
    struct tables_fixture f;
    bool is_whole = true;

    *c = (struct crash_context){0};
    fixture_init(&f, SEGMENT, 0);
    base_routes(&f);
    c->before = take_picture(&f.tables->view, &is_whole);
    test->op(&f);
    c->after = take_picture(&f.tables->view, &is_whole);
    assert_true(is_whole);
    fixture_fini(&f);
}

/** One death: a reader watches it and goes on, and what remains is the state before or after, whole. */
static bool die_once(const struct crash_case *test, struct crash_context *c, unsigned step)
{
    struct tables_fixture f;
    struct report *report = new_report();
    bool is_whole = true;

    fixture_init(&f, SEGMENT, 1);
    base_routes(&f);
    pid_t reader = start_reader(&f, report, 0, watch_pictures, c);
    await_rounds(report, 1);
    bool has_died = run_and_die(&f, test->op, step);
    await_rounds(report, 1); /* readers go on without a writer */
    stop_reader(report, reader);
    struct picture left = take_picture(&f.tables->view, &is_whole);
    if (!is_whole || (!is_same(&left, &c->before) && !is_same(&left, &c->after)))
        fail_msg("%s, dead at step %u: neither the state before nor after", test->name, step);
    if (!has_died)
        assert_true(is_same(&left, &c->after));
    munmap(report, sizeof *report);
    fixture_fini(&f);
    return has_died;
}

static void a_writer_killed_at_any_step_leaves_a_whole_state(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof crash_cases / sizeof crash_cases[0]; i++) {
        struct crash_context c;
        unsigned step = 0;
        expect_pictures(&c, &crash_cases[i]);
        while (die_once(&crash_cases[i], &c, step))
            step += crash_cases[i].stride;
        if (step < crash_cases[i].least_steps)
            fail_msg("%s: only %u steps", crash_cases[i].name, step);
    }
}

/* ---- readers against a busy writer ---- */

#define STRESS_NAMES 600

static uint64_t rng_state = 88172645463325252u;

static uint32_t rng(uint32_t below)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return (uint32_t)(rng_state >> 16) % below;
}

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
            READER_EXPECT(report, number_of_backend(m->backend) % STRESS_NAMES == atoi(name + 1),
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
    for (; clock_monotonic_ms() < end && atomic_load(&report->is_failed) == 0; changes++)
        stress_once(&f, changes);
    await_rounds(report, READERS);
    for (unsigned i = 0; i < READERS; i++)
        stop_reader(report, readers[i]);
    assert_true(changes > 1000);
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
        cmocka_unit_test(a_writer_killed_at_any_step_leaves_a_whole_state),
        cmocka_unit_test(readers_never_see_memory_used_again_under_their_pin),
        cmocka_unit_test(a_name_handed_from_route_to_route_never_falls_to_the_default),
        cmocka_unit_test(a_reader_that_dies_pinned_holds_memory_only_until_it_is_cleared),
    };
    return cmocka_run_group_tests_name("tables_readers", tests, NULL, NULL);
}
