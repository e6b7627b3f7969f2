/* The admin API's methods on a real state: what they answer, what they refuse, and what the log says. */

#include "admin_fixture.h"

#include <time.h>

#include "google/protobuf/timestamp.pb-c.h"

/* ---- routes ---- */

static void test_routes_are_added_replaced_listed_and_removed(void **state)
{
    struct fixture *f = *state;
    McProxy__V1__ListRoutesRequest list;
    McProxy__V1__RemoveRouteRequest removal;
    static const struct {
        const char *hostname, *backend;
        bool created;
    } steps[] = {{"B.example.com", "10.0.0.2:2", true},
                 {"*", "unix:/run/x.sock", true},
                 {"b.example.com.", "[2001:db8::1]:3", false},
                 {"b.example.com", "[2001:db8::1]:3", false}};

    mc_proxy__v1__list_routes_request__init(&list);
    mc_proxy__v1__remove_route_request__init(&removal);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct grpc_call *call = fixture_add_route(f, ":443", steps[i].hostname, steps[i].backend);
        expect_status(call, GRPC_OK, "");
        McProxy__V1__AddRouteResponse *r = fake_answer(call, 0, &mc_proxy__v1__add_route_response__descriptor);
        assert_int_equal(r->created, steps[i].created);
        mc_proxy__v1__add_route_response__free_unpacked(r, NULL);
        fake_free(call);
    }
    removal.listener_addr = TEXT(":443");
    removal.hostname = TEXT("A.EXAMPLE.com");
    struct grpc_call *call = fixture_ask(f, SERVICE "RemoveRoute", &removal.base);
    expect_status(call, GRPC_OK, "");
    assert_int_equal(call->answers[0].len, 0);
    fake_free(call);

    list.listener_addr = TEXT(":443");
    call = fixture_ask(f, SERVICE "ListRoutes", &list.base);
    expect_status(call, GRPC_OK, "");
    McProxy__V1__ListRoutesResponse *r = fake_answer(call, 0, &mc_proxy__v1__list_routes_response__descriptor);
    assert_int_equal(r->n_routes, 2);
    assert_string_equal(r->routes[0]->hostname, "b.example.com");
    assert_string_equal(r->routes[0]->backend, "[2001:db8::1]:3");
    assert_string_equal(r->routes[1]->hostname, "*");
    assert_string_equal(r->routes[1]->backend, "unix:/run/x.sock");
    assert_string_equal(r->next_page_token, "");
    mc_proxy__v1__list_routes_response__free_unpacked(r, NULL);
    fake_free(call);

    assert_non_null(
        strstr(f->log.text,
               "route added peer=unix listener=:443 route=B.example.com backend=10.0.0.2:2 send_proxy_protocol=0\n"));
    assert_non_null(
        strstr(f->log.text, "route replaced peer=unix listener=:443 route=b.example.com. backend=[2001:db8::1]:3"));
    assert_null(strstr(f->log.text, "route=b.example.com backend")); /* unchanged: nobody has changed anything */
    assert_non_null(strstr(f->log.text, "route removed peer=unix listener=:443 route=A.EXAMPLE.com\n"));
}

static void test_what_is_no_route_is_refused_with_the_field(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *listener, *hostname, *backend;
        enum grpc_status status;
        const char *message;
    } rows[] = {
        {":443", NULL, "", GRPC_INVALID_ARGUMENT, "route: is missing"},
        {"", "x.example.com", "10.0.0.1:1", GRPC_INVALID_ARGUMENT, "listener_addr: "},
        {"443", "x.example.com", "10.0.0.1:1", GRPC_INVALID_ARGUMENT, "listener_addr: "},
        {":444", "x.example.com", "10.0.0.1:1", GRPC_NOT_FOUND, "listener_addr: "},
        {":443", "", "10.0.0.1:1", GRPC_INVALID_ARGUMENT, "route.hostname: "},
        {":443", "a b", "10.0.0.1:1", GRPC_INVALID_ARGUMENT, "route.hostname: "},
        {":443", "x.example.com", "", GRPC_INVALID_ARGUMENT, "route.backend: "},
        {":443", "x.example.com", "10.0.0.1", GRPC_INVALID_ARGUMENT, "route.backend: "},
    };
    uint64_t generation = state_generation(f->state);

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct grpc_call *call = fixture_add_route(f, rows[i].listener, rows[i].hostname, rows[i].backend);
        expect_status(call, rows[i].status, rows[i].message);
        fake_free(call);
    }
    assert_int_equal(state_generation(f->state), generation);
    assert_int_equal(f->log.len, 0);
}

