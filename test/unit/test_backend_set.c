/* Backends: each once, counted, gone when nobody can reach it, and known to the resolver while it has a name. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "err.h"
#include "tables_fixture.h"

static void text_of(const struct tables_fixture *f, uint32_t id, const char *expected)
{
    struct bytes text = shm_backend_text(backend_set_get(f->backends, id));

    if (!bytes_equal_str(text, expected))
        fail_msg("backend %u is '%.*s', expected '%s'", id, (int)text.len, (const char *)text.ptr, expected);
}

static void each_backend_is_there_once(void **state)
{
    struct tables_fixture f;
    struct backend_addr ip = backend_number(5);
    struct backend_addr name = backend_name("app.internal");
    struct backend_addr path = {.kind = BACKEND_UNIX, .path = "/run/app.sock"};
    uint32_t ids[4];
    uint32_t again = 0;
    (void)state;

    fixture_init(&f, 64 << 20, 0);
    assert_int_equal(backend_set_acquire(f.backends, &ip, &ids[0]), 0);
    assert_int_equal(backend_set_acquire(f.backends, &name, &ids[1]), 0);
    assert_int_equal(backend_set_acquire(f.backends, &path, &ids[2]), 0);
    ip.port = 8444;
    assert_int_equal(backend_set_acquire(f.backends, &ip, &ids[3]), 0);
    ip.port = 8443;
    assert_int_equal(backend_set_acquire(f.backends, &ip, &again), 0);
    assert_int_equal(again, ids[0]);
    assert_int_equal(backend_set_count(f.backends), 4);
    text_of(&f, ids[0], "10.0.0.5:8443");
    text_of(&f, ids[1], "app.internal:443");
    text_of(&f, ids[2], "unix:/run/app.sock");
    text_of(&f, ids[3], "10.0.0.5:8444");
    assert_int_equal(backend_set_get(f.backends, ids[0])->addr_count, 1);
    assert_int_equal(backend_set_get(f.backends, ids[0])->addrs[0].port, 8443);
    assert_int_equal(backend_set_get(f.backends, ids[1])->addr_count, 0);
    assert_int_equal(backend_set_get(f.backends, ids[2])->kind, BACKEND_UNIX);

    backend_set_release(f.backends, ids[0]);
    assert_int_equal(backend_set_count(f.backends), 4);
    backend_set_release(f.backends, ids[0]);
    assert_int_equal(backend_set_count(f.backends), 3);
    fixture_fini(&f);
}

static void thousands_come_and_go_and_ids_are_used_again(void **state)
{
    enum { COUNT = 20000 };
    struct tables_fixture f;
    uint32_t *ids = calloc(COUNT, sizeof *ids);
    uint32_t highest = 0;
    (void)state;

    assert_non_null(ids);
    fixture_init(&f, 64 << 20, 0);
    uint64_t empty = fixture_used_bytes(&f);
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            struct backend_addr b = backend_number(round * COUNT + i);
            assert_int_equal(backend_set_acquire(f.backends, &b, &ids[i]), 0);
            highest = ids[i] > highest ? ids[i] : highest;
        }
        /* Every third goes, so that the index has to close holes; the others must still be found. */
        for (uint32_t i = 0; i < COUNT; i += 3)
            backend_set_release(f.backends, ids[i]);
        for (uint32_t i = 0; i < COUNT; i++) {
            struct backend_addr b = backend_number(round * COUNT + i);
            uint32_t id = 0;
            if (i % 3 == 0)
                continue;
            assert_int_equal(number_of_backend(backend_set_get(f.backends, ids[i])), round * COUNT + i);
            assert_int_equal(backend_set_acquire(f.backends, &b, &id), 0);
            assert_int_equal(id, ids[i]);
            backend_set_release(f.backends, id);
            backend_set_release(f.backends, id);
        }
        assert_int_equal(backend_set_count(f.backends), 0);
        assert_true(fixture_used_bytes(&f) == empty);
    }
    assert_true(highest < COUNT);
    free(ids);
    fixture_fini(&f);
}

