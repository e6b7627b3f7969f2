/* The writing side of the routes: changes in two halves, memory that runs out, readers that are pinned, bulk loads. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "err.h"
#include "tables_fixture.h"

/* ---- two halves ---- */

static int prepare_put(struct tables_fixture *f, const char *pattern, uint32_t backend, struct route_change *out)
{
    struct host_pattern p = pattern_of(pattern);
    struct backend_addr b = backend_number(backend);
    return route_change_prepare_put(f->routes, 0, &p, &b, false, out);
}

static int prepare_remove(struct tables_fixture *f, const char *pattern, struct route_change *out)
{
    struct host_pattern p = pattern_of(pattern);
    return route_change_prepare_remove(f->routes, 0, &p, out);
}

static void nothing_shows_before_publish_and_nothing_stays_after_abort(void **state)
{
    struct tables_fixture f;
    struct route_change put, replace, removal;
    (void)state;

    fixture_init(&f, 64 << 20, 0);
    fixture_put(&f, 0, "a.example.com", 1);
    uint64_t used = fixture_used_bytes(&f);
    assert_int_equal(prepare_put(&f, "b.example.com", 2, &put), 0);
    assert_int_equal(prepare_put(&f, "a.example.com", 3, &replace), 0);
    assert_int_equal(prepare_remove(&f, "a.example.com", &removal), 0);
    assert_int_equal(fixture_match(&f, 0, "a.example.com"), 1);
    assert_int_equal(fixture_match(&f, 0, "b.example.com"), -1);
    route_change_abort(&put);
    route_change_abort(&replace);
    route_change_abort(&removal);
    route_change_abort(&removal); /* once more does nothing */
    assert_int_equal(fixture_match(&f, 0, "a.example.com"), 1);
    assert_int_equal(fixture_match(&f, 0, "b.example.com"), -1);
    assert_int_equal(backend_set_count(f.backends), 1);
    assert_int_equal(fixture_used_bytes(&f), used);
    assert_int_equal(f.tables->retired.reserved, 0);
    fixture_fini(&f);
}

static void several_changes_may_be_under_way(void **state)
{
    struct tables_fixture f;
    struct route_change changes[2000];
    struct route_change first_removal, second_removal;
    char name[32];
    (void)state;

    fixture_init(&f, 64 << 20, 0);
    for (unsigned i = 0; i < 2000; i++) { /* more than the first array has room for */
        (void)snprintf(name, sizeof name, "n%u.example.com", i);
        assert_int_equal(prepare_put(&f, name, i, &changes[i]), 0);
    }
    assert_int_equal(fixture_match(&f, 0, "n7.example.com"), -1);
    for (unsigned i = 2000; i-- > 0;)
        assert_true(route_change_publish(&changes[i]));
    for (unsigned i = 0; i < 2000; i++) {
        (void)snprintf(name, sizeof name, "n%u.example.com", i);
        assert_int_equal(fixture_match(&f, 0, name), i);
    }
    assert_int_equal(prepare_put(&f, "twice.example.com", 1, &changes[0]), 0);
    assert_int_equal(prepare_put(&f, "twice.example.com", 2, &changes[1]), 0);
    assert_true(route_change_publish(&changes[0]));
    assert_false(route_change_publish(&changes[1]));
    assert_int_equal(fixture_match(&f, 0, "twice.example.com"), 2);
    assert_int_equal(prepare_remove(&f, "twice.example.com", &first_removal), 0);
    assert_int_equal(prepare_remove(&f, "twice.example.com", &second_removal), 0);
    assert_true(route_change_publish(&first_removal));
    assert_false(route_change_publish(&second_removal));
    assert_int_equal(prepare_remove(&f, "twice.example.com", &first_removal), ERR_NOT_FOUND);
    assert_int_equal(f.tables->retired.reserved, 0);
    fixture_fini(&f);
}

