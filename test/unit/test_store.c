/* The store's tables: seeding, changes, order, transactions, snapshots. Opening and damage are in test_store_open.c, disks that fail in
 * test_store_faults.c. */

#include "store_fixture.h"

#include "config.h"

#define TEXT(text) ((char[]){text}) /* the configuration owns its texts, so they are not const */

static struct config_route https_routes[] = {
    {.hostname = TEXT("www.example.com"), .backend = TEXT("10.0.0.5:8443")},
    {.hostname = TEXT("*.example.com"), .backend = TEXT("[2001:db8::5]:443"), .send_proxy_protocol = true},
};
static struct config_route admin_routes[] = {{.hostname = TEXT("*"), .backend = TEXT("unix:/run/app.sock")}};
static char *ips[] = {TEXT("192.0.2.7"), TEXT("2001:db8::7"), TEXT("192.0.2.7")};
static char *cidrs[] = {TEXT("198.51.100.0/24")};
static char *countries[] = {TEXT("KP"), TEXT("IR")};

static struct config_listener listeners[] = {
    {.addr_text = "[0:0::1]:443", .routes = https_routes, .route_count = 2},
    {.addr_text = ":8443", .routes = admin_routes, .route_count = 1},
};

static struct config make_config(unsigned listener_count)
{
    char words[64];
    struct strbuf why = STRBUF_OF(words);

    for (unsigned i = 0; i < listener_count; i++)
        assert_int_equal(listen_addr_parse(bytes_of_str(listeners[i].addr_text), &listeners[i].addr, &why), 0);
    return (struct config){.listeners = listeners,
                           .listener_count = listener_count,
                           .blocked_ips = {ips, 3},
                           .blocked_cidrs = {cidrs, 1},
                           .blocked_countries = {countries, 2}};
}

static struct store_seeded must_seed(struct fixture *f, struct store *store, const struct config *config)
{
    struct store_seeded seeded;

    expect_rc(f, store_seed(store, config, &seeded, &f->why), 0);
    return seeded;
}

static int add_rule_line(const struct store_rule *rule, void *ctx)
{
    strbuf_addf(ctx, "%s %s\n", store_rule_type_text(rule->type), rule->value);
    return 0;
}

static void expect_rules(struct fixture *f, struct store *store, const char *expected)
{
    char text[512];
    struct strbuf lines = STRBUF_OF(text);

    expect_rc(f, store_each_rule(store, add_rule_line, &lines, &f->why), 0);
    assert_string_equal(text, expected);
}

static int add_listener_line(const struct store_listener *listener, void *ctx)
{
    strbuf_addf(ctx, "%s %lld %llu\n", listener->addr, (long long)listener->max_connections,
                (unsigned long long)listener->route_count);
    return 0;
}

static void expect_listeners(struct fixture *f, struct store *store, const char *expected)
{
    char text[512];
    struct strbuf lines = STRBUF_OF(text);

    expect_rc(f, store_each_listener(store, add_listener_line, &lines, &f->why), 0);
    assert_string_equal(text, expected);
}

#define SEEDED_ROUTES                             \
    "[::1]:443 www.example.com 10.0.0.5:8443 0\n" \
    "[::1]:443 *.example.com [2001:db8::5]:443 1\n"
#define SEEDED_RULES "ip 192.0.2.7\nip 2001:db8::7\ncidr 198.51.100.0/24\ncountry KP\ncountry IR\n"

static void test_first_run_seeds_rules_and_routes(void **state)
{
    struct fixture *f = *state;
    struct config config = make_config(2);
    struct store *store = must_open(f);
    struct store_seeded seeded = must_seed(f, store, &config);

    assert_true(seeded.has_seeded_rules);
    assert_int_equal(seeded.listeners_seeded, 2);
    assert_int_equal(seeded.routes_seeded, 3);
    assert_int_equal(seeded.rules_seeded, 5); /* 192.0.2.7 is there twice */
    expect_routes(f, store, SEEDED_ROUTES ":8443 * unix:/run/app.sock 0\n");
    expect_rules(f, store, SEEDED_RULES);
    expect_listeners(f, store, "[::1]:443 -1 2\n:8443 -1 1\n");
    store_close(&store);
}

