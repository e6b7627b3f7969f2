/* The records around a ClientHello: wherever they are cut the verdict is the same, what no byte could mend is refused at once,
 * the limit is exact, and what was scanned is not looked at again. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "hello_builder.h"

#define COUNT(array)   (sizeof(array) / sizeof(array)[0])
#define RECORD_MAX     16384
#define LONGEST        (CLIENT_HELLO_MAX_BYTES - 4 * 5) /* a message in four records */
#define LONGEST_SINGLE (CLIENT_HELLO_MAX_BYTES / 6)     /* a message in records of one byte */

static struct hello_bytes message, wire;

static void expect_name(struct bytes in, const char *name)
{
    struct client_hello hello;

    if (hello_judge(in, &hello) != HELLO_OK)
        fail_msg("refused or not complete");
    assert_string_equal(hello.name, name);
}

static void test_two_records_cut_anywhere(void **state)
{
    (void)state;
    hello_build_message(&(struct hello_spec){0}, &message);
    for (size_t first = 1; first < message.len; first++) {
        struct client_hello hello;
        wire.len = 0;
        hello_put_records(&wire, hello_all(&message), first, message.len);
        expect_name(hello_all(&wire), "www.example.com");
        for (size_t len = 0; len < wire.len; len++)
            assert_int_equal(hello_parse_whole(bytes_of(wire.data, len), &hello), HELLO_MORE);
    }
}

static void test_records_of_any_equal_size(void **state)
{
    (void)state;
    hello_build_message(&(struct hello_spec){0}, &message);
    for (size_t piece = 1; piece <= message.len; piece++) {
        wire.len = 0;
        hello_put_records(&wire, hello_all(&message), piece, piece);
        expect_name(hello_all(&wire), "www.example.com");
    }
}

/* A malformed message is refused when its last byte is there, not before and not later, however it is cut. */
static void test_a_malformed_message_is_refused_when_complete(void **state)
{
    (void)state;
    hello_build_message(&(struct hello_spec){.extensions = HELLO_LITERAL("\0\0\0\0")}, &message);
    for (size_t first = 1; first <= message.len; first++) {
        struct client_hello hello;
        size_t len = 0;
        wire.len = 0;
        hello_put_records(&wire, hello_all(&message), first, 7);
        hello_put(&wire, HELLO_LITERAL("behind"));
        assert_int_equal(hello_judge(hello_all(&wire), &hello), HELLO_BAD);
        assert_int_equal(hello_parse_trickle(hello_all(&wire), &hello, &len), HELLO_BAD);
        assert_int_equal(len, wire.len - 6);
    }
}

static void test_bytes_behind_the_last_record_are_not_looked_at(void **state)
{
    static const uint8_t tail[20] = {0xff, 22, 3};
    (void)state;
    for (size_t first = 1; first < 120; first += 7) {
        hello_build_message(&(struct hello_spec){0}, &message);
        wire.len = 0;
        hello_put_records(&wire, hello_all(&message), first, 50);
        hello_put(&wire, bytes_of(tail, sizeof tail));
        expect_name(hello_all(&wire), "www.example.com");
    }
}

static void test_bytes_behind_the_message_in_its_record_are_refused(void **state)
{
    struct client_hello hello;
    (void)state;
    hello_build_message(&(struct hello_spec){0}, &message);
    hello_put(&message, HELLO_LITERAL("x"));
    for (size_t first = 1; first <= message.len; first++) {
        size_t len = 0;
        wire.len = 0;
        hello_put_records(&wire, hello_all(&message), first, message.len);
        if (first == message.len - 1)
            continue; /* a record of its own, which is not looked at */
        assert_int_equal(hello_judge(hello_all(&wire), &hello), HELLO_BAD);
        assert_string_equal(hello.reason, "bytes behind the ClientHello in its record");
        assert_false(hello.is_too_large);
        hello_parse_trickle(hello_all(&wire), &hello, &len);
        /* as soon as the message's length (4 bytes, perhaps in two records) and that of its last record are known */
        assert_true(len <= (first < 4 ? 5 + 5 + 4 : 5 + first + 5));
    }
}

