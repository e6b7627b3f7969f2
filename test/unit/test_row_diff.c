/* What an import would change, and what a server says about one of many changes. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "row_account.h"
#include "row_apply.h"
#include "row_diff.h"

#define TEXT ROW_FORMAT_TEXT

static void expect_diff(enum row_kind kind, const char *wanted_text, const char *current_text, bool with_removals,
                        const char *expected)
{
    struct row_account account;
    struct row_list wanted, current;
    const struct row **sorted;
    struct row_diff diff = {0};
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);

    row_account_read(&account, &wanted, kind, TEXT, bytes_of_str(wanted_text));
    row_account_read(&account, &current, kind, TEXT, bytes_of_str(current_text));
    size_t count = row_list_sort(&wanted, &sorted);
    assert_int_equal(row_diff_make(&diff, sorted, count, &current), 0);
    row_diff_print(&diff, with_removals, to);
    fclose(to);
    assert_string_equal(text, expected);
    free(text);
    free(sorted);
    row_diff_fini(&diff);
    row_list_fini(&wanted);
    row_list_fini(&current);
}

static void test_differences(void **state)
{
    (void)state;
    expect_diff(ROW_ROUTE, "", "", true, "");
    expect_diff(ROW_ROUTE, ":1 b 1.2.3.4:5\n:1 a 1.2.3.4:5\n", "", true, "+ :1 a 1.2.3.4:5\n+ :1 b 1.2.3.4:5\n");
    expect_diff(ROW_ROUTE, "", ":1 a 1.2.3.4:5\n", true, "- :1 a 1.2.3.4:5\n");
    expect_diff(ROW_ROUTE, "", ":1 a 1.2.3.4:5\n", false, "");
    expect_diff(ROW_ROUTE, ":1 a 1.2.3.4:6\n:1 c 1.2.3.4:5\n:2 a 1.2.3.4:5\n",
                ":1 a 1.2.3.4:5\n:1 b 1.2.3.4:5\n:1 c 1.2.3.4:5 send_proxy_protocol\n", true,
                "- :1 b 1.2.3.4:5\n"
                "~ :1 a 1.2.3.4:6 (was :1 a 1.2.3.4:5)\n"
                "~ :1 c 1.2.3.4:5 (was :1 c 1.2.3.4:5 send_proxy_protocol)\n"
                "+ :2 a 1.2.3.4:5\n");
    expect_diff(ROW_RULE, "KP\n1.2.3.4\n1.2.3.4\n", "1.2.3.4\n10.0.0.0/8\n", true, "- cidr 10.0.0.0/8\n+ country KP\n");
}

static void test_a_route_twice_is_a_problem_if_it_differs(void **state)
{
    struct row_account account;
    struct row_list list;
    const struct row **sorted;

    (void)state;
    row_account_read(&account, &list, ROW_ROUTE, TEXT,
                     bytes_of_str(":1 a 1.2.3.4:5\n:1 b 1.2.3.4:5\n:1 A. 1.2.3.4:5\n:1 b 1.2.3.4:6\n:2 b 1.2.3.4:6\n"));
    assert_int_equal(row_list_sort(&list, &sorted), 3);
    assert_string_equal(account.problems, "4: b of :1 has another backend in line 2 already\n");
    free(sorted);
    row_list_fini(&list);
}

static void test_many_rows_keep_their_texts(void **state)
{
    struct row_account account = {.out = STRBUF_OF(account.problems)};
    struct row_list list;
    const struct row **sorted;

    (void)state;
    row_list_init(&list, ROW_ROUTE, row_account_problem, &account);
    for (unsigned i = 0; i < 20000; i++) {
        char host[32];
        snprintf(host, sizeof host, "h%u.example.com", i * 7919 % 20000);
        const struct row_fields fields = {.listener = bytes_of_str(i % 2 ? ":1" : ":2"),
                                          .hostname = bytes_of_str(host),
                                          .backend = bytes_of_str("1.2.3.4:5")};
        row_list_add(&list, i, &fields);
    }
    assert_int_equal(row_list_sort(&list, &sorted), 20000);
    for (unsigned i = 1; i < 20000; i++)
        assert_true(row_compare(sorted[i - 1], sorted[i]) < 0);
    free(sorted);
    row_list_fini(&list);
}

static void test_messages_about_one_change(void **state)
{
    static const struct {
        const char *message;
        bool is_split;
        size_t index;
        const char *rest;
    } cases[] = {
        {"changes[3].put_route.route.hostname: too long", true, 3, "hostname: too long"},
        {"changes[0].put_route.listener_addr: no listener :444", true, 0, "listener_addr: no listener :444"},
        {"changes[12]: no such route", true, 12, "no such route"},
        {"changes[7].add_rule.rule.value: 10.0.0.1/8: host bits", true, 7, "value: 10.0.0.1/8: host bits"},
        {"changes[x]: y", false, 0, NULL},
        {"changes[1", false, 0, NULL},
        {"changes[1] y", false, 0, NULL},
        {"database: disk full", false, 0, NULL},
        {"", false, 0, NULL},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t index = 0;
        const char *rest = NULL;
        assert_int_equal(row_apply_split_message(cases[i].message, &index, &rest), cases[i].is_split);
        if (!cases[i].is_split)
            continue;
        assert_int_equal(index, cases[i].index);
        assert_string_equal(rest, cases[i].rest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_a_route_twice_is_a_problem_if_it_differs),
        cmocka_unit_test(test_many_rows_keep_their_texts),
        cmocka_unit_test(test_messages_about_one_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
