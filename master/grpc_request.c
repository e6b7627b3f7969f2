/* The client's side of a call: header fields, then messages behind their prefixes, cut anywhere. */

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "grpc_call.h"
#include "grpc_limits.h"
#include "grpc_session_internal.h"
#include "grpc_text.h"

#define HEADER_OVERHEAD   32   /* RFC 9113 6.5.2 */
#define BUFFER_FIRST_SIZE 4096 /* a declared length is only a promise: memory follows the bytes that really come */

/* ---- header fields ---- */

static void take_method(struct grpc_call *call, struct bytes value)
{
    call->headers.is_post = bytes_equal_str(value, "POST");
}

static void take_path(struct grpc_call *call, struct bytes value)
{
    size_t len = value.len < GRPC_PATH_SHOWN ? value.len : GRPC_PATH_SHOWN - 1;

    memcpy(call->headers.path, value.ptr, len);
    call->headers.path[len] = '\0';
    for (const struct grpc_method *m = call->session->shared->methods; m->path != NULL; m++) {
        if (bytes_equal_str(value, m->path))
            call->method = m;
    }
}

static void take_content_type(struct grpc_call *call, struct bytes value)
{
    call->headers.is_grpc = grpc_content_type_is_ours(value);
}

static void take_encoding(struct grpc_call *call, struct bytes value)
{
    call->headers.has_encoding = !bytes_equal_str(value, "identity");
}

static void take_timeout(struct grpc_call *call, struct bytes value)
{
    call->headers.has_timeout = true;
    call->headers.is_timeout_bad = grpc_timeout_parse(value, &call->headers.timeout_ns) != 0;
}

struct header_row {
    const char *name;
    void (*take)(struct grpc_call *call, struct bytes value);
};

/* "te: trailers" would have to be there, but nothing depends on it. */
static const struct header_row header_rows[] = {
    {":method", take_method},         {":path", take_path},           {"content-type", take_content_type},
    {"grpc-encoding", take_encoding}, {"grpc-timeout", take_timeout},
};

void grpc_request_on_header(void *stream, struct bytes name, struct bytes value)
{
    struct grpc_call *call = grpc_call_check(stream);

    call->headers.bytes += name.len + value.len + HEADER_OVERHEAD;
    for (size_t i = 0; i < sizeof header_rows / sizeof header_rows[0]; i++) {
        if (bytes_equal_str(name, header_rows[i].name))
            header_rows[i].take(call, value);
    }
}

/* ---- from headers to a method ---- */

/** A call that is not run is none of its method's business. */
static void refuse(struct grpc_call *call, enum grpc_status status, const char *message)
{
    call->method = NULL;
    grpc_call_finish(call, status, message);
}

static void refuse_unknown_method(struct grpc_call *call)
{
    char text[GRPC_PATH_SHOWN + 32];
    struct strbuf message = STRBUF_OF(text);

    strbuf_addf(&message, "unknown method %s", call->headers.path);
    refuse(call, GRPC_UNIMPLEMENTED, text);
}

static void refuse_http(struct grpc_call *call, const char *status)
{
    call->method = NULL;
    grpc_answer_with_http(call, status);
}

/** Rounded up, so that a call never ends before its time. */
static uint64_t deadline_of(const struct grpc_call *call)
{
    return call->session->now_ms + ((uint64_t)call->headers.timeout_ns + 999999) / 1000000;
}

static void start_call(struct grpc_call *call)
{
    const struct grpc_request_headers *h = &call->headers;

    if (h->has_timeout)
        call->deadline_ms = deadline_of(call);
    call->session->shared->calls++;
}

void grpc_request_on_headers_end(void *stream)
{
    struct grpc_call *call = grpc_call_check(stream);
    const struct grpc_request_headers *h = &call->headers;

    if (h->bytes > GRPC_HEADERS_MAX)
        refuse(call, GRPC_RESOURCE_EXHAUSTED, "the request's headers have more than 65536 bytes");
    else if (!h->is_post)
        refuse_http(call, "405");
    else if (!h->is_grpc)
        refuse_http(call, "415");
    else if (call->method == NULL)
        refuse_unknown_method(call);
    else if (h->has_encoding)
        refuse(call, GRPC_UNIMPLEMENTED, "grpc-encoding: compression is not supported, only identity");
    else if (h->is_timeout_bad)
        refuse(call, GRPC_INVALID_ARGUMENT, "grpc-timeout: expected 1 to 8 digits and a unit, one of H M S m u n");
    else if (h->has_timeout && h->timeout_ns == 0)
        refuse(call, GRPC_DEADLINE_EXCEEDED, "deadline exceeded");
    else
        start_call(call);
}

/* ---- messages ---- */

void grpc_request_drop(struct grpc_call *call)
{
    struct grpc_request_message *m = &call->request;

    grpc_memory_give(&call->session->shared->requests, m->capacity);
    free(m->data);
    *m = (struct grpc_request_message){0};
}

