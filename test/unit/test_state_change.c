/* Changes: what is changed and what counts, all or nothing, and what workers see of it. */

#include "state_fixture.h"

#define IP      STORE_RULE_IP
#define CIDR    STORE_RULE_CIDR
#define COUNTRY STORE_RULE_COUNTRY

/* ---- single changes ---- */

static void test_a_route_is_added_replaced_and_removed(void **state)
{
    struct proxy *p = *state;

    must_apply(p, put_on(FIRST, "www.example.com", "10.0.0.1:443"));
    assert_int_equal(p->applied.routes_added, 1);
    expect_route(p, FIRST, "www.example.com", "10.0.0.1:443");
    must_apply(p, put_on(FIRST, "www.example.com", "10.0.0.2:443"));
    assert_int_equal(p->applied.routes_added, 0);
    assert_int_equal(p->applied.routes_replaced, 1);
    expect_route(p, FIRST, "www.example.com", "10.0.0.2:443");
    expect_database(p, ":443 www.example.com 10.0.0.2:443 0\n");
    must_apply(p, remove_on(FIRST, "www.example.com"));
    assert_int_equal(p->applied.routes_removed, 1);
    expect_route(p, FIRST, "www.example.com", "");
    expect_database(p, "");
}

static void test_a_flag_alone_is_a_replacement(void **state)
{
    struct proxy *p = *state;
    struct state_change change = put_on(FIRST, "a.example", "10.0.0.1:443");

    must_apply(p, change);
    change.send_proxy_protocol = true;
    must_apply(p, change);
    assert_int_equal(p->applied.routes_replaced, 1);
    expect_database(p, ":443 a.example 10.0.0.1:443 1\n");
}

static void test_the_same_route_again_changes_nothing(void **state)
{
    struct proxy *p = *state;

    must_apply(p, put_on(FIRST, "a.example", "10.0.0.1:443"));
    uint64_t generation = state_generation(p->state);
    must_apply(p, put_on(":443", "A.example.", "10.0.0.1:443"));
    assert_int_equal(p->applied.unchanged, 1);
    assert_int_equal(p->applied.routes_added + p->applied.routes_replaced, 0);
    assert_int_equal(state_generation(p->state), generation);
    must_apply(p, put_on(FIRST, "a.example", "10.0.0.1:444"));
    assert_int_equal(state_generation(p->state), generation + 1);
}

static void test_rules_are_added_and_removed(void **state)
{
    struct proxy *p = *state;

    must_apply(p, rule_change(STATE_ADD_RULE, IP, "192.0.2.7"));
    must_apply(p, rule_change(STATE_ADD_RULE, CIDR, "198.51.100.0/24"));
    assert_int_equal(p->applied.rules_added, 1);
    assert_int_equal(verdict_on(p, "192.0.2.7"), FIREWALL_BLOCKED_IP);
    assert_int_equal(verdict_on(p, "198.51.100.9"), FIREWALL_BLOCKED_CIDR);
    assert_int_equal(state_rule_count(p->state), 2);
    must_apply(p, rule_change(STATE_REMOVE_RULE, IP, "192.0.2.7"));
    assert_int_equal(p->applied.rules_removed, 1);
    assert_int_equal(verdict_on(p, "192.0.2.7"), FIREWALL_PASS);
    expect_database(p, "cidr 198.51.100.0/24\n");
}

static void test_a_country_needs_a_geoip_database(void **state)
{
    struct proxy *p = *state;
    struct state_change add = rule_change(STATE_ADD_RULE, COUNTRY, "KP");

    int rc = apply_one(p, add);
    assert_int_equal(strncmp(p->f->words, "rule.type: ", 11), 0);
    expect_rc(p->f, rc, ERR_PRECONDITION);
    state_set_geoip_available(p->state, true);
    must_apply(p, add);
    assert_int_equal(verdict_on(p, "192.0.2.7"), FIREWALL_BLOCKED_COUNTRY);
    state_set_geoip_available(p->state, false);
    must_apply(p, rule_change(STATE_REMOVE_RULE, COUNTRY, "KP"));
    assert_int_equal(verdict_on(p, "192.0.2.7"), FIREWALL_PASS);
}

