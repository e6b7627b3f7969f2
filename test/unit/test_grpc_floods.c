/* A client that sends raw frames, too many of a kind: the session tells it to calm down, and holds nothing of it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "err.h"
#include "grpc_echo.h"
#include "grpc_session.h"

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION, TYPES };
#define END_STREAM        0x01
#define ACK               0x01
#define END_HEADERS       0x04
#define ENHANCE_YOUR_CALM 11

/* POST /echo.Echo/Silent over http from x with content-type application/grpc (RFC 7541: indexed, then literals without indexing). */
static const uint8_t silent_call[] = "\x83\x86\x01\x01x\x04\x11/echo.Echo/Silent\x0f\x10\x10"
                                     "application/grpc";
#define SILENT_CALL silent_call, sizeof silent_call - 1

struct attacker {
    struct grpc_echo echo;
    struct grpc_shared shared;
    struct grpc_session *session;
    uint64_t now;
    int rc;          /* what the session says */
    unsigned sent;   /* frames */
    unsigned rounds; /* of the flood at hand */
    uint32_t stream; /* of the last HEADERS */
    unsigned came[TYPES];
    uint32_t goaway, reset; /* the last one's error code */
    uint8_t out[1 << 20];
    size_t out_len;
    bool reads_nothing;
};

static struct attacker a;

static void on_wake(void *context)
{
    (void)context;
}

