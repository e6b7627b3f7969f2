/* The table of close reasons: what operators look for by word and class, and what the peer sees. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "close_reason.h"

static void test_every_reason_has_a_word_of_its_own_and_a_sentence(void **state)
{
    (void)state;
    for (unsigned reason = 0; reason < CLOSE_REASON_COUNT; reason++) {
        const char *word = close_reason_word(reason);

        assert_int_equal(strspn(word, "abcdefghijklmnopqrstuvwxyz_"), strlen(word));
        assert_true(strlen(close_reason_sentence(reason)) > strlen(word));
        for (unsigned other = 0; other < reason; other++)
            assert_string_not_equal(word, close_reason_word(other));
    }
}

static void test_classes(void **state)
{
    static const struct {
        enum close_class class;
        unsigned count;
    } cases[] = {
        {CLOSE_CLASS_SERVED, 7},
        {CLOSE_CLASS_REJECTED, 10},
        {CLOSE_CLASS_BLOCKED, 4},
        {CLOSE_CLASS_FAILED, 9},
    };
    unsigned counts[CLOSE_CLASSES] = {0};

    (void)state;
    for (unsigned reason = 0; reason < CLOSE_REASON_COUNT; reason++)
        counts[close_reason_class(reason)]++;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(counts[cases[i].class], cases[i].count);
    assert_int_equal(close_reason_class(CLOSE_SHUTDOWN), CLOSE_CLASS_SERVED);
    assert_int_equal(close_reason_class(CLOSE_OPERATOR), CLOSE_CLASS_SERVED);
    assert_int_equal(close_reason_class(CLOSE_NO_ROUTE), CLOSE_CLASS_REJECTED);
    assert_int_equal(close_reason_class(CLOSE_HELLO_EVICTED), CLOSE_CLASS_REJECTED);
    assert_int_equal(close_reason_class(CLOSE_RATE_LIMIT), CLOSE_CLASS_BLOCKED);
    assert_int_equal(close_reason_class(CLOSE_WORKER_DIED), CLOSE_CLASS_FAILED);
}

static void test_who_ends_a_connection(void **state)
{
    (void)state;
    for (unsigned reason = 0; reason < CLOSE_REASON_COUNT; reason++) {
        enum close_party expected = CLOSE_BY_PROXY;

        if (reason == CLOSE_CLIENT_RESET || reason == CLOSE_HELLO_EOF)
            expected = CLOSE_BY_CLIENT;
        if (reason == CLOSE_BACKEND_RESET || reason == CLOSE_BACKEND_REFUSED)
            expected = CLOSE_BY_BACKEND;
        assert_int_equal(close_reason_party(reason), expected);
    }
}

static void test_who_was_served_gets_an_end_and_all_others_a_reset(void **state)
{
    (void)state;
    for (unsigned reason = 0; reason < CLOSE_REASON_COUNT; reason++) {
        enum close_manner expected = close_reason_class(reason) == CLOSE_CLASS_SERVED ? CLOSE_ENDS : CLOSE_RESETS;

        if (reason == CLOSE_OPERATOR)
            expected = CLOSE_RESETS; /* in the middle of its stream */
        if (reason == CLOSE_MAX_CONNECTIONS)
            expected = CLOSE_ENDS; /* before a byte was read */
        assert_int_equal(close_reason_manner(reason), expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_reason_has_a_word_of_its_own_and_a_sentence),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_who_ends_a_connection),
        cmocka_unit_test(test_who_was_served_gets_an_end_and_all_others_a_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
