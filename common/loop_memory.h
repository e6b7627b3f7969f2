#ifndef LOOP_MEMORY_H
#define LOOP_MEMORY_H

#include <stdbool.h>

/*
 * Memory of an event loop. libev ends the process when an allocation fails, however small, and it makes one whenever more descriptors
 * or timers are in use than ever before. So its allocator is this one, which has a reserve: when memory is short, that is given back
 * to the heap and the allocation made of it. Whoever turns the loop fills the reserve up again, and says what has happened.
 */

/** realloc() in the shape of ev_set_allocator(): size 0 frees. NULL (and libev ends the process) only when the reserve is spent too. */
void *loop_memory_realloc(void *old, long size);

/** Make the reserve, or make it anew; at every turn that has time. False once after each time that it was needed. */
bool loop_memory_refill(void);

#endif