static void test_a_listener_that_only_the_database_has_is_not_found(void **state)
{
    struct proxy *p = *state;
    struct state_page page = {.limit = 10};
    char lines[64];
    struct strbuf text = STRBUF_OF(lines);

    must_apply(p, put_on(SECOND, "a.example", "10.0.0.1:1"));
    proxy_load(p, 1);
    expect_rc(p->f, apply_one(p, put_on(SECOND, "a.example", "10.0.0.2:1")), ERR_NOT_FOUND);
    expect_rc(p->f, apply_one(p, allowed(remove_on(SECOND, "a.example"))), ERR_NOT_FOUND);
    expect_rc(p->f, state_set_max_connections(p->state, bytes_of_str(SECOND), 1, &p->f->why), ERR_NOT_FOUND);
    expect_rc(p->f, state_each_route(p->state, bytes_of_str(SECOND), &page, add_route_line, &text, &p->f->why),
              ERR_NOT_FOUND);
    proxy_load(p, BOTH);
    must_apply(p, put_on(SECOND, "a.example", "10.0.0.2:1"));
    assert_int_equal(p->applied.routes_replaced, 1);
}

/* ---- many as one ---- */

static void test_later_changes_see_earlier_ones(void **state)
{
    struct proxy *p = *state;
    struct state_change changes[] = {
        put_on(FIRST, "a.example", "10.0.0.1:1"),
        put_on(FIRST, "a.example", "10.0.0.2:1"),
        put_on(FIRST, "a.example", "10.0.0.2:1"),
        remove_on(FIRST, "a.example"),
        allowed(remove_on(FIRST, "a.example")),
        put_on(FIRST, "*.example", "10.0.0.3:1"),
        rule_change(STATE_ADD_RULE, IP, "192.0.2.7"),
        rule_change(STATE_ADD_RULE, CIDR, "192.0.2.7/32"),
        allowed(rule_change(STATE_ADD_RULE, IP, "::ffff:192.0.2.7")),
        rule_change(STATE_REMOVE_RULE, IP, "192.0.2.7"),
        allowed(rule_change(STATE_REMOVE_RULE, IP, "192.0.2.7")),
    };

    expect_rc(p->f, apply(p, changes, sizeof changes / sizeof changes[0]), 0);
    assert_int_equal(p->applied.routes_added, 2);
    assert_int_equal(p->applied.routes_replaced, 1);
    assert_int_equal(p->applied.routes_removed, 1);
    assert_int_equal(p->applied.rules_added, 2);
    assert_int_equal(p->applied.rules_removed, 1);
    assert_int_equal(p->applied.unchanged, 4);
    expect_database(p, ":443 *.example 10.0.0.3:1 0\ncidr 192.0.2.7/32\n");
    expect_route(p, FIRST, "a.example", "10.0.0.3:1");
    assert_int_equal(verdict_on(p, "192.0.2.7"), FIREWALL_BLOCKED_CIDR);
    assert_int_equal(state_route_count(p->state, id_of_listener(p, FIRST)), 1);
}

static void test_a_list_with_one_bad_change_changes_nothing(void **state)
{
    struct proxy *p = *state;
    const struct state_change bad[] = {
        put_on(FIRST, "..", "a:1"),
        put_on(":1", "b.example", "a:1"),
        remove_on(FIRST, "b.example"),
        rule_change(STATE_ADD_RULE, IP, "192.0.2.7"),
        rule_change(STATE_REMOVE_RULE, IP, "192.0.2.9"),
        rule_change(STATE_ADD_RULE, COUNTRY, "KP"),
    };
    const int codes[] = {ERR_INVALID, ERR_NOT_FOUND, ERR_NOT_FOUND, ERR_EXISTS, ERR_NOT_FOUND, ERR_PRECONDITION};

    must_apply(p, put_on(FIRST, "a.example", "10.0.0.1:1"));
    must_apply(p, rule_change(STATE_ADD_RULE, IP, "192.0.2.7"));
    uint64_t generation = state_generation(p->state);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (size_t at = 0; at < 4; at++) {
            struct state_change changes[] = {
                put_on(FIRST, "a.example", "10.0.0.9:1"),
                remove_on(FIRST, "a.example"),
                rule_change(STATE_ADD_RULE, IP, "192.0.2.8"),
                put_on(FIRST, "c.example", "name.example:1"),
            };
            changes[at] = bad[i];
            if (at == 0)
                changes[1].allow_unchanged = true;
            expect_rc(p->f, apply(p, changes, 4), codes[i]);
            assert_int_equal(p->failed, at);
            expect_database(p, ":443 a.example 10.0.0.1:1 0\nip 192.0.2.7\n");
            expect_route(p, FIRST, "a.example", "10.0.0.1:1");
            expect_route(p, FIRST, "c.example", "");
            assert_int_equal(verdict_on(p, "192.0.2.8"), FIREWALL_PASS);
        }
    }
    assert_int_equal(state_generation(p->state), generation);
    assert_true(state_is_settled(p->state)); /* the name of a change that was dropped is asked for no more */
}

