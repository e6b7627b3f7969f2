/* What is text: tables of characters at every border, every prefix and every wrong continuation. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "utf8.h"

static const struct {
    const char *text;
    bool is_printable;
} cases[] = {
    {"", true},
    {"/run/app.sock", true},
    {" ~", true},
    {"\x1f", false},
    {"\x7f", false},
    {"a\nb", false},
    {"\x80", false},
    {"\xbf", false},
    {"\xc0\x80", false}, /* NUL in two bytes */
    {"\xc1\xbf", false},
    {"\xc2\x80", true},
    {"\xdf\xbf", true},
    {"\xe0\x9f\xbf", false}, /* longer than needed */
    {"\xe0\xa0\x80", true},
    {"\xed\x9f\xbf", true},
    {"\xed\xa0\x80", false}, /* a surrogate */
    {"\xee\x80\x80", true},
    {"\xf0\x8f\xbf\xbf", false},
    {"\xf0\x90\x80\x80", true},
    {"\xf4\x8f\xbf\xbf", true},
    {"\xf4\x90\x80\x80", false}, /* beyond U+10FFFF */
    {"\xf5\x80\x80\x80", false},
    {"\xff", false},
    {"j\xc3\xb6rg", true},
    {"j\xf6rg", false},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (utf8_is_printable(bytes_of_str(cases[i].text)) != cases[i].is_printable)
            fail_msg("case %zu", i);
    }
}

static void test_a_nul_is_not_printable(void **state)
{
    (void)state;
    assert_false(utf8_is_printable(bytes_of("a\0b", 3)));
    assert_int_equal(utf8_char_len(bytes_of("", 0)), 0);
}

static void test_every_cut_and_every_wrong_continuation_is_seen(void **state)
{
    static const char *const whole[] = {"\xc3\xb6", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};

    (void)state;
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        struct bytes text = bytes_of_str(whole[i]);
        assert_true(utf8_is_printable(text));
        for (size_t cut = 1; cut < text.len; cut++) {
            uint8_t copy[4];
            assert_false(utf8_is_printable(bytes_of(text.ptr, cut)));
            memcpy(copy, text.ptr, text.len);
            copy[cut] = 'a';
            assert_false(utf8_is_printable(bytes_of(copy, text.len)));
            copy[cut] = 0xc0;
            assert_false(utf8_is_printable(bytes_of(copy, text.len)));
        }
    }
}

static void test_the_valid_prefix_ends_before_what_is_no_character(void **state)
{
    static const struct {
        const char *text;
        size_t prefix;
    } rows[] = {
        {"", 0},          {"abc", 3},      {"\t\x7f\x01", 3},    {"j\xc3\xb6rg", 5},       {"j\xf6rg", 1},
        {"ab\xc3", 2},    {"\xe2\x82", 0}, {"a\xed\xa0\x80", 1}, {"a\xf0\x9f\x98\x80", 5}, {"a\xf4\x90\x80\x80", 1},
        {"a\xc0\x80", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (utf8_valid_prefix(bytes_of_str(rows[i].text)) != rows[i].prefix)
            fail_msg("row %zu", i);
    }
    assert_int_equal(utf8_valid_prefix(bytes_of("a\0b", 3)), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_a_nul_is_not_printable),
        cmocka_unit_test(test_every_cut_and_every_wrong_continuation_is_seen),
        cmocka_unit_test(test_the_valid_prefix_ends_before_what_is_no_character),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