/* With memory for k more pages a change either works or leaves everything as it was; sooner or later it works. */
static void without_memory_nothing_changes(void **state)
{
    struct tables_fixture f;
    char name[256];
    unsigned failures = 0;
    (void)state;

    fixture_init(&f, 256 << 20, 0);
    struct shm_segment *segment = &f.tables->arena.pages.segment;
    for (unsigned i = 0; i < 20000; i++) {
        struct route_change change;
        (void)snprintf(name, sizeof name, "%s%u.%0*d.example.com", i % 3 == 0 ? "*." : "", i, 1 + (int)(i % 60), 0);
        segment->commit_limit = segment->committed_bytes;
        uint64_t used = fixture_used_bytes(&f);
        uint64_t generation = tables_root(f.tables)->generation;
        while (prepare_put(&f, name, i, &change) != 0) {
            failures++;
            /* A larger array may have been possible before the record was not; it changes nothing that shows. */
            if (tables_root(f.tables)->generation == generation)
                assert_int_equal(fixture_used_bytes(&f), used);
            assert_int_equal(route_writer_total(f.routes), i);
            assert_int_equal(backend_set_count(f.backends), i);
            assert_int_equal(f.tables->retired.reserved, 0);
            segment->commit_limit += SHM_PAGE;
        }
        assert_true(route_change_publish(&change)); /* no memory left, and none needed */
    }
    assert_true(failures > 300);
    fixture_fini(&f);
}

static void a_table_that_lost_its_routes_takes_little_memory(void **state)
{
    enum { ROUTES = 50000 };
    struct tables_fixture f;
    char name[32];
    (void)state;

    fixture_init(&f, 256 << 20, 0);
    uint64_t empty = fixture_used_bytes(&f);
    for (unsigned i = 0; i < ROUTES; i++) {
        (void)snprintf(name, sizeof name, "n%u.example.com", i);
        assert_true(fixture_put(&f, 0, name, i));
    }
    uint64_t generation = tables_root(f.tables)->generation;
    assert_true(generation > 5 && generation < 30); /* an array grows a few times, not with every route */
    assert_true(fixture_used_bytes(&f) > ROUTES * 64ull);
    for (unsigned i = 0; i < ROUTES; i++) {
        (void)snprintf(name, sizeof name, "n%u.example.com", i);
        assert_int_equal(fixture_remove(&f, 0, name), 0);
    }
    fixture_reclaim(&f);
    assert_int_equal(backend_set_count(f.backends), 0);
    assert_true(fixture_used_bytes(&f) < empty + 64 * 1024ull);
    fixture_fini(&f);
}

