/* gRPC from the client's side. nghttp2 keeps the HTTP/2 session; here is the loop that feeds it; what gRPC makes of headers
 * and bytes is grpc_call_client.c's. */

#include "grpc_client.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client_link.h"
#include "client_text.h"
#include "clock.h"
#include "err.h"
#include "grow_buf.h"
#include "grpc_call_client.h"
#include "version.h"

#define GRPC_CLIENT_MAGIC 0x47525043u
#define READ_BYTES        (64u << 10)
#define WINDOW_BYTES      (16 << 20) /* how far a server may run ahead of us */
#define ANSWER_MAX_BYTES  (1u << 30) /* a million routes are a tenth of it */
#define CONNECT_MAX_MS    10000
#define DEADLINE_GRACE_MS 500 /* for the server's own word on a deadline */

/** The call under way. */
struct call {
    struct grpc_call_client grpc;
    int32_t stream;
    grpc_take_fn take; /* of a stream of answers; NULL: the answer is gathered */
    void *take_context;
    int take_result; /* of the last one taken */
    bool is_over;    /* the server has finished, or the stream was reset */
    uint32_t reset;  /* HTTP/2 error code, if it was */
};

struct grpc_client {
    uint32_t magic;
    struct client_link *link;
    nghttp2_session *session;
    char authority[300];
    const char *scheme;
    uint32_t timeout_ms;
    struct bytes unsent;  /* of nghttp2's, valid until it is asked again */
    struct grow_buf body; /* all data of the answer */
    struct call call;
    bool is_going_away; /* the server has said GOAWAY */
    bool is_broken;     /* nghttp2 gives up: what came is no HTTP/2 */
    uint8_t in[READ_BYTES];
};

/* ---- what comes ---- */

static bool is_ours(const struct grpc_client *client, int32_t stream)
{
    return stream == client->call.stream && !client->call.is_over;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
    struct grpc_client *client = user_data;

    (void)session;
    (void)flags;
    CHECK_MAGIC(client, GRPC_CLIENT_MAGIC);
    if (frame->hd.type == NGHTTP2_HEADERS && is_ours(client, frame->hd.stream_id))
        grpc_call_client_take_header(&client->call.grpc, bytes_of(name, name_len), bytes_of(value, value_len));
    return 0;
}

/** Hand on each message that is complete; what is left of the next one stays. */
static void take_messages(struct grpc_client *client)
{
    struct call *call = &client->call;
    struct bytes all = grow_buf_bytes(&client->body);
    struct reader r = reader_of(all);
    size_t done = 0;

    while (call->take_result == 0) {
        uint8_t is_compressed = reader_u8(&r);
        size_t len = reader_u32(&r);
        struct bytes message = reader_slice(&r, len);
        if (r.failed)
            break;
        call->take_result = is_compressed == 0 ? call->take(call->take_context, message) : ERR_PROTOCOL;
        done = all.len - r.left;
    }
    client->body.len -= done;
    if (done > 0 && client->body.len > 0)
        memmove(client->body.data, client->body.data + done, client->body.len);
    if (call->take_result != 0)
        call->is_over = true;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t len,
                   void *user_data)
{
    struct grpc_client *client = user_data;

    (void)session;
    (void)flags;
    CHECK_MAGIC(client, GRPC_CLIENT_MAGIC);
    if (!is_ours(client, stream))
        return 0;
    if (client->body.len + len > ANSWER_MAX_BYTES)
        client->body.has_failed = true;
    grow_buf_add(&client->body, bytes_of(data, len));
    if (client->call.take != NULL && !client->body.has_failed)
        take_messages(client);
    return 0;
}

