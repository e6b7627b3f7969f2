/* Log lines: exact text in both formats, nothing from outside unescaped, and JSON that a strict reader takes. */

#include "log_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "log_event.h"

#define TIME_MS  1795341600123ull /* 2026-11-22T10:00:00.123Z */
#define TIME_AT  2                /* where a record has its time: the picture in log_event.c */
#define TEXT_BOX (LOG_LINE_MAX_BYTES + 1)

static char line_text[TEXT_BOX];

static void set_time(struct log_event *e, uint64_t time_ms)
{
    for (int i = 0; i < 8; i++)
        e->data[TIME_AT + i] = (uint8_t)(time_ms >> (56 - 8 * i));
}

static void begin(struct log_event *e, enum log_level level, const char *message)
{
    log_event_begin_always(e, level, message);
    set_time(e, TIME_MS);
}

static const char *line_of(struct bytes record, enum log_format format)
{
    struct strbuf s = STRBUF_OF(line_text);

    log_format_record(record, format, &s);
    assert_false(s.overflowed);
    return line_text;
}

static void assert_lines(const struct log_event *e, const char *text, const char *json)
{
    assert_string_equal(line_of(log_event_record(e), LOG_FORMAT_TEXT), text);
    assert_string_equal(line_of(log_event_record(e), LOG_FORMAT_JSON), json);
}

static void test_access_line(void **state)
{
    (void)state;
    struct log_event e;
    const struct ip_endpoint v4 = {.addr = {.family = 4, .bytes = {192, 0, 2, 1}}, .port = 5000};
    const struct ip_endpoint v6 = {.addr = {.family = 6, .bytes = {0x20, 1, 0x0d, 0xb8, [15] = 1}}, .port = 5000};
    const struct ip_endpoint none = {0};

    begin(&e, LOG_INFO, "connection closed");
    log_event_cstr(&e, LOG_KEY_LISTENER, ":443");
    log_event_endpoint(&e, LOG_KEY_CLIENT, &v4);
    log_event_endpoint(&e, LOG_KEY_PEER, &v6);
    log_event_endpoint(&e, LOG_KEY_BACKEND_ADDR, &none);
    log_event_cstr(&e, LOG_KEY_SNI, "www.example.com");
    log_event_cstr(&e, LOG_KEY_BACKEND, "unix:/run/app.sock");
    log_event_cstr(&e, LOG_KEY_ROUTE, "*.example.com");
    log_event_u64(&e, LOG_KEY_BYTES_IN, UINT64_MAX);
    log_event_i64(&e, LOG_KEY_ERRNO, INT64_MIN);
    log_event_bool(&e, LOG_KEY_ECH, true);
    log_event_bool(&e, LOG_KEY_TLS, false);
    assert_lines(
        &e,
        "time=2026-11-22T10:00:00.123Z level=INFO msg=\"connection closed\" listener=:443 client=192.0.2.1:5000 "
        "peer=[2001:db8::1]:5000 backend_addr=unknown sni=www.example.com backend=unix:/run/app.sock "
        "route=*.example.com bytes_in=18446744073709551615 errno=-9223372036854775808 ech=true tls=false",
        "{\"time\":\"2026-11-22T10:00:00.123Z\",\"level\":\"INFO\",\"msg\":\"connection closed\","
        "\"listener\":\":443\",\"client\":\"192.0.2.1:5000\",\"peer\":\"[2001:db8::1]:5000\","
        "\"backend_addr\":\"unknown\",\"sni\":\"www.example.com\",\"backend\":\"unix:/run/app.sock\","
        "\"route\":\"*.example.com\",\"bytes_in\":18446744073709551615,\"errno\":-9223372036854775808,"
        "\"ech\":true,\"tls\":false}");
}

static void test_levels_and_times(void **state)
{
    (void)state;
    static const struct {
        enum log_level level;
        uint64_t time_ms;
        const char *line;
    } cases[] = {
        {LOG_DEBUG, 0, "time=1970-01-01T00:00:00.000Z level=DEBUG msg=\"\""},
        {LOG_INFO, 951782400001, "time=2000-02-29T00:00:00.001Z level=INFO msg=\"\""},
        {LOG_WARN, 4102444799999, "time=2099-12-31T23:59:59.999Z level=WARN msg=\"\""},
        {LOG_ERROR, 253402300799999, "time=9999-12-31T23:59:59.999Z level=ERROR msg=\"\""},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct log_event e;
        log_event_begin_always(&e, cases[i].level, "");
        set_time(&e, cases[i].time_ms);
        assert_string_equal(line_of(log_event_record(&e), LOG_FORMAT_TEXT), cases[i].line);
    }
}

