/* What is told of a connection at each stage of its life, and at its end; docs/operations.md has exactly these keys. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bytes.h"
#include "client_hello.h"
#include "conn.h"
#include "conn_facts.h"
#include "conn_log.h"
#include "conn_setup.h"
#include "log_event.h"
#include "route_table.h"
#include "strbuf.h"
#include "worker.h"

#define RUNBOOK MCPROXY_SOURCE_DIR "/docs/operations.md"

/* Every key of an access line, in its order. */
static const char *const every_key[] = {
    "conn",      "listener",   "client",        "peer",         "sni",     "alpn",      "tls",
    "ech",       "route",      "backend",       "backend_addr", "country", "bytes_in",  "bytes_out",
    "hello_us",  "connect_us", "first_byte_us", "duration_ms",  "worker",  "handshake", "tls_version",
    "tls_group", "alert",      "reason",        "ended_by",     "detail",
};
#define KEYS (sizeof every_key / sizeof every_key[0])

static const struct ip_endpoint client = {.addr = {.family = 4, .bytes = {192, 0, 2, 1}}, .port = 5000};
static const struct ip_endpoint peer = {.addr = {.family = 4, .bytes = {10, 0, 0, 9}}, .port = 41022};

struct fixture {
    struct worker worker;
    struct listener listener;
    struct conn_setup setup;
    struct conn conn;
    struct client_hello hello;
    struct shm_route *route;
    struct shm_backend *backend;
    char line[4096]; /* "key=value key=value " of the last record */
    unsigned records;
};

static void add_field(struct strbuf *out, const struct log_field *field)
{
    strbuf_addf(out, "%s=", log_key_word(field->key));
    if (field->type == LOG_VALUE_STR)
        strbuf_add_bytes(out, field->str);
    else if (field->type == LOG_VALUE_ENDPOINT)
        ip_endpoint_format(&field->endpoint, out);
    else
        strbuf_addf(out, "%llu", (unsigned long long)field->u64);
    strbuf_add_char(out, ' ');
}

static void sink(struct bytes record, void *context)
{
    struct fixture *f = context;
    struct strbuf out = STRBUF_OF(f->line);
    struct log_record_reader r;
    struct log_field field;
    int rc;

    f->records++;
    assert_int_equal(log_record_open(&r, record), 0);
    strbuf_addf(&out, "msg=%.*s ", (int)r.message.len, (const char *)r.message.ptr);
    while ((rc = log_record_next(&r, &field)) == 1)
        add_field(&out, &field);
    assert_int_equal(rc, 0);
}

static struct shm_backend *new_backend(struct bytes text)
{
    struct shm_backend *backend = calloc(1, sizeof *backend + text.len);

    assert_non_null(backend);
    backend->text_len = (uint16_t)text.len;
    memcpy(&backend->addrs[0], text.ptr, text.len);
    return backend;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    *state = f;
    f->worker.settings = (struct ctl_settings){.log_access = 1, .rejected_per_second = 2};
    f->worker.slot = 3;
    f->listener.worker = &f->worker;
    snprintf(f->listener.addr, sizeof f->listener.addr, ":443");
    f->conn = (struct conn){
        .listener = &f->listener, .setup = &f->setup, .id = 17, .client = client, .bytes_in = 517, .bytes_out = 5120};
    f->hello = (struct client_hello){.name_len = 15, .versions = HELLO_VERSION_TLS13 | HELLO_VERSION_TLS12};
    snprintf(f->hello.name, sizeof f->hello.name, "www.example.com");
    f->route = calloc(1, sizeof *f->route); /* its name is not looked at: it is the end of the hello's */
    *f->route = (struct shm_route){.flags = SHM_ROUTE_WILDCARD, .name_len = 11};
    f->backend = new_backend(bytes_of_str("10.0.0.5:8443"));
    log_set_sink(sink, f);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    log_set_sink(NULL, NULL);
    free(f->conn.facts);
    free(f->route);
    free(f->backend);
    free(f);
    return 0;
}

