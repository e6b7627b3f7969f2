#ifndef GRPC_PEER_H
#define GRPC_PEER_H

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grpc_echo.h"
#include "grpc_frame.h"
#include "grpc_session.h"

/* A client (nghttp2's) and a session of the server, with nothing but memory between them and a clock that the test sets; include behind cmocka.h. */

#define PEER_REPLIES 256
#define PEER_EMPTY   "\0\0\0\0\0", 5 /* a message of no bytes, as it goes over the wire */

struct peer_reply {
    char http_status[8];
    char type[64];
    char grpc_status[8];
    char grpc_message[4096];
    char accept_encoding[32];
    uint8_t *body;
    size_t body_len;
    bool is_closed;
    uint32_t error_code; /* is_closed */
    unsigned header_blocks;
};

struct peer_request {
    struct bytes body; /* borrowed until it is sent */
    size_t sent;
    bool is_open; /* the client's side does not end with it */
};

struct peer {
    struct grpc_echo echo;
    struct grpc_shared shared;
    struct grpc_session *server;
    nghttp2_session *client;
    uint64_t now;
    size_t piece; /* bytes handed to the server at once */
    int server_rc;
    unsigned wakes;
    uint32_t goaway; /* error code; UINT32_MAX: none came */
    uint32_t max_streams, max_headers;
    struct peer_reply replies[PEER_REPLIES]; /* by stream id / 2 */
    struct peer_request requests[PEER_REPLIES];
};

static inline struct peer_reply *peer_reply(struct peer *p, int32_t id)
{
    CHECK(id > 0 && id / 2 < PEER_REPLIES);
    return &p->replies[id / 2];
}

/* ---- what the client sees ---- */

static inline int peer_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                                 size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
    struct peer_reply *r = peer_reply(data, frame->hd.stream_id);
    const struct {
        const char *name;
        char *out;
        size_t size;
    } rows[] = {
        {":status", r->http_status, sizeof r->http_status},
        {"content-type", r->type, sizeof r->type},
        {"grpc-status", r->grpc_status, sizeof r->grpc_status},
        {"grpc-message", r->grpc_message, sizeof r->grpc_message},
        {"grpc-accept-encoding", r->accept_encoding, sizeof r->accept_encoding},
    };

    (void)session;
    (void)flags;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (bytes_equal_str(bytes_of(name, name_len), rows[i].name))
            snprintf(rows[i].out, rows[i].size, "%.*s", (int)value_len, (const char *)value);
    }
    return 0;
}

static inline int peer_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    struct peer *p = data;

    (void)session;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        p->goaway = frame->goaway.error_code;
    if (frame->hd.type == NGHTTP2_HEADERS)
        peer_reply(p, frame->hd.stream_id)->header_blocks++;
    for (size_t i = 0; frame->hd.type == NGHTTP2_SETTINGS && i < frame->settings.niv; i++) {
        if (frame->settings.iv[i].settings_id == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
            p->max_streams = frame->settings.iv[i].value;
        if (frame->settings.iv[i].settings_id == NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE)
            p->max_headers = frame->settings.iv[i].value;
    }
    return 0;
}

static inline int peer_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *in, size_t len,
                               void *data)
{
    struct peer_reply *r = peer_reply(data, id);

    (void)session;
    (void)flags;
    r->body = realloc(r->body, r->body_len + len + 1);
    CHECK(r->body != NULL);
    memcpy(r->body + r->body_len, in, len);
    r->body_len += len;
    return 0;
}

static inline int peer_on_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *data)
{
    struct peer_reply *r = peer_reply(data, id);

    (void)session;
    r->is_closed = true;
    r->error_code = error_code;
    return 0;
}