#define HEAD_TEXT "time=2026-11-22T10:00:00.123Z level=INFO msg=\"m\" "
#define HEAD_JSON "{\"time\":\"2026-11-22T10:00:00.123Z\",\"level\":\"INFO\",\"msg\":\"m\","

static void test_escaping(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        size_t len;
        const char *text;
        const char *json; /* without the quotes around it */
    } cases[] = {
        {"", 0, "\"\"", ""},
        {"a b", 3, "\"a b\"", "a b"},
        {"a=b", 3, "\"a=b\"", "a=b"},
        {"\"", 1, "\"\\\"\"", "\\\""},
        {"\\", 1, "\"\\\\\"", "\\\\"},
        {"a\\\"b", 4, "\"a\\\\\\\"b\"", "a\\\\\\\"b"},
        {"\n", 1, "\"\\x0a\"", "\\u000a"},
        {"x\r\ny", 4, "\"x\\x0d\\x0ay\"", "x\\u000d\\u000ay"},
        {"\0", 1, "\"\\x00\"", "\\u0000"},
        {"\033[31m", 5, "\"\\x1b[31m\"", "\\u001b[31m"},
        {"\x7f", 1, "\"\\x7f\"", "\\u007f"},
        {"\xc3\xa4", 2, "\"\\xc3\\xa4\"", "\\u00c3\\u00a4"},
        {"\xff", 1, "\"\\xff\"", "\\u00ff"},
        {"\\x0a", 4, "\"\\\\x0a\"", "\\\\x0a"},
        {"it's", 4, "\"it's\"", "it's"},
        {"a/b:c@d+e,f*g[h]i%j-k_l.m", 25, "a/b:c@d+e,f*g[h]i%j-k_l.m", "a/b:c@d+e,f*g[h]i%j-k_l.m"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct log_event e;
        char text[256];
        char json[256];

        begin(&e, LOG_INFO, "m");
        log_event_str(&e, LOG_KEY_SNI, bytes_of(cases[i].value, cases[i].len));
        snprintf(text, sizeof text, HEAD_TEXT "sni=%s", cases[i].text);
        snprintf(json, sizeof json, HEAD_JSON "\"sni\":\"%s\"}", cases[i].json);
        assert_lines(&e, text, json);
    }
}

/** Of every byte value there is exactly one reading back, in both formats: no two bytes look alike. */
static void test_every_byte_looks_different(void **state)
{
    (void)state;
    static char seen[2][256][64];

    for (int format = 0; format < 2; format++) {
        for (unsigned c = 0; c < 256; c++) {
            struct log_event e;
            uint8_t byte = (uint8_t)c;

            begin(&e, LOG_INFO, "m");
            log_event_str(&e, LOG_KEY_SNI, bytes_of(&byte, 1));
            const char *line = line_of(log_event_record(&e), (enum log_format)format);
            snprintf(seen[format][c], sizeof seen[format][c], "%s", strstr(line, "sni"));
            for (unsigned other = 0; other < c; other++)
                assert_string_not_equal(seen[format][c], seen[format][other]);
        }
    }
}

static void test_repeated_keys_are_taken_once(void **state)
{
    (void)state;
    struct log_event e;

    begin(&e, LOG_INFO, "m");
    log_event_u64(&e, LOG_KEY_COUNT, 1);
    log_event_u64(&e, LOG_KEY_LIMIT, 2);
    log_event_u64(&e, LOG_KEY_COUNT, 3);
    log_event_bool(&e, LOG_KEY_DAMAGED, false); /* not a worker's to say */
    assert_lines(&e, HEAD_TEXT "count=1 limit=2", HEAD_JSON "\"count\":1,\"limit\":2}");
}

