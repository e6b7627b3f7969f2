/* Durations: what is taken, how long it is, and the shortest way to write it. */

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "duration.h"
#include "err.h"

static int parse(const char *text, uint32_t *ms_out, struct strbuf *why)
{
    return duration_parse(bytes_of_str(text), ms_out, why);
}

static void test_accepted(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t ms;
        const char *canonical;
    } cases[] = {
        {"500ms", 500, "500ms"},
        {"5s", 5000, "5s"},
        {"5m", 300000, "5m"},
        {"1h", 3600000, "1h"},
        {"1d", 86400000, "1d"},
        {"0s", 0, "0s"},
        {"0ms", 0, "0s"},
        {"0d", 0, "0s"},
        {"1ms", 1, "1ms"},
        {"1000ms", 1000, "1s"},
        {"1500ms", 1500, "1500ms"},
        {"90s", 90000, "90s"},
        {"120s", 120000, "2m"},
        {"90m", 5400000, "90m"},
        {"36h", 129600000, "36h"},
        {"48h", 172800000, "2d"},
        {"007s", 7000, "7s"},
        {"4294967295ms", UINT32_MAX, "4294967295ms"},
        {"4294967s", 4294967000, "4294967s"},
        {"71582m", 4294920000, "71582m"},
        {"1193h", 4294800000, "1193h"},
        {"49d", 4233600000, "49d"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char why_text[64], text[32];
        struct strbuf why = STRBUF_OF(why_text), out = STRBUF_OF(text);
        uint32_t ms = 1;

        if (parse(cases[i].text, &ms, &why) != 0)
            fail_msg("'%s': %s", cases[i].text, why.data);
        assert_int_equal(ms, cases[i].ms);
        duration_format(ms, &out);
        assert_string_equal(text, cases[i].canonical);
        assert_int_equal(parse(text, &ms, &why), 0);
        assert_int_equal(ms, cases[i].ms);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        const char *reason;
    } cases[] = {
        {"", ERR_INVALID, "a number and its unit"},
        {"s", ERR_INVALID, "a number and its unit"},
        {"-5s", ERR_INVALID, "a number and its unit"},
        {"+5s", ERR_INVALID, "a number and its unit"},
        {" 5s", ERR_INVALID, "a number and its unit"},
        {".5s", ERR_INVALID, "a number and its unit"},
        {"5", ERR_INVALID, "needs a unit"},
        {"0", ERR_INVALID, "needs a unit"},
        {"99999999999999999999999", ERR_INVALID, "needs a unit"},
        {"1.5s", ERR_INVALID, "whole number"},
        {"1,5s", ERR_INVALID, "whole number"},
        {"5\ts", ERR_INVALID, "blank between"},
        {"5 s", ERR_INVALID, "blank"},
        {"5s ", ERR_INVALID, "unit must be"},
        {"5S", ERR_INVALID, "unit must be"},
        {"5M", ERR_INVALID, "unit must be"},
        {"5sec", ERR_INVALID, "unit must be"},
        {"5us", ERR_INVALID, "unit must be"},
        {"5w", ERR_INVALID, "unit must be"},
        {"1h30m", ERR_INVALID, "unit must be"},
        {"0x10s", ERR_INVALID, "unit must be"},
        {"4294967296ms", ERR_RANGE, "at most 4294967295ms"},
        {"4294968s", ERR_RANGE, "at most 4294967s"},
        {"71583m", ERR_RANGE, "at most 71582m"},
        {"1194h", ERR_RANGE, "at most 1193h"},
        {"50d", ERR_RANGE, "at most 49d"},
        {"18446744073709551617ms", ERR_RANGE, "at most"}, /* 2^64 + 1 */
        {"999999999999999999999999999999s", ERR_RANGE, "at most"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char why_text[128];
        struct strbuf why = STRBUF_OF(why_text);
        uint32_t ms = 4711;
        int rc = parse(cases[i].text, &ms, &why);

        if (rc != cases[i].rc || strstr(why.data, cases[i].reason) == NULL)
            fail_msg("'%s': rc %d, reason '%s'", cases[i].text, rc, why.data);
        assert_int_equal(ms, 4711);
    }
}

static void test_nul_is_no_end(void **state)
{
    (void)state;
    char why_text[64];
    struct strbuf why = STRBUF_OF(why_text);
    uint32_t ms;
    assert_int_equal(duration_parse(bytes_of("5s\0", 3), &ms, &why), ERR_INVALID);
    assert_int_equal(duration_parse(bytes_of(NULL, 0), &ms, &why), ERR_INVALID);
}

/* The canonical text of anything parses to the same number and is never longer than plain milliseconds. */
static void test_format_is_exact_and_short(void **state)
{
    (void)state;
    uint32_t ms = 0;
    for (unsigned i = 0; i < 20000; i++) {
        char why_text[64], text[32], plain[32];
        struct strbuf why = STRBUF_OF(why_text), out = STRBUF_OF(text), plain_out = STRBUF_OF(plain);
        uint32_t back = 0;

        duration_format(ms, &out);
        assert_int_equal(parse(text, &back, &why), 0);
        assert_int_equal(back, ms);
        strbuf_addf(&plain_out, "%" PRIu32 "ms", ms);
        assert_true(out.len <= plain_out.len);
        ms = i % 2 == 0 ? ms * 1664525 + 1013904223
                        : ms / 1000 * 1000; /* a fixed sequence; every other one whole seconds */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_nul_is_no_end),
        cmocka_unit_test(test_format_is_exact_and_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
