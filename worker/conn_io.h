#ifndef CONN_IO_H
#define CONN_IO_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"

struct conn;
struct conn_side;
struct listener;
struct worker;

/*
 * What a worker waits in: one epoll set.
 *
 *     connections   edge-triggered: a socket is added once and as a rule never changed; what an event said stays in the side's
 *                   is_readable and is_writable until a call finds it no longer true
 *     listeners     level-triggered, while they accept
 *     libev's loop  what it watches, level-triggered: the tick and the control socket. When one of them is readable, the turn ends
 *                   with a turn of the loop
 *
 * docs/decisions/0004-edge-triggered-connections.md and 0011-one-wait-a-turn.md say what that saves.
 */

/** Make the set. 0 or ERR_SYSTEM with errno. */
int conn_io_start(struct worker *w) MUST_CHECK;

/** A descriptor that the loop has a reading watcher for: wake the loop for it. 0 or ERR_SYSTEM with errno. */
int conn_io_join_loop(struct worker *w, int fd) MUST_CHECK;

/** The loop has stopped that watcher: an end of stream would stay readable for ever. */
void conn_io_leave_loop(struct worker *w, int fd);

/** Wait until something happens, then let connections and listeners do what they can. True if the loop is to have a turn, too. */
bool conn_io_turn(struct worker *w);

/** The turn is over, no event of it is left: free the connections that ended in it. */
void conn_io_end_turn(struct worker *w);

/** Hear while a listener's queue is not empty, or no longer. False: the kernel has no memory for it. */
bool conn_io_watch_listener(struct listener *l, bool on) MUST_CHECK;

/**
 * Hear from a side's socket: reading always, writing as well if wants_write (for which the set is asked only once, too).
 * False: the kernel has no memory for it.
 */
bool conn_io_watch(struct conn *c, struct conn_side *side, bool wants_write) MUST_CHECK;

/** A turn ended with something left to read on a side: make the set report it again. False: the kernel has no memory for it. */
bool conn_io_report_again(struct conn *c, struct conn_side *side) MUST_CHECK;

/** A connection that an event of this turn may still point at: freed by conn_io_end_turn(). */
void conn_io_bury(struct worker *w, struct conn *c);

#endif