static inline ssize_t peer_on_body(nghttp2_session *session, int32_t id, uint8_t *out, size_t capacity, uint32_t *flags,
                                   nghttp2_data_source *source, void *data)
{
    struct peer_request *r = source->ptr;
    size_t len = r->body.len - r->sent;

    (void)session;
    (void)id;
    (void)data;
    len = len < capacity ? len : capacity;
    if (len > 0)
        memcpy(out, r->body.ptr + r->sent, len);
    r->sent += len;
    if (r->sent == r->body.len && !r->is_open)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (len == 0)
        return NGHTTP2_ERR_DEFERRED;
    return (ssize_t)len;
}

/* ---- life ---- */

static inline void peer_on_wake(void *context)
{
    ((struct peer *)context)->wakes++;
}

static inline void peer_open_with(struct peer *p, const struct grpc_limits *limits, const nghttp2_option *options)
{
    nghttp2_session_callbacks *callbacks;

    memset(p, 0, sizeof *p);
    p->now = 1000000;
    p->piece = SIZE_MAX;
    p->goaway = UINT32_MAX;
    grpc_shared_init(&p->shared, limits, grpc_echo_methods, &p->echo);
    p->server = grpc_session_new(&p->shared, false, "192.0.2.1:5000", peer_on_wake, p, p->now);
    CHECK(p->server != NULL && nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, peer_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, peer_on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, peer_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, peer_on_close);
    CHECK(nghttp2_session_client_new2(&p->client, callbacks, p, options) == 0);
    nghttp2_session_callbacks_del(callbacks);
    CHECK(nghttp2_submit_settings(p->client, NGHTTP2_FLAG_NONE, NULL, 0) == 0);
}

/* It sends more than it should, and takes only as much of an answer as the test says (is_lazy). */
static inline void peer_open_as(struct peer *p, const struct grpc_limits *limits, bool is_lazy)
{
    nghttp2_option *options;

    CHECK(nghttp2_option_new(&options) == 0);
    nghttp2_option_set_max_send_header_block_length(options, 1 << 20);
    nghttp2_option_set_no_auto_window_update(options, is_lazy);
    peer_open_with(p, limits, options);
    nghttp2_option_del(options);
}

static inline void peer_open(struct peer *p)
{
    peer_open_as(p, &grpc_limits_default, false);
}

/* Nothing may be left of any call. */
static inline void peer_close(struct peer *p)
{
    grpc_session_free(&p->server);
    nghttp2_session_del(p->client);
    for (size_t i = 0; i < PEER_REPLIES; i++)
        free(p->replies[i].body);
    CHECK(p->echo.held == 0 && p->shared.open_calls == 0);
    CHECK(p->shared.requests.used == 0 && p->shared.answers.used == 0);
}

/* ---- bytes ---- */

static inline bool peer_client_to_server(struct peer *p)
{
    const uint8_t *out;
    ssize_t len = nghttp2_session_mem_send(p->client, &out);

    for (ssize_t at = 0; at < len && p->server_rc == 0;) {
        size_t piece = (size_t)(len - at) < p->piece ? (size_t)(len - at) : p->piece;
        p->server_rc = grpc_session_receive(p->server, bytes_of(out + at, piece), p->now);
        at += (ssize_t)piece;
    }
    return len > 0;
}

static inline bool peer_server_to_client(struct peer *p)
{
    uint8_t out[16384];
    size_t len;
    int rc = grpc_session_produce(p->server, out, sizeof out, &len, p->now);

    p->server_rc = p->server_rc != 0 ? p->server_rc : rc;
    if (len > 0)
        CHECK(nghttp2_session_mem_recv(p->client, out, len) == (ssize_t)len);
    return len > 0;
}

/* Until both have nothing more to say. */
static inline void peer_pump(struct peer *p)
{
    bool goes_on = true;

    while (goes_on) {
        goes_on = peer_client_to_server(p);
        goes_on = peer_server_to_client(p) || goes_on;
    }
}

/* ---- calls ---- */

static inline nghttp2_nv peer_pair(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value), 0};
}

