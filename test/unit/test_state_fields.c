/* Requests: what becomes of each spelling, what is refused and with which words. */

#include "state_fixture.h"

#define IP      STORE_RULE_IP
#define CIDR    STORE_RULE_CIDR
#define COUNTRY STORE_RULE_COUNTRY

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_spelling_is_stored_in_one_form),
        PROXY_TEST(test_two_spellings_are_one_rule),
        PROXY_TEST(test_each_refusal_names_its_field_and_changes_nothing),
        PROXY_TEST(test_a_field_of_megabytes_is_refused_in_a_short_line),
        PROXY_TEST(test_every_byte_in_every_field_ends_in_a_verdict),
    };

    if (access("/dev/shm", W_OK) == 0)
        fixture_root = "/dev/shm";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
