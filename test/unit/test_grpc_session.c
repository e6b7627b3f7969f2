/* gRPC over HTTP/2 as a client sees it: calls that work and calls that are refused, messages however they are cut. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "grpc_peer.h"

/* ---- calls that work ---- */

static void a_unary_call_is_answered(void **state)
{
    (void)state;
    expect_one_message(peer_call(&peer, "/echo.Echo/Unary", "hello", 5, NULL), "hello", 5);
    assert_int_equal(peer.echo.messages, 1);
    assert_int_equal(peer.echo.gone, 1);
    assert_int_equal(peer.shared.calls, 1);
    assert_int_equal(peer.max_streams, GRPC_STREAMS_MAX);
    assert_int_equal(peer.max_headers, GRPC_HEADERS_MAX);
    assert_int_equal(peer.wakes, 0); /* whoever pumps need not be woken */
}

static void an_empty_message_is_a_message(void **state)
{
    (void)state;
    expect_one_message(peer_call(&peer, "/echo.Echo/Unary", "", 0, NULL), "", 0);
}

static void bytes_may_come_one_by_one(void **state)
{
    (void)state;
    peer.piece = 1;
    expect_one_message(peer_call(&peer, "/echo.Echo/Unary", "hello", 5, NULL), "hello", 5);
}

static void the_largest_message_goes_through_and_back(void **state)
{
    uint8_t *message = calloc(1, GRPC_MESSAGE_MAX);

    (void)state;
    for (size_t i = 0; i < GRPC_MESSAGE_MAX; i += 1000)
        message[i] = (uint8_t)(i / 1000);
    expect_one_message(peer_call(&peer, "/echo.Echo/Unary", message, GRPC_MESSAGE_MAX, NULL), message,
                       GRPC_MESSAGE_MAX);
    free(message);
    assert_int_equal(peer.goaway, UINT32_MAX);
}

static void many_messages_of_a_stream_come_in_order(void **state)
{
    struct peer_reply *r = peer_call(&peer, "/echo.Echo/Stream", "50 3000", 7, NULL);

    (void)state;
    expect_status(r, "0", "");
    assert_int_equal(r->body_len, 50 * (GRPC_PREFIX_BYTES + 3000));
    for (size_t i = 0; i < 50; i++)
        assert_memory_equal(r->body + i * 3005, "\0\0\0\x0b\xb8xxx", 8);
}

static void messages_of_a_client_stream_are_handed_on_as_they_come(void **state)
{
    struct bytes first = peer_frame("one", 3), rest = peer_frame("three", 5);
    int32_t id;

    (void)state;
    id = peer_request(&peer, "/echo.Echo/Chat", first, true, NULL);
    peer_pump(&peer);
    assert_int_equal(peer.echo.messages, 1);
    assert_int_equal(peer_reply(&peer, id)->body_len, 8); /* answered before the end */
    peer_continue(&peer, id, bytes_of(rest.ptr, 7), true);
    peer_pump(&peer);
    assert_int_equal(peer.echo.messages, 1);
    peer_continue(&peer, id, bytes_of(rest.ptr + 7, 3), false);
    peer_pump(&peer);
    assert_int_equal(peer.echo.messages, 2);
    assert_int_equal(peer.echo.ends, 1);
    expect_status(peer_reply(&peer, id), "0", "");
    assert_memory_equal(peer_reply(&peer, id)->body, "\0\0\0\0\3one\0\0\0\0\5three", 18);
    peer_free_frame(first);
    peer_free_frame(rest);
}

static void a_client_stream_may_be_empty(void **state)
{
    int32_t id = peer_request(&peer, "/echo.Echo/Collect", bytes_of(NULL, 0), false, NULL);

    (void)state;
    peer_pump(&peer);
    expect_one_message(peer_reply(&peer, id), "0 0", 3);
}

/* ---- calls that are refused: headers ---- */

struct header_case {
    const char *name;
    const char *path;
    const char *extra[5];
    const char *http_status;
    const char *grpc_status;
    const char *message;
};

