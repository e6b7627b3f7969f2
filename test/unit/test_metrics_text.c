/* The exposition format: escaping, numbers, and what happens when memory runs out. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "metrics_text.h"

static void assert_text(struct metrics_text *t, const char *expected)
{
    assert_false(t->failed);
    assert_int_equal(t->len, strlen(expected));
    assert_memory_equal(t->data, expected, t->len);
    metrics_text_fini(t);
    assert_null(t->data);
}

static void test_a_family_has_help_and_type(void **state)
{
    struct metrics_text t = {0};

    (void)state;
    metrics_text_family(&t, METRIC_BUILD_INFO);
    assert_text(&t, "# HELP mcproxy_build_info Always 1.\n# TYPE mcproxy_build_info gauge\n");
}

static void test_samples_with_and_without_labels(void **state)
{
    struct metrics_text t = {0};
    struct metrics_label labels[] = {{"a", "x"}, {"b", ""}, {"le", "+Inf"}};

    (void)state;
    metrics_text_sample(&t, METRIC_BACKENDS, "", NULL, 0, 0);
    metrics_text_sample(&t, METRIC_BACKENDS, "", labels, 1, UINT64_MAX);
    metrics_text_sample(&t, METRIC_BACKENDS, "_bucket", labels, 3, 10);
    metrics_text_sample_us(&t, METRIC_BACKENDS, "_sum", labels + 1, 1, 1500000);
    assert_text(&t, "mcproxy_backends 0\n"
                    "mcproxy_backends{a=\"x\"} 18446744073709551615\n"
                    "mcproxy_backends_bucket{a=\"x\",b=\"\",le=\"+Inf\"} 10\n"
                    "mcproxy_backends_sum{b=\"\"} 1.5\n");
}

static void test_values_of_labels_are_escaped(void **state)
{
    static const struct {
        const char *value, *written;
    } cases[] = {
        {"plain [::1]:443", "plain [::1]:443"}, {"\"", "\\\""},       {"\\", "\\\\"}, {"\n", "\\n"},
        {"a\"b\\c\nd", "a\\\"b\\\\c\\nd"},      {"\"\"", "\\\"\\\""}, {"", ""},       {"\xc3\xa4", "\xc3\xa4"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct metrics_text t = {0};
        struct metrics_label label = {"l", cases[i].value};
        char expected[128];
        metrics_text_sample(&t, METRIC_BACKENDS, "", &label, 1, 7);
        snprintf(expected, sizeof expected, "mcproxy_backends{l=\"%s\"} 7\n", cases[i].written);
        assert_text(&t, expected);
    }
}

static void test_seconds_are_short_and_exact(void **state)
{
    static const struct {
        uint64_t us;
        const char *text;
    } cases[] = {
        {0, "0"},
        {1, "0.000001"},
        {250, "0.00025"},
        {2500, "0.0025"},
        {100000, "0.1"},
        {999999, "0.999999"},
        {1000000, "1"},
        {1000001, "1.000001"},
        {2500000, "2.5"},
        {86400000000, "86400"},
        {UINT64_MAX, "18446744073709.551615"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[METRICS_SECONDS_MAX];
        metrics_format_seconds(cases[i].us, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_it_grows_to_whatever_comes(void **state)
{
    struct metrics_text t = {0};

    (void)state;
    for (unsigned i = 0; i < 200000; i++)
        metrics_text_add(&t, "0123456789");
    assert_false(t.failed);
    assert_int_equal(t.len, 2000000);
    for (unsigned i = 0; i < 200000; i++)
        assert_memory_equal(t.data + (size_t)i * 10, "0123456789", 10);
    metrics_text_fini(&t);
}

static void test_a_failure_sticks(void **state)
{
    struct metrics_text t = {0};

    (void)state;
    metrics_text_add(&t, "before");
    t.failed = true; /* as an exhausted memory sets it */
    metrics_text_add(&t, "after");
    assert_int_equal(t.len, strlen("before"));
    assert_true(t.failed);
    metrics_text_fini(&t);
    assert_false(t.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_family_has_help_and_type),   cmocka_unit_test(test_samples_with_and_without_labels),
        cmocka_unit_test(test_values_of_labels_are_escaped), cmocka_unit_test(test_seconds_are_short_and_exact),
        cmocka_unit_test(test_it_grows_to_whatever_comes),   cmocka_unit_test(test_a_failure_sticks),
    };
    return cmocka_run_group_tests_name("metrics_text", tests, NULL, NULL);
}