/* A reader that pinned before the backends grew finds a route added since: its id means the same to it. */
static void a_reader_with_an_older_root_reaches_newer_backends(void **state)
{
    struct tables_fixture f;
    struct route_match m;
    char name[32];
    (void)state;

    fixture_init(&f, 64 << 20, 1);
    struct table_view view = {
        .tables = f.tables->shm, .bytes = 64 << 20, .pinned_epoch = &f.stats->workers[0].pinned_epoch};
    fixture_put(&f, 0, "first.example.com", 0);
    const struct shm_root *root = table_pin(&view);
    for (uint32_t i = 1; i < 300; i++) { /* fewer than the first hash array takes */
        (void)snprintf(name, sizeof name, "n%u.example.com", i);
        fixture_put(&f, 0, name, i);
    }
    for (uint32_t i = 0; i < 2000; i++) {
        struct backend_addr b = backend_number(10000 + i);
        uint32_t id = 0;
        assert_int_equal(backend_set_acquire(f.backends, &b, &id), 0);
    }
    fixture_put(&f, 0, "last.example.com", 20000);
    assert_ptr_equal(root, tables_root(f.tables));
    assert_true(route_match_name(view.tables, root, 0, bytes_of_str("last.example.com"), &m));
    assert_true(m.route->backend > 2000);
    assert_int_equal(number_of_backend(m.backend), 20000);
    table_release(&view);
    fixture_fini(&f);
}

struct hook_log {
    unsigned added;
    unsigned removed;
    uint32_t last_id;
    char last_text[BACKEND_TEXT_MAX];
};

static void on_added(void *context, uint32_t id, struct bytes text)
{
    struct hook_log *log = context;

    log->added++;
    log->last_id = id;
    (void)snprintf(log->last_text, sizeof log->last_text, "%.*s", (int)text.len, (const char *)text.ptr);
}

static void on_removed(void *context, uint32_t id)
{
    struct hook_log *log = context;

    log->removed++;
    log->last_id = id;
}

static void put_name(struct tables_fixture *f, const char *pattern, const char *host)
{
    struct host_pattern p = pattern_of(pattern);
    struct backend_addr b = backend_name(host);

    assert_int_equal(route_put(f->routes, 0, &p, &b, false, NULL), 0);
}

static void the_resolver_hears_of_names_coming_and_going(void **state)
{
    struct tables_fixture f;
    struct hook_log log = {0};
    (void)state;

    fixture_init(&f, 64 << 20, 0);
    backend_set_set_hooks(
        f.backends, (struct backend_hooks){.on_name_added = on_added, .on_name_removed = on_removed, .context = &log});
    fixture_put(&f, 0, "a.example.com", 1); /* an address needs no resolver */
    assert_int_equal(log.added, 0);
    put_name(&f, "b.example.com", "app.internal");
    put_name(&f, "c.example.com", "app.internal");
    assert_int_equal(log.added, 1);
    assert_string_equal(log.last_text, "app.internal:443");
    assert_int_equal(backend_set_count(f.backends), 2);

    assert_int_equal(fixture_remove(&f, 0, "b.example.com"), 0);
    fixture_reclaim(&f);
    assert_int_equal(log.removed, 0);
    assert_int_equal(fixture_remove(&f, 0, "c.example.com"), 0);
    fixture_reclaim(&f);
    assert_int_equal(log.removed, 1);

    /* Named again before the last reader has gone: it stays, with its addresses. */
    struct table_view view = f.tables->view;
    put_name(&f, "b.example.com", "app.internal");
    (void)table_pin(&view);
    assert_int_equal(fixture_remove(&f, 0, "b.example.com"), 0);
    put_name(&f, "d.example.com", "app.internal");
    table_release(&view);
    fixture_reclaim(&f);
    assert_int_equal(log.added, 2);
    assert_int_equal(log.removed, 1);
    fixture_fini(&f);
}

static struct ip_endpoint endpoint(uint8_t last)
{
    return (struct ip_endpoint){.addr = {.family = 4, .bytes = {192, 0, 2, last}}, .port = 443};
}

