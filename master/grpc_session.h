#ifndef GRPC_SESSION_H
#define GRPC_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"
#include "grpc_limits.h"
#include "grpc_memory.h"

/*
 * The calls of one connection: HTTP/2 bytes in and out, methods called in between. Knows no socket and no event loop, and the clock
 * is the caller's, so that all of it can be tested and fuzzed as it is.
 */
struct grpc_session;
struct grpc_method;

#define GRPC_NEVER UINT64_MAX

/** What all sessions of a server share; outlives them. */
struct grpc_shared {
    const struct grpc_method *methods;
    void *service;
    struct grpc_limits limits;
    struct grpc_memory requests;
    struct grpc_memory answers;
    uint64_t calls; /* since the start */
    unsigned open_calls;
};

void grpc_shared_init(struct grpc_shared *shared, const struct grpc_limits *limits, const struct grpc_method *methods,
                      void *service);

/**
 * @param peer    for logs; borrowed, lives as long as the session
 * @param on_wake a method has something to send outside of the functions below: grpc_session_produce() is due. Must not call back
 * @return NULL without memory
 */
struct grpc_session *grpc_session_new(struct grpc_shared *shared, bool is_local, const char *peer,
                                      void (*on_wake)(void *context), void *context, uint64_t now_ms);

/** Every call that is still there ends with on_gone. Accepts NULL; clears the caller's pointer. */
void grpc_session_free(struct grpc_session **session);

/** As h2_conn_receive() and h2_conn_produce(). */
int grpc_session_receive(struct grpc_session *session, struct bytes in, uint64_t now_ms) MUST_CHECK;
int grpc_session_produce(struct grpc_session *session, uint8_t *out, size_t capacity, size_t *len_out,
                         uint64_t now_ms) MUST_CHECK;

/** End what has run out of time. */
void grpc_session_tick(struct grpc_session *session, uint64_t now_ms);
/** When grpc_session_tick() has something to do; GRPC_NEVER. */
uint64_t grpc_session_due_ms(const struct grpc_session *session);

bool grpc_session_wants_write(const struct grpc_session *session);
bool grpc_session_is_over(const struct grpc_session *session);
/** As the questions of h2_conn.h. */
bool grpc_session_is_established(const struct grpc_session *session);
bool grpc_session_is_in_headers(const struct grpc_session *session);
/** Which budget was exceeded, static; NULL: none. */
const char *grpc_session_abuse(const struct grpc_session *session);
unsigned grpc_session_calls(const struct grpc_session *session);
/** No new calls; those under way may finish. */
void grpc_session_say_goodbye(struct grpc_session *session);

#endif
