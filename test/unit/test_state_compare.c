/* What a file says that the database does not: counted per listener, whatever was changed on either side. */

#include "state_fixture.h"

#define TEXT(text) ((char[]){text}) /* the configuration owns its texts, so they are not const */

static struct config_route routes[] = {
    {.hostname = TEXT("www.example.com"), .backend = TEXT("10.0.0.5:8443")},
    {.hostname = TEXT("*.example.com"), .backend = TEXT("[2001:db8::5]:443"), .send_proxy_protocol = true},
    {.hostname = TEXT("*"), .backend = TEXT("unix:/run/app.sock")},
    {.hostname = TEXT("app.example.com"), .backend = TEXT("localhost:1")},
};
static char *ips[] = {TEXT("192.0.2.7"), TEXT("2001:db8::7")};
static char *cidrs[] = {TEXT("198.51.100.0/24")};
static char *countries[] = {TEXT("KP")};

/* A database that was seeded with all of it. */
static void seed(struct proxy *p, struct config_listener *listener, struct config *config)
{
    struct state_loaded loaded;

    *listener = (struct config_listener){.addr_text = ":9443",
                                         .addr = {.is_dual_stack = true, .port = 9443},
                                         .routes = routes,
                                         .route_count = sizeof routes / sizeof routes[0]};
    *config = (struct config){.listeners = listener, .listener_count = 1};
    config->blocked_ips = (struct config_list){ips, 2};
    config->blocked_cidrs = (struct config_list){cidrs, 1};
    config->blocked_countries = (struct config_list){countries, 1};
    expect_rc(p->f, state_load(p->state, config, &loaded, &p->f->why), 0);
}

static void expect_routes_differ(struct proxy *p, const struct config_listener *listener, uint64_t missing,
                                 uint64_t different)
{
    struct state_difference d = state_compare_routes(p->state, listener);

    assert_int_equal(d.missing, missing);
    assert_int_equal(d.different, different);
}

static void change(struct proxy *p, struct state_change one)
{
    if (one.hostname.len > 0)
        one.listener = bytes_of_str(":9443");
    expect_rc(p->f, state_apply(p->state, &one, 1, false, &p->applied, &p->failed, &p->f->why), 0);
}

static void test_what_was_seeded_does_not_differ(void **state)
{
    struct config_listener listener;
    struct config config;

    seed(*state, &listener, &config);
    expect_routes_differ(*state, &listener, 0, 0);
}

static void test_routes_that_were_changed_since_are_counted(void **state)
{
    struct proxy *p = *state;
    struct config_listener listener;
    struct config config;

    seed(p, &listener, &config);
    change(p, remove_on(":9443", "www.example.com"));
    expect_routes_differ(p, &listener, 1, 0);
    change(p, put_on(":9443", "*", "unix:/run/other.sock"));
    expect_routes_differ(p, &listener, 1, 1);
    change(p, put_on(":9443", "*.example.com", "[2001:db8::5]:443")); /* without a PROXY header */
    expect_routes_differ(p, &listener, 1, 2);
    change(p, put_on(":9443", "app.example.com", "localhost:2"));
    expect_routes_differ(p, &listener, 1, 3);
    change(p, put_on(":9443", "*", "unix:/run/app.sock"));
    change(p, put_on(":9443", "more.example.com", "10.0.0.1:1")); /* more is no difference */
    expect_routes_differ(p, &listener, 1, 2);
}

static void test_an_edited_file_differs_and_what_other_listeners_have_does_not_count(void **state)
{
    struct proxy *p = *state;
    struct config_listener listener;
    struct config config;

    seed(p, &listener, &config);
    struct config_route edited[] = {{.hostname = TEXT("first.example.com"), .backend = TEXT("10.0.0.1:1")},
                                    {.hostname = TEXT("www.example.com"), .backend = TEXT("10.0.0.5:8444")},
                                    {.hostname = TEXT("*"), .backend = TEXT("unix:/run/app.sock")}};
    listener.routes = edited;
    listener.route_count = 3;
    expect_routes_differ(p, &listener, 1, 1);
    struct state_change other = put_on(FIRST, "first.example.com", "10.0.0.1:1");
    proxy_load(p, BOTH); /* other listeners, the same database */
    expect_rc(p->f, state_apply(p->state, &other, 1, false, &p->applied, &p->failed, &p->f->why), 0);
    struct state_loaded loaded;
    expect_rc(p->f, state_load(p->state, &config, &loaded, &p->f->why), 0);
    expect_routes_differ(p, &listener, 1, 1);
}

/* The fixture's first load has used up the seeding of rules: all of these came too late. */
static void test_rules_that_came_too_late_are_counted(void **state)
{
    struct proxy *p = *state;
    struct config_listener listener;
    struct config config;

    seed(p, &listener, &config);
    assert_int_equal(state_compare_rules(p->state, &config).missing, 4);
    change(p, rule_change(STATE_ADD_RULE, STORE_RULE_IP, "2001:db8::7"));
    change(p, rule_change(STATE_ADD_RULE, STORE_RULE_CIDR, "198.51.100.0/24"));
    change(p, rule_change(STATE_ADD_RULE, STORE_RULE_IP, "192.0.2.1"));
    assert_int_equal(state_compare_rules(p->state, &config).missing, 2);
    state_set_geoip_available(p->state, true);
    change(p, rule_change(STATE_ADD_RULE, STORE_RULE_COUNTRY, "KP"));
    change(p, rule_change(STATE_ADD_RULE, STORE_RULE_IP, "192.0.2.7"));
    assert_int_equal(state_compare_rules(p->state, &config).missing, 0);
    assert_int_equal(state_compare_rules(p->state, &config).different, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROXY_TEST(test_what_was_seeded_does_not_differ),
        PROXY_TEST(test_routes_that_were_changed_since_are_counted),
        PROXY_TEST(test_an_edited_file_differs_and_what_other_listeners_have_does_not_count),
        PROXY_TEST(test_rules_that_came_too_late_are_counted),
    };

    return cmocka_run_group_tests_name("state_compare", tests, NULL, NULL);
}
