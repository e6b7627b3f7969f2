#ifndef ACCEPT_SHORTAGE_H
#define ACCEPT_SHORTAGE_H

#include <stdbool.h>
#include <stdint.h>

/* What the master's front doors (admin API, metrics) have in common when they cannot take who waits in the queue. */

/** Does accept() fail with this errno because we lack descriptors or memory (accept(2)), and not for the peer's sake? */
bool accept_lacks(int error);

/**
 * Warn that connections have to wait, at most once in ten seconds.
 *
 * @param told_ms  when that was said, monotonic; 0 before the first time
 * @param message  a constant sentence
 */
void accept_shortage_tell(uint64_t *told_ms, const char *message);

#endif