/* What no further byte could mend, and the byte at which that shows. */
static const struct {
    struct bytes in;
    size_t at;
    bool is_too_large;
    const char *reason;
} dead[] = {
#define START "\x16\3\1"
#define DEAD(literal, at, too_large, reason)          \
    {                                                 \
        HELLO_LITERAL(literal), at, too_large, reason \
    }
    DEAD("GET / HTTP/1.1\r\n\r\n", 1, false, "not a TLS"),
    DEAD("\x80\x2e\1\3\1", 1, false, "not a TLS"), /* SSL 2.0 */
    DEAD("\x15\3\1\0\2\2\x28", 1, false, "not a TLS"),
    DEAD("\x17\3\3\0\1a", 1, false, "not a TLS"),
    DEAD("\0", 1, false, "not a TLS"),
    DEAD("\x16\2\0\0\5", 2, false, "unknown version"),
    DEAD("\x16\4\0\0\5", 2, false, "unknown version"),
    DEAD("\x16\xfe\xfd\0\0", 2, false, "unknown version"), /* DTLS */
    DEAD(START "\0\0", 5, false, "empty record"),
    DEAD(START "\x40\1\1", 5, false, "longer than 16384"),
    DEAD(START "\x41\0\1", 4, false, "longer than 16384"),
    DEAD(START "\xff\xff\1", 4, false, "longer than 16384"),
    DEAD(START "\0\x50\2\0\0\x4c", 6, false, "no ClientHello"),
    DEAD(START "\0\x50\0\0\0\x4c", 6, false, "no ClientHello"),
    DEAD(START "\0\1\2", 6, false, "no ClientHello"),
    DEAD(START "\0\x50\1\1\0\0\0", 7, true, "65536"),
    DEAD(START "\0\x50\1\0\xff\xff\0", 9, true, "65536"),
    DEAD(START "\0\x50\1\xff\xff\xff\0", 7, true, "65536"),
    DEAD(START "\0\x50\1\0\0\x4b\0", 9, false, "bytes behind"),
    DEAD(START "\0\5\1\0\0\0\0", 9, false, "bytes behind"),
    DEAD(START "\0\4\1\0\0\0", 9, false, "shorter than its fields"),
    /* in a later record */
    DEAD(START "\0\1\1"
               "\x17\3\1\0\1\0",
         7, false, "not a TLS"),
    DEAD(START "\0\1\1"
               "\x14\3\1\0\1\1",
         7, false, "not a TLS"),
    DEAD(START "\0\1\1"
               "\x16\2\1\0\1\1",
         8, false, "unknown version"),
    DEAD(START "\0\1\1" START "\0\0", 11, false, "empty record"),
    DEAD(START "\0\1\1" START "\x40\1", 11, false, "longer than 16384"),
    DEAD(START "\0\1\1" START "\0\1\1", 12, true, "65536"),
    DEAD(START "\0\2\1\0" START "\0\1\0" START "\0\3\1\1\1", 19, false, "bytes behind"),
    DEAD(START "\0\4\1\0\0\x40" START "\0\x41", 14, false, "bytes behind"),
};

static void test_dead_bytes_are_refused_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(dead); i++) {
        struct client_hello hello;
        size_t len = 0;
        assert_int_equal(hello_judge(dead[i].in, &hello), HELLO_BAD);
        assert_int_equal(hello_parse_trickle(dead[i].in, &hello, &len), HELLO_BAD);
        if (len != dead[i].at || hello.is_too_large != dead[i].is_too_large ||
            strstr(hello.reason, dead[i].reason) == NULL)
            fail_msg("case %zu: after %zu bytes, too large %d: %s", i, len, hello.is_too_large, hello.reason);
    }
}

static void test_any_minor_version_of_a_record_is_taken(void **state)
{
    (void)state;
    hello_build_message(&(struct hello_spec){0}, &message);
    wire.len = 0;
    hello_put_records(&wire, hello_all(&message), 60, 1000);
    for (unsigned minor = 0; minor < 256; minor++) {
        wire.data[2] = (uint8_t)minor;
        wire.data[65 + 2] = (uint8_t)(minor + 1);
        expect_name(hello_all(&wire), "www.example.com");
    }
}

/* ---- the limit ---- */