/* extra: name, value, name, value, ..., NULL; a name that is there already replaces its value. */
static inline int32_t peer_request(struct peer *p, const char *path, struct bytes body, bool is_open,
                                   const char *const *extra)
{
    nghttp2_nv pairs[16] = {
        peer_pair(":method", "POST"), peer_pair(":scheme", "http"),
        peer_pair(":path", path),     peer_pair(":authority", "localhost"),
        peer_pair("te", "trailers"),  peer_pair("content-type", "application/grpc"),
    };
    size_t count = 6, at;

    for (; extra != NULL && *extra != NULL; extra += 2) {
        for (at = 0; at < count && !bytes_equal_str(bytes_of(pairs[at].name, pairs[at].namelen), extra[0]);)
            at++;
        pairs[at] = peer_pair(extra[0], extra[1]);
        count = at == count ? count + 1 : count;
    }
    int32_t next = (int32_t)nghttp2_session_get_next_stream_id(p->client);
    struct peer_request *request = &p->requests[next / 2];
    *request = (struct peer_request){.body = body, .is_open = is_open};
    nghttp2_data_provider provider = {.source.ptr = request, .read_callback = peer_on_body};
    int32_t id =
        nghttp2_submit_request(p->client, NULL, pairs, count, body.len > 0 || is_open ? &provider : NULL, NULL);
    CHECK(id == next);
    return id;
}

/* More of a request that was left open. */
static inline void peer_continue(struct peer *p, int32_t id, struct bytes body, bool is_open)
{
    p->requests[id / 2] = (struct peer_request){.body = body, .is_open = is_open};
    (void)nghttp2_session_resume_data(p->client, id);
}

/* A message behind its prefix, in memory of its own. */
static inline struct bytes peer_frame(const void *message, size_t len)
{
    uint8_t *out = malloc(GRPC_PREFIX_BYTES + len);

    CHECK(out != NULL);
    grpc_frame_write(out, (uint32_t)len);
    if (len > 0)
        memcpy(out + GRPC_PREFIX_BYTES, message, len);
    return bytes_of(out, GRPC_PREFIX_BYTES + len);
}

static inline void peer_free_frame(struct bytes frame)
{
    union {
        const uint8_t *borrowed;
        uint8_t *own;
    } memory = {frame.ptr};

    free(memory.own);
}

/* One unary call from beginning to end. */
static inline struct peer_reply *peer_call(struct peer *p, const char *path, const void *message, size_t len,
                                           const char *const *extra)
{
    struct bytes body = peer_frame(message, len);
    int32_t id = peer_request(p, path, body, false, extra);

    peer_pump(p);
    peer_free_frame(body);
    return peer_reply(p, id);
}

/* ---- for tests, each with a peer of its own ---- */

#define UNARY "/echo.Echo/Unary"
#define CHAT  "/echo.Echo/Chat"

static struct peer peer;

static inline int peer_setup(void **state)
{
    (void)state;
    peer_open(&peer);
    return 0;
}

static inline int peer_teardown(void **state)
{
    (void)state;
    peer_close(&peer);
    return 0;
}

#define PEER_TEST(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

static inline void expect_status(const struct peer_reply *r, const char *grpc_status, const char *message)
{
    assert_string_equal(r->http_status, "200");
    assert_string_equal(r->type, "application/grpc");
    assert_string_equal(r->grpc_status, grpc_status);
    assert_string_equal(r->grpc_message, message);
    assert_true(r->is_closed);
}

static inline void expect_one_message(const struct peer_reply *r, const void *message, size_t len)
{
    struct grpc_prefix prefix;

    expect_status(r, "0", "");
    assert_int_equal(r->header_blocks, 2);
    assert_int_equal(r->body_len, GRPC_PREFIX_BYTES + len);
    assert_int_equal(grpc_frame_parse(bytes_of(r->body, r->body_len), &prefix), GRPC_FRAME_OK);
    assert_int_equal(prefix.len, len);
    assert_false(prefix.is_compressed);
    assert_memory_equal(r->body + GRPC_PREFIX_BYTES, message, len);
}

#endif
