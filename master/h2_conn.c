/* An HTTP/2 session over a byte stream: nghttp2 does the protocol, the scanner in front of it keeps the budgets. */

#include "h2_conn.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "grpc_limits.h"
#include "h2_budget.h"
#include "h2_memory.h"
#include "h2_scan.h"

#define H2_CONN_MAGIC           0x6e6f4332u
#define RESPONSE_HEADERS_MAX    8
#define STREAM_WINDOW           (256u << 10) /* what comes is taken at once, so windows hold no memory */
#define CONNECTION_WINDOW       (1 << 20)
#define OUTBOUND_ACKS_MAX       10000 /* beyond our own budgets, which so decide */
#define CONTINUATIONS_MAX       2000  /* likewise: the scanner counts them */
#define WINDOW_UPDATES_PER_DATA 4 /* a client answers a DATA frame with one for the stream and one for the connection */

/* The announced limit of streams in our first frame, SETTINGS: behind the frame's header and the setting's identifier. */
#define ANNOUNCED_STREAMS_AT (H2_FRAME_HEADER_BYTES + 2)

struct h2_conn {
    uint32_t magic;
    nghttp2_session *session;
    const struct h2_events *events;
    void *context;
    uint64_t now_ms; /* of the call from outside */
    struct h2_scan scan;
    struct h2_budget budget;
    unsigned streams; /* open ones that a handler knows */
    bool has_announced;
    bool is_established;
    const char *abuse;
    int broken;             /* the code that all calls give from now on; 0: none */
    const uint8_t *pending; /* nghttp2's, until the next frame is asked for */
    size_t pending_len;
};

static struct h2_conn *h2_conn_check(void *object)
{
    struct h2_conn *c = object;

    CHECK_MAGIC(c, H2_CONN_MAGIC);
    return c;
}

/** Whatever nghttp2 cannot do for want of memory ends the connection; that a stream is gone does not. */
static void note_result(struct h2_conn *c, int rc)
{
    if (rc != 0 && nghttp2_is_fatal(rc))
        c->broken = rc == NGHTTP2_ERR_NOMEM ? ERR_NO_MEMORY : ERR_PROTOCOL;
}

/** Tell the client to calm down; nothing else is sent after that. */
static void end_for_abuse(struct h2_conn *c, const char *what)
{
    if (c->abuse == NULL) {
        c->abuse = what;
        note_result(c, nghttp2_session_terminate_session(c->session, NGHTTP2_ENHANCE_YOUR_CALM));
    }
}

/* ---- what nghttp2 tells; user_data is the connection ---- */

static void *stream_of(struct h2_conn *c, int32_t id)
{
    return nghttp2_session_get_stream_user_data(c->session, id);
}

static bool is_request(const nghttp2_frame *frame)
{
    return frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
}

static int refuse_stream(nghttp2_session *session, int32_t id)
{
    int rc = nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);

    return rc != 0 && nghttp2_is_fatal(rc) ? rc : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct h2_conn *c = h2_conn_check(user_data);

    if (!is_request(frame))
        return 0;
    void *stream = c->streams < GRPC_STREAMS_MAX ? c->events->on_open(c->context, frame->hd.stream_id) : NULL;
    if (stream == NULL)
        return refuse_stream(session, frame->hd.stream_id);
    c->streams++;
    CHECK(nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream) == 0);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
    struct h2_conn *c = h2_conn_check(user_data);
    void *stream = is_request(frame) ? stream_of(c, frame->hd.stream_id) : NULL;

    (void)session;
    (void)flags;
    if (stream != NULL)
        c->events->on_header(stream, bytes_of(name, name_len), bytes_of(value, value_len));
    return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct h2_conn *c = h2_conn_check(user_data);
    bool is_request_part = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;

    (void)session;
    if (frame->hd.type == NGHTTP2_SETTINGS)
        c->is_established = true;
    void *stream = is_request_part ? stream_of(c, frame->hd.stream_id) : NULL;
    if (stream == NULL)
        return 0;
    if (is_request(frame))
        c->events->on_headers_end(stream);
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        c->events->on_end(stream);
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                         void *user_data)
{
    struct h2_conn *c = h2_conn_check(user_data);
    void *stream = stream_of(c, id);

    (void)session;
    (void)flags;
    if (stream != NULL)
        c->events->on_data(stream, bytes_of(data, len));
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user_data)
{
    struct h2_conn *c = h2_conn_check(user_data);
    void *stream = stream_of(c, id);

    (void)session;
    (void)error_code;
    if (stream == NULL)
        return 0;
    c->streams--;
    c->events->on_close(stream);
    return 0;
}