/** Room for len bytes, doubling from what is there, never more than the message wants. */
static int grow(struct grpc_call *call, size_t len)
{
    struct grpc_request_message *m = &call->request;
    struct grpc_memory *memory = &call->session->shared->requests;
    size_t capacity = m->capacity > 0 ? m->capacity * 2 : BUFFER_FIRST_SIZE;

    if (len <= m->capacity)
        return 0;
    capacity = capacity < len ? len : capacity;
    capacity = capacity > m->wanted ? m->wanted : capacity;
    if (!grpc_memory_take(memory, call->session->is_local, capacity - m->capacity))
        return ERR_FULL;
    uint8_t *data = realloc(m->data, capacity);
    if (data == NULL) {
        grpc_memory_give(memory, capacity - m->capacity);
        return ERR_NO_MEMORY;
    }
    m->data = data;
    m->capacity = capacity;
    return 0;
}

/** What a prefix announces is decided here, before a byte of memory is spent on it. */
static void begin_message(struct grpc_call *call, const struct grpc_prefix *prefix)
{
    struct grpc_request_message *m = &call->request;

    if (prefix->is_compressed) /* an encoding other than identity was refused with the headers */
        grpc_call_finish(call, GRPC_INTERNAL, "a message has the compressed flag, but there is no grpc-encoding");
    else if (prefix->len > GRPC_MESSAGE_MAX)
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "a message of the request has more than 4194304 bytes");
    else if (call->request_total + prefix->len > GRPC_CALL_BYTES_MAX)
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "the call's messages have more than 67108864 bytes");
    m->wanted = prefix->len;
    m->len = 0;
    call->request_total += prefix->len;
}

static void take_prefix(struct grpc_call *call, struct reader *r)
{
    struct grpc_request_message *m = &call->request;
    struct grpc_prefix prefix;

    while (m->prefix_have < GRPC_PREFIX_BYTES && r->left > 0)
        m->prefix[m->prefix_have++] = reader_u8(r);
    switch (grpc_frame_parse(bytes_of(m->prefix, m->prefix_have), &prefix)) {
    case GRPC_FRAME_OK: begin_message(call, &prefix); break;
    case GRPC_FRAME_MORE: break;
    case GRPC_FRAME_BAD: grpc_call_finish(call, GRPC_INTERNAL, "a message's compressed flag is neither 0 nor 1"); break;
    }
}

static void take_body(struct grpc_call *call, struct reader *r)
{
    struct grpc_request_message *m = &call->request;
    size_t missing = m->wanted - m->len, len = missing < r->left ? missing : r->left;
    int rc = grow(call, m->len + len);

    if (rc != 0) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED,
                         rc == ERR_FULL ? "too many bytes of requests are on their way" : "out of memory");
        return;
    }
    struct bytes part = reader_slice(r, len);
    if (part.len > 0)
        memcpy(m->data + m->len, part.ptr, part.len);
    m->len += part.len;
}

static void deliver(struct grpc_call *call)
{
    struct grpc_request_message *m = &call->request;

    m->prefix_have = 0;
    m->is_whole = false;
    call->method->on_message(call, bytes_of(m->data, m->len));
}

/** A client-streaming call hands on at once, and waits for the next; any other has all that it may have. */
static void end_message(struct grpc_call *call)
{
    struct grpc_request_message *m = &call->request;

    call->request_due_ms = call->session->now_ms + call->session->shared->limits.request_ms;
    m->is_whole = true;
    if (call->method->is_client_streaming)
        deliver(call);
}

void grpc_request_on_data(void *stream, struct bytes data)
{
    struct grpc_call *call = grpc_call_check(stream);
    struct grpc_request_message *m = &call->request;
    struct reader r = reader_of(data);

    while (r.left > 0 && grpc_call_is_open(call)) {
        if (m->is_whole) {
            grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "the method takes one message, and more came");
            break;
        }
        if (m->prefix_have < GRPC_PREFIX_BYTES)
            take_prefix(call, &r);
        if (m->prefix_have == GRPC_PREFIX_BYTES && grpc_call_is_open(call))
            take_body(call, &r);
        if (m->prefix_have == GRPC_PREFIX_BYTES && grpc_call_is_open(call) && m->len == m->wanted)
            end_message(call);
    }
    if (!grpc_call_is_open(call)) /* the rest is of no use to anybody */
        grpc_request_drop(call);
}

void grpc_request_on_end(void *stream)
{
    struct grpc_call *call = grpc_call_check(stream);
    struct grpc_request_message *m = &call->request;

    call->is_request_over = true;
    call->request_due_ms = GRPC_NEVER;
    if (!grpc_call_is_open(call))
        return;
    if (m->prefix_have > 0 && !m->is_whole)
        grpc_call_finish(call, GRPC_INTERNAL, "the request ends in the middle of a message");
    else if (m->is_whole)
        deliver(call);
    else if (!call->method->is_client_streaming)
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "the method takes one message, and none came");
    grpc_request_drop(call);
    if (grpc_call_is_open(call) && call->method->on_end != NULL)
        call->method->on_end(call);
}
