#ifndef GRPC_CALL_CLIENT_H
#define GRPC_CALL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"
#include "grpc_client.h"
#include "strbuf.h"

/* One call from the client's side, apart from the HTTP/2 stream that carries it: messages into bytes, headers and bytes into a reply.
 * Pure but for the source of messages. */

#define GRPC_PREFIX_BYTES 5 /* in front of each message: a flag and a length ("Length-Prefixed-Message") */

/** Zeroed but for next and context it is a new call. */
struct grpc_call_client {
    grpc_message_fn next;
    void *context;
    uint8_t prefix[GRPC_PREFIX_BYTES]; /* of the message that is being sent */
    size_t prefix_left;
    struct bytes message; /* what of it has not been sent */
    bool is_sent;         /* there are no more messages */
    int source_error;     /* of `next`; 0: none */
    unsigned http_status;
    bool has_no_body; /* messages are taken as they come */
    bool has_status;  /* grpc-status was seen */
    unsigned status;
    char message_text[GRPC_CLIENT_MESSAGE_MAX];
};

/** Put up to `room` bytes of messages into out. @return how many; fewer than room if is_sent or source_error is set now */
size_t grpc_call_client_fill(struct grpc_call_client *call, uint8_t *out, size_t room);

/** A header or trailer of the answer. */
void grpc_call_client_take_header(struct grpc_call_client *call, struct bytes name, struct bytes value);

/**
 * What the answer is, once the server has finished.
 *
 * @param body  all its DATA; the reply's body borrows from it
 * @return 0 or ERR_PROTOCOL with `why`: it is none of gRPC
 */
int grpc_call_client_judge(const struct grpc_call_client *call, struct bytes body, struct grpc_reply *reply_out,
                           struct strbuf *why) MUST_CHECK;

#endif
