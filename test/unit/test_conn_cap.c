/* How many connections descriptors suffice for: never more than fit, never none. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn_cap.h"

static void test_known_limits(void **state)
{
    static const struct {
        uint64_t limit;
        unsigned listeners;
        uint32_t cap;
    } cases[] = {
        {64, 1, 16},
        {128, 1, 32},
        {1024, 1, 480},
        {1024, 16, 480},
        {1024, 17, 479},
        {1024, 300, 338},
        {1024, 1024, 1},
        {0, 0, 1},
        {3, 0, 1},
        {524288, 1, 262112},
        {524288, 1024, 261608},
        {UINT64_MAX, 1, UINT32_MAX},
        {UINT64_MAX, 1024, UINT32_MAX},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(conn_cap(cases[i].limit, cases[i].listeners), cases[i].cap);
}

static void test_all_fit_and_something_is_left_over(void **state)
{
    (void)state;
    for (uint64_t limit = 64; limit < 70000; limit += 7) {
        for (unsigned listeners = 1; listeners <= 1024 && listeners < limit / 4; listeners += 13)
            assert_true(2ull * conn_cap(limit, listeners) + listeners + 16 <= limit);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_limits),
        cmocka_unit_test(test_all_fit_and_something_is_left_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
