/* nghttp2's memory: that of malloc() and friends, with the event loop's reserve behind it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "h2_memory.h"
#include "loop_memory.h"

/* The sanitizer's malloc would rather end the process. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void test_it_gives_resizes_and_takes_back(void **state)
{
    nghttp2_mem *m = h2_memory();

    (void)state;
    char *p = m->malloc(8, m->mem_user_data);
    assert_non_null(p);
    memcpy(p, "1234567", 8);
    p = m->realloc(p, 9000, m->mem_user_data);
    assert_string_equal(p, "1234567");
    m->free(p, m->mem_user_data);
    char *zeroed = m->calloc(100, 10, m->mem_user_data);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(zeroed[i], 0);
    m->free(zeroed, m->mem_user_data);
    m->free(NULL, m->mem_user_data);
}

static void test_no_bytes_are_no_failure(void **state)
{
    nghttp2_mem *m = h2_memory();

    (void)state;
    void *p = m->malloc(0, NULL), *q = m->calloc(0, 8, NULL);
    assert_non_null(p);
    assert_non_null(q);
    m->free(p, NULL);
    m->free(q, NULL);
}

static void test_what_cannot_be_is_refused_after_the_reserve(void **state)
{
    nghttp2_mem *m = h2_memory();

    (void)state;
    assert_null(m->calloc(SIZE_MAX / 2, 4, NULL)); /* more than a size_t holds */
    assert_null(m->malloc(SIZE_MAX, NULL));
    assert_true(loop_memory_refill()); /* neither was worth the reserve */
    assert_null(m->malloc((size_t)LONG_MAX, NULL));
    assert_false(loop_memory_refill());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_gives_resizes_and_takes_back),
        cmocka_unit_test(test_no_bytes_are_no_failure),
        cmocka_unit_test(test_what_cannot_be_is_refused_after_the_reserve),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