static void test_damaged_records_say_so(void **state)
{
    (void)state;
    struct log_event e;
    static const uint8_t junk[LOG_EVENT_MAX_BYTES + 1] = {0xa7, LOG_ERROR + 1};

    begin(&e, LOG_INFO, "m");
    log_event_u64(&e, LOG_KEY_COUNT, 1);
    log_event_cstr(&e, LOG_KEY_SNI, "lost");
    e.len--;
    assert_lines(&e, HEAD_TEXT "count=1 damaged=true", HEAD_JSON "\"count\":1,\"damaged\":true}");

    for (size_t len = 0; len <= sizeof junk; len += len < 20 ? 1 : 100) {
        const char *line = line_of(bytes_of(junk, len), LOG_FORMAT_TEXT);
        assert_non_null(strstr(line, " damaged=true"));
        line = line_of(bytes_of(junk, len), LOG_FORMAT_JSON);
        assert_non_null(strstr(line, ",\"damaged\":true}"));
    }
    assert_non_null(
        strstr(line_of(bytes_of(NULL, 0), LOG_FORMAT_TEXT), " level=WARN msg=\"a log record cannot be read\""));
}

/** The record whose line is longest: strings of control bytes to the brim, and every key there is. */
static void test_longest_line_fits(void **state)
{
    (void)state;
    static const uint8_t control[LOG_STRING_MAX];
    struct log_event e;

    for (size_t first = 0; first <= LOG_STRING_MAX; first += 64) {
        begin(&e, LOG_INFO, "");
        log_event_str(&e, LOG_KEY_DETAIL, bytes_of(control, first));
        for (unsigned key = 0; key < LOG_KEY_END; key++)
            log_event_str(&e, (enum log_key)key, bytes_of(NULL, 0));
        for (size_t len = LOG_STRING_MAX; len > 0; len--)
            log_event_str(&e, LOG_KEY_SNI, bytes_of(control, len));
        line_of(log_event_record(&e), LOG_FORMAT_JSON);

        begin(&e, LOG_INFO, "");
        log_event_str(&e, LOG_KEY_DETAIL, bytes_of(control, first));
        for (size_t len = LOG_STRING_MAX; len > 0; len--)
            log_event_str(&e, LOG_KEY_SNI, bytes_of(control, len));
        line_of(log_event_record(&e), LOG_FORMAT_JSON);
    }
}

/** Python's json as a strict reader of the worst we can write: every byte value must come back as itself. */
static void test_json_round_trip(void **state)
{
    (void)state;
    static const char script[] =
        "import json, sys\n"
        "def once(pairs):\n"
        "    assert len(dict(pairs)) == len(pairs), 'a name twice'\n"
        "    return dict(pairs)\n"
        "lines = sys.stdin.buffer.read().decode('ascii').splitlines()\n"
        "assert len(lines) == 256, len(lines)\n"
        "for i, line in enumerate(lines):\n"
        "    o = json.loads(line, object_pairs_hook=once)\n"
        "    assert o['sni'] == ''.join(chr((i + k) % 256) for k in range(300)), line\n"
        "    assert o['count'] == i and o['ech'] is True and o['client'] == '[::]:1', line\n"
        "    assert list(o)[:3] == ['time', 'level', 'msg'] and o['msg'] == 'say \"it\"\\n', line\n";
    const struct ip_endpoint client = {.addr = {.family = 6}, .port = 1};

    if (access("/usr/bin/python3", X_OK) != 0)
        skip();
    char command[sizeof script + 64];
    snprintf(command, sizeof command, "/usr/bin/python3 -c '%s'", "import os; exec(os.environ[\"LOG_JSON_READER\"])");
    setenv("LOG_JSON_READER", script, 1);
    FILE *python = popen(command, "w"); /* NOLINT(cert-env33-c): a fixed command of the test's own */
    assert_non_null(python);
    for (unsigned i = 0; i < 256; i++) {
        struct log_event e;
        uint8_t value[300];

        for (unsigned k = 0; k < sizeof value; k++)
            value[k] = (uint8_t)(i + k);
        begin(&e, LOG_INFO, "say \"it\"\n");
        log_event_str(&e, LOG_KEY_SNI, bytes_of(value, sizeof value));
        log_event_u64(&e, LOG_KEY_COUNT, i);
        log_event_bool(&e, LOG_KEY_ECH, true);
        log_event_endpoint(&e, LOG_KEY_CLIENT, &client);
        fprintf(python, "%s\n", line_of(log_event_record(&e), LOG_FORMAT_JSON));
    }
    assert_int_equal(pclose(python), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access_line),
        cmocka_unit_test(test_levels_and_times),
        cmocka_unit_test(test_escaping),
        cmocka_unit_test(test_every_byte_looks_different),
        cmocka_unit_test(test_repeated_keys_are_taken_once),
        cmocka_unit_test(test_damaged_records_say_so),
        cmocka_unit_test(test_longest_line_fits),
        cmocka_unit_test(test_json_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