static void test_a_nul_does_not_cut_a_name(void **state)
{
    struct fixture *f = *state;
    static const char wire[] = "\x0a\x04:443\x12\x1d\x0a\x0fx.example.com\x00y\x12\x0a"
                               "10.0.0.1:1";
    struct grpc_call *call = fixture_call(f, SERVICE "AddRoute");

    fake_receive(call, wire, sizeof wire - 1);
    expect_status(call, GRPC_INVALID_ARGUMENT, "route.hostname: contains a NUL");
    fake_free(call);
    call = fixture_call(f, SERVICE "AddRoute");
    fake_receive(call, "\x0a\x09", 2);
    expect_status(call, GRPC_INVALID_ARGUMENT, "the message is no mc_proxy.v1.AddRouteRequest");
    fake_free(call);
}

static void test_a_missing_route_is_not_found(void **state)
{
    struct fixture *f = *state;
    McProxy__V1__RemoveRouteRequest request;

    mc_proxy__v1__remove_route_request__init(&request);
    request.listener_addr = TEXT(":443");
    request.hostname = TEXT("nobody.example.com");
    struct grpc_call *call = fixture_ask(f, SERVICE "RemoveRoute", &request.base);
    expect_status(call, GRPC_NOT_FOUND, "hostname: ");
    fake_free(call);
    request.hostname = TEXT("");
    call = fixture_ask(f, SERVICE "RemoveRoute", &request.base);
    expect_status(call, GRPC_INVALID_ARGUMENT, "hostname: ");
    fake_free(call);
}

/* ---- pages ---- */

static McProxy__V1__ListRoutesResponse *list_page(struct fixture *f, uint32_t size, const char *token)
{
    McProxy__V1__ListRoutesRequest request;

    mc_proxy__v1__list_routes_request__init(&request);
    request.listener_addr = TEXT(":443");
    request.page_size = size;
    request.page_token = TEXT(token);
    struct grpc_call *call = fixture_ask(f, SERVICE "ListRoutes", &request.base);
    expect_status(call, GRPC_OK, "");
    McProxy__V1__ListRoutesResponse *r = fake_answer(call, 0, &mc_proxy__v1__list_routes_response__descriptor);
    fake_free(call);
    return r;
}

static void test_pages_of_every_size_make_the_whole_list(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 1; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof name, "h%u.example.com", i);
        struct grpc_call *call = fixture_add_route(f, ":443", name, "10.0.0.1:1");
        expect_status(call, GRPC_OK, "");
        fake_free(call);
    }
    for (uint32_t size = 1; size <= 21; size++) {
        char token[64] = "";
        unsigned count = 0, pages = 0;
        do {
            McProxy__V1__ListRoutesResponse *r = list_page(f, size, token);
            assert_in_range(r->n_routes, 1, size);
            for (size_t i = 0; i < r->n_routes; i++, count++) {
                char name[32];
                snprintf(name, sizeof name, "h%u.example.com", count);
                assert_string_equal(r->routes[i]->hostname, count == 0 ? "a.example.com" : name);
            }
            snprintf(token, sizeof token, "%s", r->next_page_token);
            mc_proxy__v1__list_routes_response__free_unpacked(r, NULL);
            pages++;
        } while (token[0] != '\0');
        assert_int_equal(count, 20);
        assert_int_equal(pages, (20 + size - 1) / size);
    }
}

