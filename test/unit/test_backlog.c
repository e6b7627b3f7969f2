/* Backlogs: a copy of what was not sent, and the sum of all. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backlog.h"

static void test_bytes_are_copied(void **state)
{
    char text[] = "unsent";
    struct backlog *b = backlog_new(bytes_of(text, 6));

    (void)state;
    assert_non_null(b);
    memset(text, 'X', sizeof text);
    assert_int_equal(b->start, 0);
    assert_int_equal(b->end, 6);
    assert_memory_equal(b->data, "unsent", 6);
    backlog_free(&b);
    assert_null(b);
    backlog_free(&b); /* nothing there */
}

static void test_the_sum_is_of_what_is_there(void **state)
{
    static uint8_t bytes[100000];
    static const size_t sizes[] = {1, 4096, 65536, 100000};
    struct backlog *b[4];
    size_t before = backlog_held(), sum = 0;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        b[i] = backlog_new(bytes_of(bytes, sizes[i]));
        assert_non_null(b[i]);
        sum += sizeof *b[i] + sizes[i];
        assert_int_equal(backlog_held() - before, sum);
    }
    b[1]->start = 4096; /* sent since: it takes its memory until it is freed */
    assert_int_equal(backlog_held() - before, sum);
    for (unsigned i = 0; i < 4; i++) {
        sum -= sizeof *b[i] + sizes[i];
        backlog_free(&b[i]);
        assert_int_equal(backlog_held() - before, sum);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_copied),
        cmocka_unit_test(test_the_sum_is_of_what_is_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
