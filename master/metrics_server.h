#ifndef METRICS_SERVER_H
#define METRICS_SERVER_H

#include <stdbool.h>

#include "address.h"
#include "check.h"
#include "metrics_text.h"
#include "strbuf.h"

struct ev_loop;

/*
 * A small HTTP server in the master's loop: GET and HEAD of /metrics, and nothing else. Peers are not trusted: at most
 * METRICS_CLIENTS_MAX connections (a new one takes the place of the one that has waited longest for a request), 8 KiB a request, one
 * answer a turn of the loop and connection, 10 s for a request to arrive and for an answer to be taken. Connections are kept for
 * further requests, two minutes without one.
 *
 *     READING --request complete--> WRITING --taken--> READING (again), or LINGERING: told the end, reads what still comes, 1 s
 */
struct metrics_server;

#define METRICS_CLIENTS_MAX 16

/** Add what GET /metrics answers. */
typedef void (*metrics_render_fn)(void *context, struct metrics_text *out);

/** A server that listens nowhere. 0 or ERR_NO_MEMORY. */
int metrics_server_new(struct ev_loop *loop, metrics_render_fn render, void *context,
                       struct metrics_server **out) MUST_CHECK;

/** Closes everything at once: it listens nowhere again. */
void metrics_server_stop(struct metrics_server *server);

/** The same, and frees it. Accepts NULL; clears the caller's pointer. */
void metrics_server_free(struct metrics_server **server);

/*
 * Where it listens, in two halves, so that a reload changes all or nothing: prepare binds what is new, commit serves there instead of
 * where it was until then. Open connections stay.
 */
struct metrics_endpoint;

/**
 * @param addr  NULL: nowhere
 * @param out   on 0: to be committed or aborted
 * @param why   on error gets a reason fit to stand behind "[metrics] addr 127.0.0.1:9100: "
 * @return 0; as listen_sockets_open(); ERR_NO_MEMORY
 */
int metrics_server_prepare(struct metrics_server *server, const struct listen_addr *addr, struct metrics_endpoint **out,
                           struct strbuf *why) MUST_CHECK;

/** Cannot fail. Clears *prepared. Returns whether it listens somewhere now where it did not before. */
bool metrics_server_commit(struct metrics_server *server, struct metrics_endpoint **prepared);

/** Accepts NULL in *prepared, clears it. */
void metrics_server_abort(struct metrics_endpoint **prepared);

/** One line of key=value. */
void metrics_server_dump(const struct metrics_server *server, struct strbuf *out);

#endif
