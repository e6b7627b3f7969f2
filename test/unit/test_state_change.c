/* Changes: what is refused and with which words, what becomes of each spelling, what is changed and what counts, all or nothing. */

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

/* ---- spellings ---- */

static const struct {
    struct state_change change;
    const char *expected; /* line of the database */
} spellings[] = {
#define TEXT(s)                                           \
    {                                                     \
        .ptr = (const uint8_t *)(s), .len = sizeof(s) - 1 \
    }
#define PUT(l, h, b)                                                                          \
    {                                                                                         \
        .kind = STATE_PUT_ROUTE, .listener = TEXT(l), .hostname = TEXT(h), .backend = TEXT(b) \
    }
#define RULE(t, v)                                                 \
    {                                                              \
        .kind = STATE_ADD_RULE, .rule_type = (t), .value = TEXT(v) \
    }
    {PUT(":443", "WWW.Example.COM.", "10.0.0.5:8443"), ":443 www.example.com 10.0.0.5:8443 0\n"},
    {PUT("127.0.0.1:8443", "*.Example.com", "[2001:DB8:0::5]:443"),
     "127.0.0.1:8443 *.example.com [2001:db8::5]:443 0\n"},
    {PUT("[::ffff:127.0.0.1]:8443", "*", "App.Internal:443"), "127.0.0.1:8443 * app.internal:443 0\n"},
    {PUT(":443", "a_b.example", "unix:/run/j\xc3\xb6rg.sock"), ":443 a_b.example unix:/run/j\xc3\xb6rg.sock 0\n"},
    {RULE(IP, "::ffff:192.0.2.7"), "ip 192.0.2.7\n"},
    {RULE(IP, "2001:DB8:0:0::7"), "ip 2001:db8::7\n"},
    {RULE(CIDR, "2001:DB8::/32"), "cidr 2001:db8::/32\n"},
    {RULE(CIDR, "0.0.0.0/0"), "cidr 0.0.0.0/0\n"},
};

static void test_each_spelling_is_stored_in_one_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        struct proxy *p = proxy_new();
        must_apply(p, spellings[i].change);
        expect_database(p, spellings[i].expected);
        proxy_reopen(p); /* and our own loader takes it */
        proxy_free(p);
    }
}

static void test_two_spellings_are_one_rule(void **state)
{
    struct proxy *p = *state;

    must_apply(p, rule_change(STATE_ADD_RULE, IP, "2001:db8::7"));
    expect_rc(p->f, apply_one(p, rule_change(STATE_ADD_RULE, IP, "2001:0DB8:0:0:0:0:0:7")), ERR_EXISTS);
    must_apply(p, rule_change(STATE_REMOVE_RULE, IP, "2001:db8:0::7"));
    expect_database(p, "");
}

/* ---- refusals ---- */

