/* What gRPC puts into headers: percent-decoding, time-outs, and texts that must not move a terminal's cursor. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "client_text.h"

struct text_case {
    const char *in;
    const char *out;
};

static void test_messages_are_decoded(void **state)
{
    static const struct text_case cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"no%20listener", "no listener"},
        {"100%25", "100%"},
        {"100%", "100%"},
        {"%2", "%2"},
        {"%zz", "%zz"},
        {"%2x", "%2x"},
        {"%%41", "%A"},
        {"caf%C3%A9", "caf\xc3\xa9"},
        {"caf%c3%a9!", "caf\xc3\xa9!"},
        {"half%C3", "half?"},
        {"half%C3x", "half?x"},
        {"%E2%82%AC", "\xe2\x82\xac"},
        {"%F0%9F%98%80.", "\xf0\x9f\x98\x80."},
        {"%ED%A0%80", "???"},
        {"%1B[2J", "?[2J"},
        {"a%0Ab", "a?b"},
        {"a%00b", "a?b"},
        {"%C2%9B2J", "??2J"},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char data[64];
        struct strbuf out = STRBUF_OF(data);
        client_text_decode_message(bytes_of_str(cases[i].in), &out);
        if (strcmp(data, cases[i].out) != 0)
            fail_msg("%s gives %s", cases[i].in, data);
    }
}

static void test_a_long_message_is_cut(void **state)
{
    char data[8];
    struct strbuf out = STRBUF_OF(data);

    (void)state;
    client_text_decode_message(bytes_of_str("%41%42%43%44%45%46%47%48%49"), &out);
    assert_string_equal(data, "ABCDEFG");
    assert_true(out.overflowed);
}

static void test_texts_are_made_printable(void **state)
{
    static const struct text_case cases[] = {
        {"unix:/run/a b", "unix:/run/a b"}, {"\033[31m", "\\x1b[31m"}, {"a\nb\x7f", "a\\x0ab\\x7f"},
        {"caf\xc3\xa9", "caf\xc3\xa9"},     {"\xc3", "\\xc3"},         {"\xc2\x9b", "\\xc2\\x9b"},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char data[64];
        struct strbuf out = STRBUF_OF(data);
        client_text_add_printable(bytes_of_str(cases[i].in), &out);
        assert_string_equal(data, cases[i].out);
    }
}

/** "At most 8 digits" and a unit, says the protocol. */
static void test_timeouts_have_eight_digits(void **state)
{
    static const struct {
        uint32_t ms;
        const char *out;
    } cases[] = {
        {1, "1m"}, {30000, "30000m"}, {99999999, "99999999m"}, {100000000, "100000S"}, {UINT32_MAX, "4294967S"}};

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char data[16];
        struct strbuf out = STRBUF_OF(data);
        client_text_add_timeout(cases[i].ms, &out);
        assert_string_equal(data, cases[i].out);
    }
}

static void test_statuses_have_words(void **state)
{
    char data[64];
    struct strbuf out = STRBUF_OF(data);

    (void)state;
    client_text_add_status(5, &out);
    client_text_add_status(16, &out);
    client_text_add_status(17, &out);
    assert_string_equal(data, "NOT_FOUNDUNAUTHENTICATEDstatus 17");
}

static void test_amounts_are_short(void **state)
{
    static const struct {
        uint64_t amount;
        const char *text;
    } rows[] = {
        {0, "0"},           {999, "999"},       {1000, "1.00k"},    {1234, "1.23k"},
        {9999, "9.99k"},    {10000, "10.0k"},   {12345, "12.3k"},   {99999, "99.9k"},
        {100000, "100k"},   {999999, "999k"},   {1000000, "1.00M"}, {45678901234, "45.6G"},
        {1000005, "1.00M"}, {1009999, "1.00M"}, {1010000, "1.01M"}, {UINT64_MAX, "18.4E"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char data[16];
        struct strbuf out = STRBUF_OF(data);
        client_text_add_amount(rows[i].amount, &out);
        assert_string_equal(data, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_are_decoded),     cmocka_unit_test(test_a_long_message_is_cut),
        cmocka_unit_test(test_texts_are_made_printable), cmocka_unit_test(test_timeouts_have_eight_digits),
        cmocka_unit_test(test_statuses_have_words),      cmocka_unit_test(test_amounts_are_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
