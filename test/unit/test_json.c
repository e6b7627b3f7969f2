/* JSON in both directions: what is written can be read, and nothing but JSON can. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "json_in.h"
#include "json_out.h"
#include "strbuf.h"

/* ---- writing ---- */

static void write_document(FILE *to)
{
    struct json_out json = json_out_to(to);

    json_out_open(&json, '{');
    json_out_text_of(&json, "a", "x\"\\\n\x1f\x7f\xc3\xa9\xff/");
    json_out_number_of(&json, "big", UINT64_MAX);
    json_out_key(&json, "list");
    json_out_open(&json, '[');
    json_out_bool(&json, true);
    json_out_bool(&json, false);
    json_out_open(&json, '{');
    json_out_close(&json, '}');
    json_out_open(&json, '[');
    json_out_close(&json, ']');
    json_out_close(&json, ']');
    json_out_bool_of(&json, "end", true);
    json_out_close(&json, '}');
}

static void test_commas_and_escapes(void **state)
{
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);

    (void)state;
    assert_non_null(to);
    write_document(to);
    fclose(to);
    assert_string_equal(text, "{\"a\":\"x\\\"\\\\\\u000a\\u001f\\u007f\xc3\xa9\\ufffd/\",\"big\":18446744073709551615,"
                              "\"list\":[true,false,{},[]],\"end\":true}");
    free(text);
}

/* ---- reading ---- */

/** A string's text is appended to the tokens' letters in quotes. */
static void read_all(const char *text, size_t len, char *out, size_t size)
{
    static const char letters[] = ".!{}[]:,s0tfn";
    struct strbuf to = strbuf_init(out, size);
    struct json_in in;
    enum json_token token;

    json_in_init(&in, bytes_of(text, len));
    do {
        token = json_in_next(&in);
        strbuf_add_char(&to, letters[token]);
        if (token == JSON_STRING)
            strbuf_add_bytes(&to, in.text);
    } while (token != JSON_END && token != JSON_BAD);
    assert_int_equal(json_in_next(&in), token);
    assert_int_equal(in.problem != NULL, token == JSON_BAD);
}

static void test_tokens(void **state)
{
    static const struct {
        const char *in;
        const char *out;
    } cases[] = {
        {"", "."},
        {" \t\r\n", "."},
        {"{}[]:,", "{}[]:,."},
        {"true false null", "tfn."},
        {"\"a\"", "sa."},
        {"\"\"", "s."},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "s\"\\/\b\f\n\r\t."},
        {"\"\\u0041\\u00e9\\u20ac\"", "sA\xc3\xa9\xe2\x82\xac."},
        {"\"\\ud83d\\ude00\"", "s\xf0\x9f\x98\x80."},
        {"\"\\ud83d\"", "!"},
        {"\"\\ude00\"", "!"},
        {"\"\\ud83dx\"", "!"},
        {"\"\\ud83d\\u0041\"", "!"},
        {"\"\\ud83d\\ue000\"", "!"},
        {"\"\\ud83dabcdef\"", "!"},
        {"\"\\ud83d\\nabcd\"", "!"},
        {"\"\\u00E9\\ue000\"", "s\xc3\xa9\xee\x80\x80."},
        {"\"\\u00/0\"", "!"},
        {"\"\\u00@0\"", "!"},
        {"\"\\u00G0\"", "!"},
        {"\"\\u00g0\"", "!"},
        {"\"\\u00\"", "!"},
        {"\"\\x\"", "!"},
        {"\"\\", "!"},
        {"\"a", "!"},
        {"\"a\nb\"", "!"},
        {"0 -1 10 1.5 1e9 1E+9 1.5e-3", "0000000."},
        {"7", "0."},
        {"1.5", "0."},
        {"1.5]", "0]."},
        {"01", "!"},
        {"-", "!"},
        {"1.", "!"},
        {"1e", "!"},
        {".5", "!"},
        {"+1", "!"},
        {"tru", "!"},
        {"nil", "!"},
        {"'a'", "!"},
        {"# comment", "!"},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[64];
        read_all(cases[i].in, strlen(cases[i].in), out, sizeof out);
        if (strcmp(out, cases[i].out) != 0)
            fail_msg("%s gives %s, not %s", cases[i].in, out, cases[i].out);
    }
}

static void test_a_nul_is_no_json(void **state)
{
    char out[8];

    (void)state;
    read_all("\0", 1, out, sizeof out);
    assert_string_equal(out, "!");
    read_all("\"\\\0\"", 4, out, sizeof out);
    assert_string_equal(out, "!");
}

static void test_lines_are_counted(void **state)
{
    struct json_in in;

    (void)state;
    json_in_init(&in, bytes_of_str("{\n\n\"a\"\n:"));
    assert_int_equal(json_in_next(&in), JSON_OPEN_OBJECT);
    assert_int_equal(in.line, 1);
    assert_int_equal(json_in_next(&in), JSON_STRING);
    assert_int_equal(in.line, 3);
    assert_int_equal(json_in_next(&in), JSON_COLON);
    assert_int_equal(in.line, 4);
}

static void test_strings_have_a_limit(void **state)
{
    char text[JSON_STRING_MAX + 4];
    struct json_in in;

    (void)state;
    memset(text, 'a', sizeof text);
    text[0] = '"';
    text[JSON_STRING_MAX + 1] = '"';
    json_in_init(&in, bytes_of(text, JSON_STRING_MAX + 2));
    assert_int_equal(json_in_next(&in), JSON_STRING);
    assert_int_equal(in.text.len, JSON_STRING_MAX);
    text[JSON_STRING_MAX + 1] = 'a';
    text[JSON_STRING_MAX + 2] = '"';
    json_in_init(&in, bytes_of(text, JSON_STRING_MAX + 3));
    assert_int_equal(json_in_next(&in), JSON_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commas_and_escapes),   cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_a_nul_is_no_json),     cmocka_unit_test(test_lines_are_counted),
        cmocka_unit_test(test_strings_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
