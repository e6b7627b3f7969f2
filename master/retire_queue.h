#ifndef RETIRE_QUEUE_H
#define RETIRE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "shm_layout.h"

struct retired;

/**
 * What is done with a record when no reader can hold it any more. Cannot fail; must not retire anything itself.
 *
 * @return true when all is done; false to be called again with the same item at the next reclaiming, for those that take long
 */
typedef bool (*retired_free_fn)(struct retired *item);

struct retired {
    uint64_t epoch; /* while it was unpublished; readers that pinned more cannot have found it */
    shm_off off;
    uint64_t size;
    uint64_t progress; /* free_fn's own, 0 at first */
    retired_free_fn free_fn;
    void *owner;
};

/** At most so many records are freed in one go, so that the caller's event loop turns meanwhile. */
#define RETIRE_BATCH 8192

/**
 * Records that were unpublished and wait for their last reader, oldest first. Places are reserved while a change is prepared, so
 * that retiring, which is part of publishing, cannot fail.
 */
struct retire_queue {
    struct retired *ring;
    size_t capacity; /* a power of two, or 0 */
    size_t first;
    size_t count;
    size_t reserved;
    uint64_t waiting_bytes;
};

void retire_queue_init(struct retire_queue *q);
/** Forgets what waits: the segment is about to go. */
void retire_queue_fini(struct retire_queue *q);

/** Make sure that `places` more calls of retire_queue_push() succeed. 0 or ERR_NO_MEMORY. */
int retire_queue_reserve(struct retire_queue *q, size_t places) MUST_CHECK;
/** Give reserved places back unused. */
void retire_queue_unreserve(struct retire_queue *q, size_t places);

/** Uses a reserved place; epochs never go down. */
void retire_queue_push(struct retire_queue *q, struct retired item);

/**
 * Free what has an epoch below min_pinned_epoch (UINT64_MAX: nobody is pinned), up to RETIRE_BATCH records or one that takes long.
 *
 * @return how many were freed, one begun counted as one; 0: there is nothing that could be
 */
size_t retire_queue_reclaim(struct retire_queue *q, uint64_t min_pinned_epoch);

#endif
