/* A million random changes of routes, with aborts and bulk loads in between, against a naive table. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "err.h"
#include "random_numbers.h"
#include "tables_fixture.h"

/* ---- the naive table: every name of up to four of eight labels has a place ---- */

#define WORDS        8
#define LABELS_MAX   4
#define PLACES       (1 + 8 + 64 + 512 + 4096) /* names of 0, 1, 2, 3, 4 labels */
#define LISTENERS    3
#define BACKENDS     500
#define OPERATIONS   1000000u
#define COMPARE_EACH 50000u

static const char *const words[WORDS] = {"a", "bb",           "com", "example", "x-y_z", "a-label-of-some-length",
                                         "0", "xn--bcher-kva"};
static const uint16_t listener_ids[LISTENERS] = {0, 7, 1023};

struct name {
    unsigned count;
    unsigned labels[LABELS_MAX]; /* from the right */
};

struct shadow_route {
    int32_t backend; /* -1: none */
    bool send_proxy_protocol;
};

struct shadow {
    struct shadow_route routes[LISTENERS][2][PLACES]; /* by listener, wildcard or not, name */
    uint32_t count[LISTENERS];
};

static unsigned place_of(const struct name *n, unsigned count)
{
    static const unsigned first[LABELS_MAX + 1] = {0, 1, 1 + 8, 1 + 8 + 64, 1 + 8 + 64 + 512};
    unsigned number = 0;

    for (unsigned i = count; i-- > 0;)
        number = number * WORDS + n->labels[i];
    return first[count] + number;
}

static struct name name_of_place(unsigned place)
{
    struct name n = {0};
    unsigned size = 1;

    for (; place >= size; n.count++, size *= WORDS)
        place -= size;
    for (unsigned i = 0; i < n.count; i++, place /= WORDS)
        n.labels[i] = place % WORDS;
    return n;
}

static struct host_pattern pattern_of_name(const struct name *n, bool is_wildcard)
{
    char text[256] = "";
    size_t len = 0;

    if (is_wildcard)
        len = (size_t)snprintf(text, sizeof text, n->count == 0 ? "*" : "*.");
    for (unsigned i = n->count; i-- > 0;)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", words[n->labels[i]], i > 0 ? "." : "");
    return pattern_of(text);
}

static void shadow_init(struct shadow *s)
{
    for (unsigned l = 0; l < LISTENERS; l++) {
        s->count[l] = 0;
        for (unsigned i = 0; i < 2 * PLACES; i++)
            s->routes[l][i / PLACES][i % PLACES].backend = -1;
    }
}

static void shadow_set(struct shadow *s, unsigned l, bool is_wildcard, unsigned place, struct shadow_route r)
{
    struct shadow_route *now = &s->routes[l][is_wildcard][place];

    s->count[l] += (r.backend >= 0) - (now->backend >= 0);
    *now = r;
}

static struct shadow_route shadow_match(const struct shadow *s, unsigned l, const struct name *n)
{
    if (n->count > 0 && s->routes[l][0][place_of(n, n->count)].backend >= 0)
        return s->routes[l][0][place_of(n, n->count)];
    for (unsigned count = n->count; count-- > 1;) {
        if (s->routes[l][1][place_of(n, count)].backend >= 0)
            return s->routes[l][1][place_of(n, count)];
    }
    return s->routes[l][1][0];
}

/* ---- comparing ---- */

static void compare_match(struct tables_fixture *f, const struct shadow *s, unsigned l, const struct name *n)
{
    struct host_pattern p = pattern_of_name(n, false);
    struct shadow_route want = shadow_match(s, l, n);
    struct route_match m;
    const struct shm_root *root = table_pin(&f->tables->view);
    bool found = route_match_name(f->tables->shm, root, listener_ids[l], bytes_of(p.name, p.len), &m);

    if (found != (want.backend >= 0))
        fail_msg("listener %u '%s': found %d, expected backend %d", l, p.name, found, want.backend);
    if (found) {
        assert_int_equal(number_of_backend(m.backend), want.backend);
        assert_int_equal((m.route->flags & SHM_ROUTE_SEND_PROXY_PROTOCOL) != 0, want.send_proxy_protocol);
    }
    table_release(&f->tables->view);
}

static void compare_depths(struct tables_fixture *f, const struct shadow *s, unsigned l)
{
    const struct shm_route_depths *depths = tables_at(f->tables, tables_root(f->tables)->route_depths);
    uint64_t want = 0;

    for (unsigned place = 0; place < PLACES; place++) {
        if (s->routes[l][1][place].backend >= 0)
            want |= 1ull << name_of_place(place).count;
    }
    assert_int_equal(atomic_load(&depths[listener_ids[l]].words[0]), want);
    assert_int_equal(atomic_load(&depths[listener_ids[l]].words[1]), 0);
}

static void compare_backends(struct tables_fixture *f, const struct shadow *s)
{
    static bool is_used[BACKENDS];
    unsigned used = 0;

    memset(is_used, 0, sizeof is_used);
    for (unsigned i = 0; i < LISTENERS * 2 * PLACES; i++) {
        int32_t b = s->routes[i / PLACES / 2][i / PLACES % 2][i % PLACES].backend;
        if (b >= 0)
            is_used[b] = true;
    }
    for (unsigned b = 0; b < BACKENDS; b++)
        used += is_used[b];
    fixture_reclaim(f);
    assert_int_equal(f->tables->retired.count, 0);
    assert_int_equal(backend_set_count(f->backends), used);
}