static void make_facts(struct fixture *f, bool has_route, const struct ip_endpoint *from)
{
    struct route_match match = {.route = f->route, .backend = f->backend};

    free(f->conn.facts);
    f->conn.facts = conn_facts_new(&f->hello, has_route ? &match : NULL, from);
    assert_non_null(f->conn.facts);
}

static void assert_line(struct fixture *f, enum close_reason reason, const char *expected)
{
    f->line[0] = '\0';
    conn_log(&f->conn, reason, 1230999);
    assert_string_equal(f->line, expected);
}

#define ALWAYS "msg=connection conn=17 listener=:443 client=192.0.2.1:5000 "

static void test_before_the_hello(void **state)
{
    struct fixture *f = *state;

    assert_line(
        f, CLOSE_BLOCKED_IP,
        ALWAYS "sni= backend= bytes_in=517 bytes_out=5120 duration_ms=1230 worker=3 reason=blocked_ip ended_by=proxy ");
    f->setup.peer = peer;
    memcpy(f->setup.country, "DE", 2);
    f->setup.detail = "empty record";
    assert_line(f, CLOSE_HELLO_MALFORMED,
                ALWAYS "peer=10.0.0.9:41022 sni= backend= country=DE bytes_in=517 bytes_out=5120 duration_ms=1230 "
                       "worker=3 reason=hello_malformed ended_by=proxy detail=empty record ");
}

static void test_without_a_route(void **state)
{
    struct fixture *f = *state;

    make_facts(f, false, NULL);
    f->conn.facts->hello_us = 820;
    assert_line(f, CLOSE_NO_ROUTE,
                ALWAYS "sni=www.example.com tls=1.3,1.2 backend= bytes_in=517 bytes_out=5120 hello_us=820 "
                       "duration_ms=1230 worker=3 reason=no_route ended_by=proxy ");
    f->hello.name_len = 0;
    f->hello.name[0] = '\0';
    make_facts(f, false, &peer);
    assert_line(f, CLOSE_NO_ROUTE,
                ALWAYS "peer=10.0.0.9:41022 sni= tls=1.3,1.2 backend= bytes_in=517 bytes_out=5120 duration_ms=1230 "
                       "worker=3 reason=no_route ended_by=proxy ");
}

static void test_of_a_backend_that_cannot_be_reached(void **state)
{
    struct fixture *f = *state;

    make_facts(f, true, NULL);
    f->setup.detail = "ECONNREFUSED";
    f->conn.facts->backend_addr = (struct ip_endpoint){.addr = {.family = 4, .bytes = {10, 0, 0, 5}}, .port = 8443};
    assert_line(f, CLOSE_BACKEND_REFUSED,
                ALWAYS "sni=www.example.com tls=1.3,1.2 route=*.example.com backend=10.0.0.5:8443 "
                       "backend_addr=10.0.0.5:8443 bytes_in=517 bytes_out=5120 duration_ms=1230 worker=3 "
                       "reason=backend_refused ended_by=backend detail=ECONNREFUSED ");
}

static void test_routes(void **state)
{
    static const struct {
        uint8_t flags, name_len;
        const char *route;
    } cases[] = {
        {SHM_ROUTE_WILDCARD, 11, " route=*.example.com "},
        {SHM_ROUTE_WILDCARD, 3, " route=*.com "},
        {SHM_ROUTE_WILDCARD, 0, " route=* "},
        {0, 15, " route=www.example.com "},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        *f->route = (struct shm_route){.flags = cases[i].flags, .name_len = cases[i].name_len};
        make_facts(f, true, i % 2 == 0 ? &peer : NULL);
        conn_log(&f->conn, CLOSE_FINISHED, 0);
        assert_non_null(strstr(f->line, cases[i].route));
        assert_non_null(strstr(f->line, " backend=10.0.0.5:8443 "));
    }
}

static void answer(struct fixture *f, struct server_hello hello)
{
    f->conn.facts->answer = hello;
    server_hello_feed(&f->conn.facts->answer,
                      bytes_of("x", hello.step == 0 && hello.header_have == 0)); /* any verdict: done */
    f->conn.facts->answer.outcome = hello.outcome;
    f->conn.facts->answer.version = hello.version;
    f->conn.facts->answer.group = hello.group;
    f->conn.facts->answer.alert = hello.alert;
}