/* The verdict on a message of len bytes, cut into records of `piece` bytes, and how many bytes it took. */
static enum hello_result judge_long(size_t len, size_t piece, struct client_hello *out, size_t *taken_out)
{
    hello_build_long_message(len, &message);
    wire.len = 0;
    hello_put_records(&wire, hello_all(&message), piece, piece);
    hello_parse_trickle(hello_all(&wire), out, taken_out);
    return hello_judge(hello_all(&wire), out);
}

static void test_the_limit_is_exact(void **state)
{
    static const struct {
        size_t len, piece;
        bool is_taken;
        size_t refused_at; /* 0: not checked */
    } cases[] = {
        {LONGEST, RECORD_MAX, true, 0},
        {LONGEST + 1, RECORD_MAX, false, 9},
        {LONGEST_SINGLE, 1, true, 0},
        {LONGEST_SINGLE + 1, 1, false, 0},
        {CLIENT_HELLO_MAX_BYTES - 5 * 5, CLIENT_HELLO_MAX_BYTES / 5, true, 0}, /* five records */
        {CLIENT_HELLO_MAX_BYTES - 5 * 5 + 1, CLIENT_HELLO_MAX_BYTES / 5, false, 0},
        {RECORD_MAX, RECORD_MAX, true, 0},
        {RECORD_MAX + 1, RECORD_MAX, true, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct client_hello hello;
        size_t taken = 0;
        enum hello_result result = judge_long(cases[i].len, cases[i].piece, &hello, &taken);
        assert_int_equal(result, cases[i].is_taken ? HELLO_OK : HELLO_BAD);
        if (cases[i].is_taken) {
            assert_string_equal(hello.name, "www.example.com");
            assert_int_equal(taken, wire.len);
            continue;
        }
        assert_true(hello.is_too_large);
        assert_true(taken <= CLIENT_HELLO_MAX_BYTES);
        if (cases[i].refused_at != 0)
            assert_int_equal(taken, cases[i].refused_at);
    }
}

static void test_a_hello_at_the_limit_may_be_followed_by_more(void **state)
{
    struct client_hello hello;
    (void)state;
    hello_build_long_message(LONGEST, &message);
    wire.len = 0;
    hello_put_records(&wire, hello_all(&message), RECORD_MAX, RECORD_MAX);
    assert_int_equal(wire.len, CLIENT_HELLO_MAX_BYTES);
    for (size_t i = 0; i < 1000; i++)
        hello_put(&wire, HELLO_LITERAL("early data"));
    assert_int_equal(hello_parse_whole(hello_all(&wire), &hello), HELLO_OK);
    assert_string_equal(hello.name, "www.example.com");
}

/* ---- progress ---- */

/*
 * Feeds a hello byte by byte, and blots out each time what a call has no business with: all records before the one at hand, and
 * of that one all but its header and, while the message's length is not known, the bytes that say it. A call that looks again at
 * what was scanned, or at the message before it is complete, sees zeros and refuses.
 */
static void feed_blotted(struct bytes in)
{
    static uint8_t blotted[sizeof wire.data];
    struct hello_progress progress = {0};
    struct client_hello hello;

    memset(blotted, 0, sizeof blotted);
    for (size_t len = 1; len < in.len; len++) {
        size_t from = progress.message_len != 0 ? progress.scanned : 0;
        size_t shown = len - from;
        if (progress.message_len != 0 && shown > 5)
            shown = 5;
        memcpy(blotted + from, in.ptr + from, shown);
        assert_int_equal(hello_call(&progress, bytes_of(blotted, len), &hello), HELLO_MORE);
        memset(blotted + from, 0, shown);
    }
    assert_int_equal(hello_call(&progress, in, &hello), HELLO_OK);
    assert_string_equal(hello.name, "www.example.com");
}

static void test_nothing_is_looked_at_twice(void **state)
{
    static const size_t cases[][2] = {
        /* message, records */
        {LONGEST, RECORD_MAX}, {RECORD_MAX, RECORD_MAX}, {LONGEST_SINGLE, 1}, {3000, 2}, {3000, 3}, {40000, 100},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        hello_build_long_message(cases[i][0], &message);
        wire.len = 0;
        hello_put_records(&wire, hello_all(&message), cases[i][1], cases[i][1]);
        feed_blotted(hello_all(&wire));
    }
}

/* Pieces of any size, on both sides of every record's end, against the verdict in one piece. */
static void test_pieces_of_any_size(void **state)
{
    (void)state;
    hello_build_message(&(struct hello_spec){0}, &message);
    wire.len = 0;
    hello_put_records(&wire, hello_all(&message), 3, 40);
    for (size_t first = 0; first < wire.len; first++) {
        for (size_t second = first; second < wire.len; second++) {
            struct hello_progress progress = {0};
            struct client_hello hello;
            assert_int_equal(hello_call(&progress, bytes_of(wire.data, first), &hello), HELLO_MORE);
            assert_int_equal(hello_call(&progress, bytes_of(wire.data, second), &hello), HELLO_MORE);
            assert_int_equal(hello_call(&progress, hello_all(&wire), &hello), HELLO_OK);
            assert_string_equal(hello.name, "www.example.com");
        }
    }
}

/* Whoever waits for client_hello_missing() bytes learns the verdict as early as whoever looks at each byte. */
static void assert_nothing_is_waited_for_in_vain(struct bytes in)
{
    static uint32_t missing[CLIENT_HELLO_MAX_BYTES];
    struct hello_progress progress = {0};
    struct client_hello hello;
    size_t len = 0;

    while (hello_call(&progress, bytes_of(in.ptr, len), &hello) == HELLO_MORE) {
        missing[len] = (uint32_t)client_hello_missing(&progress, bytes_of(in.ptr, len));
        assert_true(missing[len] >= 1);
        len++;
        assert_true(len <= in.len);
    }
    for (size_t i = 0; i < len; i++)
        assert_true(i + missing[i] <= len);
}

static void test_what_is_missing_is_never_more_than_the_verdict_needs(void **state)
{
    static const uint8_t values[] = {0, 1, 22, 255};

    (void)state;
    hello_build_message(&(struct hello_spec){0}, &message);
    for (size_t record = 1; record <= RECORD_MAX; record = record < 8 ? record + 1 : record * 8) {
        wire.len = 0;
        hello_put_records(&wire, hello_all(&message), record, record);
        assert_nothing_is_waited_for_in_vain(hello_all(&wire));
        for (size_t i = 0; i < wire.len; i++) {
            uint8_t right = wire.data[i];
            for (size_t v = 0; v < COUNT(values); v++) {
                wire.data[i] = values[v];
                /* Behind it are bytes that make any length true, or the limit the verdict. */
                static uint8_t padded[2 * CLIENT_HELLO_MAX_BYTES];
                memcpy(padded, wire.data, wire.len);
                assert_nothing_is_waited_for_in_vain(bytes_of(padded, sizeof padded));
            }
            wire.data[i] = right;
        }
    }
}

static void test_the_rest_of_a_record_is_missing_at_once(void **state)
{
    struct hello_progress progress = {0};
    struct client_hello hello;

    (void)state;
    hello_build_long_message(300, &message);
    wire.len = 0;
    hello_put_records(&wire, hello_all(&message), 100, 50);
    static const struct {
        size_t have, missing;
    } cases[] = {{0, 1},   {1, 1},   {4, 1},   {5, 1},   {8, 1},    {9, 96},
                 {50, 55}, {104, 1}, {105, 1}, {109, 1}, {110, 50}, {159, 1}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bytes in = bytes_of(wire.data, cases[i].have);
        assert_int_equal(hello_call(&progress, in, &hello), HELLO_MORE);
        assert_int_equal(client_hello_missing(&progress, in), cases[i].missing);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_records_cut_anywhere),
        cmocka_unit_test(test_records_of_any_equal_size),
        cmocka_unit_test(test_a_malformed_message_is_refused_when_complete),
        cmocka_unit_test(test_bytes_behind_the_last_record_are_not_looked_at),
        cmocka_unit_test(test_bytes_behind_the_message_in_its_record_are_refused),
        cmocka_unit_test(test_dead_bytes_are_refused_at_once),
        cmocka_unit_test(test_any_minor_version_of_a_record_is_taken),
        cmocka_unit_test(test_the_limit_is_exact),
        cmocka_unit_test(test_a_hello_at_the_limit_may_be_followed_by_more),
        cmocka_unit_test(test_nothing_is_looked_at_twice),
        cmocka_unit_test(test_pieces_of_any_size),
        cmocka_unit_test(test_what_is_missing_is_never_more_than_the_verdict_needs),
        cmocka_unit_test(test_the_rest_of_a_record_is_missing_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