static void test_what_is_no_page_is_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint32_t size;
        const char *token, *message;
    } rows[] = {
        {100001, "", "page_size: "},
        {UINT32_MAX, "", "page_size: "},
        {1, "0", "page_token: "},
        {1, "x", "page_token: "},
        {1, "-1", "page_token: "},
        {1, "01", "page_token: "},
        {1, " 1", "page_token: "},
        {1, "1 ", "page_token: "},
        {1, "18446744073709551616", "page_token: "},
        {1, "9223372036854775808", "page_token: "},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        McProxy__V1__ListRoutesRequest routes;
        McProxy__V1__GetFirewallRulesRequest rules;
        mc_proxy__v1__list_routes_request__init(&routes);
        mc_proxy__v1__get_firewall_rules_request__init(&rules);
        routes.listener_addr = TEXT(":443");
        routes.page_size = rules.page_size = rows[i].size;
        routes.page_token = rules.page_token = TEXT(rows[i].token);
        struct grpc_call *call = fixture_ask(f, SERVICE "ListRoutes", &routes.base);
        expect_status(call, GRPC_INVALID_ARGUMENT, rows[i].message);
        fake_free(call);
        call = fixture_ask(f, SERVICE "GetFirewallRules", &rules.base);
        expect_status(call, GRPC_INVALID_ARGUMENT, rows[i].message);
        fake_free(call);
    }
}

static void test_a_list_that_finds_no_memory_ends_the_call(void **state)
{
    struct fixture *f = *state;
    McProxy__V1__ListRoutesRequest request;
    struct grpc_call *call = fixture_call(f, SERVICE "ListRoutes");

    mc_proxy__v1__list_routes_request__init(&request);
    request.listener_addr = TEXT(":443");
    call->memory_left = 10;
    fake_receive_message(call, &request.base);
    expect_status(call, GRPC_RESOURCE_EXHAUSTED, "no memory");
    fake_free(call);
}

/* ---- firewall ---- */

static struct grpc_call *ask_rule(struct fixture *f, const char *method, int type, const char *value)
{
    McProxy__V1__FirewallRule rule;
    McProxy__V1__AddFirewallRuleRequest request;

    mc_proxy__v1__firewall_rule__init(&rule);
    mc_proxy__v1__add_firewall_rule_request__init(&request);
    rule.type = (McProxy__V1__FirewallRuleType)type;
    rule.value = TEXT(value);
    request.rule = value == NULL ? NULL : &rule;
    return fixture_ask(f, method, &request.base); /* the removal's message looks the same */
}