static void test_later_runs_seed_only_new_listeners(void **state)
{
    struct fixture *f = *state;
    struct config config = make_config(1);
    struct store *store = must_open(f);
    struct store_rule rule = {STORE_RULE_IP, "192.0.2.7"};

    (void)must_seed(f, store, &config);
    expect_rc(f, store_remove_rule(store, &rule, &f->why), 0);
    expect_rc(f, store_remove_route(store, "[::1]:443", "www.example.com", &f->why), 0);
    store_close(&store);
    store = must_open(f);
    config = make_config(2);
    struct store_seeded seeded = must_seed(f, store, &config);
    assert_false(seeded.has_seeded_rules);
    assert_int_equal(seeded.listeners_seeded, 1);
    assert_int_equal(seeded.routes_seeded, 1);
    expect_routes(f, store, "[::1]:443 *.example.com [2001:db8::5]:443 1\n:8443 * unix:/run/app.sock 0\n");
    expect_rules(f, store, "ip 2001:db8::7\ncidr 198.51.100.0/24\ncountry KP\ncountry IR\n");
    store_close(&store);
}

/* Even when all of it has been removed by hand, and the address is spelt in another way. */
static void test_an_emptied_database_is_not_seeded_again(void **state)
{
    struct fixture *f = *state;
    struct config config = make_config(1);
    struct store *store = must_open(f);

    (void)must_seed(f, store, &config);
    store_close(&store);
    raw_sql(f->db, "DELETE FROM routes; DELETE FROM firewall_rules;");
    store = must_open(f);
    strcpy(listeners[0].addr_text, "[::1]:443");
    config = make_config(1);
    struct store_seeded seeded = must_seed(f, store, &config);
    assert_int_equal(seeded.listeners_seeded + seeded.routes_seeded + seeded.rules_seeded, 0);
    expect_listeners(f, store, "[::1]:443 -1 0\n");
    store_close(&store);
}

static void test_a_listener_no_longer_configured_keeps_its_routes(void **state)
{
    struct fixture *f = *state;
    struct config config = make_config(2);
    struct store *store = must_open(f);

    (void)must_seed(f, store, &config);
    config.listener_count = 1;
    (void)must_seed(f, store, &config);
    expect_listeners(f, store, "[::1]:443 -1 2\n:8443 -1 1\n");
    store_close(&store);
}

/* One bad route: nothing of the whole seeding stays, so that it is tried again as a whole. */
static void test_a_seeding_that_fails_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct config config = make_config(2);
    struct store *store = must_open(f);
    struct store_seeded seeded;

    char *good = admin_routes[0].backend;
    admin_routes[0].backend = TEXT("");
    expect_rc(f, store_seed(store, &config, &seeded, &f->why), ERR_INVALID);
    admin_routes[0].backend = good;
    expect_listeners(f, store, "");
    expect_rules(f, store, "");
    assert_true(must_seed(f, store, &config).has_seeded_rules);
    store_close(&store);
}

static struct store *open_seeded(struct fixture *f)
{
    struct config config = make_config(1);
    struct store *store = must_open(f);

    (void)must_seed(f, store, &config);
    return store;
}

static void test_replacing_a_route_keeps_its_place(void **state)
{
    struct fixture *f = *state;
    struct store *store = open_seeded(f);
    struct store_route route = {"[::1]:443", "www.example.com", "app.internal:443", true};
    enum store_put put_as = STORE_PUT_ADDED;

    expect_rc(f, store_put_route(store, &route, &put_as, &f->why), 0);
    assert_int_equal(put_as, STORE_PUT_REPLACED);
    expect_rc(f, store_put_route(store, &route, &put_as, &f->why), 0);
    assert_int_equal(put_as, STORE_PUT_UNCHANGED);
    route.hostname = "new.example.com";
    expect_rc(f, store_put_route(store, &route, &put_as, &f->why), 0);
    assert_int_equal(put_as, STORE_PUT_ADDED);
    store_close(&store);
    store = must_open(f);
    expect_routes(f, store,
                  "[::1]:443 www.example.com app.internal:443 1\n"
                  "[::1]:443 *.example.com [2001:db8::5]:443 1\n"
                  "[::1]:443 new.example.com app.internal:443 1\n");
    store_close(&store);
}

/* Also when it had been the last one: ids must not fall back behind those of others. */
static void test_a_route_removed_and_added_again_comes_last(void **state)
{
    struct fixture *f = *state;
    struct store *store = open_seeded(f);

    expect_rc(f, store_remove_route(store, "[::1]:443", "www.example.com", &f->why), 0);
    expect_rc(f, put(store, "[::1]:443", "www.example.com", "a:1", &f->why), 0);
    expect_routes(f, store, "[::1]:443 *.example.com [2001:db8::5]:443 1\n[::1]:443 www.example.com a:1 0\n");
    store_close(&store);
}

