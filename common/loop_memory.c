/* The reserve of memory that lets an event loop live through a moment without any. */

#include "loop_memory.h"

#include <stdint.h>
#include <stdlib.h>

/* libev doubles its arrays: that of descriptors takes 16 bytes each, those of watchers less; this is enough for one of 4,096. */
#define RESERVE_BYTES ((size_t)64 * 1024)

static void *reserve;
static bool was_needed;

void *loop_memory_realloc(void *old, long size)
{
    if (size == 0) {
        free(old);
        return NULL;
    }
    void *fresh = realloc(old, (size_t)size);
    if (fresh != NULL || reserve == NULL)
        return fresh;
    free(reserve);
    reserve = NULL;
    was_needed = true;
    return realloc(old, (size_t)size);
}

bool loop_memory_refill(void)
{
    bool was_enough = !was_needed;

    if (reserve == NULL)
        reserve = malloc(RESERVE_BYTES);
    was_needed = false;
    return was_enough;
}
