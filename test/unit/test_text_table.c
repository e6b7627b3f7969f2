/* Tables and pages for people: alignment, and nothing that a terminal would obey. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "screen.h"
#include "text_table.h"

static const struct text_column columns[] = {{"NAME", false}, {"N", true}, {"LAST", false}};

static void expect_table(struct text_table *table, const char *expected)
{
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);

    assert_non_null(to);
    assert_int_equal(text_table_print(table, to), 0);
    fclose(to);
    assert_string_equal(text, expected);
    free(text);
    text_table_fini(table);
}

static void test_columns_are_aligned(void **state)
{
    struct text_table table = text_table_of(columns, 3);

    (void)state;
    text_table_add(&table, "a");
    text_table_add_number(&table, 12345);
    text_table_add(&table, "x");
    text_table_add(&table, "longer");
    text_table_add_number(&table, 6);
    text_table_add(&table, "");
    expect_table(&table, "NAME        N  LAST\n"
                         "a       12345  x\n"
                         "longer      6  \n");
}

static void test_a_table_may_be_empty(void **state)
{
    struct text_table table = text_table_of(columns, 3);

    (void)state;
    expect_table(&table, "NAME  N  LAST\n");
}

static void test_width_is_in_characters_and_cells_are_printable(void **state)
{
    struct text_table table = text_table_of(columns, 3);

    (void)state;
    text_table_add(&table, "caf\xc3\xa9");
    text_table_add(&table, "1");
    text_table_add(&table, "\033[2J\n");
    expect_table(&table, "NAME  N  LAST\n"
                         "caf\xc3\xa9  1  \\x1b[2J\\x0a\n");
}

static void expect_page(const char *page, unsigned rows, unsigned width, const char *expected)
{
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);

    assert_non_null(to);
    screen_paint(page, rows, width, to);
    fclose(to);
    assert_string_equal(text, expected);
    free(text);
}

static void test_a_page_stays_within_the_terminal(void **state)
{
    (void)state;
    expect_page("one\ntwo\n", 5, 80, "\033[Hone\033[K\ntwo\033[K\n\033[J");
    expect_page("one\ntwo\nthree\n", 2, 80, "\033[Hone\033[K\ntwo\033[K\033[J");
    expect_page("one two\n", 2, 3, "\033[Hone\033[K\n\033[J");
    expect_page("\xc3\xa9\xc3\xa9\xc3\xa9\n", 2, 2, "\033[H\xc3\xa9\xc3\xa9\033[K\n\033[J");
    expect_page("no end", 1, 80, "\033[Hno end\033[K\033[J");
    expect_page("", 1, 80, "\033[H\033[J");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_are_aligned),
        cmocka_unit_test(test_a_table_may_be_empty),
        cmocka_unit_test(test_width_is_in_characters_and_cells_are_printable),
        cmocka_unit_test(test_a_page_stays_within_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
