#ifndef GRPC_SERVER_H
#define GRPC_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"
#include "strbuf.h"

struct config;
struct ev_loop;

/*
 * A gRPC server (protocol text: "gRPC over HTTP2", PROTOCOL-HTTP2.md) for Unix sockets and TLS, on libev. What a method does is not
 * known here; it sees whole messages and answers with whole messages. Peers are not trusted: every limit of the contract is kept
 * here, and all memory that a peer can make us use is bounded.
 *
 *     bytes -> admin_tls -> h2 session (nghttp2, budgets) -> grpc_call (headers, length-prefixed messages, deadline) -> method
 *
 * Everything runs in the loop's thread; methods answer from within their callbacks or later.
 */
struct grpc_server;
struct grpc_call; /* one RPC; valid until its on_gone has returned */

/** The status codes of gRPC. */
enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

/** A method. Callbacks are called in this order: on_message any number of times, on_end once, on_gone once and in every case. */
struct grpc_method {
    const char *path; /* "/package.Service/Method"; NULL ends a table */
    /* The client may send any number of messages, each handed on as it comes. Otherwise exactly one: with none or two the call ends
     * INVALID_ARGUMENT by itself, and on_message is called when the client has finished its side. */
    bool is_client_streaming;
    void (*on_message)(struct grpc_call *call, struct bytes message); /* borrowed until it returns */
    void (*on_end)(struct grpc_call *call); /* the client has finished its side; may be NULL */
    void (*on_gone)(
        struct grpc_call *call); /* over, for whatever reason: free what grpc_call_set_state() was given; may be NULL */
};

/** What was handed to grpc_server_new(). */
void *grpc_call_service(const struct grpc_call *call);
/** The method's own, NULL at first. */
void *grpc_call_state(const struct grpc_call *call);
void grpc_call_set_state(struct grpc_call *call, void *state);
/** Did the call come over a Unix socket? */
bool grpc_call_is_local(const struct grpc_call *call);
/** For the log: "unix", or the peer's address. Static or living as long as the call. */
const char *grpc_call_peer(const struct grpc_call *call);
/** False once the call is finished, cancelled or past its deadline: whatever is sent is dropped. */
bool grpc_call_is_open(const struct grpc_call *call);

/**
 * Room for one message of the answer. Fill it, then grpc_call_send_message(); at most one at a time per call. NULL: it is more
 * than all answers together may take now; finish with RESOURCE_EXHAUSTED.
 */
uint8_t *grpc_call_make_message(struct grpc_call *call, size_t len) MUST_CHECK;
/** Queue it. */
void grpc_call_send_message(struct grpc_call *call);
/** Bytes of this call's messages that the client has not taken yet; a stream that produces by itself waits while it is high. */
size_t grpc_call_queued_bytes(const struct grpc_call *call);

/** The call's status; what was queued goes first. The message is any UTF-8 text, may be NULL. Nothing may be sent afterwards. */
void grpc_call_finish(struct grpc_call *call, enum grpc_status status, const char *message);

/**
 * @param methods  a table ended by a NULL path; borrowed, stays
 * @param service  for grpc_call_service()
 * @return 0 or ERR_NO_MEMORY
 */
int grpc_server_new(struct ev_loop *loop, const struct grpc_method *methods, void *service,
                    struct grpc_server **out) MUST_CHECK;

/** Closes everything at once and removes the Unix sockets that are still its own. Accepts NULL; clears the caller's pointer. */
void grpc_server_free(struct grpc_server **server);

/*
 * The addresses and certificates of a configuration, in two halves, so that a reload changes all or nothing: prepare binds what is
 * new and reads the certificates; commit begins to serve there, gives up the addresses that the configuration no longer has
 * (open connections stay until they end, at most 30 s), and uses the new certificates for new connections.
 *
 * A Unix socket is bound under another name and renamed to its own at the commit, so that there is never a moment without one; a
 * socket file on which somebody still accepts connections is left alone: ERR_IN_USE.
 */
struct grpc_endpoints;

/** @param why  on error gets a line that names the address or the file. @return 0; ERR_IN_USE, ERR_INVALID, ERR_SYSTEM, ERR_NO_MEMORY */
int grpc_server_prepare(struct grpc_server *server, const struct config *config, struct grpc_endpoints **out,
                        struct strbuf *why) MUST_CHECK;
void grpc_server_commit(struct grpc_server *server, struct grpc_endpoints **prepared);
/** Accepts NULL in *prepared, clears it. */
void grpc_server_abort(struct grpc_endpoints **prepared);

/** The end is near: every connection gets GOAWAY, calls under way may finish. Several ms later grpc_server_free(). */
void grpc_server_say_goodbye(struct grpc_server *server);

/** Counters since the start, for the metrics and for tests. */
struct grpc_server_counts {
    uint64_t connections; /* accepted */
    unsigned open_connections;
    uint64_t connections_refused; /* over the limit */
    uint64_t connections_abused;  /* ended for exceeding a budget */
    uint64_t calls;
    uint64_t buffered_bytes; /* held for all peers at the moment */
};
struct grpc_server_counts grpc_server_counts(const struct grpc_server *server);

/** One line of key=value, without its end. */
void grpc_server_dump(const struct grpc_server *server, struct strbuf *out);

#endif
