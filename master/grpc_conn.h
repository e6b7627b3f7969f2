#ifndef GRPC_CONN_H
#define GRPC_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "check.h"

/*
 * A connection of the admin API: a socket, perhaps TLS, and a session, on libev. Every state has a time limit, and the work of one
 * wakeup is bounded.
 *
 *     open --goodbye, TLS goodbye--> lingering (reads and forgets) --> freed
 *          --nothing left to say, socket broken------------------->
 */
struct grpc_conn;
struct grpc_shared;
struct admin_tls_context;
struct ev_loop;

enum grpc_conn_end {
    GRPC_END_DONE,      /* closed by the client, or after our goodbye */
    GRPC_END_HANDSHAKE, /* TLS failed: detail says why */
    GRPC_END_TIMEOUT,   /* no handshake, or nothing written, in time; detail says which */
    GRPC_END_PROTOCOL,  /* no HTTP/2 */
    GRPC_END_ABUSE,     /* over a budget: detail says which */
    GRPC_END_REFUSED,   /* gave its place to another */
    GRPC_END_NO_MEMORY,
};

struct grpc_conn_options {
    struct ev_loop *loop;
    struct grpc_shared *shared;
    struct admin_tls_context *tls; /* NULL: none. Only used during grpc_conn_new() */
    bool is_local;
    struct ip_endpoint peer; /* not is_local */
    uint64_t owner_id;       /* the caller's, see grpc_conn_owner_id() */
    /**
     * Over: grpc_conn_free() it now. Called for every end but a grpc_conn_free() by the caller's own decision.
     */
    void (*on_end)(void *context, struct grpc_conn *conn, enum grpc_conn_end end, const char *detail);
    void *context;
};

/** Takes fd, non-blocking, even on failure. @return NULL without memory */
struct grpc_conn *grpc_conn_new(int fd, const struct grpc_conn_options *options) MUST_CHECK;

/** Closes at once; calls end with on_gone. Accepts NULL; clears the caller's pointer. */
void grpc_conn_free(struct grpc_conn **conn);

/** No new calls; those under way may finish within limits.farewell_ms. */
void grpc_conn_say_goodbye(struct grpc_conn *conn);

/** End it now in favour of somebody else: on_end is called before this returns. */
void grpc_conn_give_way(struct grpc_conn *conn);

uint64_t grpc_conn_owner_id(const struct grpc_conn *conn);
bool grpc_conn_is_local(const struct grpc_conn *conn);
/** Has the client shown that it speaks HTTP/2 (and its certificate)? */
bool grpc_conn_is_established(const struct grpc_conn *conn);
unsigned grpc_conn_calls(const struct grpc_conn *conn);
/** Monotonic: accepted; last byte from the client. */
uint64_t grpc_conn_opened_ms(const struct grpc_conn *conn);
uint64_t grpc_conn_active_ms(const struct grpc_conn *conn);
/** "unix", or the peer's address. */
const char *grpc_conn_peer(const struct grpc_conn *conn);
/** Bytes held for the peer by the connection itself. */
uint64_t grpc_conn_buffered_bytes(const struct grpc_conn *conn);

#endif