static void test_what_is_not_there_is_not_found(void **state)
{
    struct fixture *f = *state;
    struct store *store = open_seeded(f);
    struct store_rule rule = {STORE_RULE_COUNTRY, "FR"};

    expect_rc(f, put(store, ":1", "a.example", "a:1", &f->why), ERR_NOT_FOUND);
    expect_rc(f, store_remove_route(store, ":1", "a.example", &f->why), ERR_NOT_FOUND);
    expect_rc(f, store_remove_route(store, "[::1]:443", "a.example", &f->why), ERR_NOT_FOUND);
    expect_rc(f, store_remove_rule(store, &rule, &f->why), ERR_NOT_FOUND);
    expect_rc(f, store_set_max_connections(store, ":1", 5, &f->why), ERR_NOT_FOUND);
    expect_routes(f, store, SEEDED_ROUTES);
    store_close(&store);
}

static void test_rules_are_unique_by_type_and_value(void **state)
{
    struct fixture *f = *state;
    struct store *store = open_seeded(f);
    struct store_rule rule = {STORE_RULE_IP, "192.0.2.7"};

    expect_rc(f, store_add_rule(store, &rule, &f->why), ERR_EXISTS);
    rule.value = "192.0.2.8";
    expect_rc(f, store_add_rule(store, &rule, &f->why), 0);
    expect_rc(f, store_remove_rule(store, &rule, &f->why), 0);
    expect_rc(f, store_add_rule(store, &rule, &f->why), 0);
    expect_rules(f, store, SEEDED_RULES "ip 192.0.2.8\n");
    store_close(&store);
}

static void test_max_connections_is_stored_and_unset(void **state)
{
    static const struct {
        int64_t value;
        int rc;
        const char *lines;
    } cases[] = {
        {0, 0, "[::1]:443 0 2\n"},
        {UINT32_MAX, 0, "[::1]:443 4294967295 2\n"},
        {STORE_MAX_CONNECTIONS_UNSET, 0, "[::1]:443 -1 2\n"},
        {7, 0, "[::1]:443 7 2\n"},
        {(int64_t)UINT32_MAX + 1, ERR_INVALID, "[::1]:443 7 2\n"},
        {-2, ERR_INVALID, "[::1]:443 7 2\n"},
    };
    struct fixture *f = *state;
    struct store *store = open_seeded(f);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_rc(f, store_set_max_connections(store, "[::1]:443", cases[i].value, &f->why), cases[i].rc);
        expect_listeners(f, store, cases[i].lines);
    }
    store_close(&store);
    store = open_seeded(f);
    expect_listeners(f, store, "[::1]:443 7 2\n");
    store_close(&store);
}

static void test_texts_have_bounds(void **state)
{
    struct fixture *f = *state;
    struct store *store = open_seeded(f);
    char text[600];

    memset(text, 'a', sizeof text);
    text[256] = '\0';
    expect_rc(f, put(store, "[::1]:443", text, "a:1", &f->why), ERR_INVALID);
    expect_rc(f, put(store, "[::1]:443", "", "a:1", &f->why), ERR_INVALID);
    text[255] = '\0';
    expect_rc(f, put(store, "[::1]:443", text, "a:1", &f->why), 0);
    memset(text, 'b', sizeof text);
    text[512] = '\0';
    expect_rc(f, put(store, "[::1]:443", "www.example.com", text, &f->why), ERR_INVALID);
    text[511] = '\0';
    expect_rc(f, put(store, "[::1]:443", "www.example.com", text, &f->why), 0);
    store_close(&store);
}

static void test_a_transaction_is_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    struct store *store = open_seeded(f);

    expect_rc(f, store_begin(store, &f->why), 0);
    expect_rc(f, put(store, "[::1]:443", "a.example", "a:1", &f->why), 0);
    expect_rc(f, store_remove_route(store, "[::1]:443", "www.example.com", &f->why), 0);
    store_rollback(store);
    expect_routes(f, store, SEEDED_ROUTES);
    expect_rc(f, store_begin(store, &f->why), 0);
    expect_rc(f, put(store, "[::1]:443", "a.example", "a:1", &f->why), 0);
    /* The caller's mistakes do not end it. */
    expect_rc(f, store_remove_route(store, "[::1]:443", "b.example", &f->why), ERR_NOT_FOUND);
    expect_rc(f, put(store, "[::1]:443", "", "a:1", &f->why), ERR_INVALID);
    expect_rc(f, store_commit(store, &f->why), 0);
    store_rollback(store); /* there is none any more: nothing */
    expect_routes(f, store, SEEDED_ROUTES "[::1]:443 a.example a:1 0\n");
    expect_rc(f, store_begin(store, &f->why), 0);
    expect_rc(f, put(store, "[::1]:443", "c.example", "a:1", &f->why), 0);
    store_close(&store); /* rolls back */
    store = must_open(f);
    expect_routes(f, store, SEEDED_ROUTES "[::1]:443 a.example a:1 0\n");
    store_close(&store);
}