static void test_rules(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *method;
        int type;
        const char *value;
        enum grpc_status status;
        const char *message;
    } steps[] = {
        {SERVICE "AddFirewallRule", 1, "2001:DB8::7", GRPC_OK, ""},
        {SERVICE "AddFirewallRule", 1, "2001:db8:0::7", GRPC_ALREADY_EXISTS, "rule: "},
        {SERVICE "AddFirewallRule", 2, "198.51.100.0/24", GRPC_OK, ""},
        {SERVICE "AddFirewallRule", 2, "198.51.100.1/24", GRPC_INVALID_ARGUMENT, "rule.value: "},
        {SERVICE "AddFirewallRule", 2, "::ffff:1.2.3.0/120", GRPC_INVALID_ARGUMENT, "rule.value: "},
        {SERVICE "AddFirewallRule", 1, "::ffff:192.0.2.7", GRPC_OK, ""},
        {SERVICE "AddFirewallRule", 1, "", GRPC_INVALID_ARGUMENT, "rule.value: "},
        {SERVICE "AddFirewallRule", 0, "192.0.2.8", GRPC_INVALID_ARGUMENT, "rule.type: is not set"},
        {SERVICE "AddFirewallRule", 99, "192.0.2.8", GRPC_INVALID_ARGUMENT, "rule.type: 99 is no type"},
        {SERVICE "AddFirewallRule", -1, "192.0.2.8", GRPC_INVALID_ARGUMENT, "rule.type: -1 is no type"},
        {SERVICE "AddFirewallRule", 1, NULL, GRPC_INVALID_ARGUMENT, "rule: is missing"},
        {SERVICE "AddFirewallRule", 3, "KP", GRPC_FAILED_PRECONDITION, "rule.type: "},
        {SERVICE "AddFirewallRule", 3, "kp", GRPC_INVALID_ARGUMENT, "rule.value: "},
        {SERVICE "RemoveFirewallRule", 1, "192.0.2.9", GRPC_NOT_FOUND, "rule: "},
        {SERVICE "RemoveFirewallRule", 1, NULL, GRPC_INVALID_ARGUMENT, "rule: is missing"},
        {SERVICE "RemoveFirewallRule", 2, "198.51.100.0/24", GRPC_OK, ""},
    };
    McProxy__V1__GetFirewallRulesRequest request;

    mc_proxy__v1__get_firewall_rules_request__init(&request);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct grpc_call *call = ask_rule(f, steps[i].method, steps[i].type, steps[i].value);
        expect_status(call, steps[i].status, steps[i].message);
        fake_free(call);
    }
    struct grpc_call *call = fixture_ask(f, SERVICE "GetFirewallRules", &request.base);
    McProxy__V1__GetFirewallRulesResponse *r =
        fake_answer(call, 0, &mc_proxy__v1__get_firewall_rules_response__descriptor);
    assert_int_equal(r->n_rules, 2);
    assert_int_equal(r->rules[0]->type, 1);
    assert_string_equal(r->rules[0]->value, "2001:db8::7");
    assert_string_equal(r->rules[1]->value, "192.0.2.7");
    mc_proxy__v1__get_firewall_rules_response__free_unpacked(r, NULL);
    fake_free(call);
    assert_non_null(strstr(f->log.text, "firewall rule added peer=unix rule=cidr value=198.51.100.0/24\n"));
    assert_non_null(strstr(f->log.text, "firewall rule removed peer=unix rule=cidr value=198.51.100.0/24\n"));
}

/* ---- limits, snapshots, status ---- */

static void test_the_limit_of_a_listener(void **state)
{
    struct fixture *f = *state;
    McProxy__V1__SetListenerMaxConnectionsRequest request;

    mc_proxy__v1__set_listener_max_connections_request__init(&request);
    request.listener_addr = TEXT("127.0.0.1:8443");
    request.max_connections = UINT32_MAX;
    struct grpc_call *call = fixture_ask(f, SERVICE "SetListenerMaxConnections", &request.base);
    expect_status(call, GRPC_OK, "");
    fake_free(call);
    assert_int_equal(state_max_connections(f->state, 1), UINT32_MAX);
    assert_non_null(
        strstr(f->log.text, "limit of connections set peer=unix listener=127.0.0.1:8443 limit=4294967295\n"));
    request.listener_addr = TEXT("127.0.0.1:8444");
    call = fixture_ask(f, SERVICE "SetListenerMaxConnections", &request.base);
    expect_status(call, GRPC_NOT_FOUND, "listener_addr: ");
    fake_free(call);
}

static void test_snapshots_outside_only_for_local_clients(void **state)
{
    struct fixture *f = *state;
    McProxy__V1__SnapshotRequest request;
    char outside[128], inside[128];

    mc_proxy__v1__snapshot_request__init(&request);
    snprintf(outside, sizeof outside, "%s/copy.db", f->folder);
    snprintf(inside, sizeof inside, "%s/backups/mine.db", f->folder);
    request.output_path = outside;
    for (unsigned is_local = 0; is_local < 2; is_local++) {
        struct grpc_call *call = fixture_call(f, SERVICE "Snapshot");
        call->is_local = is_local;
        fake_receive_message(call, &request.base);
        expect_status(call, is_local ? GRPC_OK : GRPC_PERMISSION_DENIED, is_local ? "" : "output_path: ");
        assert_int_equal(access(outside, F_OK), is_local ? 0 : -1);
        fake_free(call);
    }
    struct grpc_call *call = fixture_ask(f, SERVICE "Snapshot", &request.base);
    expect_status(call, GRPC_ALREADY_EXISTS, "snapshot ");
    fake_free(call);
    request.output_path = TEXT("mine.db");
    call = fixture_call(f, SERVICE "Snapshot");
    call->is_local = false;
    fake_receive_message(call, &request.base);
    expect_status(call, GRPC_OK, "");
    McProxy__V1__SnapshotResponse *r = fake_answer(call, 0, &mc_proxy__v1__snapshot_response__descriptor);
    assert_string_equal(r->path, inside);
    mc_proxy__v1__snapshot_response__free_unpacked(r, NULL);
    fake_free(call);
    request.output_path = TEXT("/nowhere/at/all.db");
    call = fixture_ask(f, SERVICE "Snapshot", &request.base);
    expect_status(call, GRPC_FAILED_PRECONDITION, "");
    fake_free(call);
    assert_non_null(strstr(f->log.text, "snapshot written peer=192.0.2.1:1000 path="));
}

