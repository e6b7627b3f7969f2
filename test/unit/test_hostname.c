/* Hostnames and route patterns: the grammar, its limits, and reasons an operator can act on. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "hostname.h"

#define LABEL_63 "abcdefghijklmnopqrstuvwxyz0123456789-_abcdefghijklmnopqrstuvwxy"
_Static_assert(sizeof LABEL_63 - 1 == 63, "a label of the greatest length");
#define NAME_253 LABEL_63 "." LABEL_63 "." LABEL_63 ".abcdefghijklmnopqrstuvwxyz0123456789-_abcdefghijklmnopqrstuvw"
_Static_assert(sizeof NAME_253 - 1 == 253, "a name of the greatest length");
#define NAME_251 LABEL_63 "." LABEL_63 "." LABEL_63 ".abcdefghijklmnopqrstuvwxyz0123456789-_abcdefghijklmnopqrstu"
_Static_assert(sizeof NAME_251 - 1 == 251, "the longest name behind a wildcard");

static void test_names_are_normalised(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"www.example.com", "www.example.com"},
        {"WWW.Example.COM", "www.example.com"},
        {"www.example.com.", "www.example.com"},
        {"a", "a"},
        {"a.", "a"},
        {"0", "0"},
        {"localhost", "localhost"},
        {"192.0.2.1", "192.0.2.1"}, /* a hostname by its letters; some clients send one */
        {"xn--bcher-kva.example", "xn--bcher-kva.example"},
        {"_dmarc.my_host", "_dmarc.my_host"},
        {"-a-.-", "-a-.-"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"},
        {LABEL_63, LABEL_63},
        {NAME_253, NAME_253},
        {NAME_253 ".", NAME_253},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[HOSTNAME_MAX + 1];
        memset(out, 'x', sizeof out);
        assert_int_equal(hostname_normalise(bytes_of_str(cases[i].in), out), strlen(cases[i].out));
        assert_string_equal(out, cases[i].out);
    }
}

static void test_what_is_no_name_is_refused(void **state)
{
    static const struct {
        const char *in;
        size_t len;
    } cases[] = {
#define TEXT(literal) {literal, sizeof(literal) - 1}
        TEXT(""),
        TEXT("."),
        TEXT(".."),
        TEXT("a.."),
        TEXT(".a"),
        TEXT("a..b"),
        TEXT("*"),
        TEXT("*.example.com"),
        TEXT("www.example.com:443"),
        TEXT("www example.com"),
        TEXT(" a"),
        TEXT("a "),
        TEXT("a\n"),
        TEXT("a\0"),
        TEXT("a\0b"),
        TEXT("\0"),
        TEXT("b\xc3\xbc"
             "cher.example"),
        TEXT("[::1]"),
        TEXT("::1"),
        TEXT(LABEL_63 "a"),
        TEXT("a." LABEL_63 "a.b"),
        TEXT(NAME_253 "a"),
        TEXT(NAME_253 "a."),
        TEXT(NAME_253 ".."),
        {NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[HOSTNAME_MAX + 1];
        if (hostname_normalise(bytes_of(cases[i].in, cases[i].len), out) != 0)
            fail_msg("case %zu was taken: %s", i, cases[i].in);
    }
}

/* Against the grammar written a second time, for each of the 256 bytes at each place of a short name. */
static void test_every_byte_is_judged(void **state)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        for (size_t at = 0; at < 3; at++) {
            char name[3] = "abc";
            char out[HOSTNAME_MAX + 1];
            name[at] = (char)byte;
            bool in_label = byte != 0 && strchr(allowed, byte) != NULL;
            size_t expected = in_label ? 3 : byte == '.' && at == 1 ? 3 : byte == '.' && at == 2 ? 2 : 0;
            assert_int_equal(hostname_normalise(bytes_of(name, 3), out), expected);
            if (expected == 3 && byte >= 'A' && byte <= 'Z')
                assert_int_equal(out[at], byte + ('a' - 'A'));
        }
    }
}

static void test_normalising_twice_changes_nothing(void **state)
{
    char once[HOSTNAME_MAX + 1], twice[HOSTNAME_MAX + 1];
    (void)state;
    size_t len = hostname_normalise(bytes_of_str("Www.EXAMPLE.com."), once);
    assert_int_equal(hostname_normalise(bytes_of(once, len), twice), len);
    assert_string_equal(once, twice);
}

