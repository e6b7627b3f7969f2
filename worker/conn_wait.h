#ifndef CONN_WAIT_H
#define CONN_WAIT_H

struct conn;
struct worker;

/**
 * The connection has to wait for its PROXY header or hello (a second call: for the other of the two), so it counts for
 * max_pending_hellos, until its hello is complete or it ends.
 */
void conn_wait_begin(struct conn *c);

/**
 * Close who has waited too long for too many to wait, unless what it has sent meanwhile lets it go on. Only while no callback is on
 * its way through connections or listeners.
 */
void conn_wait_evict(struct worker *w);

/** Settings or descriptors have changed: how many may wait? */
void conn_wait_limit(struct worker *w);

#endif
