/* ApplyChanges: one list out of many messages, all or nothing, the first error named by its place, and never more memory than allowed. */

#include "admin_fixture.h"

#define APPLY SERVICE "ApplyChanges"

enum { PUT, REMOVE, RULE, UNRULE, NONE };

struct change_text {
    int kind;
    const char *a, *b; /* hostname and backend; value of an IP rule; a NULL: no submessage */
    bool allow_unchanged;
};

#define CHANGES_MAX 2000

/** A request, with all that it points to. */
struct request {
    McProxy__V1__ApplyChangesRequest message;
    McProxy__V1__Change changes[CHANGES_MAX], *list[CHANGES_MAX];
    McProxy__V1__AddRouteRequest puts[CHANGES_MAX];
    McProxy__V1__Route routes[CHANGES_MAX];
    McProxy__V1__RemoveRouteRequest removes[CHANGES_MAX];
    McProxy__V1__AddFirewallRuleRequest adds[CHANGES_MAX];
    McProxy__V1__RemoveFirewallRuleRequest dels[CHANGES_MAX];
    McProxy__V1__FirewallRule rules[CHANGES_MAX];
};

static void add_rule(struct request *r, size_t i, const struct change_text *text)
{
    mc_proxy__v1__firewall_rule__init(&r->rules[i]);
    mc_proxy__v1__add_firewall_rule_request__init(&r->adds[i]);
    mc_proxy__v1__remove_firewall_rule_request__init(&r->dels[i]);
    r->rules[i].type = MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_IP;
    r->rules[i].value = TEXT(text->a);
    r->adds[i].rule = r->dels[i].rule = text->a != NULL ? &r->rules[i] : NULL;
    if (text->kind == RULE) {
        r->changes[i].change_case = MC_PROXY__V1__CHANGE__CHANGE_ADD_RULE;
        r->changes[i].add_rule = &r->adds[i];
    } else {
        r->changes[i].change_case = MC_PROXY__V1__CHANGE__CHANGE_REMOVE_RULE;
        r->changes[i].remove_rule = &r->dels[i];
    }
}

static void add_route(struct request *r, size_t i, const struct change_text *text)
{
    mc_proxy__v1__route__init(&r->routes[i]);
    mc_proxy__v1__add_route_request__init(&r->puts[i]);
    mc_proxy__v1__remove_route_request__init(&r->removes[i]);
    r->puts[i].listener_addr = r->removes[i].listener_addr = TEXT(":443");
    r->puts[i].route = text->a != NULL ? &r->routes[i] : NULL;
    r->routes[i].hostname = r->removes[i].hostname = TEXT(text->a);
    r->routes[i].backend = TEXT(text->b);
    if (text->kind == PUT) {
        r->changes[i].change_case = MC_PROXY__V1__CHANGE__CHANGE_PUT_ROUTE;
        r->changes[i].put_route = &r->puts[i];
    } else {
        r->changes[i].change_case = MC_PROXY__V1__CHANGE__CHANGE_REMOVE_ROUTE;
        r->changes[i].remove_route = &r->removes[i];
    }
}

static void send_changes(struct grpc_call *call, const struct change_text *texts, size_t count, bool validate_only)
{
    struct request *r = calloc(1, sizeof *r);

    assert_non_null(r);
    mc_proxy__v1__apply_changes_request__init(&r->message);
    for (size_t i = 0; i < count; i++) {
        mc_proxy__v1__change__init(&r->changes[i]);
        r->changes[i].allow_unchanged = texts[i].allow_unchanged;
        if (texts[i].kind == PUT || texts[i].kind == REMOVE)
            add_route(r, i, &texts[i]);
        else if (texts[i].kind != NONE)
            add_rule(r, i, &texts[i]);
        r->list[i] = &r->changes[i];
    }
    r->message.changes = r->list;
    r->message.n_changes = count;
    r->message.validate_only = validate_only;
    fake_receive_message(call, &r->message.base);
    free(r);
}

static void expect_counts(const struct grpc_call *call, const uint64_t wanted[6])
{
    expect_status(call, GRPC_OK, "");
    McProxy__V1__ApplyChangesResponse *r = fake_answer(call, 0, &mc_proxy__v1__apply_changes_response__descriptor);
    const uint64_t counts[6] = {r->routes_added, r->routes_replaced, r->routes_removed,
                                r->rules_added,  r->rules_removed,   r->unchanged};

    for (unsigned i = 0; i < 6; i++) {
        if (counts[i] != wanted[i])
            fail_msg("count %u is %llu", i, (unsigned long long)counts[i]);
    }
    mc_proxy__v1__apply_changes_response__free_unpacked(r, NULL);
}