static void test_the_empty_list_is_fine(void **state)
{
    struct proxy *p = *state;

    p->applied.unchanged = 9;
    expect_rc(p->f, apply(p, NULL, 0), 0);
    assert_int_equal(p->applied.unchanged, 0);
    assert_int_equal(p->failed, 0);
}

static void test_validate_only_counts_the_same_and_changes_nothing(void **state)
{
    struct proxy *p = *state;
    struct state_change changes[] = {
        put_on(FIRST, "a.example", "10.0.0.2:1"),
        put_on(FIRST, "b.example", "name.example:1"),
        put_on(SECOND, "b.example", "10.0.0.2:1"),
        remove_on(SECOND, "b.example"),
        rule_change(STATE_ADD_RULE, CIDR, "198.51.100.0/24"),
    };
    struct state_applied would;
    char before[8192];

    must_apply(p, put_on(FIRST, "a.example", "10.0.0.1:1"));
    database_text(p, before, sizeof before);
    uint64_t generation = state_generation(p->state);
    expect_rc(p->f, state_apply(p->state, changes, 5, true, &would, &p->failed, &p->f->why), 0);
    expect_database(p, before);
    expect_route(p, FIRST, "b.example", "");
    assert_int_equal(verdict_on(p, "198.51.100.1"), FIREWALL_PASS);
    assert_int_equal(state_generation(p->state), generation);
    assert_true(state_is_settled(p->state));
    expect_rc(p->f, apply(p, changes, 5), 0);
    assert_memory_equal(&would, &p->applied, sizeof would);
    changes[0] = put_on(FIRST, "a b", "a:1");
    expect_rc(p->f, state_apply(p->state, changes, 5, true, &would, &p->failed, &p->f->why), ERR_INVALID);
    assert_int_equal(p->failed, 0);
}

static void test_names_of_backends_are_asked_for(void **state)
{
    struct proxy *p = *state;
    struct state_change changes[] = {put_on(FIRST, "a.example", "one.example:1"),
                                     put_on(FIRST, "b.example", "two.example:1")};

    assert_true(state_is_settled(p->state));
    must_apply(p, changes[0]);
    assert_false(state_is_settled(p->state));
    must_apply(p, remove_on(FIRST, "a.example"));
    state_housekeeping(p->state, 1);
    assert_true(state_is_settled(p->state));
    expect_rc(p->f, apply(p, changes, 2), 0);
    assert_false(state_is_settled(p->state));
}

/** Names of backends come and go in any order; the last one to go leaves nothing to be asked for. */
static void test_many_names_of_backends_come_and_go(void **state)
{
    enum { COUNT = 500 };
    struct proxy *p = *state;
    static struct state_change changes[COUNT];
    static char texts[COUNT][2][32];

    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            snprintf(texts[i][0], sizeof texts[i][0], "n%u.example", i);
            snprintf(texts[i][1], sizeof texts[i][1], "backend%u.example:1", i);
            changes[i] = put_on(FIRST, texts[i][0], texts[i][1]);
        }
        expect_rc(p->f, apply(p, changes, COUNT), 0);
        for (unsigned i = 0; i < COUNT; i++) {
            unsigned which = (i * 7919 + round) % COUNT;
            assert_false(state_is_settled(p->state));
            must_apply(p, remove_on(FIRST, texts[which][0]));
            state_housekeeping(p->state, 1);
        }
        assert_true(state_is_settled(p->state));
    }
}

