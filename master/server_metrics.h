#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include "check.h"
#include "strbuf.h"

struct config;
struct metrics_endpoint;
struct server;
struct server_metrics;

/* The metrics endpoint as a part of the server: where it listens, and what the master adds to what the workers have counted. */

/**
 * Serve where the configuration in force says. After the listeners were added.
 *
 * @param why  on error gets the whole reason: "[metrics] addr ...: ..."
 * @return 0 or an error of metrics_server_prepare()
 */
int server_metrics_open(struct server *s, struct strbuf *why) MUST_CHECK;

/** Accepts that there are none. */
void server_metrics_close(struct server *s);

/** The two halves of a reload; the second one when s->config is the new configuration. Abort accepts NULL in *prepared. */
int server_metrics_prepare(struct server *s, const struct config *next, struct metrics_endpoint **prepared,
                           struct strbuf *why) MUST_CHECK;
void server_metrics_switch(struct server *s, struct metrics_endpoint **prepared);
void server_metrics_abort(struct metrics_endpoint **prepared);

/**
 * An upgrade: a successor is about to serve at our address, and whoever is connected goes there; or it has failed, and we serve as
 * before. Should the address be gone meanwhile, that is logged, and the next reload tries again.
 */
void server_metrics_release(struct server *s);
void server_metrics_resume(struct server *s);

/** Count a reload; problem: why it was refused, or NULL. */
void server_metrics_note_reload(struct server *s, const char *problem);

struct admin_facts;
/** The same things for GetStatus; an admin_facts_fn, with the server as its context. */
void server_metrics_tell(void *server, struct admin_facts *out);

/** One line, or none. */
void server_metrics_dump(const struct server *s, struct strbuf *out);

#endif