static uint32_t u32(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

/* What the session answered, frame by frame. */
static void count_answers(void)
{
    size_t at = 0;

    while (at + 9 <= a.out_len) {
        const uint8_t *frame = a.out + at;
        size_t len = (size_t)frame[0] << 16 | (size_t)frame[1] << 8 | frame[2];
        assert_in_range(frame[3], 0, TYPES - 1);
        a.came[frame[3]]++;
        if (frame[3] == GOAWAY)
            a.goaway = u32(frame + 13);
        if (frame[3] == RST_STREAM)
            a.reset = u32(frame + 9);
        at += 9 + len;
    }
    a.out_len = 0;
}

static void produce(void)
{
    size_t len = 1;

    while (len > 0 && a.out_len + 16384 <= sizeof a.out) {
        int rc = grpc_session_produce(a.session, a.out + a.out_len, 16384, &len, a.now);
        a.rc = a.rc != 0 ? a.rc : rc;
        a.out_len += len;
    }
    count_answers();
}

static void send_bytes(const void *data, size_t len)
{
    if (a.rc == 0)
        a.rc = grpc_session_receive(a.session, bytes_of(data, len), a.now);
    if (!a.reads_nothing)
        produce();
}

static void send_frame(unsigned type, unsigned flags, uint32_t stream, const void *payload, size_t len)
{
    uint8_t frame[9 + 16384] = {(uint8_t)(len >> 16),    (uint8_t)(len >> 8),    (uint8_t)len,
                                (uint8_t)type,           (uint8_t)flags,         (uint8_t)(stream >> 24),
                                (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};

    if (len > 0 && payload != NULL)
        memcpy(frame + 9, payload, len);
    a.sent++;
    send_bytes(frame, 9 + len);
}

static int setup(void **state)
{
    (void)state;
    memset(&a, 0, sizeof a);
    a.now = 1000;
    a.goaway = UINT32_MAX;
    grpc_shared_init(&a.shared, &grpc_limits_default, grpc_echo_methods, &a.echo);
    a.session = grpc_session_new(&a.shared, false, "192.0.2.1:5000", on_wake, NULL, a.now);
    send_bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    send_frame(SETTINGS, 0, 0, NULL, 0);
    send_frame(SETTINGS, ACK, 0, NULL, 0);
    return a.rc;
}

static int teardown(void **state)
{
    (void)state;
    grpc_session_free(&a.session);
    assert_int_equal(a.echo.held, 0);
    assert_int_equal(a.shared.requests.used + a.shared.answers.used, 0);
    return 0;
}

/* ---- one round of each flood ---- */

static uint32_t open_stream(unsigned flags)
{
    a.stream = a.stream == 0 ? 1 : a.stream + 2;
    send_frame(HEADERS, END_HEADERS | flags, a.stream, SILENT_CALL);
    return a.stream;
}

static void keep_one_stream(void)
{
    if (a.stream == 0)
        (void)open_stream(0);
}

static void round_of_pings(void)
{
    send_frame(PING, 0, 0, "12345678", 8);
}

static void round_of_ping_acks(void)
{
    send_frame(PING, ACK, 0, "12345678", 8);
}

static void round_of_settings(void)
{
    send_frame(SETTINGS, 0, 0, NULL, 0);
}

static void round_of_resets(void)
{
    send_frame(RST_STREAM, 0, open_stream(END_STREAM), "\0\0\0\x8", 4);
}

static void round_of_late_resets(void)
{
    if (a.stream == 0)
        send_frame(RST_STREAM, 0, open_stream(END_STREAM), "\0\0\0\x8", 4);
    send_frame(RST_STREAM, 0, a.stream, "\0\0\0\x8", 4);
}

/* The server is made to do it. */
static void round_of_overflowing_windows(void)
{
    send_frame(WINDOW_UPDATE, 0, open_stream(0), "\x7f\xff\xff\xff", 4);
}

static void round_of_bad_requests(void)
{
    a.stream = a.stream == 0 ? 1 : a.stream + 2;
    send_frame(HEADERS, END_HEADERS | END_STREAM, a.stream, "\x83", 1); /* a method and nothing else */
}

/* Beyond the hundred that may be open. */
static void round_of_streams(void)
{
    (void)open_stream(0);
}

/* Answered, and cut off by us as the request is still open. */
static void round_of_unfinished_requests(void)
{
    static const uint8_t nowhere[] = "\x83\x86\x01\x01x\x04\x02/x\x0f\x10\x10"
                                     "application/grpc";

    a.stream = a.stream == 0 ? 1 : a.stream + 2;
    send_frame(HEADERS, END_HEADERS, a.stream, nowhere, sizeof nowhere - 1);
}

static void round_of_empty_data(void)
{
    keep_one_stream();
    send_frame(DATA, 0, a.stream, NULL, 0);
}

static void round_of_padding(void)
{
    keep_one_stream();
    send_frame(DATA, 0x08, a.stream, "\x03\0\0\0", 4);
}

static void round_of_empty_continuations(void)
{
    if (a.rounds % 500 == 1) {
        a.stream = a.stream == 0 ? 1 : a.stream + 2;
        send_frame(HEADERS, 0, a.stream, SILENT_CALL);
    } else {
        send_frame(CONTINUATION, a.rounds % 500 == 0 ? END_HEADERS : 0, a.stream, NULL, 0);
    }
}

static void round_of_continuations(void)
{
    if (a.rounds == 1)
        send_frame(HEADERS, 0, 1, SILENT_CALL);
    else
        send_frame(CONTINUATION, 0, 1, "\x00\x01x\x01y", 5);
}

static void round_of_large_continuations(void)
{
    static const uint8_t padding[16384] = {0x00, 0x01, 'x', 0x7f, 0xf8, 0x7e}; /* x: 16,375 NULs */

    if (a.rounds == 1)
        send_frame(HEADERS, 0, 1, SILENT_CALL);
    else
        send_frame(CONTINUATION, 0, 1, padding, sizeof padding);
}

static void round_of_priorities(void)
{
    send_frame(PRIORITY, 0, a.rounds * 2 + 1, "\0\0\0\0\x10", 5);
}

static void round_of_window_updates(void)
{
    send_frame(WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4);
}

static void round_of_unknown_frames(void)
{
    send_frame(0xbe, 0, 0, "x", 1);
}

struct flood_case {
    const char *name;
    void (*round)(void);
    unsigned at_least, at_most; /* rounds until the end */
};

/* clang-format off */
static const struct flood_case floods[] = {
    {"PING", round_of_pings, 1001, 1001},
    {"PING ACK", round_of_ping_acks, 1001, 1001},
    {"SETTINGS", round_of_settings, 999, 999}, /* two have come before */
    {"resets", round_of_resets, 1001, 1001},
    {"resets of a closed stream", round_of_late_resets, 1000, 1001},
    {"overflowing windows", round_of_overflowing_windows, 1001, 1001},
    {"bad requests", round_of_bad_requests, 1001, 1001},
    {"streams", round_of_streams, 1101, 1101},
    {"requests answered early", round_of_unfinished_requests, 1001, 1001},
    {"empty DATA", round_of_empty_data, 1001, 1001},
    {"padding", round_of_padding, 1001, 1001},
    {"empty CONTINUATION", round_of_empty_continuations, 1001, 1005},
    {"CONTINUATION", round_of_continuations, 1001, 1001},
    {"large CONTINUATION", round_of_large_continuations, 9, 9},
    {"PRIORITY", round_of_priorities, 10001, 10001},
    {"WINDOW_UPDATE", round_of_window_updates, 10001, 10001},
    {"unknown frames", round_of_unknown_frames, 10001, 10001},
};
/* clang-format on */
#define FLOODS (sizeof floods / sizeof floods[0])

static void flood(const struct flood_case *c)
{
    while (a.rc == 0 && !grpc_session_is_over(a.session) && a.rounds < 20000) {
        a.rounds++;
        c->round();
    }
    produce();
    if (a.rc != ERR_FULL || a.rounds < c->at_least || a.rounds > c->at_most)
        fail_msg("%s: %s after %u rounds; %u HEADERS, %u RST_STREAM (last %u), %u GOAWAY came", c->name, err_text(a.rc),
                 a.rounds, a.came[HEADERS], a.came[RST_STREAM], a.reset, a.came[GOAWAY]);
    assert_non_null(grpc_session_abuse(a.session));
    assert_int_equal(a.came[GOAWAY], 1);
    assert_int_equal(a.goaway, ENHANCE_YOUR_CALM);
    assert_true(grpc_session_is_over(a.session));
    assert_in_range(a.shared.open_calls, 0, 100);
}

static void every_flood_ends_the_connection(void **state)
{
    for (size_t i = 0; i < FLOODS; i++) {
        assert_int_equal(setup(state), 0);
        flood(&floods[i]);
        assert_int_equal(teardown(state), 0);
    }
    assert_int_equal(setup(state), 0);
}

/* As many, at the rate that is allowed: nothing happens. */
static void the_same_in_good_time_does_not(void **state)
{
    for (size_t i = 0; i < FLOODS; i++) {
        unsigned pause_ms = floods[i].at_most > 5000 ? 1 : 10;
        if (floods[i].round == round_of_continuations || floods[i].round == round_of_large_continuations)
            continue; /* these never end by their nature */
        assert_int_equal(teardown(state), 0);
        assert_int_equal(setup(state), 0);
        while (a.rc == 0 && !grpc_session_is_over(a.session) && a.rounds < 20000) {
            a.rounds++;
            a.now += pause_ms;
            floods[i].round();
        }
        if (a.rc != 0)
            fail_msg("%s: %s after %u rounds", floods[i].name, err_text(a.rc), a.rounds);
        assert_int_equal(a.came[GOAWAY], 0);
    }
}

/* The connection layer reads nothing while the client takes nothing; in between, one read's worth of frames may be answered. */
static void answers_to_one_read_are_few(void **state)
{
    (void)state;
    a.reads_nothing = true;
    for (unsigned i = 0; i < 16384 / 17; i++)
        round_of_pings();
    assert_int_equal(a.rc, 0);
    a.reads_nothing = false;
    produce();
    assert_int_equal(a.came[PING], 16384 / 17);
}

/* One entry of 4 KB in the table, then a byte for each time it is used: 16 KB on the wire are 64 MB of headers. */
static void a_bomb_of_headers_is_counted_not_kept(void **state)
{
    uint8_t block[8192];
    size_t len = sizeof silent_call - 1;

    (void)state;
    memcpy(block, silent_call, len);
    memcpy(block + len, "\x40\x01x\x7f\x91\x1f",
           6);             /* literal with indexing: x: 4,000 bytes, 127 + 0x11 + (0x1f << 7) + ... */
    block[len + 4] = 0xa1; /* 127 + 0x21 + 0x1e * 128 = 4000 */
    block[len + 5] = 0x1e;
    memset(block + len + 6, 'y', 4000);
    len += 6 + 4000;
    memset(block + len, 0xbe, sizeof block - len); /* dynamic table, entry 1 */
    for (uint32_t stream = 1; stream < 40; stream += 2) {
        send_frame(HEADERS, END_HEADERS | END_STREAM, stream, block, sizeof block);
        assert_int_equal(a.rc, 0);
    }
    assert_int_equal(a.came[HEADERS], 20); /* each answered: RESOURCE_EXHAUSTED */
    assert_int_equal(a.echo.messages, 0);
    assert_int_equal(a.came[GOAWAY], 0);
}

static void what_is_no_http2_ends_it(void **state)
{
    (void)state;
    grpc_session_free(&a.session);
    a.session = grpc_session_new(&a.shared, false, "192.0.2.1:5000", on_wake, NULL, a.now);
    send_bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
    assert_int_equal(a.rc, ERR_PROTOCOL);
    assert_true(grpc_session_is_over(a.session));
    assert_false(grpc_session_is_established(a.session));
}

static void a_frame_that_is_too_large_ends_it(void **state)
{
    uint8_t header[9] = {0, 0x40, 1, DATA, 0, 0, 0, 0, 1};

    (void)state;
    send_bytes(header, sizeof header);
    produce();
    assert_int_equal(a.came[GOAWAY], 1);
    assert_true(grpc_session_is_over(a.session));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_flood_ends_the_connection, teardown),
        TEST(the_same_in_good_time_does_not),
        TEST(answers_to_one_read_are_few),
        TEST(a_bomb_of_headers_is_counted_not_kept),
        TEST(what_is_no_http2_ends_it),
        TEST(a_frame_that_is_too_large_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