static const struct {
    struct state_change change;
    int rc;
    const char *begins;
} refusals[] = {
#define DEL(l, h)                                                            \
    {                                                                        \
        .kind = STATE_REMOVE_ROUTE, .listener = TEXT(l), .hostname = TEXT(h) \
    }
#define DROP(t, v)                                                    \
    {                                                                 \
        .kind = STATE_REMOVE_RULE, .rule_type = (t), .value = TEXT(v) \
    }
    {PUT("", "a.example", "a:1"), ERR_INVALID, "listener_addr: must not be empty"},
    {PUT("nonsense", "a.example", "a:1"), ERR_INVALID, "listener_addr: "},
    {PUT(":443\0", "a.example", "a:1"), ERR_INVALID, "listener_addr: must not contain a NUL (it is \":443\\x00\")"},
    {PUT(":443\n", "a.example", "a:1"), ERR_INVALID, "listener_addr: "},
    {PUT(":444", "a.example", "a:1"), ERR_NOT_FOUND, "listener_addr: no listener of the configuration has"},
    {PUT(":443", "", "a:1"), ERR_INVALID, "route.hostname: must not be empty"},
    {PUT(":443", "a..example", "a:1"), ERR_INVALID, "route.hostname: "},
    {PUT(":443", "a.example\0.evil", "a:1"), ERR_INVALID, "route.hostname: must not contain a NUL"},
    {PUT(":443", "a b", "a:1"), ERR_INVALID, "route.hostname: "},
    {PUT(":443", "\xff\xfe", "a:1"), ERR_INVALID, "route.hostname: "},
    {PUT(":443", "*.*.example", "a:1"), ERR_INVALID, "route.hostname: "},
    {PUT(":443", "a.example", ""), ERR_INVALID, "route.backend: must not be empty"},
    {PUT(":443", "a.example", "10.0.0.5"), ERR_INVALID, "route.backend: "},
    {PUT(":443", "a.example", "10.0.0.5:0"), ERR_INVALID, "route.backend: "},
    {PUT(":443", "a.example", "10.0.0.5:65536"), ERR_INVALID, "route.backend: "},
    {PUT(":443", "a.example", "10.0.0.256:1"), ERR_INVALID, "route.backend: "},
    {PUT(":443", "a.example", "unix:relative"), ERR_INVALID, "route.backend: "},
    {PUT(":443", "a.example", "unix:/run/\xff.sock"), ERR_INVALID, "route.backend: the path must be UTF-8"},
    {PUT(":443", "a.example", "unix:/run/a\nb.sock"), ERR_INVALID, "route.backend: the path must be UTF-8"},
    {PUT(":443", "a.example", "unix:/a\0"), ERR_INVALID, "route.backend: must not contain a NUL"},
    {PUT(":443", "a.example", "\xf0\x28:"), ERR_INVALID, "route.backend: "},
    {PUT(":444", "a..example", "a:1"), ERR_INVALID, "route.hostname: "}, /* all fields before what exists */
    {DEL(":443", "a..example"), ERR_INVALID, "hostname: "},
    {DEL("", "a.example"), ERR_INVALID, "listener_addr: "},
    {DEL(":443", "a.example"), ERR_NOT_FOUND, "hostname: there is no route for \"a.example\""},
    {DEL(":1", "a.example"), ERR_NOT_FOUND, "listener_addr: "},
    {RULE(IP, ""), ERR_INVALID, "rule.value: must not be empty"},
    {RULE(IP, "192.0.2.7\0"), ERR_INVALID, "rule.value: must not contain a NUL"},
    {RULE(IP, "192.0.2.0/24"), ERR_INVALID, "rule.value: "},
    {RULE(IP, "192.0.2.07"), ERR_INVALID, "rule.value: "},
    {RULE(IP, "fe80::1%eth0"), ERR_INVALID, "rule.value: "},
    {RULE(CIDR, "198.51.100.7/24"), ERR_INVALID, "rule.value: "},
    {RULE(CIDR, "198.51.100.0/33"), ERR_INVALID, "rule.value: "},
    {RULE(CIDR, "198.51.100.0"), ERR_INVALID, "rule.value: "},
    {RULE(CIDR, "::ffff:198.51.100.0/120"), ERR_INVALID, "rule.value: "},
    {RULE(COUNTRY, "kp"), ERR_INVALID, "rule.value: "},
    {RULE(COUNTRY, "KPX"), ERR_INVALID, "rule.value: "},
    {RULE((enum store_rule_type)9, "x"), ERR_INVALID, "rule.type: "},
    {DROP(IP, "192.0.2.7"), ERR_NOT_FOUND, "rule: the firewall does not have rule ip 192.0.2.7"},
    {DROP(CIDR, "x"), ERR_INVALID, "rule.value: "},
};

static void expect_printable(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c < ' ' || *c > '~')
            fail_msg("not printable: %s", text);
    }
}

static void test_each_refusal_names_its_field_and_changes_nothing(void **state)
{
    struct proxy *p = *state;
    uint64_t generation = state_generation(p->state);

    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        int rc = apply_one(p, refusals[i].change);
        if (strncmp(p->f->words, refusals[i].begins, strlen(refusals[i].begins)) != 0)
            fail_msg("case %zu: %s", i, p->f->words);
        expect_printable(p->f->words);
        assert_int_equal(p->failed, 0);
        expect_rc(p->f, rc, refusals[i].rc);
    }
    expect_database(p, "");
    assert_int_equal(state_generation(p->state), generation);
}