static void test_messages_are_one_list(void **state)
{
    struct fixture *f = *state;
    const struct change_text first[] = {{PUT, "b.example.com", "10.0.0.2:2", false}, {RULE, "192.0.2.1", NULL, false}};
    const struct change_text second[] = {{PUT, "a.example.com", "10.0.0.9:9", false},
                                         {REMOVE, "b.example.com", NULL, false},
                                         {UNRULE, "192.0.2.2", NULL, true},
                                         {PUT, "c.example.com", "10.0.0.2:2", false},
                                         {PUT, "c.example.com", "10.0.0.2:2", false}};

    for (unsigned validate_only = 1; validate_only <= 1; validate_only--) {
        struct grpc_call *call = fixture_call(f, APPLY);
        send_changes(call, first, 2, false);
        send_changes(call, second, 5, validate_only);
        assert_false(call->is_finished);
        assert_int_equal(state_rule_count(f->state), 0);
        fake_end(call);
        expect_counts(call, (const uint64_t[]){2, 1, 1, 1, 0, 2});
        assert_int_equal(state_rule_count(f->state), validate_only ? 0 : 1);
        assert_int_equal(state_route_count(f->state, 0), validate_only ? 1 : 2);
        assert_int_equal(strstr(f->log.text, "changes applied") != NULL, !validate_only);
        fake_free(call);
    }
    assert_non_null(strstr(f->log.text,
                           "changes applied peer=unix count=7 routes_added=2 routes_replaced=1 routes_removed=1 "
                           "rules_added=1 rules_removed=0 unchanged=2\n"));
    assert_non_null(strstr(f->log.text, "route set peer=unix listener=:443 route=a.example.com backend=10.0.0.9:9"));
}

static void test_an_empty_list_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct grpc_call *call = fixture_call(f, APPLY);

    fake_end(call);
    expect_counts(call, (const uint64_t[6]){0});
    fake_free(call);
    call = fixture_call(f, APPLY);
    send_changes(call, NULL, 0, false);
    fake_end(call);
    expect_counts(call, (const uint64_t[6]){0});
    fake_free(call);
    assert_int_equal(f->log.len, 0);
}

static void test_the_first_error_is_told_and_nothing_changes(void **state)
{
    struct fixture *f = *state;
    static const struct {
        struct change_text changes[4];
        unsigned count, split; /* changes[split] begins the second message */
        enum grpc_status status;
        const char *message;
    } rows[] = {
        {{{PUT, "b.example.com", "10.0.0.1:1", false}, {PUT, "", "10.0.0.1:1", false}},
         2,
         1,
         GRPC_INVALID_ARGUMENT,
         "changes[1].put_route.route.hostname: "},
        {{{PUT, "b.example.com", "10.0.0.1:1", false}, {PUT, NULL, "", false}},
         2,
         2,
         GRPC_INVALID_ARGUMENT,
         "changes[1].put_route.route: is missing"},
        {{{PUT, "b.example.com", "10.0.0.1:1", false}, {NONE, NULL, NULL, false}},
         2,
         1,
         GRPC_INVALID_ARGUMENT,
         "changes[1].change: is missing"},
        {{{RULE, "192.0.2.1", NULL, false}, {RULE, NULL, NULL, false}},
         2,
         1,
         GRPC_INVALID_ARGUMENT,
         "changes[1].add_rule.rule: is missing"},
        {{{UNRULE, NULL, NULL, false}}, 1, 1, GRPC_INVALID_ARGUMENT, "changes[0].remove_rule.rule: is missing"},
        /* What is wrong with the form of a later one does not hide what is wrong with an earlier one. */
        {{{PUT, "b.example.com", "10.0.0.1:1", false},
          {REMOVE, "nobody.example.com", NULL, false},
          {NONE, NULL, NULL, false}},
         3,
         2,
         GRPC_NOT_FOUND,
         "changes[1].remove_route.hostname: "},
        {{{REMOVE, "nobody.example.com", NULL, false}, {PUT, "b.example.com", "\xff", false}},
         2,
         2,
         GRPC_NOT_FOUND,
         "changes[0].remove_route.hostname: "},
        {{{PUT, "b.example.com", "10.0.0.1:1", false},
          {PUT, "b.example.com", "\xff", false},
          {NONE, NULL, NULL, false}},
         3,
         1,
         GRPC_INVALID_ARGUMENT,
         "changes[1].put_route.route.backend: is not UTF-8"},
        {{{NONE, NULL, NULL, false}, {PUT, "b.example.com", "\xff", false}},
         2,
         2,
         GRPC_INVALID_ARGUMENT,
         "changes[0].change: is missing"},
        {{{RULE, "192.0.2.1", NULL, false}, {RULE, "192.0.2.1", NULL, false}},
         2,
         1,
         GRPC_ALREADY_EXISTS,
         "changes[1].add_rule.rule: "},
    };
    uint64_t generation = state_generation(f->state);

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct grpc_call *call = fixture_call(f, APPLY);
        send_changes(call, rows[i].changes, rows[i].split, false);
        send_changes(call, rows[i].changes + rows[i].split, rows[i].count - rows[i].split, false);
        fake_end(call);
        expect_status(call, rows[i].status, rows[i].message);
        fake_free(call);
    }
    assert_int_equal(state_generation(f->state), generation);
    assert_int_equal(f->log.len, 0);
}

