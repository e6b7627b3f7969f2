/* Lines of rejected connections: so many at once, so many a second, each reason by itself, and nothing uncounted. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "reject_limit.h"

#define SECOND 1000000ull
#define START  (1000 * SECOND)

static unsigned admit(struct reject_limit *l, enum close_reason reason, uint32_t per_second, unsigned tries,
                      uint64_t now_us)
{
    unsigned admitted = 0;

    for (unsigned i = 0; i < tries; i++)
        admitted += reject_limit_admit(l, reason, per_second, now_us);
    return admitted;
}

static void test_a_burst_then_the_rate(void **state)
{
    static const uint32_t rates[] = {1, 2, 3, 7, 200, 300, 999, 1000000};

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct reject_limit l = {0};
        uint32_t rate = rates[i];
        unsigned burst = admit(&l, CLOSE_RATE_LIMIT, rate, 6 * rate, START);
        assert_in_range(burst, REJECT_BURST_S * rate, REJECT_BURST_S * rate + REJECT_BURST_S * rate / 100 + 1);
        unsigned second = admit(&l, CLOSE_RATE_LIMIT, rate, 3 * rate, START + SECOND);
        assert_in_range(second, rate, rate + rate / 100 + 1);
        assert_int_equal(reject_limit_take(&l, CLOSE_RATE_LIMIT), 9 * rate - burst - second);
        assert_int_equal(reject_limit_take(&l, CLOSE_RATE_LIMIT), 0);
        unsigned rested = admit(&l, CLOSE_RATE_LIMIT, rate, 6 * rate, START + 100 * SECOND);
        assert_int_equal(rested, burst);
    }
}

static void test_each_reason_by_itself(void **state)
{
    struct reject_limit l = {0};

    (void)state;
    assert_int_equal(admit(&l, CLOSE_NO_ROUTE, 200, 5000, START), 1000);
    assert_int_equal(admit(&l, CLOSE_BLOCKED_IP, 200, 5000, START), 1000);
    assert_int_equal(reject_limit_take(&l, CLOSE_NO_ROUTE), 4000);
    assert_int_equal(reject_limit_take(&l, CLOSE_BLOCKED_CIDR), 0);
}

static void test_only_rejections_are_limited(void **state)
{
    static const enum close_reason rejections[] = {
        CLOSE_MAX_CONNECTIONS, CLOSE_PROXY_UNTRUSTED, CLOSE_PROXY_MALFORMED, CLOSE_PROXY_TIMEOUT,
        CLOSE_BLOCKED_IP,      CLOSE_BLOCKED_CIDR,    CLOSE_BLOCKED_COUNTRY, CLOSE_RATE_LIMIT,
        CLOSE_HELLO_MALFORMED, CLOSE_HELLO_TOO_LARGE, CLOSE_HELLO_TIMEOUT,   CLOSE_HELLO_EOF,
        CLOSE_HELLO_EVICTED,   CLOSE_NO_ROUTE,
    };
    struct reject_limit l = {0};
    unsigned limited = 0;

    (void)state;
    for (unsigned reason = 0; reason < CLOSE_REASON_COUNT; reason++)
        limited += admit(&l, reason, 1, 100, START) < 100;
    assert_int_equal(limited, sizeof rejections / sizeof rejections[0]);
    for (size_t i = 0; i < limited; i++)
        assert_int_equal(reject_limit_take(&l, rejections[i]), 95);
}

static void test_without_a_limit_all_have_their_line(void **state)
{
    struct reject_limit l = {0};

    (void)state;
    assert_int_equal(admit(&l, CLOSE_RATE_LIMIT, 0, 100000, START), 100000);
    assert_int_equal(reject_limit_take(&l, CLOSE_RATE_LIMIT), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_burst_then_the_rate),
        cmocka_unit_test(test_each_reason_by_itself),
        cmocka_unit_test(test_only_rejections_are_limited),
        cmocka_unit_test(test_without_a_limit_all_have_their_line),
    };
    return cmocka_run_group_tests_name("reject_limit", tests, NULL, NULL);
}
