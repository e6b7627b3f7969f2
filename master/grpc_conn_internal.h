#ifndef GRPC_CONN_INTERNAL_H
#define GRPC_CONN_INTERNAL_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "grpc_conn.h"
#include "grpc_session.h"

/* A connection as its two files see it: grpc_conn_io.c moves bytes, grpc_conn.c decides when, and for how long. */

struct admin_tls;

#define GRPC_CONN_MAGIC       0x6e6f4347u
#define GRPC_CONN_PLAIN_BYTES 16384u
#define GRPC_CONN_OUT_BYTES   (GRPC_CONN_PLAIN_BYTES + 1024u) /* a TLS 1.3 record adds 22 bytes */

enum conn_state {
    CONN_OPEN,
    CONN_LINGERS, /* all is said and the writing side is shut: reads until the client has closed too */
};

struct grpc_conn {
    uint32_t magic;
    int fd;
    enum conn_state state;
    struct grpc_conn_options options;
    struct admin_tls *tls; /* NULL: none */
    struct grpc_session *session;
    struct ev_io reads;
    struct ev_io writes;
    struct ev_timer timer;
    bool is_running;        /* on the stack: whoever changes something need not wake us */
    bool is_ending;         /* no more is read; what is left is sent, then lingering */
    bool is_goodbye_said;   /* by TLS */
    bool is_blocked;        /* the socket takes nothing */
    enum grpc_conn_end end; /* is_ending: why */
    const char *detail;
    uint64_t opened_ms;
    uint64_t active_ms;
    uint64_t headers_ms;  /* since when a header block is under way; 0: none is */
    uint64_t progress_ms; /* is_blocked: when the socket last took something */
    uint64_t end_by_ms;   /* GRPC_NEVER, or when it is over whatever happens */
    size_t lingered;
    size_t out_len;
    size_t out_sent;
    char peer[ADDRESS_TEXT_MAX];
    uint8_t out[GRPC_CONN_OUT_BYTES];
};

/** Nothing more is read. What is still to be sent is: it tells the client why. The first reason counts. */
void grpc_conn_begin_end(struct grpc_conn *conn, enum grpc_conn_end end, const char *detail);

/* ---- grpc_conn_io.c ---- */

/** One read, and all that follows from it: false when the next has to wait for another turn of the loop. */
bool grpc_conn_read(struct grpc_conn *conn);
/** One write: false when nothing is left, or the socket takes nothing (is_blocked). */
bool grpc_conn_write(struct grpc_conn *conn);
/** Is there something for the socket? */
bool grpc_conn_wants_write(const struct grpc_conn *conn);

#endif
