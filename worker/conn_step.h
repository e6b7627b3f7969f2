#ifndef CONN_STEP_H
#define CONN_STEP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "close_reason.h"
#include "conn.h"

/* The steps of a connection and what they share. Nobody but the files of a connection includes this. */

/** What a step says when it returns. */
enum conn_next {
    CONN_NEXT, /* go on with the step that is now set */
    CONN_WAIT, /* for an event or the deadline */
    CONN_DONE, /* closed: the object is gone */
};

enum conn_next conn_step_proxy(struct conn *c);
enum conn_next conn_step_hello(struct conn *c);
enum conn_next conn_step_connect(struct conn *c);
enum conn_next conn_step_relay(struct conn *c);
enum conn_next conn_step_flush(struct conn *c);
enum conn_next conn_step_linger(struct conn *c);

/** The client's address is known: ask the firewall and go on to the hello, or close. Returns CONN_NEXT or CONN_DONE. */
enum conn_next conn_enter_hello(struct conn *c);

/** Enter a step; its timeout begins now. Returns CONN_NEXT. */
enum conn_next conn_enter(struct conn *c, enum conn_step step);

/** conn_close() as the last words of a step. Returns CONN_DONE. */
enum conn_next conn_end(struct conn *c, enum close_reason reason);

/**
 * recv(2) that keeps is_readable true to what it found. Less than fits means that nothing is left (epoll(7), "Questions and answers"),
 * unless an end or urgent data was announced: recv() stops at the urgent mark.
 *
 * @return bytes; 0: end of stream; -1 with errno, never EINTR: EAGAIN if there is nothing
 */
ssize_t conn_recv(struct conn_side *side, void *at, size_t room);

/** send(2), the same for is_writable. @return bytes; -1 with errno, never EINTR: EAGAIN if it takes nothing */
ssize_t conn_send(struct conn_side *side, const void *at, size_t len);

/** A byte moved, which is_hurried does not care about. */
void conn_touch(struct conn *c);

/** Close one side's socket, with RST if is_reset_on_close, or if bytes for it were left: what was cut must not look like an end. */
void conn_side_close(struct conn_side *side);

/** Count bytes that came from or went to the client, here and in the listener's statistics. */
void conn_count_in(struct conn *c, size_t n);
void conn_count_out(struct conn *c, size_t n);

/** What was read from a side before its reset gets this long to be delivered to the other one. */
#define CONN_CUT_TIMEOUT_MS 5000

/** One side is gone and the other did not take what is left of it in CONN_CUT_TIMEOUT_MS: reset it too. The end of RELAY then. */
void conn_close_cut(struct conn *c);

/**
 * When the connect attempt at hand is given up, as a tick: what is left of connect_timeout is shared evenly by the addresses that
 * are left.
 */
uint32_t conn_connect_deadline(const struct conn *c);

/** Count what an incomplete hello has sent and nobody will read. */
void conn_hello_count_unread(struct conn *c);

#endif