static int compare_tags(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Among so many names some have the same tag of 32 bits; each must be found, replaced and removed as itself. */
static void names_with_equal_tags_are_told_apart(void **state)
{
    enum { ROUTES = 300000 };
    struct tables_fixture f;
    uint32_t *tags = calloc(ROUTES, sizeof *tags);
    unsigned equal = 0;
    char name[32];
    (void)state;

    assert_non_null(tags);
    fixture_init(&f, 256 << 20, 0);
    for (unsigned i = 0; i < ROUTES; i++) {
        (void)snprintf(name, sizeof name, "n%u.example.com", i);
        tags[i] = route_key_tag(f.tables->shm, 0, false, bytes_of_str(name));
        assert_true(fixture_put(&f, 0, name, i % 1000));
    }
    qsort(tags, ROUTES, sizeof *tags, compare_tags);
    for (unsigned i = 1; i < ROUTES; i++)
        equal += tags[i] == tags[i - 1];
    assert_true(equal > 0); /* about ten; none at all once in twenty thousand runs */
    for (unsigned i = 0; i < ROUTES; i += 2) {
        (void)snprintf(name, sizeof name, "n%u.example.com", i);
        assert_int_equal(fixture_remove(&f, 0, name), 0);
    }
    for (unsigned i = 0; i < ROUTES; i++) {
        (void)snprintf(name, sizeof name, "n%u.example.com", i);
        assert_int_equal(fixture_match(&f, 0, name), i % 2 == 0 ? -1 : (int)(i % 1000));
    }
    free(tags);
    fixture_fini(&f);
}

static void a_pinned_reader_keeps_what_it_may_hold(void **state)
{
    struct tables_fixture f;
    struct route_match m;
    (void)state;

    fixture_init(&f, 64 << 20, 1);
    struct table_view view = {
        .tables = f.tables->shm, .bytes = 64 << 20, .pinned_epoch = &f.stats->workers[0].pinned_epoch};
    fixture_put(&f, 0, "a.example.com", 1);
    const struct shm_root *root = table_pin(&view);
    assert_true(route_match_name(f.tables->shm, root, 0, bytes_of_str("a.example.com"), &m));
    assert_int_equal(fixture_remove(&f, 0, "a.example.com"), 0);
    for (unsigned i = 0; i < 1000; i++) { /* would take the freed places */
        fixture_put(&f, 0, "b.example.com", 2 + i);
        fixture_put(&f, 0, "c.example.com", 2 + i);
    }
    assert_int_equal(number_of_backend(m.backend), 1);
    assert_int_equal(m.route->name_len, strlen("a.example.com"));
    assert_memory_equal(m.route->name, "a.example.com", m.route->name_len);
    assert_int_equal(tables_reclaim(f.tables), 0);
    table_release(&view);
    assert_true(tables_reclaim(f.tables) > 1000);
    assert_int_equal(backend_set_count(f.backends), 1);

    /* A worker that died pinned holds nothing once its slot was cleared. */
    (void)table_pin(&view);
    assert_int_equal(fixture_remove(&f, 0, "b.example.com"), 0);
    assert_int_equal(tables_reclaim(f.tables), 0);
    tables_clear_pin(f.tables, 0);
    assert_int_equal(tables_reclaim(f.tables), 1);
    fixture_fini(&f);
}

/* A reader that pinned before the array grew sees the routes of that moment, wildcards too: the depths belong to its root. */
static void growing_leaves_a_pinned_reader_its_wildcards(void **state)
{
    struct tables_fixture f;
    (void)state;

    fixture_init(&f, 64 << 20, 1);
    struct table_view view = {
        .tables = f.tables->shm, .bytes = 64 << 20, .pinned_epoch = &f.stats->workers[0].pinned_epoch};
    fixture_put(&f, 0, "*.example.com", 1);
    fixture_put(&f, 0, "*", 2);
    const struct shm_root *root = table_pin(&view);
    uint32_t before = root->routes.bucket_count;
    for (unsigned i = 0; tables_root(f.tables)->routes.bucket_count == before; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "host%u.test", i);
        fixture_put(&f, 0, name, 3);
    }
    assert_int_equal(fixture_remove(&f, 0, "*.example.com"), 0);
    struct route_match m;
    assert_true(route_match_name(f.tables->shm, root, 0, bytes_of_str("www.example.com"), &m));
    assert_int_equal(number_of_backend(m.backend), 1);
    table_release(&view);
    assert_int_equal(view_match(&view, 0, bytes_of_str("www.example.com")), 2);
    fixture_fini(&f);
}

/* ---- bulk ---- */

static void bulk_replaces_all_routes_of_all_listeners_or_nothing(void **state)
{
    struct tables_fixture f;
    struct route_bulk *bulk = NULL;
    struct host_pattern p = pattern_of("*.new.example.com");
    struct backend_addr b = backend_number(7);
    (void)state;

    fixture_init(&f, 64 << 20, 0);
    uint64_t empty = fixture_used_bytes(&f);
    fixture_put(&f, 0, "old.example.com", 1);
    fixture_put(&f, 1, "*.example.com", 2);
    uint64_t used = fixture_used_bytes(&f);

    assert_int_equal(route_bulk_begin(f.routes, 10, &bulk), 0);
    assert_int_equal(route_bulk_add(bulk, 1, &p, &b, false), 0);
    route_bulk_abort(&bulk);
    assert_int_equal(fixture_used_bytes(&f), used);
    assert_int_equal(fixture_match(&f, 1, "x.example.com"), 2);

    assert_int_equal(route_bulk_begin(f.routes, 10, &bulk), 0);
    assert_int_equal(route_bulk_add(bulk, 1, &p, &b, false), 0);
    assert_int_equal(route_bulk_add(bulk, 1, &p, &b, true), 0); /* the same again replaces */
    assert_int_equal(fixture_match(&f, 0, "old.example.com"), 1);
    assert_int_equal(fixture_match(&f, 1, "x.new.example.com"), 2);
    uint64_t generation = tables_root(f.tables)->generation;
    route_bulk_publish(&bulk);
    assert_true(tables_root(f.tables)->generation > generation);
    assert_int_equal(fixture_match(&f, 0, "old.example.com"), -1);
    assert_int_equal(fixture_match(&f, 1, "x.example.com"), -1);
    assert_int_equal(fixture_match(&f, 1, "x.new.example.com"), 7);
    assert_int_equal(route_writer_total(f.routes), 1);

    /* An empty load empties the table, and the memory comes back. */
    assert_int_equal(route_bulk_begin(f.routes, 0, &bulk), 0);
    route_bulk_publish(&bulk);
    assert_int_equal(fixture_match(&f, 1, "x.new.example.com"), -1);
    fixture_reclaim(&f);
    assert_int_equal(backend_set_count(f.backends), 0);
    assert_int_equal(fixture_used_bytes(&f), empty + 4096); /* an array of the smallest size */
    assert_int_equal(f.tables->retired.reserved, 0);
    fixture_fini(&f);
}

