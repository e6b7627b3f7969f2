/* What a failed accept() means, and how often that is said. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "accept_shortage.h"
#include "clock.h"
#include "log_event.h"

static void a_peer_that_is_gone_is_no_shortage(void **state)
{
    static const struct {
        int error;
        bool lacks;
    } rows[] = {
        {EMFILE, true},    {ENFILE, true},        {ENOBUFS, true},    {ENOMEM, true},
        {EAGAIN, false},   {EINTR, false},        {EPROTO, false},    {ECONNABORTED, false},
        {ENETDOWN, false}, {EHOSTUNREACH, false}, {ETIMEDOUT, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(accept_lacks(rows[i].error), rows[i].lacks);
}

static void count_line(struct bytes record, void *count)
{
    (void)record;
    ++*(unsigned *)count;
}

static void it_is_said_at_once_and_then_now_and_then(void **state)
{
    unsigned lines = 0;
    uint64_t told_ms = 0;

    (void)state;
    log_set_sink(count_line, &lines);
    accept_shortage_tell(&told_ms, "it lacks");
    assert_int_equal(lines, 1);
    assert_true(told_ms > 0);
    for (int i = 0; i < 100; i++)
        accept_shortage_tell(&told_ms, "it lacks");
    assert_int_equal(lines, 1);
    told_ms = clock_monotonic_ms() - 10000; /* the interval is over */
    accept_shortage_tell(&told_ms, "it lacks");
    assert_int_equal(lines, 2);
    log_set_sink(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_that_is_gone_is_no_shortage),
        cmocka_unit_test(it_is_said_at_once_and_then_now_and_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