/* clang-format off */
static const struct header_case header_cases[] = {
    {"unknown method", "/echo.Echo/Nope", {NULL}, "200", "12", "unknown method /echo.Echo/Nope"},
    {"unknown service", "/x", {NULL}, "200", "12", "unknown method /x"},
    {"a bit more than a method", "/echo.Echo/Unary/", {NULL}, "200", "12", "unknown method /echo.Echo/Unary/"},
    {"a query", "/echo.Echo/Unary?x", {NULL}, "200", "12", "unknown method /echo.Echo/Unary?x"},
    {"GET", "/echo.Echo/Unary", {":method", "GET"}, "405", "", ""},
    {"PUT", "/echo.Echo/Unary", {":method", "PUT"}, "405", "", ""},
    {"JSON", "/echo.Echo/Unary", {"content-type", "application/json"}, "415", "", ""},
    {"gRPC-Web", "/echo.Echo/Unary", {"content-type", "application/grpc-web"}, "415", "", ""},
    {"JSON in gRPC", "/echo.Echo/Unary", {"content-type", "application/grpc+json"}, "415", "", ""},
    {"an unknown encoding", "/echo.Echo/Unary", {"grpc-encoding", "gzip"}, "200", "12", "grpc-encoding: compression is not supported, only identity"},
    {"identity", "/echo.Echo/Unary", {"grpc-encoding", "identity"}, "200", "0", ""},
    {"proto", "/echo.Echo/Unary", {"content-type", "application/grpc+proto"}, "200", "0", ""},
    {"a bad timeout", "/echo.Echo/Unary", {"grpc-timeout", "soon"}, "200", "3", "grpc-timeout: expected 1 to 8 digits and a unit, one of H M S m u n"},
    {"no time at all", "/echo.Echo/Unary", {"grpc-timeout", "0S"}, "200", "4", "deadline exceeded"},
    {"enough time", "/echo.Echo/Unary", {"grpc-timeout", "1S"}, "200", "0", ""},
    {"metadata", "/echo.Echo/Unary", {"x-y", "z", "x-bin", "AAA"}, "200", "0", ""},
    {"another te", "/echo.Echo/Unary", {"te", "trailers"}, "200", "0", ""},
};
/* clang-format on */

static void headers_decide(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof header_cases / sizeof header_cases[0]; i++) {
        const struct header_case *c = &header_cases[i];
        unsigned messages = peer.echo.messages;
        struct peer_reply *r = peer_call(&peer, c->path, "m", 1, c->extra);
        if (strcmp(r->http_status, c->http_status) != 0 || strcmp(r->grpc_status, c->grpc_status) != 0 ||
            strcmp(r->grpc_message, c->message) != 0)
            fail_msg("%s: %s, %s %s", c->name, r->http_status, r->grpc_status, r->grpc_message);
        assert_true(r->is_closed);
        assert_int_equal(peer.echo.messages - messages, strcmp(c->grpc_status, "0") == 0 ? 1 : 0);
        if (r->grpc_status[0] != '\0')
            assert_string_equal(r->accept_encoding, "identity");
    }
    assert_int_equal(peer.echo.gone, peer.echo.messages); /* whose method was not called is not told of the end */
}

