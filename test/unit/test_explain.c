/* What is said of a connection that nobody has made: every way it can end before a backend, every kind of route, and that asking
 * leaves no trace. That connections then fare as was said is test/integration/test_explain.py's. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config.h"
#include "explain.h"
#include "firewall_fixture.h"
#include "geoip_reader.h"
#include "tables_fixture.h"

#define SECOND 1000000000ull
#define NOW    (3600000 * SECOND)
#define ROUTED (-1) /* in place of a reason */

#define COUNTRIES MCPROXY_SOURCE_DIR "/test/fuzz/corpus/geoip_reader/country4_28"

/* ---- a proxy: its listeners, tables, limits ---- */

enum { PLAIN, ALERT, CATCH_ALL, TRUSTED_ONLY, MIXED, HEADER_FROM_ALL, FULL, NEARLY_FULL, LISTENERS };

static struct ip_cidr trusted[] = {{.addr = {.family = 4, .bytes = {10}}, .prefix_len = 8}};

static const struct config_listener listeners[LISTENERS] = {
    [ALERT] = {.no_route_mode = NO_ROUTE_ALERT},
    [TRUSTED_ONLY] = {.proxy_mode = PROXY_MODE_REQUIRED, .trusted = trusted, .trusted_count = 1},
    [MIXED] = {.proxy_mode = PROXY_MODE_MIXED, .trusted = trusted, .trusted_count = 1},
    [HEADER_FROM_ALL] = {.proxy_mode = PROXY_MODE_REQUIRED},
};

struct world {
    struct tables_fixture f;
    struct firewall_writer *firewall;
    struct rate_table *rates;
    struct geoip_reader *geoip;
};

static void put(struct world *w, uint16_t listener, const char *pattern, const char *backend, bool send_proxy_protocol)
{
    struct host_pattern p = pattern_of(pattern);
    struct backend_addr b;
    char why_text[128];
    struct strbuf why = STRBUF_OF(why_text);

    assert_int_equal(backend_addr_parse(bytes_of_str(backend), &b, &why), 0);
    assert_int_equal(route_put(w->f.routes, listener, &p, &b, send_proxy_protocol, NULL), 0);
}

/** What a resolver would have found. */
static void resolve(struct world *w, const char *host, const struct ip_endpoint *addrs, unsigned count)
{
    struct backend_addr b = backend_name(host);
    uint32_t id;

    assert_int_equal(backend_set_acquire(w->f.backends, &b, &id), 0);
    assert_int_equal(backend_set_update(w->f.backends, id, addrs, count), 0);
    backend_set_release(w->f.backends, id);
}

static void put_routes(struct world *w)
{
    static const struct ip_endpoint addrs[] = {{.addr = {.family = 4, .bytes = {10, 0, 0, 8}}, .port = 443},
                                               {.addr = {.family = 4, .bytes = {10, 0, 0, 9}}, .port = 443}};

    put(w, PLAIN, "www.example.com", "10.0.0.1:8443", false);
    put(w, PLAIN, "*.example.com", "10.0.0.2:8443", false);
    put(w, PLAIN, "*.apps.example.com", "10.0.0.3:8443", true);
    put(w, PLAIN, "unknown.test", "gone.internal:443", false);
    put(w, PLAIN, "one.test", "one.internal:443", false);
    put(w, PLAIN, "two.test", "two.internal:443", true);
    put(w, PLAIN, "sock.test", "unix:/run/app.sock", false);
    put(w, CATCH_ALL, "*", "[2001:db8::5]:443", false);
    resolve(w, "one.internal", addrs, 1);
    resolve(w, "two.internal", addrs, 2);
}

static void add_rules(struct world *w)
{
    static const char *const rules[] = {"198.51.100.7", "2001:db8:1::7", "198.51.100.0/25", "2001:db8:1::/48", "KP"};

    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        struct firewall_rule rule = rule_of(rules[i]);
        assert_int_equal(firewall_add(w->firewall, &rule), 0);
    }
}

