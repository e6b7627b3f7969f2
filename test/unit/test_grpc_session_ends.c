/* How calls and sessions end: by the clock, by a client that goes away or does not take its answer, by a goodbye. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "grpc_peer.h"

/* ---- time ---- */

static void a_deadline_ends_a_call(void **state)
{
    static const char *const extra[] = {"grpc-timeout", "1500m", NULL};
    struct peer_reply *r = peer_call(&peer, "/echo.Echo/Silent", "x", 1, extra);

    (void)state;
    assert_int_equal(grpc_session_due_ms(peer.server), peer.now + 1500);
    peer.now += 1499;
    grpc_session_tick(peer.server, peer.now);
    peer_pump(&peer);
    assert_string_equal(r->grpc_status, "");
    assert_int_equal(peer.echo.gone, 0);
    peer.now += 1;
    grpc_session_tick(peer.server, peer.now);
    assert_int_equal(peer.echo.gone, 1); /* at once, not when the client has taken the news */
    assert_int_equal(peer.echo.held, 0);
    peer_pump(&peer);
    expect_status(r, "4", "deadline exceeded");
    assert_int_equal(grpc_session_due_ms(peer.server), GRPC_NEVER);
    assert_int_equal(peer.echo.gone, 1);
}

static void a_deadline_of_a_nanosecond_is_rounded_up(void **state)
{
    static const char *const extra[] = {"grpc-timeout", "1n", NULL};

    (void)state;
    expect_one_message(peer_call(&peer, UNARY, "x", 1, extra), "x", 1);
    (void)peer_call(&peer, "/echo.Echo/Silent", "x", 1, extra);
    assert_int_equal(grpc_session_due_ms(peer.server), peer.now + 1);
}

static void the_longest_deadline_is_no_deadline(void **state)
{
    static const char *const extra[] = {"grpc-timeout", "99999999H", NULL};

    (void)state;
    (void)peer_call(&peer, "/echo.Echo/Silent", "x", 1, extra);
    assert_true(grpc_session_due_ms(peer.server) > peer.now + 1000000000);
    grpc_session_tick(peer.server, peer.now + 1000000000);
    assert_int_equal(peer.echo.gone, 0);
}

static void a_request_that_stops_is_ended(void **state)
{
    int32_t id = peer_request(&peer, UNARY, bytes_of("\0\0\0\0\5he", 7), true, NULL);

    (void)state;
    peer_pump(&peer);
    assert_int_equal(grpc_session_due_ms(peer.server), peer.now + 60000);
    peer.now += 30000; /* a byte now and then extends nothing */
    peer_continue(&peer, id, bytes_of("l", 1), true);
    peer_pump(&peer);
    peer.now += 30000;
    grpc_session_tick(peer.server, peer.now);
    peer_pump(&peer);
    expect_status(peer_reply(&peer, id), "4", "the rest of the request did not come in time");
    assert_int_equal(peer.shared.requests.used, 0);
    assert_int_equal(peer.shared.open_calls, 0);
}

static void a_client_stream_lives_as_long_as_messages_come(void **state)
{
    int32_t id = peer_request(&peer, CHAT, bytes_of(PEER_EMPTY), true, NULL);

    (void)state;
    for (int i = 0; i < 5; i++) {
        peer_pump(&peer);
        peer.now += 59999;
        grpc_session_tick(peer.server, peer.now);
        peer_continue(&peer, id, bytes_of(PEER_EMPTY), true);
    }
    peer_pump(&peer);
    assert_int_equal(peer.echo.messages, 6);
    peer.now += 60000;
    grpc_session_tick(peer.server, peer.now);
    peer_pump(&peer);
    assert_string_equal(peer_reply(&peer, id)->grpc_status, "4");
}

static void an_answer_that_is_not_taken_is_dropped(void **state)
{
    struct peer_reply *r;

    (void)state;
    peer_close(&peer);
    peer_open_as(&peer, &grpc_limits_default, true); /* 65,535 bytes and not one more */
    r = peer_call(&peer, "/echo.Echo/Stream", "1 1000000", 9, NULL);
    assert_int_equal(r->body_len, 65535);
    assert_int_equal(peer.shared.answers.used, 1000005);
    grpc_session_tick(peer.server, peer.now);
    uint64_t due = grpc_session_due_ms(peer.server);
    assert_int_equal(due, peer.now + 30000);
    /* A little now and then is not enough. */
    for (int i = 0; i < 10; i++) {
        peer.now += 2999;
        assert_int_equal(nghttp2_submit_window_update(peer.client, 0, 1, i == 0 ? 1 : 1000), 0);
        assert_int_equal(nghttp2_submit_window_update(peer.client, 0, 0, i == 0 ? 1 : 1000), 0);
        peer_pump(&peer);
        grpc_session_tick(peer.server, peer.now);
        assert_int_equal(peer.shared.answers.used, 1000005);
        due = i == 0 ? grpc_session_due_ms(peer.server) : due;
    }
    peer.now = due;
    grpc_session_tick(peer.server, peer.now);
    assert_int_equal(peer.shared.answers.used, 0);
    assert_int_equal(peer.echo.held, 0);
    peer_pump(&peer);
    assert_true(r->is_closed);
    assert_int_equal(r->error_code, NGHTTP2_CANCEL);
}

