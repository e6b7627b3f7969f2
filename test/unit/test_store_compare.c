/* What a file says that the database does not: counted per listener, whatever was changed on either side. */

#include "store_fixture.h"

#include "config.h"

#define TEXT(text) ((char[]){text}) /* the configuration owns its texts, so they are not const */

static struct config_route first_routes[] = {
    {.hostname = TEXT("www.example.com"), .backend = TEXT("10.0.0.5:8443")},
    {.hostname = TEXT("*.example.com"), .backend = TEXT("[2001:db8::5]:443"), .send_proxy_protocol = true},
    {.hostname = TEXT("*"), .backend = TEXT("10.0.0.6:1")},
};
static struct config_route second_routes[] = {{.hostname = TEXT("*"), .backend = TEXT("unix:/run/app.sock")}};
static char *ips[] = {TEXT("192.0.2.7"), TEXT("2001:db8::7")};
static char *cidrs[] = {TEXT("198.51.100.0/24")};
static char *countries[] = {TEXT("KP")};

static struct config_listener listeners[] = {
    {.addr = {.is_dual_stack = true, .port = 443}, .addr_text = ":443", .routes = first_routes, .route_count = 3},
    {.addr = {.is_dual_stack = true, .port = 444}, .addr_text = ":444", .routes = second_routes, .route_count = 1},
    {.addr = {.is_dual_stack = true, .port = 445}, .addr_text = ":445"},
};

static struct config make_config(void)
{
    return (struct config){.listeners = listeners,
                           .listener_count = 3,
                           .blocked_ips = {ips, 2},
                           .blocked_cidrs = {cidrs, 1},
                           .blocked_countries = {countries, 1}};
}

static void add_line(const struct config_listener *listener, const struct store_difference *d, void *ctx)
{
    strbuf_addf(ctx, "%s missing=%llu different=%llu\n", listener != NULL ? listener->addr_text : "rules",
                (unsigned long long)d->missing, (unsigned long long)d->different);
}

static void expect_differences(struct fixture *f, struct store *store, const struct config *config,
                               const char *expected)
{
    char text[512];
    struct strbuf lines = STRBUF_OF(text);

    expect_rc(f, store_compare(store, config, add_line, &lines, &f->why), 0);
    assert_string_equal(text, expected);
}

static struct store *open_seeded(struct fixture *f, const struct config *config)
{
    struct store *store = must_open(f);
    struct store_seeded seeded;

    expect_rc(f, store_seed(store, config, &seeded, &f->why), 0);
    return store;
}

static void test_what_was_seeded_does_not_differ(void **state)
{
    struct fixture *f = *state;
    struct config config = make_config();
    struct store *store = open_seeded(f, &config);

    expect_differences(f, store, &config, "");
    store_close(&store);
}

static void test_routes_and_rules_that_the_database_lost_or_changed_are_counted(void **state)
{
    struct fixture *f = *state;
    struct config config = make_config();
    struct store *store = open_seeded(f, &config);
    struct store_route changed = {.listener = ":443", .hostname = "*", .backend = "10.0.0.6:2"};
    struct store_rule rule = {.type = STORE_RULE_COUNTRY, .value = "KP"};
    enum store_put put;

    expect_rc(f, store_remove_route(store, ":443", "www.example.com", &f->why), 0);
    expect_rc(f, store_put_route(store, &changed, &put, &f->why), 0);
    expect_rc(f, store_remove_rule(store, &rule, &f->why), 0);
    expect_differences(f, store, &config, "rules missing=1 different=0\n:443 missing=1 different=1\n");
    changed =
        (struct store_route){.listener = ":443", .hostname = "*", .backend = "10.0.0.6:1", .send_proxy_protocol = true};
    expect_rc(f, store_put_route(store, &changed, &put, &f->why), 0);
    expect_differences(f, store, &config, "rules missing=1 different=0\n:443 missing=1 different=1\n");
    store_close(&store);
}

static void test_more_in_the_database_is_no_difference(void **state)
{
    struct fixture *f = *state;
    struct config config = make_config();
    struct store *store = open_seeded(f, &config);
    struct store_route more = {.listener = ":445", .hostname = "*", .backend = "10.0.0.6:2"};
    struct store_rule rule = {.type = STORE_RULE_IP, .value = "192.0.2.8"};
    enum store_put put;

    expect_rc(f, store_put_route(store, &more, &put, &f->why), 0);
    expect_rc(f, store_add_rule(store, &rule, &f->why), 0);
    expect_differences(f, store, &config, "");
    store_close(&store);
}

static void test_what_is_new_in_the_file_is_counted_and_the_next_change_is_not_in_the_way(void **state)
{
    struct fixture *f = *state;
    struct config config = make_config(), shorter = make_config();
    char *fewer_ips[] = {ips[0]};

    shorter.blocked_ips = (struct config_list){fewer_ips, 1};
    listeners[0].route_count = 1;
    struct store *store = open_seeded(f, &shorter);
    listeners[0].route_count = 3;
    expect_differences(f, store, &config, "rules missing=1 different=0\n:443 missing=2 different=0\n");
    struct store_route added = {.listener = ":443", .hostname = "*", .backend = "10.0.0.6:1"};
    enum store_put put;
    expect_rc(f, store_put_route(store, &added, &put, &f->why), 0);
    expect_differences(f, store, &config, "rules missing=1 different=0\n:443 missing=1 different=0\n");
    store_close(&store);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_what_was_seeded_does_not_differ),
        CASE(test_routes_and_rules_that_the_database_lost_or_changed_are_counted),
        CASE(test_more_in_the_database_is_no_difference),
        CASE(test_what_is_new_in_the_file_is_counted_and_the_next_change_is_not_in_the_way),
    };

    return cmocka_run_group_tests_name("store_compare", tests, NULL, NULL);
}