static void compare_all(struct tables_fixture *f, const struct shadow *s)
{
    uint32_t total = 0;

    for (unsigned l = 0; l < LISTENERS; l++) {
        for (unsigned place = 0; place < PLACES; place++) {
            struct name n = name_of_place(place);
            compare_match(f, s, l, &n);
        }
        compare_depths(f, s, l);
        assert_int_equal(route_writer_count(f->routes, listener_ids[l]), s->count[l]);
        total += s->count[l];
    }
    assert_int_equal(route_writer_total(f->routes), total);
    compare_backends(f, s);
}

/* ---- random operations ---- */

static struct shadow_route random_route(void)
{
    return (struct shadow_route){.backend = (int32_t)rng(BACKENDS), .send_proxy_protocol = rng(2) == 0};
}

static void random_put(struct tables_fixture *f, struct shadow *s, unsigned l, bool is_wildcard, unsigned place)
{
    struct name n = name_of_place(place);
    struct host_pattern p = pattern_of_name(&n, is_wildcard);
    struct shadow_route r = random_route();
    struct backend_addr b = backend_number((uint32_t)r.backend);
    struct route_change change;

    assert_int_equal(route_change_prepare_put(f->routes, listener_ids[l], &p, &b, r.send_proxy_protocol, &change), 0);
    if (rng(8) == 0) {
        route_change_abort(&change);
        return;
    }
    assert_int_equal(route_change_publish(&change), s->routes[l][is_wildcard][place].backend < 0);
    shadow_set(s, l, is_wildcard, place, r);
}

static void random_remove(struct tables_fixture *f, struct shadow *s, unsigned l, bool is_wildcard, unsigned place)
{
    struct name n = name_of_place(place);
    struct host_pattern p = pattern_of_name(&n, is_wildcard);
    bool is_there = s->routes[l][is_wildcard][place].backend >= 0;
    struct route_change change;

    assert_int_equal(route_change_prepare_remove(f->routes, listener_ids[l], &p, &change),
                     is_there ? 0 : ERR_NOT_FOUND);
    if (!is_there)
        return;
    if (rng(8) == 0) {
        route_change_abort(&change);
        return;
    }
    assert_true(route_change_publish(&change));
    shadow_set(s, l, is_wildcard, place, (struct shadow_route){.backend = -1});
}

static void random_bulk(struct tables_fixture *f, struct shadow *s)
{
    static struct shadow fresh;
    struct route_bulk *bulk = NULL;
    uint32_t routes = rng(2) == 0 ? rng(20000) : rng(20);

    shadow_init(&fresh);
    assert_int_equal(route_bulk_begin(f->routes, rng(2) == 0 ? routes : 0, &bulk), 0);
    for (uint32_t i = 0; i < routes; i++) {
        unsigned l = rng(LISTENERS);
        bool is_wildcard = rng(3) == 0;
        unsigned place = is_wildcard ? rng(PLACES) : 1 + rng(PLACES - 1);
        struct name n = name_of_place(place);
        struct host_pattern p = pattern_of_name(&n, is_wildcard);
        struct shadow_route r = random_route();
        struct backend_addr b = backend_number((uint32_t)r.backend);
        assert_int_equal(route_bulk_add(bulk, listener_ids[l], &p, &b, r.send_proxy_protocol), 0);
        shadow_set(&fresh, l, is_wildcard, place, r);
    }
    if (rng(3) == 0) {
        route_bulk_abort(&bulk);
    } else {
        route_bulk_publish(&bulk);
        *s = fresh;
    }
    assert_null(bulk);
}

static void a_million_random_operations_match_the_naive_table(void **state)
{
    static struct shadow s;
    struct tables_fixture f;
    (void)state;

    shadow_init(&s);
    fixture_init(&f, 256 << 20, 0);
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        unsigned l = rng(LISTENERS);
        bool is_wildcard = rng(3) == 0;
        unsigned place = is_wildcard ? rng(PLACES) : 1 + rng(PLACES - 1);
        struct name n = name_of_place(place);
        /* The wave lets the table grow, churn and shrink. */
        uint32_t puts = i / 120000 % 3 == 0 ? 6 : i / 120000 % 3 == 1 ? 4 : 1;
        uint32_t what = rng(10);
        if (rng(60000) == 0)
            random_bulk(&f, &s);
        if (what < puts)
            random_put(&f, &s, l, is_wildcard, place);
        else if (what < 8)
            random_remove(&f, &s, l, is_wildcard, place);
        else
            compare_match(&f, &s, l, &n);
        if (i % COMPARE_EACH == 0)
            compare_all(&f, &s);
    }
    compare_all(&f, &s);
    fixture_fini(&f);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_million_random_operations_match_the_naive_table),
    };
    return cmocka_run_group_tests_name("route_writer_random", tests, NULL, NULL);
}