static struct geoip_reader *open_countries(void)
{
    static uint8_t data[1 << 16];
    struct geoip_reader *reader = NULL;
    int file = open(COUNTRIES, O_RDONLY | O_CLOEXEC), fd = memfd_create("countries", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ssize_t len = read(file, data, sizeof data);

    assert_in_range(len, 1, sizeof data - 1);
    close(file);
    assert_int_equal(write(fd, data, (size_t)len), len);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
    assert_int_equal(geoip_reader_open(fd, &reader), 0);
    return reader;
}

static void set_rate(struct world *w, uint32_t limit, uint32_t window_ms)
{
    rate_rules_set(&w->f.tables->shm->rate, (struct rate_rule){limit, window_ms}, w->rates, NOW);
}

static int begin(void **state)
{
    static const uint64_t seed[2] = {1, 2};
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    fixture_init(&w->f, 64 << 20, 2);
    assert_int_equal(firewall_writer_new(w->f.tables, &w->firewall), 0);
    w->rates = mmap(NULL, sizeof *w->rates, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(w->rates != MAP_FAILED);
    rate_table_init(w->rates, seed);
    put_routes(w);
    add_rules(w);
    tables_set_max_connections(w->f.tables, FULL, 2);
    tables_set_max_connections(w->f.tables, NEARLY_FULL, 3);
    for (unsigned slot = 0; slot < 2; slot++) {
        atomic_store(&w->f.stats->active[FULL][slot], 1);
        atomic_store(&w->f.stats->active[NEARLY_FULL][slot], 1);
    }
    atomic_store(&w->f.stats->active[CATCH_ALL][1], 1);
    w->geoip = open_countries();
    *state = w;
    return 0;
}

static int end(void **state)
{
    struct world *w = *state;

    geoip_reader_close(&w->geoip);
    munmap(w->rates, sizeof *w->rates);
    firewall_writer_free(&w->firewall);
    fixture_fini(&w->f);
    free(w);
    return 0;
}

/* ---- questions ---- */

struct question {
    uint16_t listener;
    const char *client, *peer, *sni; /* peer NULL: not said */
};

static void ask(const struct world *w, struct question q, struct explanation *out)
{
    struct explain_parts parts = {.tables = w->f.tables, .rates = w->rates, .stats = w->f.stats, .geoip = w->geoip};
    struct explain_question question = {.listener = &listeners[q.listener],
                                        .listener_id = q.listener,
                                        .client = addr_of(q.client),
                                        .sni = bytes_of_str(q.sni),
                                        .now_ns = NOW};

    if (q.peer != NULL)
        question.peer = addr_of(q.peer);
    explain_connection(&parts, &question, out);
}

/** "accept: ...\nproxy: ...\n" */
static void add_steps(const struct explanation *e, struct strbuf *out)
{
    for (unsigned i = 0; i < e->step_count; i++)
        strbuf_addf(out, "%s: %s\n", explain_step_word(e->steps[i].kind), e->steps[i].text);
}

struct explain_case {
    struct question question;
    int reason;
    const char *ending; /* the last steps, as add_steps() writes them */
};

static void expect(const struct world *w, const struct explain_case *c)
{
    char text[4096];
    struct strbuf steps = STRBUF_OF(text);
    struct explanation e;
    size_t len = strlen(c->ending);

    ask(w, c->question, &e);
    add_steps(&e, &steps);
    int reason = e.is_routed ? ROUTED : (int)e.reason;
    if (reason != c->reason || steps.len < len || strcmp(text + steps.len - len, c->ending) != 0)
        fail_msg("%s of %s ends with %s (expected %s):\n%sexpected at the end:\n%s", c->question.sni,
                 c->question.client, reason == ROUTED ? "a backend" : close_reason_word(e.reason),
                 c->reason == ROUTED ? "a backend" : close_reason_word((enum close_reason)c->reason), text, c->ending);
}

static void expect_all(const struct world *w, const struct explain_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect(w, &cases[i]);
}

#define EXPECT_ALL(w, cases) expect_all(w, cases, sizeof(cases) / sizeof((cases)[0]))

/* ---- what is said ---- */

#define HOME "203.0.113.1"

static void every_step_is_told_in_its_order(void **state)
{
    static const struct explain_case c = {
        {PLAIN, HOME, NULL, "WWW.Example.Com."},
        ROUTED,
        "accept: 0 connections are open, max_connections is off\n"
        "proxy: proxy_protocol is off: who connects is the client\n"
        "firewall: no rule covers 203.0.113.1; its country is unknown, which is never blocked\n"
        "rate_limit: rate_limit is off\n"
        "hello: server name www.example.com\n"
        "route: www.example.com is the route of exactly this name\n"
        "backend: 10.0.0.1:8443\n",
    };

    expect(*state, &c);
}

static void over_the_limit_it_is_closed(void **state)
{
    static const struct explain_case cases[] = {
        {{FULL, "198.51.100.7", NULL, "x"},
         CLOSE_MAX_CONNECTIONS,
         "accept: 2 connections are open of max_connections 2: closed at once\n"},
        {{NEARLY_FULL, "198.51.100.7", NULL, "x"},
         CLOSE_BLOCKED_IP,
         "accept: 2 connections are open of max_connections 3\n"
         "proxy: proxy_protocol is off: who connects is the client\n"
         "firewall: 198.51.100.7 is blocked by the rule ip 198.51.100.7: reset\n"},
        {{CATCH_ALL, "198.51.100.7", NULL, "x"},
         CLOSE_BLOCKED_IP,
         "accept: 1 connection is open, max_connections is off\n"
         "proxy: proxy_protocol is off: who connects is the client\n"
         "firewall: 198.51.100.7 is blocked by the rule ip 198.51.100.7: reset\n"},
    };

    EXPECT_ALL(*state, cases);
}

/* Blocked clients, so that the firewall's step is the last one. */
static void a_header_is_expected_of_some(void **state)
{
#define BLOCKED "firewall: 198.51.100.7 is blocked by the rule ip 198.51.100.7: reset\n"
    static const struct explain_case cases[] = {
        {{TRUSTED_ONLY, "198.51.100.7", NULL, ""},
         CLOSE_BLOCKED_IP,
         "proxy: a PROXY header is expected, from peers in proxy_trusted: the address in it counts, 198.51.100.7\n" BLOCKED},
        {{TRUSTED_ONLY, "198.51.100.7", "10.1.2.3", ""},
         CLOSE_BLOCKED_IP,
         "proxy: a PROXY header is expected, 10.1.2.3 is in proxy_trusted: the address in it counts, 198.51.100.7\n" BLOCKED},
        {{TRUSTED_ONLY, HOME, "192.0.2.9", ""},
         CLOSE_PROXY_UNTRUSTED,
         "proxy: 192.0.2.9 is not in proxy_trusted: reset before a byte is read\n"},
        {{HEADER_FROM_ALL, "198.51.100.7", "192.0.2.9", ""},
         CLOSE_BLOCKED_IP,
         "proxy: a PROXY header is expected from everybody: the address in it counts, 198.51.100.7\n" BLOCKED},
        {{MIXED, "198.51.100.7", "10.1.2.3", ""},
         CLOSE_BLOCKED_IP,
         "proxy: a PROXY header is expected, 10.1.2.3 is in proxy_trusted: the address in it counts, 198.51.100.7\n" BLOCKED},
        {{MIXED, "198.51.100.7", NULL, ""},
         CLOSE_BLOCKED_IP,
         "proxy: no PROXY header is expected: the peer is not in proxy_trusted, so it is the client\n" BLOCKED},
        {{MIXED, HOME, "192.0.2.9", ""},
         CLOSE_HELLO_MALFORMED,
         "proxy: no PROXY header is expected: the peer is not in proxy_trusted, so it is the client; the header that it "
         "sends all the same is no ClientHello: reset\n"},
        {{PLAIN, HOME, "192.0.2.9", ""},
         CLOSE_HELLO_MALFORMED,
         "proxy: proxy_protocol is off: who connects is the client; the header that it sends all the same is no "
         "ClientHello: reset\n"},
    };
#undef BLOCKED

    EXPECT_ALL(*state, cases);
}

static void the_rule_that_blocks_is_named(void **state)
{
    static const struct explain_case cases[] = {
        {{PLAIN, "2001:db8:1::7", NULL, ""},
         CLOSE_BLOCKED_IP,
         "firewall: 2001:db8:1::7 is blocked by the rule ip 2001:db8:1::7: reset\n"},
        {{PLAIN, "198.51.100.8", NULL, ""},
         CLOSE_BLOCKED_CIDR,
         "firewall: 198.51.100.8 is blocked by the rule cidr 198.51.100.0/25: reset\n"},
        {{PLAIN, "2001:db8:1:2::3", NULL, ""},
         CLOSE_BLOCKED_CIDR,
         "firewall: 2001:db8:1:2::3 is blocked by the rule cidr 2001:db8:1::/48: reset\n"},
        {{PLAIN, "192.0.2.1", NULL, ""},
         CLOSE_BLOCKED_COUNTRY,
         "firewall: 192.0.2.1 is blocked by the rule country KP: reset\n"},
        {{PLAIN, "192.0.2.200", NULL, "nobody.test"},
         CLOSE_NO_ROUTE,
         "firewall: no rule covers 192.0.2.200; its country DE has no rule\nrate_limit: rate_limit is off\n"
         "hello: server name nobody.test\nroute: no route covers it, and no_route = reset: reset\n"},
    };
    struct world *w = *state;
    struct explanation e;

    EXPECT_ALL(w, cases);
    ask(w, (struct question){PLAIN, "198.51.100.8", NULL, ""}, &e);
    assert_true(e.has_rule && e.rule.prefix_len == 25 && e.country[0] == '\0');
    ask(w, (struct question){PLAIN, "192.0.2.1", NULL, ""}, &e);
    assert_false(e.has_rule);
    assert_string_equal(e.country, "KP");
    assert_false(e.was_rated);
}

static void without_a_database_no_country_is_known(void **state)
{
    static const struct explain_case c = {{PLAIN, "192.0.2.1", NULL, "nobody.test"},
                                          CLOSE_NO_ROUTE,
                                          "firewall: no rule covers 192.0.2.1\nrate_limit: rate_limit is off\n"
                                          "hello: server name nobody.test\n"
                                          "route: no route covers it, and no_route = reset: reset\n"};
    struct world *w = *state;

    geoip_reader_close(&w->geoip);
    expect(w, &c);
}

static void use(struct world *w, const char *client, unsigned times)
{
    struct ip_addr addr = addr_of(client);

    while (times-- > 0)
        assert_true(rate_table_admit(w->rates, &w->f.tables->shm->rate, &addr, NOW));
}

static void what_is_left_of_the_rate_is_counted(void **state)
{
#define NO_ROUTE \
    "hello: no server name: only the route * takes it\nroute: no route covers it, and no_route = reset: reset\n"
    static const struct explain_case three_a_minute[] = {
        {{PLAIN, "203.0.113.3", NULL, ""},
         CLOSE_RATE_LIMIT,
         "rate_limit: 203.0.113.3 has used 3 of 3 new connections in 1m; the next is admitted in 20001 ms: reset\n"},
        {{PLAIN, "203.0.113.2", NULL, ""},
         CLOSE_NO_ROUTE,
         "rate_limit: 203.0.113.2 has used 2 of 3 new connections in 1m\n" NO_ROUTE},
        {{PLAIN, "2001:db8:9::2", NULL, ""},
         CLOSE_NO_ROUTE,
         "rate_limit: 2001:db8:9::/64 has used 1 of 3 new connections in 1m\n" NO_ROUTE},
    };
    static const struct explain_case one_in_90_s[] = {
        {{PLAIN, HOME, NULL, ""},
         CLOSE_NO_ROUTE,
         "rate_limit: " HOME " has used 0 of 1 new connection in 90s\n" NO_ROUTE},
    };
    static const struct explain_case two_in_1500_ms[] = {
        {{PLAIN, HOME, NULL, ""},
         CLOSE_NO_ROUTE,
         "rate_limit: " HOME " has used 0 of 2 new connections in 1500ms\n" NO_ROUTE},
    };
#undef NO_ROUTE
    struct world *w = *state;

    set_rate(w, 3, 60000);
    use(w, "203.0.113.3", 3);
    use(w, "203.0.113.2", 2);
    use(w, "2001:db8:9::1", 1);
    EXPECT_ALL(w, three_a_minute);
    set_rate(w, 1, 90000);
    EXPECT_ALL(w, one_in_90_s);
    set_rate(w, 2, 1500);
    EXPECT_ALL(w, two_in_1500_ms);
}

static void asking_uses_nothing_up(void **state)
{
    struct world *w = *state;
    struct explanation e;

    set_rate(w, 1, 60000);
    for (unsigned i = 0; i < 5; i++) {
        ask(w, (struct question){PLAIN, HOME, NULL, "www.example.com"}, &e);
        assert_true(e.is_routed && e.was_rated && e.rate.used == 0);
    }
    assert_int_equal(rate_table_used(w->rates, NOW), 0);
}

static void the_route_says_why_it_is_this_one(void **state)
{
#define EXACT   " is the route of exactly this name\n"
#define LONGEST " is the longest wildcard that covers the name, which has no route of its own\n"
    static const struct explain_case cases[] = {
        {{PLAIN, HOME, NULL, "www.example.com"}, ROUTED, "route: www.example.com" EXACT "backend: 10.0.0.1:8443\n"},
        {{PLAIN, HOME, NULL, "a.www.example.com"}, ROUTED, "route: *.example.com" LONGEST "backend: 10.0.0.2:8443\n"},
        {{PLAIN, HOME, NULL, "apps.example.com"}, ROUTED, "route: *.example.com" LONGEST "backend: 10.0.0.2:8443\n"},
        {{PLAIN, HOME, NULL, "a.b.apps.example.com"},
         ROUTED,
         "route: *.apps.example.com" LONGEST
         "backend: 10.0.0.3:8443; a PROXY protocol v2 header with the client's address goes first\n"},
        {{CATCH_ALL, HOME, NULL, "www.example.com"},
         ROUTED,
         "route: * takes what no other route covers\nbackend: [2001:db8::5]:443\n"},
        {{CATCH_ALL, HOME, NULL, ""},
         ROUTED,
         "hello: no server name: only the route * takes it\n"
         "route: * takes what no other route covers\nbackend: [2001:db8::5]:443\n"},
        {{PLAIN, HOME, NULL, "example.com"},
         CLOSE_NO_ROUTE,
         "route: no route covers it, and no_route = reset: reset\n"},
        {{ALERT, HOME, NULL, "www.example.com"},
         CLOSE_NO_ROUTE,
         "route: no route covers it, and no_route = alert: a fatal unrecognized_name alert, then close\n"},
        {{CATCH_ALL, HOME, NULL, "no hostname"},
         CLOSE_HELLO_MALFORMED,
         "hello: the server name is no hostname: reset, whatever the routes are\n"},
    };

    EXPECT_ALL(*state, cases);
}

static void the_backend_is_shown_as_it_is_now(void **state)
{
    static const struct explain_case cases[] = {
        {{PLAIN, HOME, NULL, "unknown.test"},
         CLOSE_BACKEND_UNRESOLVED,
         "backend: gone.internal:443 is a name without a known address at the moment: reset\n"},
        {{PLAIN, HOME, NULL, "one.test"},
         ROUTED,
         "route: one.test" EXACT "backend: one.internal:443, now at 10.0.0.8:443\n"},
        {{PLAIN, HOME, NULL, "two.test"},
         ROUTED,
         "backend: two.internal:443, now at these addresses, tried in this order: 10.0.0.8:443, 10.0.0.9:443; "
         "a PROXY protocol v2 header with the client's address goes first\n"},
        {{PLAIN, HOME, NULL, "sock.test"}, ROUTED, "route: sock.test" EXACT "backend: unix:/run/app.sock\n"},
    };
#undef EXACT
#undef LONGEST
    struct world *w = *state;
    struct explanation e;

    EXPECT_ALL(w, cases);
    ask(w, (struct question){PLAIN, HOME, NULL, "two.test"}, &e);
    assert_true(e.has_route && e.match == HOST_PATTERN_EXACT && e.send_proxy_protocol && e.addr_count == 2);
    assert_string_equal(e.pattern, "two.test");
    assert_string_equal(e.backend, "two.internal:443");
    ask(w, (struct question){PLAIN, HOME, NULL, "nobody.test"}, &e);
    assert_false(e.has_route);
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(every_step_is_told_in_its_order),
        WORLD_TEST(over_the_limit_it_is_closed),
        WORLD_TEST(a_header_is_expected_of_some),
        WORLD_TEST(the_rule_that_blocks_is_named),
        WORLD_TEST(without_a_database_no_country_is_known),
        WORLD_TEST(what_is_left_of_the_rate_is_counted),
        WORLD_TEST(asking_uses_nothing_up),
        WORLD_TEST(the_route_says_why_it_is_this_one),
        WORLD_TEST(the_backend_is_shown_as_it_is_now),
    };
    return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
