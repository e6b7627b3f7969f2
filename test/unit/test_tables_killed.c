/* A writer of the tables that is killed between any two of its stores leaves the state before or after, whole, and readers go on. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "doomed_writer.h"
#include "table_readers.h"

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
    pid_t child = fork_doomed(step);

    if (child == 0) {
        op(f);
        _exit(0);
    }
    return has_died(child);
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
    bool is_dead = run_and_die(&f, test->op, step);
    await_rounds(report, 1); /* readers go on without a writer */
    stop_reader(report, reader);
    struct picture left = take_picture(&f.tables->view, &is_whole);
    if (!is_whole || (!is_same(&left, &c->before) && !is_same(&left, &c->after)))
        fail_msg("%s, dead at step %u: neither the state before nor after", test->name, step);
    if (!is_dead)
        assert_true(is_same(&left, &c->after));
    munmap(report, sizeof *report);
    fixture_fini(&f);
    return is_dead;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_writer_killed_at_any_step_leaves_a_whole_state),
    };
    return cmocka_run_group_tests_name("tables_killed", tests, NULL, NULL);
}