static void test_handshakes(void **state)
{
    static const struct {
        struct server_hello hello;
        const char *said;
    } cases[] = {
        {{.outcome = HANDSHAKE_SERVER_HELLO, .version = 0x0304, .group = 29},
         " worker=3 handshake=server_hello tls_version=1.3 tls_group=x25519 reason"},
        {{.outcome = HANDSHAKE_SERVER_HELLO, .version = 0x0303},
         " worker=3 handshake=server_hello tls_version=1.2 reason"},
        {{.outcome = HANDSHAKE_RETRY, .version = 0x0304, .group = 0xfafa},
         " handshake=hello_retry_request tls_version=1.3 tls_group=0xfafa reason"},
        {{.outcome = HANDSHAKE_ALERT, .alert = 40}, " handshake=alert alert=handshake_failure reason"},
        {{.outcome = HANDSHAKE_ALERT, .alert = 0}, " handshake=alert alert=close_notify reason"},
        {{.outcome = HANDSHAKE_ALERT, .alert = 200}, " handshake=alert alert=200 reason"},
        {{.outcome = HANDSHAKE_OTHER}, " handshake=other reason"},
        {{.outcome = HANDSHAKE_NONE}, " handshake=none reason"},
    };
    struct fixture *f = *state;

    make_facts(f, true, NULL);
    conn_log(&f->conn, CLOSE_FINISHED, 0);
    assert_null(strstr(f->line, "handshake")); /* no verdict yet */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        answer(f, cases[i].hello);
        conn_log(&f->conn, CLOSE_FINISHED, 0);
        assert_non_null(strstr(f->line, cases[i].said));
    }
}

static void test_who_ended_it(void **state)
{
    static const struct {
        enum close_reason reason;
        const char *who; /* NULL: the proxy */
    } cases[] = {
        {CLOSE_CLIENT_RESET, "client"},      {CLOSE_BACKEND_RESET, "backend"}, {CLOSE_BACKEND_REFUSED, "backend"},
        {CLOSE_HELLO_EOF, "client"},         {CLOSE_IDLE_TIMEOUT, "proxy"},    {CLOSE_SHUTDOWN, "proxy"},
        {CLOSE_BACKEND_TIMEOUT, "proxy"},    {CLOSE_BLOCKED_IP, "proxy"},      {CLOSE_HELLO_TIMEOUT, "proxy"},
        {CLOSE_HALF_CLOSE_TIMEOUT, "proxy"},
    };
    struct fixture *f = *state;
    char said[32];

    make_facts(f, true, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(said, sizeof said, " ended_by=%s ", cases[i].who);
        conn_log(&f->conn, cases[i].reason, 0);
        assert_non_null(strstr(f->line, said));
    }
    conn_note_end(&f->conn, &f->conn.back);
    conn_note_end(&f->conn, &f->conn.front);
    conn_log(&f->conn, CLOSE_FINISHED, 0);
    assert_non_null(strstr(f->line, " ended_by=backend "));
    make_facts(f, true, NULL);
    conn_note_end(&f->conn, &f->conn.front);
    conn_note_end(&f->conn, &f->conn.back);
    conn_log(&f->conn, CLOSE_FINISHED, 0);
    assert_non_null(strstr(f->line, " ended_by=client "));
}

/** A connection with a value for every key. */
static void make_everything(struct fixture *f)
{
    f->hello.has_ech = true;
    memcpy(f->hello.alpn, "h2,http/1.1", 12);
    make_facts(f, true, &peer);
    struct conn_facts *facts = f->conn.facts;
    facts->hello_us = facts->connect_us = facts->first_byte_us = 0;
    facts->backend_addr = client;
    memcpy(facts->country, "DE", 2);
    answer(f, (struct server_hello){.outcome = HANDSHAKE_ALERT, .alert = 40, .version = 0x0304, .group = 29});
    f->setup.detail = "ECONNREFUSED";
}

