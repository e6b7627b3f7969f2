#ifndef CONN_IO_H
#define CONN_IO_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"

struct conn;
struct conn_side;
struct worker;

/*
 * How connections hear from their sockets: an edge-triggered epoll set of their own, nested in the libev loop as one watcher. A
 * socket is added once and as a rule never changed; what an event said stays in the side's is_readable and is_writable until a call
 * finds it no longer true. See docs/decisions/0004-edge-triggered-connections.md for what that saves.
 */

/** Make the set and serve it in the worker's loop. 0 or ERR_SYSTEM with errno. */
int conn_io_start(struct worker *w) MUST_CHECK;

/**
 * Hear from a side's socket: reading always, writing as well if wants_write (for which the set is asked only once, too).
 * False: the kernel has no memory for it.
 */
bool conn_io_watch(struct conn *c, struct conn_side *side, bool wants_write) MUST_CHECK;

/** A turn ended with something left to read on a side: make the set report it again. False: the kernel has no memory for it. */
bool conn_io_report_again(struct conn *c, struct conn_side *side) MUST_CHECK;

/** An object that an event of the batch at hand may still point at: freed when the batch is over. */
void conn_io_bury(struct worker *w, struct conn *c);

#endif