static void test_a_message_that_is_none_ends_the_call(void **state)
{
    struct fixture *f = *state;
    struct grpc_call *call = fixture_call(f, APPLY);

    fake_receive(call, "\x0a\x09", 2);
    expect_status(call, GRPC_INVALID_ARGUMENT, "the message is no mc_proxy.v1.ApplyChangesRequest");
    fake_free(call);
}

static void test_a_call_that_goes_away_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    const struct change_text changes[] = {{PUT, "b.example.com", "10.0.0.2:2", false}};
    struct grpc_call *call = fixture_call(f, APPLY);

    send_changes(call, changes, 1, false);
    call->is_finished = true; /* cancelled */
    fake_free(call);
    call = fixture_call(f, APPLY);
    send_changes(call, changes, 1, false);
    call->is_finished = true; /* the deadline passed as the last message came */
    call->method->on_end(call);
    fake_free(call);
    assert_int_equal(state_route_count(f->state, 0), 1);
}

/* ---- limits ---- */

/** `count` empty elements of the list: two bytes each. */
static void receive_empty_changes(struct grpc_call *call, size_t count)
{
    uint8_t *wire = malloc(2 * count);

    assert_non_null(wire);
    for (size_t i = 0; i < count; i++) {
        wire[2 * i] = 0x0a;
        wire[2 * i + 1] = 0;
    }
    fake_receive(call, wire, 2 * count);
    free(wire);
}

static void test_more_than_a_million_changes_are_refused(void **state)
{
    struct fixture *f = *state;
    struct grpc_call *call = fixture_call(f, APPLY);

    receive_empty_changes(call, 1000001);
    expect_status(call, GRPC_RESOURCE_EXHAUSTED, "more than 1000000 changes");
    fake_free(call);
}

/** A call with a large text in a change of each of its messages. */
static void fill(struct grpc_call *call, size_t bytes)
{
    static char text[4000000];
    const struct change_text change = {REMOVE, text, NULL, false};

    memset(text, 'x', sizeof text - 1);
    for (size_t sent = 0; sent < bytes && !call->is_finished; sent += sizeof text)
        send_changes(call, &change, 1, false);
}

static void test_a_call_may_hold_64_mib(void **state)
{
    struct fixture *f = *state;
    struct grpc_call *call = fixture_call(f, APPLY);

    fill(call, 64000000);
    assert_false(call->is_finished);
    fill(call, 8000000);
    expect_status(call, GRPC_RESOURCE_EXHAUSTED, "more than 67108864 bytes");
    fake_free(call);
}

static void test_all_calls_together_may_hold_256_mib(void **state)
{
    struct fixture *f = *state;
    struct grpc_call *calls[5];
    const struct change_text change = {PUT, "b.example.com", "10.0.0.2:2", false};

    for (unsigned i = 0; i < 5; i++) {
        calls[i] = fixture_call(f, APPLY);
        fill(calls[i], 60000000);
    }
    expect_status(calls[4], GRPC_RESOURCE_EXHAUSTED, "no memory for so many changes now");
    for (unsigned i = 0; i < 5; i++)
        fake_free(calls[i]);
    struct grpc_call *call = fixture_call(f, APPLY);
    send_changes(call, &change, 1, false);
    fake_end(call);
    expect_status(call, GRPC_OK, "");
    fake_free(call);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_messages_are_one_list),
        CASE(test_an_empty_list_changes_nothing),
        CASE(test_the_first_error_is_told_and_nothing_changes),
        CASE(test_a_message_that_is_none_ends_the_call),
        CASE(test_a_call_that_goes_away_leaves_nothing),
        CASE(test_more_than_a_million_changes_are_refused),
        CASE(test_a_call_may_hold_64_mib),
        CASE(test_all_calls_together_may_hold_256_mib),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
