/* One RPC: what joins request and answer, and every way in which time runs out. */

#include "grpc_call.h"

#include <stdlib.h>

#include "grpc_limits.h"
#include "grpc_session_internal.h"
#include "h2_conn.h"

struct grpc_call *grpc_call_new(struct grpc_session *session, int32_t stream)
{
    struct grpc_call *call = calloc(1, sizeof *call);

    if (call == NULL)
        return NULL;
    call->magic = GRPC_CALL_MAGIC;
    call->session = session;
    call->stream = stream;
    call->deadline_ms = GRPC_NEVER;
    call->request_due_ms = session->now_ms + session->shared->limits.request_ms;
    call->last_next = &call->first;
    return call;
}

void grpc_call_be_gone(struct grpc_call *call)
{
    if (call->is_gone)
        return;
    call->is_gone = true;
    if (call->method != NULL && call->method->on_gone != NULL)
        call->method->on_gone(call);
}

void grpc_call_free(struct grpc_call *call)
{
    grpc_call_be_gone(call);
    grpc_request_drop(call);
    grpc_answer_drop(call);
    free(call->status_message);
    call->magic = 0;
    free(call);
}

/* ---- time ---- */

/** A method may queue at any time, when nobody knows what time it is: then the clock starts with the next look at it. */
static uint64_t stall_due_ms(const struct grpc_call *call)
{
    if (call->queued == 0)
        return GRPC_NEVER;
    return call->progress_ms == 0 ? 0 : call->progress_ms + call->session->shared->limits.stall_ms;
}

uint64_t grpc_call_due_ms(const struct grpc_call *call)
{
    uint64_t due = stall_due_ms(call);

    if (call->is_finished)
        return due;
    due = call->deadline_ms < due ? call->deadline_ms : due;
    return call->request_due_ms < due ? call->request_due_ms : due;
}

/** The client will not take what is queued: it is forgotten, and so is the stream. */
static void give_up(struct grpc_call *call)
{
    call->is_finished = true;
    grpc_request_drop(call);
    grpc_answer_drop(call);
    h2_conn_cancel(call->session->h2, call->stream);
    grpc_call_be_gone(call);
}

/** What is queued would only delay the news. A message of which a part is gone already cannot be taken back, though. */
static void expire(struct grpc_call *call, const char *message)
{
    if (call->first_sent > 0) {
        give_up(call);
        return;
    }
    grpc_request_drop(call);
    grpc_answer_drop(call);
    grpc_call_finish(call, GRPC_DEADLINE_EXCEEDED, message);
    grpc_call_be_gone(call);
}

void grpc_call_tick(struct grpc_call *call, uint64_t now_ms)
{
    if (call->queued > 0 && call->progress_ms == 0)
        call->progress_ms = now_ms;
    if (!call->is_finished && call->deadline_ms <= now_ms)
        expire(call, "deadline exceeded");
    else if (!call->is_finished && call->request_due_ms <= now_ms)
        expire(call, "the rest of the request did not come in time");
    else if (stall_due_ms(call) <= now_ms)
        give_up(call);
}

/* ---- what methods ask ---- */

void *grpc_call_service(const struct grpc_call *call)
{
    return call->session->shared->service;
}

void *grpc_call_state(const struct grpc_call *call)
{
    return call->state;
}

void grpc_call_set_state(struct grpc_call *call, void *state)
{
    call->state = state;
}

bool grpc_call_is_local(const struct grpc_call *call)
{
    return call->session->is_local;
}

const char *grpc_call_peer(const struct grpc_call *call)
{
    return call->session->peer;
}

bool grpc_call_is_open(const struct grpc_call *call)
{
    return !call->is_finished && !call->is_gone;
}

size_t grpc_call_queued_bytes(const struct grpc_call *call)
{
    return call->queued;
}
