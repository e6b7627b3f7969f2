#ifndef GRPC_LIMITS_H
#define GRPC_LIMITS_H

#include <stdint.h>

/* How much the admin API lets its peers have. docs/decisions/0008 says why the numbers are these. */

#define GRPC_STREAMS_MAX    100u        /* calls at once on one connection */
#define GRPC_HEADERS_MAX    65536u      /* of a request, counted as RFC 9113 6.5.2 does: each with 32 bytes on top */
#define GRPC_MESSAGE_MAX    (4u << 20)  /* a request's message */
#define GRPC_CALL_BYTES_MAX (64u << 20) /* all messages of one client-streaming call */

/** What tests set smaller. Times in milliseconds. */
struct grpc_limits {
    unsigned connections;     /* open at once, all addresses together */
    uint32_t handshake_ms;    /* from accept to the client's SETTINGS, TLS included */
    uint32_t newcomer_ms;     /* a handshake older than this gives its place to a newcomer when all are taken */
    uint32_t request_ms;      /* from a request's headers, or its last message, to its next whole message or its end */
    uint32_t stall_ms;        /* an answer, or a socket, that takes (next to) nothing for so long is given up */
    uint32_t farewell_ms;     /* connections of an address given up, and those told goodbye */
    uint32_t linger_ms;       /* a closed connection's leftovers are read for so long, so that our last words arrive */
    uint64_t request_bytes;   /* parts of requests held for all connections together */
    uint64_t request_reserve; /* of these, for Unix sockets only */
    uint64_t answer_bytes;    /* answers not taken yet, all connections together */
    uint64_t answer_reserve;  /* of these, for Unix sockets only */
};

extern const struct grpc_limits grpc_limits_default;

#endif