/** The server's END_STREAM ends a call, also when we have not sent everything yet: nghttp2 closes the stream only later. */
static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct grpc_client *client = user_data;

    (void)session;
    CHECK_MAGIC(client, GRPC_CLIENT_MAGIC);
    if (frame->hd.type == NGHTTP2_GOAWAY)
        client->is_going_away = true;
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && is_ours(client, frame->hd.stream_id))
        client->call.is_over = true;
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t error, void *user_data)
{
    struct grpc_client *client = user_data;

    (void)session;
    CHECK_MAGIC(client, GRPC_CLIENT_MAGIC);
    if (is_ours(client, stream)) {
        client->call.is_over = true;
        client->call.reset = error;
    }
    return 0;
}

/** nghttp2 says GOAWAY only when it cannot go on. */
static int before_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct grpc_client *client = user_data;

    (void)session;
    CHECK_MAGIC(client, GRPC_CLIENT_MAGIC);
    if (frame->hd.type == NGHTTP2_GOAWAY)
        client->is_broken = true;
    return 0;
}

/* ---- what goes ---- */

static ssize_t on_send_data(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room, uint32_t *flags,
                            nghttp2_data_source *source, void *user_data)
{
    struct grpc_client *client = user_data;
    struct grpc_call_client *call = &client->call.grpc;

    (void)session;
    (void)source;
    CHECK_MAGIC(client, GRPC_CLIENT_MAGIC);
    CHECK(stream == client->call.stream);
    size_t done = grpc_call_client_fill(call, out, room);
    if (call->source_error != 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (call->is_sent)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)done;
}

/* nghttp2 copies names and values before it returns, and has no const in its type. */
static nghttp2_nv make_header(const char *name, const char *value)
{
    union {
        const char *in;
        uint8_t *out;
    } n = {name}, v = {value};

    return (nghttp2_nv){.name = n.out, .namelen = strlen(name), .value = v.out, .valuelen = strlen(value)};
}

static int submit(struct grpc_client *client, const char *path)
{
    char timeout_data[16], agent_data[64];
    struct strbuf timeout = STRBUF_OF(timeout_data), agent = STRBUF_OF(agent_data);
    const nghttp2_data_provider provider = {.read_callback = on_send_data};

    client_text_add_timeout(client->timeout_ms, &timeout);
    strbuf_addf(&agent, "mc-proxy/%s", version_text());
    nghttp2_nv headers[] = {
        make_header(":method", "POST"),
        make_header(":scheme", client->scheme),
        make_header(":path", path),
        make_header(":authority", client->authority),
        make_header("te", "trailers"),
        make_header("content-type", "application/grpc"),
        make_header("user-agent", agent_data),
        make_header("grpc-accept-encoding", "identity"),
        make_header("grpc-timeout", timeout_data), /* the last one: not every call has it */
    };
    size_t count = sizeof headers / sizeof headers[0] - (client->timeout_ms == GRPC_CLIENT_NO_DEADLINE ? 1 : 0);
    int32_t stream = nghttp2_submit_request(client->session, NULL, headers, count, &provider, NULL);
    if (stream < 0)
        return stream == NGHTTP2_ERR_NOMEM ? ERR_NO_MEMORY : ERR_CLOSED;
    client->call.stream = stream;
    return 0;
}

/* ---- the loop ---- */

/** nghttp2 asks to be called until it has nothing more; what it gives is valid until the next call. */
static int fill_unsent(struct grpc_client *client)
{
    const uint8_t *data;

    if (client->unsent.len > 0)
        return 0;
    ssize_t len = nghttp2_session_mem_send(client->session, &data);
    if (len < 0 && client->call.grpc.source_error != 0)
        return client->call.grpc.source_error;
    if (len < 0)
        return len == NGHTTP2_ERR_NOMEM ? ERR_NO_MEMORY : ERR_PROTOCOL;
    client->unsent = bytes_of(data, (size_t)len);
    return 0;
}

static int server_goes(struct strbuf *why)
{
    strbuf_add(why, "the server is going down or being replaced; try again");
    return ERR_CLOSED;
}

