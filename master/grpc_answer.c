/* The server's side of a call: messages queued behind their prefixes, then the status as trailers. */

#include <stdlib.h>
#include <string.h>

#include "grpc_call.h"
#include "grpc_session_internal.h"
#include "grpc_text.h"
#include "h2_conn.h"

#define PROGRESS_BYTES  16384 /* who takes less than that in limits.stall_ms takes nothing */
#define STATUS_TEXT_MAX 12
#define ENCODED_MAX     (GRPC_STATUS_MESSAGE_MAX * 3 + 1)
#define RESPONSE_STATUS  \
    {                    \
        ":status", "200" \
    }
#define RESPONSE_TYPE                      \
    {                                      \
        "content-type", "application/grpc" \
    }
#define RESPONSE_ENCODINGS                 \
    {                                      \
        "grpc-accept-encoding", "identity" \
    }

/* ---- messages ---- */

uint8_t *grpc_call_make_message(struct grpc_call *call, size_t len)
{
    struct grpc_session *s = call->session;

    CHECK(call->making == NULL);
    if (len > UINT32_MAX || !grpc_memory_take(&s->shared->answers, s->is_local, len + GRPC_PREFIX_BYTES))
        return NULL;
    struct grpc_out *out = malloc(sizeof *out + GRPC_PREFIX_BYTES + len);
    if (out == NULL) {
        grpc_memory_give(&s->shared->answers, len + GRPC_PREFIX_BYTES);
        return NULL;
    }
    *out = (struct grpc_out){.len = len + GRPC_PREFIX_BYTES};
    grpc_frame_write(out->data, (uint32_t)len);
    call->making = out;
    return out->data + GRPC_PREFIX_BYTES;
}

static void free_out(struct grpc_call *call, struct grpc_out *out)
{
    grpc_memory_give(&call->session->shared->answers, out->len);
    free(out);
}

static void drop_making(struct grpc_call *call)
{
    if (call->making != NULL)
        free_out(call, call->making);
    call->making = NULL;
}

static void drop_first(struct grpc_call *call)
{
    struct grpc_out *out = call->first;

    call->first = out->next;
    if (call->first == NULL)
        call->last_next = &call->first;
    call->first_sent = 0;
    free_out(call, out);
}

void grpc_answer_drop(struct grpc_call *call)
{
    drop_making(call);
    while (call->first != NULL)
        drop_first(call);
    call->queued = 0;
}

/** Begin the answer, or go on with it. */
static void push(struct grpc_call *call)
{
    static const struct h2_header headers[] = {RESPONSE_STATUS, RESPONSE_TYPE, RESPONSE_ENCODINGS};

    if (call->is_answered)
        h2_conn_resume(call->session->h2, call->stream);
    else
        h2_conn_respond(call->session->h2, call->stream, headers, sizeof headers / sizeof headers[0], true);
    call->is_answered = true;
    grpc_session_wake(call->session);
}

void grpc_call_send_message(struct grpc_call *call)
{
    struct grpc_out *out = call->making;

    CHECK(out != NULL);
    if (!grpc_call_is_open(call)) {
        drop_making(call);
        return;
    }
    call->making = NULL;
    if (call->queued == 0) {
        call->progress_ms = 0;
        call->progress_bytes = 0;
    }
    *call->last_next = out;
    call->last_next = &out->next;
    call->queued += out->len;
    push(call);
}

/* ---- status ---- */

/** Encoded now, as the text is the caller's. Without memory the status has to do by itself. */
static void keep_message(struct grpc_call *call, const char *message)
{
    char data[ENCODED_MAX];
    struct strbuf encoded = STRBUF_OF(data);

    if (message == NULL || message[0] == '\0')
        return;
    grpc_percent_encode(grpc_text_cut(bytes_of_str(message), GRPC_STATUS_MESSAGE_MAX), &encoded);
    call->status_message = strdup(data);
}

/** grpc-status and, if there is one, grpc-message. */
static size_t status_headers(const struct grpc_call *call, char text[STATUS_TEXT_MAX], struct h2_header out[2])
{
    struct strbuf number = strbuf_init(text, STATUS_TEXT_MAX);

    strbuf_addf(&number, "%d", (int)call->status);
    out[0] = (struct h2_header){"grpc-status", text};
    out[1] = (struct h2_header){"grpc-message", call->status_message};
    return call->status_message != NULL ? 2 : 1;
}

/** "Trailers-Only": no message was sent, so headers and trailers are one. */
static void respond_with_status(struct grpc_call *call)
{
    struct h2_header headers[5] = {RESPONSE_STATUS, RESPONSE_TYPE, RESPONSE_ENCODINGS};
    char text[STATUS_TEXT_MAX];
    size_t count = 3 + status_headers(call, text, headers + 3);

    call->is_answered = true;
    h2_conn_respond(call->session->h2, call->stream, headers, count, false);
    grpc_session_wake(call->session);
}

void grpc_call_finish(struct grpc_call *call, enum grpc_status status, const char *message)
{
    if (!grpc_call_is_open(call))
        return;
    drop_making(call);
    keep_message(call, message);
    call->status = status;
    call->is_finished = true;
    if (call->is_answered)
        push(call);
    else
        respond_with_status(call);
}

void grpc_answer_with_http(struct grpc_call *call, const char *status)
{
    const struct h2_header headers[] = {{":status", status}, {"allow", "POST"}};
    size_t count = strcmp(status, "405") == 0 ? 2 : 1;

    call->is_finished = true;
    call->is_answered = true;
    h2_conn_respond(call->session->h2, call->stream, headers, count, false);
    grpc_session_wake(call->session);
}

/* ---- to the client ---- */

static void note_progress(struct grpc_call *call, size_t len)
{
    call->queued -= len;
    call->progress_bytes += len;
    if (call->progress_bytes >= PROGRESS_BYTES) {
        call->progress_ms = call->session->now_ms;
        call->progress_bytes = 0;
    }
}

static size_t copy_queued(struct grpc_call *call, uint8_t *out, size_t capacity)
{
    size_t len = 0;

    while (call->first != NULL && len < capacity) {
        size_t left = call->first->len - call->first_sent, part = left < capacity - len ? left : capacity - len;
        memcpy(out + len, call->first->data + call->first_sent, part);
        call->first_sent += part;
        len += part;
        if (call->first_sent == call->first->len)
            drop_first(call);
    }
    note_progress(call, len);
    return len;
}

size_t grpc_answer_on_send(void *stream, uint8_t *out, size_t capacity, bool *is_last)
{
    struct grpc_call *call = grpc_call_check(stream);
    size_t len = copy_queued(call, out, capacity);

    if (call->first == NULL && call->is_finished) {
        struct h2_header trailers[2];
        char text[STATUS_TEXT_MAX];
        h2_conn_trailers(call->session->h2, call->stream, trailers, status_headers(call, text, trailers));
        *is_last = true;
    }
    return len;
}