static void test_every_key_in_its_order(void **state)
{
    struct fixture *f = *state;
    const char *at = f->line;

    make_everything(f);
    conn_log(&f->conn, CLOSE_FINISHED, 0);
    assert_memory_equal(at, "msg=connection ", 15);
    at += 15;
    for (size_t i = 0; i < KEYS; i++) {
        size_t len = strlen(every_key[i]);
        if (strncmp(at, every_key[i], len) != 0 || at[len] != '=')
            fail_msg("%s is not at: %s", every_key[i], at);
        at = strchr(at, ' ');
        assert_non_null(at++);
    }
    assert_string_equal(at, "");
    assert_non_null(strstr(f->line, " ech=1 "));
    assert_non_null(strstr(f->line, " hello_us=0 connect_us=0 first_byte_us=0 "));
}

/* The longest of everything fits into one record: nothing is left out at the end. */
static void test_the_longest_line_is_whole(void **state)
{
    struct fixture *f = *state;
    char long_text[BACKEND_TEXT_MAX - 1];

    memset(long_text, 'z', sizeof long_text);
    free(f->backend);
    f->backend = new_backend(bytes_of(long_text, sizeof long_text));
    memset(f->hello.name, 'x', HOSTNAME_MAX);
    memset(f->hello.alpn, 'y', sizeof f->hello.alpn - 1);
    f->hello.name_len = f->route->name_len = HOSTNAME_MAX;
    make_facts(f, true, &peer);
    f->setup.detail = "detail of the longest line";
    conn_log(&f->conn, CLOSE_HALF_CLOSE_TIMEOUT, UINT64_MAX);
    assert_non_null(strstr(f->line, " detail=detail of the longest line "));
}

static void test_the_runbook_has_these_keys(void **state)
{
    char line[1024];
    unsigned found = 0;
    bool is_in_table = false;
    FILE *file = fopen(RUNBOOK, "r");

    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        char wanted[64];
        is_in_table = is_in_table ? line[0] == '|' : strncmp(line, "| key | what |", 14) == 0;
        if (!is_in_table || strncmp(line, "| `", 3) != 0)
            continue;
        assert_true(found < KEYS);
        snprintf(wanted, sizeof wanted, "| `%s` |", every_key[found++]);
        if (strncmp(line, wanted, strlen(wanted)) != 0)
            fail_msg("docs/operations.md has not %s but %s", wanted, line);
    }
    fclose(file);
    assert_int_equal(found, KEYS);
}

static void test_rejected_ones_beyond_the_limit_are_summed_up(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 100; i++)
        conn_log(&f->conn, CLOSE_RATE_LIMIT, 5);
    assert_int_equal(f->records, 10);
    conn_log(&f->conn, CLOSE_NO_ROUTE, 5);
    assert_int_equal(f->records, 11);
    conn_log_held_back(&f->worker);
    assert_int_equal(f->records, 12);
    assert_string_equal(f->line,
                        "msg=connections rejected without a line of their own reason=rate_limit count=90 worker=3 ");
    conn_log_held_back(&f->worker);
    assert_int_equal(f->records, 12);
}

static void test_without_access_records_there_are_none(void **state)
{
    struct fixture *f = *state;

    f->worker.settings.log_access = 0;
    for (unsigned i = 0; i < 100; i++)
        conn_log(&f->conn, CLOSE_RATE_LIMIT, 0);
    conn_log_held_back(&f->worker);
    assert_int_equal(f->records, 0);
    log_set_level(LOG_ERROR); /* it is the master who decides what becomes a line */
    f->worker.settings.log_access = 1;
    conn_log(&f->conn, CLOSE_RATE_LIMIT, 0);
    assert_int_equal(f->records, 1);
    log_set_level(LOG_INFO);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_before_the_hello),
        TEST(test_without_a_route),
        TEST(test_of_a_backend_that_cannot_be_reached),
        TEST(test_routes),
        TEST(test_handshakes),
        TEST(test_who_ended_it),
        TEST(test_every_key_in_its_order),
        TEST(test_the_longest_line_is_whole),
        TEST(test_the_runbook_has_these_keys),
        TEST(test_rejected_ones_beyond_the_limit_are_summed_up),
        TEST(test_without_access_records_there_are_none),
    };
    return cmocka_run_group_tests_name("conn_log", tests, NULL, NULL);
}
