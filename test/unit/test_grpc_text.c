/* gRPC's header values: timeouts, content types, status messages. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "err.h"
#include "grpc_text.h"

/* ---- grpc-timeout ---- */

struct timeout_case {
    const char *text;
    int rc;
    int64_t ns;
};

static const struct timeout_case timeouts[] = {
    {"0n", 0, 0},
    {"1n", 0, 1},
    {"1u", 0, 1000},
    {"1m", 0, 1000000},
    {"1S", 0, 1000000000},
    {"1M", 0, 60000000000},
    {"1H", 0, 3600000000000},
    {"007S", 0, 7000000000},
    {"99999999n", 0, 99999999},
    {"99999999S", 0, 99999999000000000},
    {"99999999H", 0, GRPC_TIMEOUT_NS_MAX}, /* 11,408 years */
    {"2562047H", 0, 2562047LL * 3600000000000LL},
    {"2562048H", 0, GRPC_TIMEOUT_NS_MAX},
    {"", ERR_INVALID, 0},
    {"S", ERR_INVALID, 0},
    {"1", ERR_INVALID, 0},
    {"1s", ERR_INVALID, 0},
    {"1h", ERR_INVALID, 0},
    {"123456789S", ERR_INVALID, 0},
    {"-1S", ERR_INVALID, 0},
    {"+1S", ERR_INVALID, 0},
    {" 1S", ERR_INVALID, 0},
    {"1S ", ERR_INVALID, 0},
    {"1.5S", ERR_INVALID, 0},
    {"1 S", ERR_INVALID, 0},
    {"1SS", ERR_INVALID, 0},
    {"0x1S", ERR_INVALID, 0},
};

static void timeouts_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        int64_t ns = -1;
        assert_int_equal(grpc_timeout_parse(bytes_of_str(timeouts[i].text), &ns), timeouts[i].rc);
        assert_true(ns == (timeouts[i].rc == 0 ? timeouts[i].ns : -1));
    }
}

static void a_timeout_of_any_two_bytes_ends_in_a_verdict(void **state)
{
    unsigned good = 0;

    (void)state;
    for (unsigned i = 0; i < 65536; i++) {
        uint8_t text[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        int64_t ns;
        good += grpc_timeout_parse(bytes_of(text, 2), &ns) == 0;
    }
    assert_int_equal(good, 10 * 6);
}

/* ---- content-type ---- */

struct type_case {
    const char *text;
    bool is_ours;
};

static const struct type_case types[] = {
    {"application/grpc", true},
    {"application/grpc+proto", true},
    {"Application/GRPC", true},
    {"application/grpc; charset=utf-8", true},
    {"application/grpc;charset=utf-8", true},
    {"application/grpc ;x=y", true},
    {"application/grpc+proto; a=b", true},
    {"application/grpc+json", false},
    {"application/grpc-web", false},
    {"application/grpc-web+proto", false},
    {"application/grpcx", false},
    {"application/grpc+protox", false},
    {"application/json", false},
    {"text/html", false},
    {"application/grp", false},
    {"", false},
};

static void content_types_are_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        assert_int_equal(grpc_content_type_is_ours(bytes_of_str(types[i].text)), types[i].is_ours);
}

/* ---- grpc-message ---- */

struct encode_case {
    const char *text;
    const char *encoded;
};

static const struct encode_case encodings[] = {
    {"", ""},
    {"route.hostname: must be a name", "route.hostname: must be a name"},
    {"100%", "100%25"},
    {"a\nb\r\tc", "a%0Ab%0D%09c"},
    {"caf\xc3\xa9", "caf%C3%A9"},
    {" ~", " ~"},
    {"\x1f\x7f\x80\xff", "%1F%7F%80%FF"},
    {"%41", "%2541"},
};

static void messages_are_percent_encoded(void **state)
{
    char data[128];

    (void)state;
    for (size_t i = 0; i < sizeof encodings / sizeof encodings[0]; i++) {
        struct strbuf out = STRBUF_OF(data);
        grpc_percent_encode(bytes_of_str(encodings[i].text), &out);
        assert_string_equal(data, encodings[i].encoded);
    }
}

static void every_byte_survives_encoding(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        char data[8];
        struct strbuf out = STRBUF_OF(data);
        uint8_t byte = (uint8_t)c;
        grpc_percent_encode(bytes_of(&byte, 1), &out);
        unsigned back = out.len == 1 ? (uint8_t)data[0] : (unsigned)strtoul(data + 1, NULL, 16);
        assert_int_equal(back, c);
        assert_true(out.len == 1 ? data[0] != '%' : data[0] == '%' && out.len == 3);
    }
}

/* A small buffer gets a beginning, never half an escape, never more than it has. */
static void what_does_not_fit_is_left_out_whole(void **state)
{
    (void)state;
    for (size_t capacity = 1; capacity <= 12; capacity++) {
        char data[16];
        memset(data, '!', sizeof data);
        struct strbuf out = strbuf_init(data, capacity);
        grpc_percent_encode(bytes_of_str("a%b%"), &out);
        assert_false(out.overflowed);
        assert_true(out.len < capacity && strlen(data) == out.len);
        assert_memory_equal(data, "a%25b%25", out.len);
        assert_true(out.len == 0 || out.len == 1 || out.len == 4 || out.len == 5 || out.len == 8);
        assert_int_equal(data[capacity], '!');
    }
}

static void text_is_cut_between_characters(void **state)
{
    static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z"; /* 1, 2, 3, 4 and 1 bytes */
    static const size_t cut[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11, 11};

    (void)state;
    for (size_t max = 0; max < sizeof cut / sizeof cut[0]; max++)
        assert_int_equal(grpc_text_cut(bytes_of_str(text), max).len, cut[max]);
    assert_int_equal(grpc_text_cut(bytes_of_str("\x80\x80\x80"), 2).len, 0); /* not UTF-8 at all */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timeouts_are_read),
        cmocka_unit_test(a_timeout_of_any_two_bytes_ends_in_a_verdict),
        cmocka_unit_test(content_types_are_told_apart),
        cmocka_unit_test(messages_are_percent_encoded),
        cmocka_unit_test(every_byte_survives_encoding),
        cmocka_unit_test(what_does_not_fit_is_left_out_whole),
        cmocka_unit_test(text_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