static void a_slow_reader_is_served_as_long_as_it_reads(void **state)
{
    struct peer_reply *r;

    (void)state;
    peer_close(&peer);
    peer_open_as(&peer, &grpc_limits_default, true);
    r = peer_call(&peer, "/echo.Echo/Stream", "1 250000", 8, NULL);
    for (int i = 0; i < 10 && !r->is_closed; i++) {
        peer.now += 29000;
        grpc_session_tick(peer.server, peer.now);
        assert_int_equal(nghttp2_submit_window_update(peer.client, 0, 1, 20000), 0);
        assert_int_equal(nghttp2_submit_window_update(peer.client, 0, 0, 20000), 0);
        peer_pump(&peer);
    }
    expect_status(r, "0", "");
    assert_int_equal(r->body_len, 250005);
}

/* ---- ends ---- */

static void a_cancelled_call_is_gone(void **state)
{
    int32_t id;

    (void)state;
    (void)peer_call(&peer, "/echo.Echo/Silent", "x", 1, NULL);
    id = 1;
    assert_int_equal(peer.shared.open_calls, 1);
    assert_int_equal(nghttp2_submit_rst_stream(peer.client, 0, id, NGHTTP2_CANCEL), 0);
    peer_pump(&peer);
    assert_int_equal(peer.echo.gone, 1);
    assert_int_equal(peer.echo.held, 0);
    assert_int_equal(peer.shared.open_calls, 0);
    expect_one_message(peer_call(&peer, UNARY, "x", 1, NULL), "x", 1);
}

static void a_refused_request_is_not_waited_for(void **state)
{
    int32_t id = peer_request(&peer, "/echo.Echo/Nope", bytes_of("\0\0\0\0\5he", 7), true, NULL);

    (void)state;
    peer_pump(&peer);
    expect_status(peer_reply(&peer, id), "12", "unknown method /echo.Echo/Nope");
    assert_int_equal(peer_reply(&peer, id)->error_code, NGHTTP2_NO_ERROR);
    assert_int_equal(peer.shared.open_calls, 0);
}

static void one_stream_too_many_is_refused_by_itself(void **state)
{
    (void)state;
    peer_pump(&peer); /* SETTINGS and their ACKs are through */
    for (int i = 0; i < 100; i++)
        (void)peer_request(&peer, CHAT, bytes_of(PEER_EMPTY), true, NULL);
    peer_pump(&peer);
    assert_int_equal(peer.shared.open_calls, 100);
    /* nghttp2's client would keep to the limit: make it forget it. */
    static const uint8_t no_limit[] = {0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0x7f, 0xff, 0xff, 0xff};
    assert_int_equal(nghttp2_session_mem_recv(peer.client, no_limit, sizeof no_limit), sizeof no_limit);
    /* The ACK of it would be one that the server did not ask for. */
    const uint8_t *ack;
    assert_int_equal(nghttp2_session_mem_send(peer.client, &ack), 9);
    int32_t id = peer_request(&peer, CHAT, bytes_of(PEER_EMPTY), true, NULL);
    peer_pump(&peer);
    assert_true(peer_reply(&peer, id)->is_closed);
    assert_int_equal(peer_reply(&peer, id)->error_code, NGHTTP2_REFUSED_STREAM);
    assert_int_equal(peer.goaway, UINT32_MAX);
    assert_int_equal(peer.shared.open_calls, 100);
    peer_continue(&peer, 1, bytes_of(NULL, 0), false);
    peer_pump(&peer);
    expect_status(peer_reply(&peer, 1), "0", "");
    expect_one_message(peer_call(&peer, UNARY, "x", 1, NULL), "x", 1);
}

static void after_a_goodbye_calls_end_in_peace(void **state)
{
    int32_t id = peer_request(&peer, CHAT, bytes_of(PEER_EMPTY), true, NULL);

    (void)state;
    peer_pump(&peer);
    grpc_session_say_goodbye(peer.server);
    assert_int_equal(peer.wakes, 1);
    peer_pump(&peer);
    assert_int_equal(peer.goaway, NGHTTP2_NO_ERROR);
    assert_false(grpc_session_is_over(peer.server));
    peer_continue(&peer, id, bytes_of(PEER_EMPTY), false);
    peer_pump(&peer);
    expect_status(peer_reply(&peer, id), "0", "");
    assert_true(grpc_session_is_over(peer.server));
}

static void a_session_that_ends_tells_every_method(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        (void)peer_request(&peer, i % 2 == 0 ? CHAT : "/echo.Echo/Silent", bytes_of(PEER_EMPTY), i % 3 == 0, NULL);
        (void)peer_call(&peer, UNARY, "x", 1, NULL);
    }
    assert_int_equal(peer.shared.open_calls, 50 - 16);
    /* teardown: every call is told, nothing is left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PEER_TEST(a_deadline_ends_a_call),
        PEER_TEST(a_deadline_of_a_nanosecond_is_rounded_up),
        PEER_TEST(the_longest_deadline_is_no_deadline),
        PEER_TEST(a_request_that_stops_is_ended),
        PEER_TEST(a_client_stream_lives_as_long_as_messages_come),
        PEER_TEST(an_answer_that_is_not_taken_is_dropped),
        PEER_TEST(a_slow_reader_is_served_as_long_as_it_reads),
        PEER_TEST(a_cancelled_call_is_gone),
        PEER_TEST(a_refused_request_is_not_waited_for),
        PEER_TEST(one_stream_too_many_is_refused_by_itself),
        PEER_TEST(after_a_goodbye_calls_end_in_peace),
        PEER_TEST(a_session_that_ends_tells_every_method),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
