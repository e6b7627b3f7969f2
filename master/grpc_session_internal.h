#ifndef GRPC_SESSION_INTERNAL_H
#define GRPC_SESSION_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "grpc_session.h"

/* What the calls of a session need of it. */

struct grpc_call;
struct h2_conn;

struct grpc_session {
    uint32_t magic;
    struct grpc_shared *shared;
    struct h2_conn *h2;
    bool is_local;
    bool is_inside; /* one of our functions is on the stack: no need to wake anybody */
    const char *peer;
    void (*on_wake)(void *context);
    void *context;
    uint64_t now_ms; /* of the call from outside */
    struct grpc_call *calls;
    unsigned call_count;
};

/** The HTTP/2 session has something to send. */
void grpc_session_wake(struct grpc_session *session);

#endif
