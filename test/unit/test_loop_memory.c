/* The event loop's allocator: what it does when memory is short, which here is when more is asked for than there can be. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <limits.h>
#include <string.h>

#include "loop_memory.h"

/* The sanitizer's malloc would rather end the process. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void test_it_is_realloc(void **state)
{
    (void)state;
    char *p = loop_memory_realloc(NULL, 10);
    assert_non_null(p);
    memcpy(p, "some text", 10);
    p = loop_memory_realloc(p, 100000);
    assert_string_equal(p, "some text");
    assert_null(loop_memory_realloc(p, 0));
}

static void test_a_failure_takes_the_reserve_and_is_told_once(void **state)
{
    (void)state;
    assert_true(loop_memory_refill());
    assert_true(loop_memory_refill());
    assert_null(loop_memory_realloc(NULL, LONG_MAX)); /* no reserve is enough for that */
    assert_false(loop_memory_refill());               /* it was needed, and is there again */
    assert_true(loop_memory_refill());
}

static void test_a_failure_leaves_the_old_memory_alone(void **state)
{
    (void)state;
    char *p = loop_memory_realloc(NULL, 10);
    assert_non_null(p);
    memcpy(p, "some text", 10);
    assert_null(loop_memory_realloc(p, LONG_MAX));
    assert_string_equal(p, "some text");
    assert_null(loop_memory_realloc(p, 0));
    assert_false(loop_memory_refill());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_realloc),
        cmocka_unit_test(test_a_failure_takes_the_reserve_and_is_told_once),
        cmocka_unit_test(test_a_failure_leaves_the_old_memory_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