static void test_patterns_are_parsed_and_formatted(void **state)
{
    static const struct {
        const char *text;
        enum host_pattern_kind kind;
        const char *name, *canonical;
    } cases[] = {
        {"*", HOST_PATTERN_ANY, "", "*"},
        {"*.Example.com", HOST_PATTERN_WILDCARD, "example.com", "*.example.com"},
        {"*.example.com.", HOST_PATTERN_WILDCARD, "example.com", "*.example.com"},
        {"*.com", HOST_PATTERN_WILDCARD, "com", "*.com"},
        {"WWW.example.com.", HOST_PATTERN_EXACT, "www.example.com", "www.example.com"},
        {NAME_253, HOST_PATTERN_EXACT, NAME_253, NAME_253},
        {"*." NAME_251, HOST_PATTERN_WILDCARD, NAME_251, "*." NAME_251},
        {"*." NAME_251 ".", HOST_PATTERN_WILDCARD, NAME_251, "*." NAME_251},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct host_pattern pattern;
        char why_text[200], text[300];
        struct strbuf why = STRBUF_OF(why_text), canonical = STRBUF_OF(text);
        assert_int_equal(host_pattern_parse(bytes_of_str(cases[i].text), &pattern, &why), 0);
        assert_int_equal(why.len, 0);
        assert_int_equal(pattern.kind, cases[i].kind);
        assert_string_equal(pattern.name, cases[i].name);
        assert_int_equal(pattern.len, strlen(cases[i].name));
        host_pattern_format(&pattern, &canonical);
        assert_string_equal(text, cases[i].canonical);
    }
}

static void test_bad_patterns_say_what_is_wrong(void **state)
{
    static const struct {
        struct bytes text;
        const char *reason; /* a part of it */
    } cases[] = {
#define PATTERN(literal) {(const uint8_t *)(literal), sizeof(literal) - 1}
        {PATTERN(""), "must not be empty"},
        {{NULL, 0}, "must not be empty"},
        {PATTERN("."), "must not be empty"},
        {PATTERN("*."), "a hostname must stand behind \"*.\""},
        {PATTERN("*.."), "a hostname must stand behind \"*.\""},
        {PATTERN("**"), "a wildcard may only be the whole first label"},
        {PATTERN("*.*"), "a wildcard may only be the whole first label"},
        {PATTERN("*.*.example.com"), "a wildcard may only be the whole first label"},
        {PATTERN("www*.example.com"), "a wildcard may only be the whole first label"},
        {PATTERN("*www.example.com"), "a wildcard may only be the whole first label"},
        {PATTERN("www.*.com"), "a wildcard may only be the whole first label"},
        {PATTERN("a..b"), "must not have an empty label"},
        {PATTERN(".example.com"), "must not have an empty label"},
        {PATTERN("*..example.com"), "must not have an empty label"},
        {PATTERN("a.."), "must not have an empty label"},
        {PATTERN(LABEL_63 "x.com"), "a label must not be longer than 63 bytes"},
        {PATTERN(NAME_253 "x"), "must not be longer than 253 bytes"},
        {PATTERN("*.x" NAME_251), "must not be longer than 253 bytes"},
        {PATTERN("www.example.com:443"), "bad character ':'"},
        {PATTERN("a b"), "bad character \\x20"},
        {PATTERN("a\0"), "bad character \\x00"},
        {PATTERN("a\x7f"), "bad character \\x7f"},
        {PATTERN("b\xc3\xbc"
                 "cher.example"),
         "bad character \\xc3; write an international name in its \"xn--\" form"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct host_pattern pattern, untouched;
        char why_text[200];
        struct strbuf why = STRBUF_OF(why_text);
        memset(&pattern, 0x5a, sizeof pattern);
        memset(&untouched, 0x5a, sizeof untouched);
        assert_int_equal(host_pattern_parse(cases[i].text, &pattern, &why), ERR_INVALID);
        assert_memory_equal(&pattern, &untouched, sizeof pattern);
        assert_false(why.overflowed);
        if (strstr(why_text, cases[i].reason) == NULL)
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, why_text, cases[i].reason);
        for (const char *c = why_text; *c != '\0'; c++)
            assert_in_range((unsigned char)*c, ' ', '~'); /* a reason is safe to print */
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_normalised),
        cmocka_unit_test(test_what_is_no_name_is_refused),
        cmocka_unit_test(test_every_byte_is_judged),
        cmocka_unit_test(test_normalising_twice_changes_nothing),
        cmocka_unit_test(test_patterns_are_parsed_and_formatted),
        cmocka_unit_test(test_bad_patterns_say_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