static int session_ended(const struct grpc_client *client, struct strbuf *why)
{
    if (client->is_going_away && !client->is_broken)
        return server_goes(why);
    strbuf_add(why, "what answers does not speak HTTP/2; is this the address of the admin API?");
    return ERR_PROTOCOL;
}

static int feed(struct grpc_client *client, size_t len, struct strbuf *why)
{
    ssize_t done = nghttp2_session_mem_recv(client->session, client->in, len);

    if (done >= 0)
        return 0;
    if (done != NGHTTP2_ERR_NOMEM)
        return session_ended(client, why);
    strbuf_add(why, err_text(ERR_NO_MEMORY));
    return ERR_NO_MEMORY;
}

static int step(struct grpc_client *client, uint64_t deadline_ms, struct strbuf *why)
{
    size_t len;
    int rc = fill_unsent(client);

    if (rc != 0) {
        strbuf_add(why, err_text(rc));
        return rc;
    }
    if (client->is_broken || (client->unsent.len == 0 && nghttp2_session_want_read(client->session) == 0))
        return session_ended(client, why);
    rc = client_link_exchange(client->link, &client->unsent, client->in, sizeof client->in, &len, deadline_ms, why);
    if (rc == ERR_CLOSED && client->is_going_away) {
        strbuf_reset(why);
        return server_goes(why);
    }
    if (rc == ERR_CLOSED && why->len == 0)
        strbuf_add(why, "the server closed the connection");
    return rc == 0 && len > 0 ? feed(client, len, why) : rc;
}

/* ---- the end of a call ---- */

static int judge_reset(const struct grpc_client *client, struct strbuf *why)
{
    const struct call *call = &client->call;

    if (client->is_going_away)
        return server_goes(why);
    if (call->reset == NGHTTP2_REFUSED_STREAM) {
        strbuf_add(why, "the server takes no more calls on this connection; try again");
        return ERR_CLOSED;
    }
    strbuf_addf(why, "the server broke the call off: %s", nghttp2_http2_strerror(call->reset));
    return ERR_PROTOCOL;
}

static int judge(const struct grpc_client *client, struct grpc_reply *reply, struct strbuf *why)
{
    const struct call *call = &client->call;

    if (!call->grpc.has_status && call->reset != NGHTTP2_NO_ERROR)
        return judge_reset(client, why);
    if (client->body.has_failed) {
        strbuf_add(why, "the answer does not fit into memory");
        return ERR_NO_MEMORY;
    }
    return grpc_call_client_judge(&call->grpc, grow_buf_bytes(&client->body), reply, why);
}

static uint64_t deadline_of(const struct grpc_client *client)
{
    return client->timeout_ms == GRPC_CLIENT_NO_DEADLINE
               ? UINT64_MAX
               : clock_monotonic_ms() + client->timeout_ms + DEADLINE_GRACE_MS;
}

/** Make client->call, and wait until it is over. */
static int run_call(struct grpc_client *client, const char *path, struct strbuf *why)
{
    uint64_t deadline_ms = deadline_of(client);
    int rc;

    grow_buf_reset(&client->body);
    if ((rc = submit(client, path)) != 0)
        strbuf_add(why, rc == ERR_CLOSED ? "the server takes no more calls on this connection" : err_text(rc));
    while (rc == 0 && !client->call.is_over)
        rc = step(client, deadline_ms, why);
    return rc;
}

static void break_off(struct grpc_client *client)
{
    (void)nghttp2_submit_rst_stream(client->session, NGHTTP2_FLAG_NONE, client->call.stream, NGHTTP2_CANCEL);
}

int grpc_client_call(struct grpc_client *client, const char *path, grpc_message_fn next, void *context,
                     struct grpc_reply *reply_out, struct strbuf *why)
{
    CHECK_MAGIC(client, GRPC_CLIENT_MAGIC);
    client->call = (struct call){.stream = -1, .grpc = {.next = next, .context = context}};
    int rc = run_call(client, path, why);
    if (rc != 0)
        return rc;
    if (!client->call.grpc.is_sent) /* it answered without having wanted everything */
        break_off(client);
    return judge(client, reply_out, why);
}

