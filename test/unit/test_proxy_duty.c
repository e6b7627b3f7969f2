/* Who has to send a PROXY header: every mode, with and without a list of trusted peers. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy_duty.h"

static void test_every_mode_and_kind_of_peer(void **state)
{
    static const struct ip_cidr trusted[] = {{{4, {10}}, 8}, {{6, {0x20, 0x01, 0x0d, 0xb8}}, 32}};
    static const struct ip_addr near = {4, {10, 1, 2, 3}}, far = {4, {192, 0, 2, 1}},
                                near6 = {6, {0x20, 0x01, 0x0d, 0xb8, 1}}, nobody = {0};
    static const struct {
        enum proxy_mode mode;
        unsigned trusted_count;
        const struct ip_addr *peer;
        enum proxy_duty duty;
    } rows[] = {
        {PROXY_MODE_OFF, 0, &far, PROXY_DUTY_NONE},           {PROXY_MODE_OFF, 2, &near, PROXY_DUTY_NONE},
        {PROXY_MODE_REQUIRED, 0, &far, PROXY_DUTY_HEADER},    {PROXY_MODE_REQUIRED, 2, &far, PROXY_DUTY_REFUSED},
        {PROXY_MODE_REQUIRED, 2, &near, PROXY_DUTY_HEADER},   {PROXY_MODE_REQUIRED, 2, &near6, PROXY_DUTY_HEADER},
        {PROXY_MODE_REQUIRED, 1, &near6, PROXY_DUTY_REFUSED}, {PROXY_MODE_REQUIRED, 2, &nobody, PROXY_DUTY_REFUSED},
        {PROXY_MODE_MIXED, 2, &far, PROXY_DUTY_NONE},         {PROXY_MODE_MIXED, 2, &near, PROXY_DUTY_HEADER},
        {PROXY_MODE_MIXED, 2, &nobody, PROXY_DUTY_NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum proxy_duty duty = proxy_duty(rows[i].mode, trusted, rows[i].trusted_count, rows[i].peer);
        if (duty != rows[i].duty)
            fail_msg("row %zu: %d", i, (int)duty);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_mode_and_kind_of_peer)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
