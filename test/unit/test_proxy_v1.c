/* PROXY protocol version 1: every valid line at every cut, and every malformed kind at the byte where it shows. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "proxy_parse_exact.h"
#include "proxy_protocol.h"
#include "proxy_v1.h"

#define V6_FULL "2001:db80:1111:2222:3333:4444:5555:6666"

/* The text without its NUL: what stands behind it stays. */
static void put(char *to, const char *text)
{
    for (; *text != '\0'; text++)
        *to++ = *text;
}

static void assert_endpoint(const struct ip_endpoint *end, const char *expected)
{
    char text[ADDRESS_TEXT_MAX];
    struct strbuf out = STRBUF_OF(text);
    ip_endpoint_format(end, &out);
    assert_string_equal(text, expected);
}

struct valid_case {
    const char *line;
    const char *source; /* NULL: no addresses */
    const char *destination;
};

static const struct valid_case valid_cases[] = {
    {"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "192.168.0.1:56324", "192.168.0.11:443"},
    {"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", "0.0.0.0:0", "255.255.255.255:65535"},
    {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535", "255.255.255.255:65535"},
    {"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "[2001:db8::1]:1", "[::1]:2"},
    {"PROXY TCP6 :: 2001:DB8:0:0:1:0:0:1 1 2\r\n", "[::]:1", "[2001:db8::1:0:0:1]:2"},
    {"PROXY TCP6 1:2:3:4:5:6:7:8 1::8 1 2\r\n", "[1:2:3:4:5:6:7:8]:1", "[1::8]:2"},
    {"PROXY TCP6 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 1 2\r\n", "[1:2:3:4:5:6:7:0]:1", "[0:2:3:4:5:6:7:8]:2"},
    {"PROXY TCP6 " V6_FULL " " V6_FULL " 65535 65535\r\n", "[" V6_FULL "]:65535", "[" V6_FULL "]:65535"},
    {"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:202 1 2\r\n", "192.0.2.1:1", "192.0.2.2:2"},
    {"PROXY TCP6 64:ff9b::192.0.2.1 1:2:3:4:5:6:1.2.3.4 1 2\r\n", "[64:ff9b::c000:201]:1", "[1:2:3:4:5:6:102:304]:2"},
    {"PROXY UNKNOWN\r\n", NULL, NULL},
    {"PROXY UNKNOWN \r\n", NULL, NULL},
    {"PROXY UNKNOWN what ever \x01\xff it says\r\n", NULL, NULL},
    {"PROXY UNKNOWN a lone \r or \n is something too\r\r\n", NULL, NULL},
    {"PROXY UNKNOWN " V6_FULL " " V6_FULL " 65535 65535\r\n", NULL, NULL}, /* 107 bytes, the longest */
};

static void test_valid_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof valid_cases / sizeof valid_cases[0]; i++) {
        const struct valid_case *c = &valid_cases[i];
        size_t len = strlen(c->line);
        struct proxy_header h;

        for (size_t cut = 0; cut < len; cut++) {
            if (parse_exact(c->line, cut, &h) != PROXY_MORE)
                fail_msg("%zu bytes of '%s' gave no MORE", cut, c->line);
        }
        if (parse_exact(c->line, len, &h) != PROXY_OK)
            fail_msg("'%s': %s", c->line, h.reason);
        assert_int_equal(h.len, len);
        assert_int_equal(h.version, 1);
        assert_false(h.is_local);
        assert_int_equal(h.has_addresses, c->source != NULL);
        assert_endpoint(&h.source, c->source != NULL ? c->source : "unknown");
        assert_endpoint(&h.destination, c->destination != NULL ? c->destination : "unknown");
    }
}

static void test_bytes_behind_the_line_stay(void **state)
{
    (void)state;
    char text[400];
    for (size_t i = 0; i < sizeof valid_cases / sizeof valid_cases[0]; i++) {
        size_t len = strlen(valid_cases[i].line);
        struct proxy_header h;
        memset(text, '\n', sizeof text);
        memcpy(text, valid_cases[i].line, len);
        assert_int_equal(parse_exact(text, sizeof text, &h), PROXY_OK);
        assert_int_equal(h.len, len);
    }
}

/* The byte at which a line becomes BAD, and that nothing behind it heals it. */
static void test_malformed_lines(void **state)
{
    (void)state;
    static const struct {
        const char *good; /* MORE so far */
        const char *rest; /* the first byte of it makes it BAD */
    } cases[] = {
        {"", "proxy TCP4 "},
        {"", " PROXY TCP4 "},
        {"", "\nPROXY"},
        {"P", "OXY"},
        {"PROX", "I TCP4"},
        {"PROXY", "\tTCP4"},
        {"PROXY", "\r\n"},
        {"PROXY ", " TCP4"},
        {"PROXY ", "tcp4"},
        {"PROXY U", "DP4"},
        {"PROXY ", "\r\n"},
        {"PROXY TCP", "5 "},
        {"PROXY TCP", " 1.2.3.4"},
        {"PROXY TCP4", "\r\n"},
        {"PROXY TCP4 ", " 1.2.3.4 1.2.3.4 1 1\r\n"},
        {"PROXY TCP4 ", "a"},
        {"PROXY TCP4 ", "::1 ::1 1 1\r\n"},
        {"PROXY TCP4 ", "-1"},
        {"PROXY TCP4 0", "1.2.3.4 "},
        {"PROXY TCP4 25", "6.0.0.1 "},
        {"PROXY TCP4 1", "x"},
        {"PROXY TCP4 1.", ".2"},
        {"PROXY TCP4 1.2.3", " 1.2.3.4 1 1\r\n"},
        {"PROXY TCP4 1.2.3.", " "},
        {"PROXY TCP4 1.2.3.4", ".5 "},
        {"PROXY TCP4 1.2.3.4", "\t1.2.3.4 "},
        {"PROXY TCP4 1.2.3.4", "\r\n"},
        {"PROXY TCP4 1.2.3.4", ":80 "},
        {"PROXY TCP4 1.2.3.4 ", " 1.2.3.4 1 1\r\n"},
        {"PROXY TCP4 1.2.3.4 ", "::1"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4", "\r\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4", "\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 ", " 1 1\r\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 ", "-1 1\r\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 ", "+1 1\r\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 0", "1 1\r\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 0", "0 1\r\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 6553", "6 1\r\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 10000", "0 1\r\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1", "\r\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1", "x 1\r\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 ", " 1\r\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 ", "\r\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 0", "2\r\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 6553", "6\r\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2", " \r\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2", " x\r\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2", "\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r", "\r\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r", "x\n"},
        {"PROXY TCP6 1", ".2.3.4 "},
        {"PROXY TCP6 ", " "},
        {"PROXY TCP6 ", "g"},
        {"PROXY TCP6 ", "[::1]"},
        {"PROXY TCP6 1234", "5"},
        {"PROXY TCP6 :", "1"},
        {"PROXY TCP6 ::", ":"},
        {"PROXY TCP6 1::2:", ":"},
        {"PROXY TCP6 1:2:3:4:5:6:7:8", ":"},
        {"PROXY TCP6 1:2:3:4:5:6:7", " ::1"},
        {"PROXY TCP6 1::2:3:4:5:6:7", ":"},
        {"PROXY TCP6 ::1", "%"},
        {"PROXY TCP6 ::ffff:256", ".1"},
        {"PROXY TCP6 ::ffff:1.2.3.4", ":"},
        {"PROXY TCP6 ::ffff:01", ".2.3.4"},
        {"PROXY TCP6 ::1 ", "\r\n"},
        {"PROXY TCP6 ::1 1", ".2.3.4"},
        {"PROXY UNKNOWN", "X\r\n"},
        {"PROXY UNKNOWN", "\n"},
        {"PROXY UNKNOWN", "\t\r\n"},
        {"PROXY UNKNOWN\r", "\r\n"},
        {"PROXY UNKNOW", "\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[256];
        struct proxy_header h = {.reason = NULL};
        size_t good = strlen(cases[i].good);

        memset(line, '\n', sizeof line);
        memcpy(line, cases[i].good, good);
        memcpy(line + good, cases[i].rest, strlen(cases[i].rest));
        if (parse_exact(line, good, &h) != PROXY_MORE)
            fail_msg("'%s' gave no MORE", cases[i].good);
        if (parse_exact(line, good + 1, &h) != PROXY_BAD)
            fail_msg("'%s' and '%.1s' is not BAD", cases[i].good, cases[i].rest);
        assert_non_null(h.reason);
        for (size_t len = good + 1; len <= 200; len++)
            assert_int_equal(parse_exact(line, len, &h), PROXY_BAD);
    }
}

static void test_line_length_limit(void **state)
{
    (void)state;
    char line[128];
    struct proxy_header h;

    memset(line, 'x', sizeof line);
    put(line, "PROXY UNKNOWN ");
    put(line + PROXY_V1_MAX_BYTES - 2, "\r\n");
    assert_int_equal(parse_exact(line, PROXY_V1_MAX_BYTES - 1, &h), PROXY_MORE);
    assert_int_equal(parse_exact(line, PROXY_V1_MAX_BYTES, &h), PROXY_OK);
    assert_int_equal(h.len, PROXY_V1_MAX_BYTES);

    put(line + PROXY_V1_MAX_BYTES - 2, "x\r\n"); /* one byte more */
    assert_int_equal(parse_exact(line, PROXY_V1_MAX_BYTES - 2, &h), PROXY_MORE);
    assert_int_equal(parse_exact(line, PROXY_V1_MAX_BYTES - 1, &h), PROXY_BAD);
    assert_int_equal(parse_exact(line, sizeof line, &h), PROXY_BAD);

    /* A line of right fields, but of 108 bytes: dotted ends are longer than the text of the protocol allows for. */
    const char *too_long = "PROXY TCP6 0000:0000:0000:0000:0000:ffff:255.255.255.255 "
                           "0000:0000:0000:0000:0000:ffff:255.255.25.5 1 22\r\n";
    assert_int_equal(strlen(too_long), PROXY_V1_MAX_BYTES - 1);
    assert_int_equal(parse_exact(too_long, strlen(too_long), &h), PROXY_OK);
    too_long = "PROXY TCP6 0000:0000:0000:0000:0000:ffff:255.255.255.255 "
               "0000:0000:0000:0000:0000:ffff:255.255.255.5 1 222\r\n";
    assert_int_equal(strlen(too_long), PROXY_V1_MAX_BYTES + 1);
    assert_int_equal(parse_exact(too_long, strlen(too_long), &h), PROXY_BAD);
}

/* Every byte of a line replaced by every other value: a verdict, and MORE only while the line's end is out of sight. */
static void test_every_replaced_byte_ends_in_a_verdict(void **state)
{
    (void)state;
    char line[PROXY_V1_MAX_BYTES + 1];
    const char *good = "PROXY TCP4 192.0.2.1 198.51.100.22 5000 443\r\n";
    size_t len = strlen(good);

    for (size_t at = 0; at < len; at++) {
        for (unsigned value = 0; value < 256; value++) {
            struct proxy_header h = {.reason = NULL};
            memset(line, 'x', sizeof line);
            put(line, good);
            line[at] = (char)value;
            enum proxy_result result = parse_exact(line, sizeof line, &h);
            assert_true(result == PROXY_OK || (result == PROXY_BAD && h.reason != NULL));
            if (result ==
                PROXY_OK) /* another digit is another address; a digit or dot may also stand for a separator's neighbour */
                assert_true(h.len == len &&
                            ((value >= '0' && value <= '9') || value == '.' || (char)value == good[at]));
        }
    }
}

static void test_nothing_wants_more(void **state)
{
    struct proxy_header header;

    (void)state;
    assert_int_equal(proxy_v1_parse(bytes_of("", 0), &header), PROXY_MORE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_wants_more),         cmocka_unit_test(test_valid_lines),
        cmocka_unit_test(test_bytes_behind_the_line_stay), cmocka_unit_test(test_malformed_lines),
        cmocka_unit_test(test_line_length_limit),          cmocka_unit_test(test_every_replaced_byte_ends_in_a_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
