#ifndef GRPC_CLIENT_H
#define GRPC_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"
#include "strbuf.h"

struct client_endpoint;

/*
 * A small blocking gRPC client ("gRPC over HTTP2") for the command line: one connection, one call at a time, unary or with a stream
 * of messages from one side.
 */
struct grpc_client;

#define GRPC_CLIENT_NO_DEADLINE UINT32_MAX

/**
 * @param timeout_ms  for each call, and for connecting if less than 10 s; GRPC_CLIENT_NO_DEADLINE: calls go on as long as they do
 * @param why         on error gets one line that names the endpoint and says what to do
 * @return 0 or an error of client_link_open()
 */
int grpc_client_open(const struct client_endpoint *endpoint, uint32_t timeout_ms, struct grpc_client **out,
                     struct strbuf *why) MUST_CHECK;

/**
 * Where a call's messages come from: 1 with a message, borrowed until it is asked again; 0 after the last one; an error of err.h
 * (negative) if there should be more but cannot: the call is then broken off, so that the server does not take a part for all.
 */
typedef int (*grpc_message_fn)(void *context, struct bytes *message_out);

/** A stream of one message; a grpc_message_fn's context. */
struct grpc_single {
    struct bytes message; /* borrowed */
    bool is_taken;
};
int grpc_single_next(void *single, struct bytes *message_out);

#define GRPC_CLIENT_MESSAGE_MAX 4096

/** How a call ended, if the server has said so. */
struct grpc_reply {
    unsigned status;                       /* of gRPC; 0: OK */
    char message[GRPC_CLIENT_MESSAGE_MAX]; /* decoded, fit for a terminal; cut if longer */
    struct bytes body; /* status 0: the answer's one message, borrowed until the next call or the close */
};

/**
 * Make a call and wait for its end. The deadline goes to the server too.
 *
 * @param path       "/package.Service/Method"
 * @param next       asked for messages as the server takes them; not asked further once the server has answered
 * @param reply_out  set on 0
 * @param why        on error gets one line
 * @return 0: the server has answered, see reply_out->status; ERR_CLOSED: the connection has ended, or the server takes no more calls
 *         on it; ERR_TIMEOUT; ERR_PROTOCOL: what came is no answer of a gRPC server; ERR_SYSTEM; ERR_NO_MEMORY; what `next` gave.
 *         After an error the connection can only be closed
 */
int grpc_client_call(struct grpc_client *client, const char *path, grpc_message_fn next, void *context,
                     struct grpc_reply *reply_out, struct strbuf *why) MUST_CHECK;

/**
 * Who takes a stream of messages from the server, each as it comes, borrowed. 0: go on; 1: that was enough, the call is broken off; an
 * error of err.h: the same, and the call fails with it.
 */
typedef int (*grpc_take_fn)(void *context, struct bytes message);

/**
 * A call with one message whose answer is any number of them. None is kept: what `take` has not had yet waits with the server.
 *
 * @param reply_out  set on 0; no body; after `take` has had enough the status is OK
 * @return as grpc_client_call(), or what `take` gave
 */
int grpc_client_follow(struct grpc_client *client, const char *path, struct bytes message, grpc_take_fn take,
                       void *context, struct grpc_reply *reply_out, struct strbuf *why) MUST_CHECK;

/** Accepts NULL; clears the caller's pointer. */
void grpc_client_close(struct grpc_client **client);

/** The nghttp2 library at run time: "1.52.0". */
const char *grpc_client_version_text(void);

#endif
