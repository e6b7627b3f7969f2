/* The words of an upgrade: what is sent is what is heard, also by another version; nothing waits longer than it should. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "err.h"
#include "upgrade_link.h"

static int ends[2];
static struct upgrade_message message;

static int setup(void **state)
{
    (void)state;
    return upgrade_link_make(ends);
}

static int teardown(void **state)
{
    (void)state;
    close(ends[0]);
    close(ends[1]);
    return 0;
}

static void test_every_word_arrives_with_its_text(void **state)
{
    (void)state;
    assert_true(upgrade_link_is_one(ends[0]));
    for (int word = UPGRADE_GIVE_DATABASE; word < UPGRADE_UNKNOWN; word++) {
        assert_int_equal(upgrade_link_send(ends[0], (enum upgrade_word)word, ""), 0);
        assert_int_equal(upgrade_link_send(ends[0], (enum upgrade_word)word, "two words"), 0);
        assert_int_equal(upgrade_link_receive(ends[1], &message), 0);
        assert_int_equal(message.word, word);
        assert_string_equal(message.text, "");
        assert_int_equal(upgrade_link_receive(ends[1], &message), 0);
        assert_int_equal(message.word, word);
        assert_string_equal(message.text, "two words");
    }
    assert_int_equal(upgrade_link_receive(ends[1], &message), ERR_UNAVAILABLE);
}

/* Versions to come must still understand these. */
static void test_words_on_the_wire_are_these(void **state)
{
    static const struct {
        const char *wire;
        enum upgrade_word word;
    } cases[] = {
        {"GIVE-DATABASE", UPGRADE_GIVE_DATABASE},
        {"DATABASE-GIVEN", UPGRADE_DATABASE_GIVEN},
        {"READY", UPGRADE_READY},
        {"TAKE-OVER", UPGRADE_TAKE_OVER},
        {"FAILED", UPGRADE_FAILED},
        {"CALLED-OFF", UPGRADE_CALLED_OFF},
        {"REA", UPGRADE_UNKNOWN},
        {"READY-OR-NOT", UPGRADE_UNKNOWN},
        {"ready", UPGRADE_UNKNOWN},
        {" ", UPGRADE_UNKNOWN},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(send(ends[0], cases[i].wire, strlen(cases[i].wire), 0) > 0);
        assert_int_equal(upgrade_link_receive(ends[1], &message), 0);
        assert_int_equal(message.word, cases[i].word);
    }
}

static void test_a_text_of_any_length_is_cut_and_stays_a_text(void **state)
{
    char text[4096];

    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_int_equal(upgrade_link_send(ends[0], UPGRADE_FAILED, text), 0);
    assert_int_equal(upgrade_link_receive(ends[1], &message), 0);
    assert_int_equal(message.word, UPGRADE_FAILED);
    assert_in_range(strlen(message.text), 900, UPGRADE_TEXT_MAX - 1);

    assert_true(send(ends[0], text, sizeof text, 0) > 0); /* by somebody else */
    assert_int_equal(upgrade_link_receive(ends[1], &message), 0);
    assert_int_equal(message.word, UPGRADE_UNKNOWN);
}

static void test_waiting_ends_in_time_and_at_the_end(void **state)
{
    uint64_t begun_ms = clock_monotonic_ms();

    (void)state;
    assert_int_equal(upgrade_link_wait(ends[1], 100, &message), ERR_TIMEOUT);
    assert_in_range(clock_monotonic_ms() - begun_ms, 100, 9000);
    assert_int_equal(upgrade_link_send(ends[0], UPGRADE_READY, ""), 0);
    assert_int_equal(upgrade_link_wait(ends[1], 10000, &message), 0);
    assert_int_equal(upgrade_link_send(ends[0], UPGRADE_FAILED, "last words"), 0);
    shutdown(ends[0], SHUT_RDWR);
    assert_int_equal(upgrade_link_wait(ends[1], 10000, &message), 0);
    assert_string_equal(message.text, "last words");
    assert_int_equal(upgrade_link_wait(ends[1], 10000, &message), ERR_CLOSED);
    assert_int_equal(upgrade_link_send(ends[1], UPGRADE_READY, ""), ERR_CLOSED);
}

static void test_what_is_no_link_is_seen(void **state)
{
    int pipe_ends[2], datagram = socket(AF_UNIX, SOCK_DGRAM, 0), tcp = socket(AF_INET, SOCK_STREAM, 0);

    (void)state;
    assert_int_equal(pipe(pipe_ends), 0);
    assert_false(upgrade_link_is_one(pipe_ends[0]));
    assert_false(upgrade_link_is_one(datagram));
    assert_false(upgrade_link_is_one(tcp));
    assert_false(upgrade_link_is_one(-1));
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    close(datagram);
    close(tcp);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_every_word_arrives_with_its_text),
        CASE(test_words_on_the_wire_are_these),
        CASE(test_a_text_of_any_length_is_cut_and_stays_a_text),
        CASE(test_waiting_ends_in_time_and_at_the_end),
        CASE(test_what_is_no_link_is_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
