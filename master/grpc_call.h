#ifndef GRPC_CALL_H
#define GRPC_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"
#include "grpc_frame.h"
#include "grpc_memory.h"
#include "grpc_server.h"

/*
 * One RPC, as the files of the transport see it: grpc_request.c reads (headers, messages), grpc_answer.c writes (messages, status),
 * grpc_call.c joins the two and keeps the time.
 *
 *     open --finish, deadline--> finished --trailers sent, reset--> closed (freed)
 *          --reset by the client-------------------------------->
 */

struct grpc_session;

#define GRPC_CALL_MAGIC         0x6c6c4363u
#define GRPC_PATH_SHOWN         96   /* of a method that we do not have */
#define GRPC_STATUS_MESSAGE_MAX 1024 /* bytes before they are encoded */

/** A message of the answer, behind its prefix. */
struct grpc_out {
    struct grpc_out *next;
    size_t len; /* of data */
    uint8_t data[];
};

/** What the request's headers said. */
struct grpc_request_headers {
    size_t bytes; /* as GRPC_HEADERS_MAX counts them */
    bool is_post;
    bool is_grpc;
    bool has_encoding; /* other than identity */
    bool has_timeout;
    bool is_timeout_bad;
    int64_t timeout_ns;
    char path[GRPC_PATH_SHOWN]; /* cut */
};

/** The message that is being read. */
struct grpc_request_message {
    uint8_t prefix[GRPC_PREFIX_BYTES];
    uint8_t prefix_have;
    bool is_whole; /* a unary call's, kept until the client has finished its side */
    uint8_t *data;
    size_t capacity; /* of data; taken from the shared budget */
    size_t len;
    size_t wanted;
};

struct grpc_call {
    uint32_t magic;
    int32_t stream;
    struct grpc_session *session;
    struct grpc_call *next, *prev;    /* of the session's */
    const struct grpc_method *method; /* NULL: none that would have to be told of the end */
    void *state;
    struct grpc_request_headers headers;
    struct grpc_request_message request;
    uint64_t request_total; /* bytes of all messages */
    uint64_t deadline_ms;   /* the client's; GRPC_NEVER: none */
    uint64_t
        request_due_ms;   /* the next message, or the end of the request, is here by then; GRPC_NEVER: it is complete */
    bool is_request_over; /* the client has finished its side */
    bool is_answered;     /* response headers were handed over */
    bool is_finished;     /* status is known */
    bool is_gone;         /* the method knows that it is over */
    /* the answer */
    struct grpc_out *making; /* by grpc_call_make_message() */
    struct grpc_out *first, **last_next;
    size_t first_sent; /* bytes of the first one that are gone */
    size_t queued;
    uint64_t progress_ms; /* when the client last took a good part of what is queued, or the queue began; 0: just now */
    size_t progress_bytes;
    enum grpc_status status;
    char *status_message; /* percent-encoded; NULL: none */
};

static inline struct grpc_call *grpc_call_check(void *object)
{
    struct grpc_call *call = object;

    CHECK_MAGIC(call, GRPC_CALL_MAGIC);
    return call;
}

/* ---- grpc_call.c ---- */

/** NULL without memory. */
struct grpc_call *grpc_call_new(struct grpc_session *session, int32_t stream);
/** on_gone if it was not called yet, then everything is freed. */
void grpc_call_free(struct grpc_call *call);
/** Tell the method that it is over; the transport still keeps the call. */
void grpc_call_be_gone(struct grpc_call *call);
/** When grpc_call_tick() has something to do. */
uint64_t grpc_call_due_ms(const struct grpc_call *call);
void grpc_call_tick(struct grpc_call *call, uint64_t now_ms);

/* ---- grpc_request.c: handlers of h2_events ---- */

void grpc_request_on_header(void *stream, struct bytes name, struct bytes value);
void grpc_request_on_headers_end(void *stream);
void grpc_request_on_data(void *stream, struct bytes data);
void grpc_request_on_end(void *stream);
/** Give back what is held of the request. */
void grpc_request_drop(struct grpc_call *call);

/* ---- grpc_answer.c ---- */

size_t grpc_answer_on_send(void *stream, uint8_t *out, size_t capacity, bool *is_last);
/** Answer with a plain HTTP status and no gRPC at all: the peer does not speak it. */
void grpc_answer_with_http(struct grpc_call *call, const char *status);
/** Give back what the client has not taken yet. */
void grpc_answer_drop(struct grpc_call *call);

#endif