int grpc_single_next(void *single, struct bytes *message_out)
{
    struct grpc_single *s = single;

    if (s->is_taken)
        return 0;
    s->is_taken = true;
    *message_out = s->message;
    return 1;
}

/** Whoever took the messages ended it. */
static int judge_taken(struct grpc_client *client, struct grpc_reply *reply, struct strbuf *why)
{
    int rc = client->call.take_result;

    break_off(client);
    *reply = (struct grpc_reply){.status = 0};
    if (rc < 0 && why->len == 0)
        strbuf_add(why, err_text(rc));
    return rc < 0 ? rc : 0;
}

int grpc_client_follow(struct grpc_client *client, const char *path, struct bytes message, grpc_take_fn take,
                       void *context, struct grpc_reply *reply_out, struct strbuf *why)
{
    struct grpc_single single = {.message = message};

    CHECK_MAGIC(client, GRPC_CLIENT_MAGIC);
    client->call = (struct call){.stream = -1,
                                 .grpc = {.next = grpc_single_next, .context = &single, .has_no_body = true},
                                 .take = take,
                                 .take_context = context};
    int rc = run_call(client, path, why);
    if (rc != 0)
        return rc;
    if (client->call.take_result != 0)
        return judge_taken(client, reply_out, why);
    return judge(client, reply_out, why);
}

/* ---- life ---- */

static int make_session(struct grpc_client *client)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES},
    };
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return ERR_NO_MEMORY;
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_before_frame_send_callback(callbacks, before_frame_send);
    int rc = nghttp2_session_client_new(&client->session, callbacks, client);
    nghttp2_session_callbacks_del(callbacks);
    if (rc != 0 ||
        nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof settings[0]) !=
            0 ||
        nghttp2_session_set_local_window_size(client->session, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES) != 0)
        return ERR_NO_MEMORY;
    return 0;
}

static void set_authority(struct grpc_client *client, const struct client_endpoint *endpoint)
{
    struct strbuf authority = STRBUF_OF(client->authority);

    client->scheme = endpoint->path != NULL ? "http" : "https";
    if (endpoint->path != NULL)
        strbuf_add(&authority, "localhost");
    else
        strbuf_addf(&authority, strchr(endpoint->host, ':') != NULL ? "[%s]:%s" : "%s:%s", endpoint->host,
                    endpoint->port);
}

int grpc_client_open(const struct client_endpoint *endpoint, uint32_t timeout_ms, struct grpc_client **out,
                     struct strbuf *why)
{
    struct grpc_client *client = calloc(1, sizeof *client);
    int rc;

    *out = NULL;
    if (client == NULL) {
        strbuf_add(why, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    client->magic = GRPC_CLIENT_MAGIC;
    client->timeout_ms = timeout_ms;
    set_authority(client, endpoint);
    if ((rc = make_session(client)) != 0)
        strbuf_add(why, err_text(rc));
    else
        rc = client_link_open(endpoint,
                              clock_monotonic_ms() + (timeout_ms < CONNECT_MAX_MS ? timeout_ms : CONNECT_MAX_MS),
                              &client->link, why);
    if (rc != 0)
        grpc_client_close(&client);
    *out = client;
    return rc;
}

void grpc_client_close(struct grpc_client **client)
{
    struct grpc_client *c = *client;

    if (c == NULL)
        return;
    CHECK_MAGIC(c, GRPC_CLIENT_MAGIC);
    nghttp2_session_del(c->session); /* accepts NULL; may still call back with the stream that it closes */
    client_link_close(&c->link);
    grow_buf_fini(&c->body);
    free(c);
    *client = NULL;
}

const char *grpc_client_version_text(void)
{
    return nghttp2_version(0)->version_str;
}
