#ifndef METRICS_CLIENT_H
#define METRICS_CLIENT_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "metrics_http.h"
#include "metrics_server.h"

/* Between metrics_server.c (where it listens, who may stay) and metrics_client.c (one connection). */

enum metrics_client_phase {
    METRICS_CLIENT_READING, /* waits for a request, or for the rest of one */
    METRICS_CLIENT_WRITING, /* an answer is being taken */
    METRICS_CLIENT_LINGERING, /* our end was told; what still comes is read and dropped, so that no reset destroys the answer */
};

struct metrics_client {
    uint32_t magic;
    struct metrics_server *server;
    struct ev_loop *loop;
    ev_io io;
    ev_timer deadline;
    enum metrics_client_phase phase;
    uint64_t since;  /* a serial number: when it began to wait for a request */
    bool must_close; /* after the answer */
    size_t in_len;
    uint8_t in[METRICS_HTTP_MAX_BYTES];
    char head[512]; /* of the answer */
    size_t head_len;
    struct metrics_text body;
    size_t sent; /* of head and body */
};
#define METRICS_CLIENT_MAGIC 0x4d434c49u

/** Serve an accepted, non-blocking socket. Takes fd, on error too. NULL: no memory. */
struct metrics_client *metrics_client_new(struct metrics_server *server, struct ev_loop *loop, int fd);

/** Close it and free it. */
void metrics_client_close(struct metrics_client *client);

/* ---- what a connection asks of its server ---- */

/** Add what GET /metrics answers. */
void metrics_server_render(struct metrics_server *server, struct metrics_text *out);

/** The next serial number. */
uint64_t metrics_server_tick(struct metrics_server *server);

/** A connection is gone. */
void metrics_server_forget(struct metrics_server *server, struct metrics_client *client);

#endif