/* ---- workers see all or nothing ---- */

#define MANY 300

static struct proxy *watched;
static unsigned steps_seen, states_seen;

/** Between any two stores of the change: the routes are all old or all new, and so are the rules. */
static void on_step(const char *step)
{
    char found[BACKEND_TEXT_MAX];
    unsigned new_routes = 0, blocked = 0;

    (void)step;
    steps_seen++;
    for (unsigned i = 0; i < MANY; i += 23) {
        char text[32];
        snprintf(text, sizeof text, "n%u.example", i);
        lookup(watched->state->tables, 0, text, found);
        new_routes += strcmp(found, "10.0.0.2:1") == 0;
        snprintf(text, sizeof text, "192.0.%u.7", i);
        struct ip_addr addr = {.family = 4, .bytes = {192, 0, (uint8_t)(i % 256), 7}};
        const struct table_view *view = &watched->state->tables->view;
        const struct shm_root *root = table_pin(view);
        blocked += firewall_match_addr(view->tables, root, &addr) != FIREWALL_PASS;
        table_release(view);
    }
    unsigned all = (MANY + 22) / 23;
    if ((new_routes != 0 && new_routes != all) || (blocked != 0 && blocked != all))
        fail_msg("half a change at %s: %u routes, %u rules of %u", step, new_routes, blocked, all);
    states_seen |= new_routes == 0 ? 1u : 2u;
}

static void fill_changes(struct state_change *changes, char (*texts)[2][32], const char *backend)
{
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(texts[i][0], sizeof texts[i][0], "n%u.example", i);
        snprintf(texts[i][1], sizeof texts[i][1], "192.0.%u.0/%u", i % 256, i < 256 ? 24 : 26);
        changes[2 * i] = put_on(FIRST, texts[i][0], backend);
        changes[2 * i + 1] = rule_change(STATE_ADD_RULE, CIDR, texts[i][1]);
    }
}

static void test_workers_see_all_of_a_list_or_nothing(void **state)
{
    struct proxy *p = *state;
    static struct state_change changes[2 * MANY];
    static char texts[MANY][2][32];

    watched = p;
    fill_changes(changes, texts, "10.0.0.1:1");
    for (unsigned i = 0; i < MANY; i++)
        must_apply(p, changes[2 * i]);
    fill_changes(changes, texts, "10.0.0.2:1");
    steps_seen = states_seen = 0;
    tables_on_step = on_step;
    int rc = apply(p, changes, 2 * MANY);
    tables_on_step = NULL;
    expect_rc(p->f, rc, 0);
    assert_true(steps_seen > MANY);
    assert_int_equal(states_seen, 3);
    assert_int_equal(p->applied.routes_replaced, MANY);
    assert_int_equal(p->applied.rules_added, MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROXY_TEST(test_a_route_is_added_replaced_and_removed),
        PROXY_TEST(test_a_flag_alone_is_a_replacement),
        PROXY_TEST(test_the_same_route_again_changes_nothing),
        PROXY_TEST(test_rules_are_added_and_removed),
        PROXY_TEST(test_a_country_needs_a_geoip_database),
        PROXY_TEST(test_a_listener_that_only_the_database_has_is_not_found),
        PROXY_TEST(test_later_changes_see_earlier_ones),
        PROXY_TEST(test_a_list_with_one_bad_change_changes_nothing),
        PROXY_TEST(test_the_empty_list_is_fine),
        PROXY_TEST(test_validate_only_counts_the_same_and_changes_nothing),
        PROXY_TEST(test_names_of_backends_are_asked_for),
        PROXY_TEST(test_many_names_of_backends_come_and_go),
        PROXY_TEST(test_workers_see_all_of_a_list_or_nothing),
    };

    if (access("/dev/shm", W_OK) == 0)
        fixture_root = "/dev/shm";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