/** The answer is complete but the request is not: nobody wants the rest of it (RFC 9113 8.1). */
static void end_request_too(struct h2_conn *c, int32_t id)
{
    if (nghttp2_session_get_stream_remote_close(c->session, id) == 0)
        note_result(c, nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR));
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct h2_conn *c = h2_conn_check(user_data);

    (void)session;
    if (frame->hd.type == NGHTTP2_DATA)
        h2_budget_give(&c->budget, H2_COST_OTHER, WINDOW_UPDATES_PER_DATA);
    if (frame->hd.type == NGHTTP2_RST_STREAM && !h2_budget_take(&c->budget, H2_COST_RESET, c->now_ms))
        end_for_abuse(c, h2_cost_word(H2_COST_RESET));
    if (frame->hd.type == NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        end_request_too(c, frame->hd.stream_id);
    return 0;
}

static ssize_t on_body(nghttp2_session *session, int32_t id, uint8_t *out, size_t capacity, uint32_t *flags,
                       nghttp2_data_source *source, void *user_data)
{
    struct h2_conn *c = h2_conn_check(user_data);
    bool is_last = false;
    size_t len = c->events->on_send(source->ptr, out, capacity, &is_last);

    (void)session;
    (void)id;
    CHECK(len <= capacity);
    if (is_last)
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    else if (len == 0)
        return NGHTTP2_ERR_DEFERRED;
    return (ssize_t)len;
}

/* ---- life ---- */

static int make_session(struct h2_conn *c, nghttp2_session_callbacks *callbacks, nghttp2_option *options)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_option_set_no_closed_streams(options, 1);
    nghttp2_option_set_max_outbound_ack(options, OUTBOUND_ACKS_MAX);
    nghttp2_option_set_max_continuations(options, CONTINUATIONS_MAX);
    nghttp2_option_set_stream_reset_rate_limit(options, UINT32_MAX, UINT32_MAX); /* the scanner counts these too */
    return nghttp2_session_server_new3(&c->session, callbacks, c, options, h2_memory());
}

/** The first frame: what we allow. See h2_conn_produce() for the number of streams that nghttp2 is told. */
static int announce(struct h2_conn *c)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, INT32_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, GRPC_HEADERS_MAX},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    int rc = nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof settings[0]);

    return rc != 0 ? rc : nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
}

static int session_open(struct h2_conn *c)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *options = NULL;
    int rc = ERR_NO_MEMORY;

    if (nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&options) == 0 &&
        make_session(c, callbacks, options) == 0 && announce(c) == 0)
        rc = 0;
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(options);
    return rc;
}

struct h2_conn *h2_conn_new(const struct h2_events *events, void *context, uint64_t now_ms)
{
    struct h2_conn *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->magic = H2_CONN_MAGIC;
    c->events = events;
    c->context = context;
    c->now_ms = now_ms;
    h2_scan_init(&c->scan);
    h2_budget_init(&c->budget, now_ms);
    if (session_open(c) != 0)
        h2_conn_free(&c);
    return c;
}

void h2_conn_free(struct h2_conn **conn)
{
    struct h2_conn *c = *conn;

    *conn = NULL;
    if (c == NULL)
        return;
    CHECK_MAGIC(c, H2_CONN_MAGIC);
    nghttp2_session_del(c->session);
    c->magic = 0;
    free(c);
}

/* ---- bytes ---- */

static int state_code(const struct h2_conn *c)
{
    if (c->broken != 0)
        return c->broken;
    return c->abuse != NULL ? ERR_FULL : 0;
}

static int receive_scanned(struct h2_conn *c, struct bytes in)
{
    ssize_t taken = nghttp2_session_mem_recv(c->session, in.ptr, in.len);

    if (taken == NGHTTP2_ERR_FLOODED || taken == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS)
        end_for_abuse(c, "frames that want an answer");
    else if (taken < 0)
        c->broken = taken == NGHTTP2_ERR_NOMEM ? ERR_NO_MEMORY : ERR_PROTOCOL;
    return state_code(c);
}

int h2_conn_receive(struct h2_conn *c, struct bytes in, uint64_t now_ms)
{
    CHECK_MAGIC(c, H2_CONN_MAGIC);
    c->now_ms = now_ms;
    if (state_code(c) != 0)
        return state_code(c);
    switch (h2_scan_bytes(&c->scan, in, &c->budget, now_ms)) {
    case H2_SCAN_OK: return receive_scanned(c, in);
    case H2_SCAN_OVER_BUDGET: end_for_abuse(c, h2_cost_word(c->scan.over)); break;
    case H2_SCAN_HEADERS: end_for_abuse(c, "header block"); break;
    }
    return state_code(c);
}

static void put_u32(uint8_t *out, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
}