static void test_a_field_of_megabytes_is_refused_in_a_short_line(void **state)
{
    struct proxy *p = *state;
    static char huge[4 << 20];
    struct state_change change = put_on(FIRST, "a.example", "a:1");

    memset(huge, 'a', sizeof huge);
    struct bytes text = bytes_of(huge, sizeof huge);
    struct bytes *const fields[] = {&change.listener, &change.hostname, &change.backend};
    for (size_t i = 0; i < 3; i++) {
        struct bytes kept = *fields[i];
        *fields[i] = text;
        int rc = apply_one(p, change);
        assert_true(p->f->why.len < 250);
        expect_rc(p->f, rc, ERR_INVALID);
        *fields[i] = kept;
    }
    must_apply(p, change);
}

static void test_every_byte_in_every_field_ends_in_a_verdict(void **state)
{
    struct proxy *p = *state;

    for (unsigned byte = 0; byte < 256; byte++) {
        char text[8] = {'a', (char)byte, 'b', '.', 'e', 'x', ':', '1'};
        struct state_change changes[] = {put_on(FIRST, "a.example", "a:1"), put_on(FIRST, "a.example", "a:1"),
                                         rule_change(STATE_ADD_RULE, IP, "")};
        changes[0].hostname = bytes_of(text, 6);
        changes[1].backend = bytes_of(text, 8);
        changes[2].value = bytes_of(text, 8);
        for (size_t i = 0; i < 3; i++) {
            int rc = apply_one(p, changes[i]);
            assert_true(rc == 0 || rc == ERR_INVALID);
            expect_printable(p->f->words);
            strbuf_reset(&p->f->why);
        }
    }
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

/* ---- lists ---- */

static void test_the_order_of_first_insertion_survives_replacing_and_a_restart(void **state)
{
    struct proxy *p = *state;

    must_apply(p, put_on(FIRST, "z.example", "10.0.0.1:1"));
    must_apply(p, put_on(FIRST, "a.example", "10.0.0.2:1"));
    must_apply(p, put_on(FIRST, "m.example", "10.0.0.3:1"));
    must_apply(p, put_on(FIRST, "z.example", "10.0.0.9:1"));
    must_apply(p, remove_on(FIRST, "a.example"));
    must_apply(p, put_on(FIRST, "a.example", "10.0.0.4:1"));
    static const char expected[] =
        ":443 z.example 10.0.0.9:1 0\n:443 m.example 10.0.0.3:1 0\n:443 a.example 10.0.0.4:1 0\n";
    expect_database(p, expected);
    proxy_reopen(p);
    expect_database(p, expected);
    expect_route(p, FIRST, "z.example", "10.0.0.9:1");
}

static int read_pages(struct proxy *p, uint32_t limit, char *out, size_t size)
{
    struct strbuf lines = strbuf_init(out, size);
    struct state_page page = {.limit = limit};
    int pages = 0;

    do {
        expect_rc(p->f, state_each_route(p->state, bytes_of_str(FIRST), &page, add_route_line, &lines, &p->f->why), 0);
        pages++;
    } while (page.position != 0);
    return pages;
}

static void test_pages_put_together_are_the_list(void **state)
{
    struct proxy *p = *state;
    char whole[2048], pieces[2048], name[32];

    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "n%d.example", 97 * i % 20);
        must_apply(p, put_on(i % 4 == 3 ? SECOND : FIRST, name, "10.0.0.1:1"));
    }
    assert_int_equal(read_pages(p, UINT32_MAX, whole, sizeof whole), 1);
    for (uint32_t limit = 1; limit <= 16; limit++) {
        assert_int_equal(read_pages(p, limit, pieces, sizeof pieces), (15 + limit - 1) / limit);
        assert_string_equal(pieces, whole);
    }
}

