/*
 * The table of metrics keeps Prometheus's conventions, and docs/metrics.md holds it as it is. After a change of the table:
 *
 *     build-dev/test/unit/test_metrics_catalogue --write
 */

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "metrics_catalogue.h"

#define PAGE  MCPROXY_SOURCE_DIR "/docs/metrics.md"
#define BEGIN "<!-- catalogue: begin -->\n"
#define END   "<!-- catalogue: end -->\n"

static char page[65536];
static char catalogue_data[65536];

static bool has_suffix(const char *text, const char *suffix)
{
    size_t len = strlen(text), suffix_len = strlen(suffix);
    return len >= suffix_len && strcmp(text + len - suffix_len, suffix) == 0;
}

static void test_names_keep_the_conventions(void **state)
{
    (void)state;
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        const struct metric_row *row = metric_row(i);
        assert_int_equal(strncmp(row->name, "mcproxy_", 8), 0);
        for (const char *c = row->name; *c != '\0'; c++)
            assert_true(islower((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '_');
        assert_int_equal(has_suffix(row->name, "_total"), row->type == METRIC_COUNTER);
        assert_int_equal(has_suffix(row->name, "_duration_seconds"), row->type == METRIC_HISTOGRAM);
        assert_true(has_suffix(row->help, ".") && strpbrk(row->help, "\\\n|") == NULL);
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(row->name, metric_row(j)->name);
    }
}

static char *read_page(void)
{
    FILE *f = fopen(PAGE, "r");
    assert_non_null(f);
    page[fread(page, 1, sizeof page - 1, f)] = '\0';
    fclose(f);
    return page;
}

static struct strbuf make_catalogue(void)
{
    struct strbuf catalogue = STRBUF_OF(catalogue_data);
    metrics_catalogue_markdown(&catalogue);
    assert_false(catalogue.overflowed);
    return catalogue;
}

static void test_the_documentation_has_this_catalogue(void **state)
{
    char *begin = strstr(read_page(), BEGIN);
    char *end = strstr(page, END);

    (void)state;
    assert_non_null(begin);
    assert_non_null(end);
    *end = '\0';
    (void)make_catalogue();
    if (strcmp(begin + strlen(BEGIN), catalogue_data) != 0)
        fail_msg("docs/metrics.md is not the table of master/metrics_catalogue.h: run test_metrics_catalogue --write");
}

/** Put the catalogue between the marks of the page. */
static int write_page(void)
{
    char *begin = strstr(read_page(), BEGIN), *end = strstr(page, END);
    FILE *f = begin != NULL && end != NULL ? fopen(PAGE, "w") : NULL;

    if (f == NULL) {
        fprintf(stderr, PAGE " has no marks, or cannot be written\n");
        return EXIT_FAILURE;
    }
    (void)make_catalogue();
    fprintf(f, "%.*s" BEGIN "%s%s", (int)(begin - page), page, catalogue_data, end);
    return fclose(f) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_keep_the_conventions),
        cmocka_unit_test(test_the_documentation_has_this_catalogue),
    };
    if (argc > 1 && strcmp(argv[1], "--write") == 0)
        return write_page();
    return cmocka_run_group_tests_name("metrics_catalogue", tests, NULL, NULL);
}
