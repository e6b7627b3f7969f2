#ifndef BACKLOG_H
#define BACKLOG_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

/** Bytes that one side of a connection has not taken yet. Exists only while that side is slow. */
struct backlog {
    uint32_t start; /* first unsent byte */
    uint32_t end;
    uint8_t data[];
};

/** A backlog with a copy of bytes that were not sent; NULL: no memory. Freed with backlog_free() only. */
struct backlog *backlog_new(struct bytes unsent);

/** Free it with whatever is left in it. Accepts NULL; clears the caller's pointer. */
void backlog_free(struct backlog **backlog);

/** Memory that all backlogs of this process take now, in bytes: what slow receivers cost. */
size_t backlog_held(void);

#endif
