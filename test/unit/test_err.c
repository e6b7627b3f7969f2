/* The error table: every code has its kind and words, everything else is a bug. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "err.h"

#define CASE(code, value, kind, text) {code, value, kind, text},
static const struct {
    int code;
    int value;
    enum err_kind kind;
    const char *text;
} rows[] = {ERR_TABLE(CASE)};
#undef CASE

#define ROWS (sizeof rows / sizeof rows[0])

static void test_every_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        assert_int_equal(rows[i].code, rows[i].value);
        assert_int_equal(err_kind_of(rows[i].code), rows[i].kind);
        assert_string_equal(err_text(rows[i].code), rows[i].text);
    }
}

/* Codes are minus one and downwards without gaps or doubles, and no two say the same. */
static void test_rows_are_distinct(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        assert_int_equal(rows[i].value, -(int)i - 1);
        assert_true(strlen(rows[i].text) > 0);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(rows[i].text, rows[j].text);
    }
}

static void test_numbers_that_are_no_code(void **state)
{
    (void)state;
    static const int numbers[] = {1, 22, -(int)ROWS - 1, -1000, 2147483647, -2147483647 - 1};

    assert_int_equal(err_kind_of(0), ERR_KIND_NONE);
    assert_string_equal(err_text(0), "ok");
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        assert_int_equal(err_kind_of(numbers[i]), ERR_KIND_BUG);
        assert_string_equal(err_text(numbers[i]), "unknown error");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row),
        cmocka_unit_test(test_rows_are_distinct),
        cmocka_unit_test(test_numbers_that_are_no_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