/* A bulk load that runs out of memory anywhere leaves the old routes and no trace. */
static void a_bulk_load_without_memory_leaves_no_trace(void **state)
{
    struct tables_fixture f;
    unsigned failures = 0;
    bool loaded = false;
    (void)state;

    fixture_init(&f, 64 << 20, 0);
    fixture_put(&f, 0, "old.example.com", 1);
    uint64_t used = fixture_used_bytes(&f);
    struct shm_segment *segment = &f.tables->arena.pages.segment;
    for (uint64_t room = 0; !loaded; room += 2ull * SHM_PAGE) {
        struct route_bulk *bulk = NULL;
        segment->commit_limit = segment->committed_bytes + room;
        int rc = route_bulk_begin(f.routes, 0, &bulk);
        for (unsigned i = 0; rc == 0 && i < 3000; i++) {
            char name[32];
            (void)snprintf(name, sizeof name, "%sn%u.example.com", i % 2 == 0 ? "*." : "", i);
            struct host_pattern p = pattern_of(name);
            struct backend_addr b = backend_number(i);
            rc = route_bulk_add(bulk, (uint16_t)(i % 3), &p, &b, false);
        }
        assert_int_equal(fixture_match(&f, 0, "old.example.com"), 1);
        if (rc == 0) {
            route_bulk_publish(&bulk);
            loaded = true;
        } else {
            assert_int_equal(rc, ERR_NO_MEMORY);
            route_bulk_abort(&bulk);
            assert_int_equal(fixture_used_bytes(&f), used);
            assert_int_equal(backend_set_count(f.backends), 1);
            assert_int_equal(f.tables->retired.reserved, 0);
            failures++;
        }
    }
    assert_true(failures > 5);
    assert_int_equal(fixture_match(&f, 0, "old.example.com"), -1);
    assert_int_equal(fixture_match(&f, 0, "x.n6.example.com"), 6);
    fixture_fini(&f);
}

static void dumps_say_what_is_there(void **state)
{
    struct tables_fixture f;
    char text[512];
    struct strbuf out = STRBUF_OF(text);
    (void)state;

    fixture_init(&f, 64 << 20, 0);
    fixture_put(&f, 0, "a.example.com", 1);
    tables_dump(f.tables, &out);
    assert_non_null(strstr(text, "generation=2 "));
    assert_non_null(strstr(text, "segment_bytes=67108864 "));
    strbuf_reset(&out);
    route_writer_dump(f.routes, &out);
    assert_string_equal(text, "routes=1 tombstones=0 slots=512 prepared=0");
    strbuf_reset(&out);
    backend_set_dump(f.backends, &out);
    assert_string_equal(text, "backends=1 ids=1 index_slots=128");
    assert_false(out.overflowed);
    tables_set_max_connections(f.tables, 3, 17);
    assert_int_equal(atomic_load(&f.tables->shm->listeners[3].max_connections), 17);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_shows_before_publish_and_nothing_stays_after_abort),
        cmocka_unit_test(several_changes_may_be_under_way),
        cmocka_unit_test(without_memory_nothing_changes),
        cmocka_unit_test(a_table_that_lost_its_routes_takes_little_memory),
        cmocka_unit_test(names_with_equal_tags_are_told_apart),
        cmocka_unit_test(a_pinned_reader_keeps_what_it_may_hold),
        cmocka_unit_test(growing_leaves_a_pinned_reader_its_wildcards),
        cmocka_unit_test(bulk_replaces_all_routes_of_all_listeners_or_nothing),
        cmocka_unit_test(a_bulk_load_without_memory_leaves_no_trace),
        cmocka_unit_test(dumps_say_what_is_there),
    };
    return cmocka_run_group_tests_name("route_writer", tests, NULL, NULL);
}