/**
 * nghttp2 ends the connection when a client goes over the limit that it was told of, although such a stream should be refused by
 * itself (RFC 9113 5.1.2). So nghttp2 knows of no limit, we count, and the number is written into its SETTINGS on the way out.
 */
static void write_stream_limit(struct h2_conn *c, uint8_t *frame, size_t len)
{
    CHECK(len >= ANNOUNCED_STREAMS_AT + 4 && frame[3] == NGHTTP2_SETTINGS &&
          frame[ANNOUNCED_STREAMS_AT - 1] == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    put_u32(frame + ANNOUNCED_STREAMS_AT, GRPC_STREAMS_MAX);
    c->has_announced = true;
}

/** The next frame of nghttp2 becomes pending, if there is one. */
static void fetch_frame(struct h2_conn *c)
{
    if (c->broken != 0)
        return;
    ssize_t len = nghttp2_session_mem_send(c->session, &c->pending);
    if (len < 0)
        c->broken = len == NGHTTP2_ERR_NOMEM ? ERR_NO_MEMORY : ERR_PROTOCOL;
    c->pending_len = len > 0 ? (size_t)len : 0;
}

int h2_conn_produce(struct h2_conn *c, uint8_t *out, size_t capacity, size_t *len_out, uint64_t now_ms)
{
    size_t len = 0;

    CHECK_MAGIC(c, H2_CONN_MAGIC);
    CHECK(capacity >= H2_FRAME_HEADER_BYTES + 64);
    c->now_ms = now_ms;
    *len_out = 0;
    while (len < capacity) {
        if (c->pending_len == 0)
            fetch_frame(c);
        if (c->pending_len == 0)
            break;
        size_t part = c->pending_len < capacity - len ? c->pending_len : capacity - len;
        memcpy(out + len, c->pending, part);
        if (!c->has_announced)
            write_stream_limit(c, out + len, part);
        c->pending += part;
        c->pending_len -= part;
        len += part;
    }
    *len_out = len;
    return state_code(c);
}

/* ---- questions ---- */

bool h2_conn_wants_write(const struct h2_conn *c)
{
    return c->pending_len > 0 || (c->broken == 0 && nghttp2_session_want_write(c->session) != 0);
}

bool h2_conn_is_over(const struct h2_conn *c)
{
    return !h2_conn_wants_write(c) && (c->broken != 0 || nghttp2_session_want_read(c->session) == 0);
}

bool h2_conn_is_established(const struct h2_conn *c)
{
    return c->is_established;
}

bool h2_conn_is_in_headers(const struct h2_conn *c)
{
    return c->scan.in_block;
}

const char *h2_conn_abuse(const struct h2_conn *c)
{
    return c->abuse;
}

/* ---- answers ---- */

static size_t make_pairs(const struct h2_header *headers, size_t count, nghttp2_nv out[RESPONSE_HEADERS_MAX])
{
    CHECK(count <= RESPONSE_HEADERS_MAX);
    for (size_t i = 0; i < count; i++) {
        union {
            const char *text;
            uint8_t *bytes; /* nghttp2 copies and does not write, but its type says otherwise */
        } name = {headers[i].name}, value = {headers[i].value};
        out[i] = (nghttp2_nv){.name = name.bytes,
                              .namelen = strlen(headers[i].name),
                              .value = value.bytes,
                              .valuelen = strlen(headers[i].value),
                              .flags = NGHTTP2_NV_FLAG_NONE};
    }
    return count;
}

void h2_conn_respond(struct h2_conn *c, int32_t id, const struct h2_header *headers, size_t count, bool has_body)
{
    nghttp2_nv pairs[RESPONSE_HEADERS_MAX];
    nghttp2_data_provider body = {.source.ptr = stream_of(c, id), .read_callback = on_body};

    note_result(
        c, nghttp2_submit_response(c->session, id, pairs, make_pairs(headers, count, pairs), has_body ? &body : NULL));
}

void h2_conn_trailers(struct h2_conn *c, int32_t id, const struct h2_header *headers, size_t count)
{
    nghttp2_nv pairs[RESPONSE_HEADERS_MAX];

    note_result(c, nghttp2_submit_trailer(c->session, id, pairs, make_pairs(headers, count, pairs)));
}

void h2_conn_resume(struct h2_conn *c, int32_t id)
{
    note_result(c, nghttp2_session_resume_data(c->session, id));
}

void h2_conn_cancel(struct h2_conn *c, int32_t id)
{
    note_result(c, nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL));
}

void h2_conn_say_goodbye(struct h2_conn *c)
{
    int32_t last = nghttp2_session_get_last_proc_stream_id(c->session);

    note_result(c, nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0));
}