static void a_long_unknown_path_is_cut(void **state)
{
    char path[3000];
    struct peer_reply *r;

    (void)state;
    memset(path, '/', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    r = peer_call(&peer, path, "m", 1, NULL);
    assert_string_equal(r->grpc_status, "12");
    assert_in_range(strlen(r->grpc_message), 50, 150);
}

static void too_many_headers_exhaust(void **state)
{
    static char value[20001], names[4][8] = {"x-a", "x-b", "x-c", "x-d"};
    const char *extra[] = {names[0], value, names[1], value, names[2], value, NULL, NULL, NULL};

    (void)state;
    memset(value, 'v', sizeof value - 1);
    expect_one_message(peer_call(&peer, "/echo.Echo/Unary", "m", 1, extra), "m", 1);
    extra[6] = names[3];
    extra[7] = value;
    expect_status(peer_call(&peer, "/echo.Echo/Unary", "m", 1, extra), "8",
                  "the request's headers have more than 65536 bytes");
    assert_int_equal(peer.echo.messages, 1);
    expect_one_message(peer_call(&peer, "/echo.Echo/Unary", "m", 1, NULL), "m", 1);
}

/* ---- calls that are refused: messages ---- */

struct body_case {
    const char *name;
    const char *path;
    const char *body;
    size_t len;
    const char *grpc_status;
    unsigned delivered;
};

/* clang-format off */
static const struct body_case body_cases[] = {
    {"no message", UNARY, "", 0, "3", 0},
    {"two messages", UNARY, "\0\0\0\0\1a\0\0\0\0\1b", 12, "3", 0},
    {"a bit of a second", UNARY, "\0\0\0\0\1a\0", 7, "3", 0},
    {"half a prefix", UNARY, "\0\0\0", 3, "13", 0},
    {"half a message", UNARY, "\0\0\0\0\5he", 7, "13", 0},
    {"a prefix and nothing else", UNARY, "\0\0\0\0\5", 5, "13", 0},
    {"compressed", UNARY, "\1\0\0\0\1a", 6, "13", 0},
    {"a flag of 2", UNARY, "\2\0\0\0\1a", 6, "13", 0},
    {"a flag of 255", UNARY, "\377", 1, "13", 0},
    {"one byte too long", UNARY, "\0\0\x40\0\1a", 6, "8", 0},
    {"as long as can be", UNARY, "\0\377\377\377\377a", 6, "8", 0},
    {"a second one that is cut", CHAT, "\0\0\0\0\1a\0\0\0\0\2b", 12, "13", 1},
    {"a second one that is compressed", CHAT, "\0\0\0\0\1a\1\0\0\0\2bb", 13, "13", 1},
    {"a second one that is too long", CHAT, "\0\0\0\0\1a\0\1\0\0\0bb", 13, "8", 1},
};
/* clang-format on */

static void messages_decide(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 1000; piece += 998) {
        peer.piece = piece;
        for (size_t i = 0; i < sizeof body_cases / sizeof body_cases[0]; i++) {
            const struct body_case *c = &body_cases[i];
            unsigned before = peer.echo.messages;
            int32_t id = peer_request(&peer, c->path, bytes_of(c->body, c->len), false, NULL);
            peer_pump(&peer);
            if (strcmp(peer_reply(&peer, id)->grpc_status, c->grpc_status) != 0)
                fail_msg("%s: %s", c->name, peer_reply(&peer, id)->grpc_status);
            assert_true(peer_reply(&peer, id)->is_closed);
            assert_true(peer_reply(&peer, id)->grpc_message[0] != '\0');
            assert_int_equal(peer.echo.messages - before, c->delivered);
        }
    }
    assert_int_equal(peer.shared.requests.used, 0);
}

/* A prefix that promises 4 MiB costs nothing until they come. */
static void promises_cost_no_memory(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        (void)peer_request(&peer, UNARY, bytes_of("\0\0\x40\0\0abc", 8), true, NULL);
        peer_pump(&peer);
    }
    assert_int_equal(peer.shared.open_calls, 100);
    assert_in_range(peer.shared.requests.used, 100 * 3, 100 * 4096);
}

static void requests_share_a_budget(void **state)
{
    struct grpc_limits limits = grpc_limits_default;
    uint8_t *message = calloc(1, 1 << 20);
    struct bytes body = peer_frame(message, 1 << 20);
    int32_t ids[6];

    (void)state;
    peer_close(&peer);
    limits.request_bytes = 6 << 20;
    limits.request_reserve = 2 << 20; /* for Unix sockets, which this is not */
    peer_open_as(&peer, &limits, false);
    for (int i = 0; i < 6; i++) {
        ids[i] = peer_request(&peer, UNARY, bytes_of(body.ptr, body.len - 1), true, NULL);
        peer_pump(&peer);
    }
    for (int i = 0; i < 6; i++)
        assert_string_equal(peer_reply(&peer, ids[i])->grpc_status, i < 4 ? "" : "8");
    assert_int_equal(peer.shared.requests.used, 4 << 20);
    peer_continue(&peer, ids[0], bytes_of(body.ptr, 1), false); /* who got in goes through */
    peer_pump(&peer);
    assert_string_equal(peer_reply(&peer, ids[0])->grpc_status, "0");
    assert_int_equal(peer.shared.requests.used, 3 << 20);
    free(message);
    peer_free_frame(body);
}