static void test_status_sums_what_workers_count(void **state)
{
    struct fixture *f = *state;
    McProxy__V1__GetStatusRequest request;
    struct shm_stats *stats = f->stats.stats;

    mc_proxy__v1__get_status_request__init(&request);
    stats_segment_use_listener(&f->stats, 1);
    stats_segment_use_slot(&f->stats, 1);
    atomic_store(&stats->workers[0].listeners[0].accepted, 5);
    atomic_store(&stats->workers[1].listeners[0].accepted, 3);
    atomic_store(&stats->workers[1].listeners[1].accepted, 2);
    atomic_store(&stats->active[0][1], 2);
    atomic_store(&stats->active[1][1], 1);
    struct grpc_call *call = fixture_ask(f, SERVICE "GetStatus", &request.base);
    expect_status(call, GRPC_OK, "");
    McProxy__V1__GetStatusResponse *r = fake_answer(call, 0, &mc_proxy__v1__get_status_response__descriptor);
    assert_int_equal(r->total_connections, 10);
    assert_true(r->version[0] != '\0');
    assert_in_range(r->started_at->seconds, time(NULL) - 100, time(NULL));
    assert_in_range(r->uptime_seconds, 0, 100);
    assert_int_equal(r->n_workers, 0);
    assert_int_equal(r->n_listeners, 2);
    assert_string_equal(r->listeners[0]->addr, ":443");
    assert_string_equal(r->listeners[0]->name, "one");
    assert_int_equal(r->listeners[0]->route_count, 1);
    assert_int_equal(r->listeners[0]->max_connections, 7);
    assert_int_equal(r->listeners[0]->active_connections, 2);
    assert_int_equal(r->listeners[0]->total_connections, 8);
    assert_string_equal(r->listeners[0]->proxy_protocol, "off");
    assert_string_equal(r->listeners[1]->addr, "127.0.0.1:8443");
    assert_string_equal(r->listeners[1]->proxy_protocol, "required");
    assert_int_equal(r->listeners[1]->active_connections, 1);
    assert_int_equal(r->listeners[1]->total_connections, 2);
    assert_false(r->is_draining);
    assert_int_equal(r->generation, state_generation(f->state));
    mc_proxy__v1__get_status_response__free_unpacked(r, NULL);
    fake_free(call);
    admin_set_phase(f->admin, ADMIN_DRAINING);
    call = fixture_ask(f, SERVICE "GetStatus", &request.base);
    r = fake_answer(call, 0, &mc_proxy__v1__get_status_response__descriptor);
    assert_true(r->is_draining);
    mc_proxy__v1__get_status_response__free_unpacked(r, NULL);
    fake_free(call);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_routes_are_added_replaced_listed_and_removed),
        CASE(test_what_is_no_route_is_refused_with_the_field),
        CASE(test_a_nul_does_not_cut_a_name),
        CASE(test_a_missing_route_is_not_found),
        CASE(test_pages_of_every_size_make_the_whole_list),
        CASE(test_what_is_no_page_is_refused),
        CASE(test_a_list_that_finds_no_memory_ends_the_call),
        CASE(test_rules),
        CASE(test_the_limit_of_a_listener),
        CASE(test_snapshots_outside_only_for_local_clients),
        CASE(test_status_sums_what_workers_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