static void update_replaces_the_addresses_and_nothing_else(void **state)
{
    struct tables_fixture f;
    struct ip_endpoint addrs[SHM_BACKEND_ADDRS_MAX + 2];
    struct backend_addr b = backend_name("app.internal");
    uint32_t id = 0;
    (void)state;

    fixture_init(&f, 64 << 20, 1);
    for (unsigned i = 0; i < SHM_BACKEND_ADDRS_MAX + 2; i++)
        addrs[i] = endpoint((uint8_t)(i + 1));
    assert_int_equal(backend_set_acquire(f.backends, &b, &id), 0);
    for (unsigned count = 0; count < SHM_BACKEND_ADDRS_MAX + 2; count++) {
        unsigned kept = count < SHM_BACKEND_ADDRS_MAX ? count : SHM_BACKEND_ADDRS_MAX;
        assert_int_equal(backend_set_update(f.backends, id, addrs, count), 0);
        const struct shm_backend *now = backend_set_get(f.backends, id);
        assert_int_equal(now->addr_count, kept);
        for (unsigned i = 0; i < kept; i++) {
            assert_true(ip_addr_equal(&now->addrs[i].addr, &addrs[i].addr));
            assert_int_equal(now->addrs[i].port, 443);
        }
        text_of(&f, id, "app.internal:443");
    }

    /* The same answer again makes no new record. */
    const struct shm_backend *now = backend_set_get(f.backends, id);
    assert_int_equal(backend_set_update(f.backends, id, addrs, SHM_BACKEND_ADDRS_MAX), 0);
    assert_ptr_equal(backend_set_get(f.backends, id), now);

    /* A reader keeps the record it has. */
    struct table_view view = {
        .tables = f.tables->shm, .bytes = 64 << 20, .pinned_epoch = &f.stats->workers[0].pinned_epoch};
    (void)table_pin(&view);
    for (uint8_t i = 0; i < 100; i++) {
        struct ip_endpoint other = endpoint(i);
        assert_int_equal(backend_set_update(f.backends, id, &other, 1), 0);
    }
    assert_int_equal(now->addr_count, SHM_BACKEND_ADDRS_MAX);
    assert_int_equal(now->addrs[3].addr.bytes[3], 4);
    table_release(&view);
    assert_true(tables_reclaim(f.tables) >= 100);
    fixture_fini(&f);
}

/* The resolver walks its own list while it updates: no other backend may go meanwhile, though one is ready to. */
static void update_calls_no_hook(void **state)
{
    struct tables_fixture f;
    struct hook_log log = {0};
    struct ip_endpoint addr = endpoint(1);
    struct backend_addr kept = backend_name("kept.internal");
    uint32_t id = 0;
    (void)state;

    fixture_init(&f, 64 << 20, 0);
    backend_set_set_hooks(f.backends, (struct backend_hooks){.on_name_removed = on_removed, .context = &log});
    assert_int_equal(backend_set_acquire(f.backends, &kept, &id), 0);
    put_name(&f, "b.example.com", "gone.internal");
    assert_int_equal(fixture_remove(&f, 0, "b.example.com"), 0);
    assert_int_equal(backend_set_update(f.backends, id, &addr, 1), 0);
    assert_int_equal(log.removed, 0);
    fixture_reclaim(&f);
    assert_int_equal(log.removed, 1);
    fixture_fini(&f);
}

static void without_memory_a_backend_is_as_before(void **state)
{
    struct tables_fixture f;
    struct backend_addr name = backend_name("app.internal");
    struct ip_endpoint addr = endpoint(1);
    uint32_t id = 0;
    uint32_t other = 0;
    unsigned count = 1;
    (void)state;

    fixture_init(&f, 64 << 20, 0);
    assert_int_equal(backend_set_acquire(f.backends, &name, &id), 0);
    f.tables->arena.pages.segment.commit_limit = f.tables->arena.pages.segment.committed_bytes;
    struct backend_addr b = backend_number(0);
    for (; backend_set_acquire(f.backends, &b, &other) == 0; count++)
        b = backend_number(count);
    assert_int_equal(backend_set_count(f.backends), count);
    for (shm_off off; tables_alloc(f.tables, 192, &off) == 0;)
        continue; /* nor room for a larger record */
    struct ip_endpoint many[SHM_BACKEND_ADDRS_MAX] = {addr, addr, addr, addr, addr, addr, addr, addr};
    assert_int_equal(backend_set_update(f.backends, id, many, SHM_BACKEND_ADDRS_MAX), ERR_NO_MEMORY);
    assert_int_equal(backend_set_get(f.backends, id)->addr_count, 0);
    f.tables->arena.pages.segment.commit_limit = UINT64_MAX;
    assert_int_equal(backend_set_update(f.backends, id, many, SHM_BACKEND_ADDRS_MAX), 0);
    assert_int_equal(f.tables->retired.reserved, 0);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_backend_is_there_once),
        cmocka_unit_test(thousands_come_and_go_and_ids_are_used_again),
        cmocka_unit_test(a_reader_with_an_older_root_reaches_newer_backends),
        cmocka_unit_test(the_resolver_hears_of_names_coming_and_going),
        cmocka_unit_test(update_replaces_the_addresses_and_nothing_else),
        cmocka_unit_test(update_calls_no_hook),
        cmocka_unit_test(without_memory_a_backend_is_as_before),
    };
    return cmocka_run_group_tests_name("backend_set", tests, NULL, NULL);
}