static void test_a_row_that_goes_between_pages_moves_no_other(void **state)
{
    struct proxy *p = *state;
    struct state_page page = {.limit = 2};
    char text[512];
    struct strbuf lines = STRBUF_OF(text);
    static const char *const values[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"};

    for (size_t i = 0; i < 5; i++)
        must_apply(p, rule_change(STATE_ADD_RULE, IP, values[i]));
    expect_rc(p->f, state_each_rule(p->state, &page, add_rule_line, &lines, &p->f->why), 0);
    must_apply(p, rule_change(STATE_REMOVE_RULE, IP, values[0]));
    must_apply(p, rule_change(STATE_REMOVE_RULE, IP, values[2]));
    expect_rc(p->f, state_each_rule(p->state, &page, add_rule_line, &lines, &p->f->why), 0);
    assert_int_equal(page.position, 0);
    assert_string_equal(text, "ip 192.0.2.1\nip 192.0.2.2\nip 192.0.2.4\nip 192.0.2.5\n");
    page.position = UINT64_MAX;
    expect_rc(p->f, state_each_rule(p->state, &page, add_rule_line, &lines, &p->f->why), 0);
    assert_int_equal(page.position, 0);
}

static int stop_at_once(const struct store_rule *rule, void *ctx)
{
    (void)rule;
    ++*(int *)ctx;
    return ERR_CLOSED;
}

static void test_a_reader_may_stop(void **state)
{
    struct proxy *p = *state;
    struct state_page page = {.limit = 10};
    int calls = 0;

    must_apply(p, rule_change(STATE_ADD_RULE, IP, "192.0.2.1"));
    must_apply(p, rule_change(STATE_ADD_RULE, IP, "192.0.2.2"));
    assert_int_equal(state_each_rule(p->state, &page, stop_at_once, &calls, &p->f->why), ERR_CLOSED);
    assert_int_equal(calls, 1);
    must_apply(p, rule_change(STATE_REMOVE_RULE, IP, "192.0.2.2"));
}

/* ---- limits ---- */

static void test_a_stored_limit_is_in_force_and_beats_the_file(void **state)
{
    struct proxy *p = *state;
    uint16_t id = id_of_listener(p, SECOND);

    assert_int_equal(state_max_connections(p->state, id), 7);
    expect_rc(p->f, state_set_max_connections(p->state, bytes_of_str(SECOND), 12, &p->f->why), 0);
    assert_int_equal(state_max_connections(p->state, id), 12);
    proxy_reopen(p);
    assert_int_equal(state_max_connections(p->state, id_of_listener(p, SECOND)), 12);
    expect_rc(p->f, state_set_max_connections(p->state, bytes_of_str(SECOND), 0, &p->f->why), 0);
    proxy_reopen(p);
    assert_int_equal(state_max_connections(p->state, id_of_listener(p, SECOND)), 0);
    int rc = state_set_max_connections(p->state, bytes_of_str("x"), 0, &p->f->why);
    assert_int_equal(strncmp(p->f->words, "listener_addr: ", 15), 0);
    expect_rc(p->f, rc, ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROXY_TEST(test_a_route_is_added_replaced_and_removed),
        PROXY_TEST(test_a_flag_alone_is_a_replacement),
        PROXY_TEST(test_the_same_route_again_changes_nothing),
        PROXY_TEST(test_rules_are_added_and_removed),
        PROXY_TEST(test_a_country_needs_a_geoip_database),
        cmocka_unit_test(test_each_spelling_is_stored_in_one_form),
        PROXY_TEST(test_two_spellings_are_one_rule),
        PROXY_TEST(test_each_refusal_names_its_field_and_changes_nothing),
        PROXY_TEST(test_a_field_of_megabytes_is_refused_in_a_short_line),
        PROXY_TEST(test_every_byte_in_every_field_ends_in_a_verdict),
        PROXY_TEST(test_a_listener_that_only_the_database_has_is_not_found),
        PROXY_TEST(test_later_changes_see_earlier_ones),
        PROXY_TEST(test_a_list_with_one_bad_change_changes_nothing),
        PROXY_TEST(test_the_empty_list_is_fine),
        PROXY_TEST(test_validate_only_counts_the_same_and_changes_nothing),
        PROXY_TEST(test_names_of_backends_are_asked_for),
        PROXY_TEST(test_workers_see_all_of_a_list_or_nothing),
        PROXY_TEST(test_the_order_of_first_insertion_survives_replacing_and_a_restart),
        PROXY_TEST(test_pages_put_together_are_the_list),
        PROXY_TEST(test_a_row_that_goes_between_pages_moves_no_other),
        PROXY_TEST(test_a_reader_may_stop),
        PROXY_TEST(test_a_stored_limit_is_in_force_and_beats_the_file),
    };

    if (access("/dev/shm", W_OK) == 0)
        fixture_root = "/dev/shm";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