static int stop_at_second(const struct store_route *route, void *ctx)
{
    (void)route;
    return ++*(int *)ctx == 2 ? 42 : 0;
}

static void test_reading_stops_when_told(void **state)
{
    struct fixture *f = *state;
    struct store *store = open_seeded(f);
    int seen = 0;

    expect_rc(f, put(store, "[::1]:443", "a.example", "a:1", &f->why), 0);
    assert_int_equal(store_each_route(store, stop_at_second, &seen, &f->why), 42);
    assert_int_equal(seen, 2);
    expect_rc(f, put(store, "[::1]:443", "b.example", "a:1", &f->why), 0);
    store_close(&store);
}

static void test_routes_of_one_listener(void **state)
{
    struct fixture *f = *state;
    struct config config = make_config(2);
    struct store *store = must_open(f);
    struct store_page all = {.limit = UINT32_MAX};
    char text[512];
    struct strbuf lines = STRBUF_OF(text);

    (void)must_seed(f, store, &config);
    expect_rc(f, put(store, "[::1]:443", "a.example", "a:1", &f->why), 0);
    expect_rc(f, store_page_routes_of(store, "[::1]:443", &all, add_route_line, &lines, &f->why), 0);
    assert_string_equal(text, SEEDED_ROUTES "[::1]:443 a.example a:1 0\n");
    strbuf_reset(&lines);
    expect_rc(f, store_page_routes_of(store, ":9", &all, add_route_line, &lines, &f->why), 0);
    assert_string_equal(text, "");
    store_close(&store);
}

static void test_a_snapshot_is_a_whole_database(void **state)
{
    struct fixture *f = *state;
    struct store *store = open_seeded(f);
    struct stat st;
    char copy[128];

    snprintf(copy, sizeof copy, "%s/copy ?#.db", f->folder);
    mode_t umask_before = umask(0777);
    expect_rc(f, store_snapshot(store, copy, &f->why), 0);
    umask(umask_before);
    assert_int_equal(stat(copy, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    expect_rc(f, store_snapshot(store, copy, &f->why), ERR_EXISTS);
    expect_rc(f, store_snapshot(store, "/nonexistent/copy.db", &f->why), ERR_SYSTEM);
    expect_rc(f, put(store, "[::1]:443", "later.example", "a:1", &f->why), 0);
    store_close(&store);
    assert_int_equal(rename(copy, f->db), 0);
    store = must_open(f);
    expect_routes(f, store, SEEDED_ROUTES);
    expect_rules(f, store, SEEDED_RULES);
    store_close(&store);
}

static void test_a_removed_file_takes_no_changes(void **state)
{
    struct fixture *f = *state;
    struct store *store = open_seeded(f);

    assert_int_equal(unlink(f->db), 0);
    expect_rc(f, put(store, "[::1]:443", "a.example", "a:1", &f->why), ERR_UNAVAILABLE);
    expect_routes(f, store, SEEDED_ROUTES); /* what is open can still be read */
    store_close(&store);
}

static void test_a_removed_wal_takes_no_changes(void **state)
{
    struct fixture *f = *state;
    struct store *store = open_seeded(f);
    char wal[128];

    snprintf(wal, sizeof wal, "%s-wal", f->db);
    assert_int_equal(unlink(wal), 0);
    expect_rc(f, put(store, "[::1]:443", "a.example", "a:1", &f->why), ERR_UNAVAILABLE);
    store_close(&store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_first_run_seeds_rules_and_routes),
        TEST(test_later_runs_seed_only_new_listeners),
        TEST(test_an_emptied_database_is_not_seeded_again),
        TEST(test_a_listener_no_longer_configured_keeps_its_routes),
        TEST(test_a_seeding_that_fails_leaves_nothing),
        TEST(test_replacing_a_route_keeps_its_place),
        TEST(test_a_route_removed_and_added_again_comes_last),
        TEST(test_what_is_not_there_is_not_found),
        TEST(test_rules_are_unique_by_type_and_value),
        TEST(test_max_connections_is_stored_and_unset),
        TEST(test_texts_have_bounds),
        TEST(test_a_transaction_is_all_or_nothing),
        TEST(test_reading_stops_when_told),
        TEST(test_routes_of_one_listener),
        TEST(test_a_snapshot_is_a_whole_database),
        TEST(test_a_removed_file_takes_no_changes),
        TEST(test_a_removed_wal_takes_no_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
