/* The shared tables: readers that pin, look up and release, while the writer changes, grows, replaces and reclaims. Every memory
 * access of both sides is checked for an order that the protocol of shm_layout.h gives it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "clock.h"
#include "crew.h"
#include "firewall_fixture.h"
#include "tables_fixture.h"

#define READERS 3
#define RUN_MS  4000
#define SEGMENT (256ull << 20)

struct world {
    struct tables_fixture t;
    struct firewall_writer *firewall;
    _Atomic uint64_t rounds[READERS];
};

static bool backend_is_whole(const struct shm_backend *b)
{
    char text[BACKEND_TEXT_MAX];
    struct bytes have = shm_backend_text(b);

    if (b->kind == BACKEND_NAME) /* all its addresses are of one answer */
        return bytes_equal_str(have, "app.internal:443") &&
               (b->addr_count == 0 || b->addrs[0].addr.bytes[3] == b->addrs[b->addr_count - 1].addr.bytes[3]);
    const uint8_t *a = b->addrs[0].addr.bytes;
    (void)snprintf(text, sizeof text, "10.%u.%u.%u:8443", a[1], a[2], a[3]);
    return b->addr_count == 1 && bytes_equal_str(have, text);
}

static void look(struct crew *crew, const struct table_view *view, unsigned turn)
{
    static const char *const names[] = {"always.example.com", "n7.example.com", "x.wild.org", "named.example.com", ""};
    static const struct ip_addr blocked = {.family = 4, .bytes = {192, 0, 2, 7}};
    static const struct ip_addr at_times = {.family = 4, .bytes = {198, 51, 100, 9}};
    const struct shm_root *root = table_pin(view);
    struct route_match m;

    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        bool found = route_match_name(view->tables, root, 0, bytes_of_str(names[(i + turn) % 5]), &m);
        CREW_EXPECT(crew, !found || backend_is_whole(m.backend));
        CREW_EXPECT(crew, found || (i + turn) % 5 != 0);
    }
    CREW_EXPECT(crew, firewall_match_addr(view->tables, root, &blocked) == FIREWALL_BLOCKED_IP);
    enum firewall_verdict verdict = firewall_match_addr(view->tables, root, &at_times);
    CREW_EXPECT(crew, verdict == FIREWALL_PASS || verdict == FIREWALL_BLOCKED_CIDR);
    uint32_t max = atomic_load_explicit(&view->tables->listeners[0].max_connections, memory_order_relaxed);
    CREW_EXPECT(crew, max <= 1000);
    table_release(view);
}

static void read_tables(struct crew *crew, unsigned number, void *context)
{
    struct world *world = context;
    struct table_view view = {.tables = world->t.tables->shm,
                              .bytes = tables_bytes(world->t.tables),
                              .pinned_epoch = &world->t.stats->workers[number].pinned_epoch};

    for (unsigned turn = 0; !atomic_load(&crew->is_over); turn++) {
        look(crew, &view, turn);
        atomic_fetch_add(&world->rounds[number], 1);
    }
}

/* ---- the writer's turns ---- */

static void put_number(struct world *world, const char *stem, unsigned n)
{
    char name[64];

    (void)snprintf(name, sizeof name, "%s%u.example.com", stem, n);
    fixture_put(&world->t, 0, name, n);
}

static void change_routes(struct world *world, unsigned turn)
{
    fixture_put(&world->t, 0, "always.example.com", turn % 4096);
    put_number(world, "n", turn % 16);
    fixture_put(&world->t, 0, "*.wild.org", turn % 999);
    if (turn % 3 == 0)
        (void)fixture_remove(&world->t, 0, "*.wild.org");
    if (turn % 5 == 0)
        (void)fixture_remove(&world->t, 0, "n7.example.com");
}

static void change_names(struct world *world, unsigned turn)
{
    struct ip_endpoint addrs[3];
    struct backend_addr b = backend_name("app.internal");
    uint32_t id = 0;

    for (unsigned i = 0; i < 3; i++)
        addrs[i] = (struct ip_endpoint){.addr = {.family = 4, .bytes = {192, 0, 2, (uint8_t)turn}}, .port = 443};
    assert_int_equal(backend_set_acquire(world->t.backends, &b, &id), 0);
    assert_int_equal(backend_set_update(world->t.backends, id, addrs, turn % 4), 0);
    backend_set_release(world->t.backends, id);
}

static void change_firewall(struct world *world, unsigned turn)
{
    struct firewall_rule net = rule_of("198.51.100.0/24"), one = rule_of("192.0.2.7");
    struct firewall_bulk *bulk = NULL;

    assert_int_equal(firewall_add(world->firewall, &net), 0);
    assert_int_equal(firewall_remove(world->firewall, &net), 0);
    if (turn % 7 != 0)
        return;
    assert_int_equal(firewall_bulk_begin(world->firewall, 8, 8, &bulk), 0);
    assert_int_equal(firewall_bulk_add(bulk, &one), 0);
    firewall_bulk_publish(&bulk);
}

/** Everything anew, and many more than the array had room for. */
static void replace_routes(struct world *world, unsigned turn)
{
    static const char *const patterns[] = {"always.example.com", "n7.example.com", "named.example.com", "*"};
    struct route_bulk *bulk = NULL;

    assert_int_equal(route_bulk_begin(world->t.routes, 8, &bulk), 0);
    for (unsigned i = 0; i < 4; i++) {
        struct host_pattern p = pattern_of(patterns[i]);
        struct backend_addr b = i == 2 ? backend_name("app.internal") : backend_number(turn % 512 + i);
        assert_int_equal(route_bulk_add(bulk, 0, &p, &b, false), 0);
    }
    route_bulk_publish(&bulk);
    for (unsigned i = 0; i < 200; i++)
        put_number(world, "grown", i);
}

static void test_readers_beside_every_change(void **state)
{
    static struct world world;
    struct firewall_rule one = rule_of("192.0.2.7");
    struct crew crew;
    unsigned turn = 0;

    (void)state;
    fixture_init(&world.t, SEGMENT, READERS);
    assert_int_equal(firewall_writer_new(world.t.tables, &world.firewall), 0);
    assert_int_equal(firewall_add(world.firewall, &one), 0);
    replace_routes(&world, 0);
    crew_start(&crew, READERS, read_tables, &world);
    for (uint64_t end = clock_monotonic_ms() + RUN_MS; clock_monotonic_ms() < end; turn++) {
        change_routes(&world, turn);
        change_names(&world, turn);
        change_firewall(&world, turn);
        tables_set_max_connections(world.t.tables, 0, turn % 1000);
        if (turn % 50 == 0)
            replace_routes(&world, turn);
        (void)tables_reclaim(world.t.tables);
    }
    crew_join(&crew);
    for (unsigned i = 0; i < READERS; i++)
        assert_true(atomic_load(&world.rounds[i]) > 100);
    assert_true(turn > 50);
    firewall_writer_free(&world.firewall);
    fixture_fini(&world.t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_readers_beside_every_change)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