static void a_client_stream_is_limited_in_all(void **state)
{
    uint8_t *message = calloc(1, GRPC_MESSAGE_MAX);
    struct bytes body = peer_frame(message, GRPC_MESSAGE_MAX);
    int32_t id;

    (void)state;
    id = peer_request(&peer, "/echo.Echo/Collect", body, true, NULL);
    peer_pump(&peer);
    for (int i = 1; i < 16; i++) {
        peer_continue(&peer, id, body, true);
        peer_pump(&peer);
    }
    assert_int_equal(peer.echo.messages, 16);
    assert_string_equal(peer_reply(&peer, id)->grpc_status, "");
    peer_continue(&peer, id, bytes_of("\0\0\0\0\1", 5), true); /* not even one byte more */
    peer_pump(&peer);
    expect_status(peer_reply(&peer, id), "8", "the call's messages have more than 67108864 bytes");
    free(message);
    peer_free_frame(body);
}

/* ---- answers ---- */

static void status_messages_are_encoded(void **state)
{
    char long_text[5000];
    struct peer_reply *r;

    (void)state;
    expect_status(peer_call(&peer, "/echo.Echo/Fail", "\5caf\xc3\xa9 100%\n", 12, NULL), "5", "caf%C3%A9 100%25%0A");
    expect_status(peer_call(&peer, "/echo.Echo/Fail", "\17", 1, NULL), "15", "");
    memset(long_text, 0xff, sizeof long_text);
    long_text[0] = GRPC_ABORTED;
    r = peer_call(&peer, "/echo.Echo/Fail", long_text, 2000, NULL);
    assert_string_equal(r->grpc_status, "10");
    assert_int_equal(strlen(r->grpc_message), 3 * 1024);
}

static void answers_share_a_budget(void **state)
{
    struct grpc_limits limits = grpc_limits_default;
    struct peer_reply *r;

    (void)state;
    peer_close(&peer);
    limits.answer_bytes = 4 << 20;
    limits.answer_reserve = 1 << 20;
    peer_open_as(&peer, &limits, false);
    r = peer_call(&peer, "/echo.Echo/Stream", "7 500000", 8, NULL);
    assert_string_equal(r->grpc_status, "8");
    assert_int_equal(r->body_len, 6 * 500005); /* what was queued still comes */
    r = peer_call(&peer, "/echo.Echo/Stream", "6 500000", 8, NULL);
    assert_string_equal(r->grpc_status, "0");
}

static void headers_come_before_a_message_and_status_alone_is_one_block(void **state)
{
    (void)state;
    assert_int_equal(peer_call(&peer, "/echo.Echo/Fail", "\3x", 2, NULL)->header_blocks, 1);
    assert_int_equal(peer_call(&peer, UNARY, "x", 1, NULL)->header_blocks, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PEER_TEST(a_unary_call_is_answered),
        PEER_TEST(an_empty_message_is_a_message),
        PEER_TEST(bytes_may_come_one_by_one),
        PEER_TEST(the_largest_message_goes_through_and_back),
        PEER_TEST(many_messages_of_a_stream_come_in_order),
        PEER_TEST(messages_of_a_client_stream_are_handed_on_as_they_come),
        PEER_TEST(a_client_stream_may_be_empty),
        PEER_TEST(headers_decide),
        PEER_TEST(a_long_unknown_path_is_cut),
        PEER_TEST(too_many_headers_exhaust),
        PEER_TEST(messages_decide),
        PEER_TEST(promises_cost_no_memory),
        PEER_TEST(requests_share_a_budget),
        PEER_TEST(a_client_stream_is_limited_in_all),
        PEER_TEST(status_messages_are_encoded),
        PEER_TEST(answers_share_a_budget),
        PEER_TEST(headers_come_before_a_message_and_status_alone_is_one_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
