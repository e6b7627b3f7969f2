#ifndef TABLE_VIEW_H
#define TABLE_VIEW_H

#include <stdint.h>

#include "shm_layout.h"

/**
 * A process's view of the shared tables. pinned_epoch is the slot's cell in the stats segment (for a worker), or a word of its own
 * (for the master and for tests).
 */
struct table_view {
    const struct shm_tables *tables;
    uint64_t bytes; /* of the mapping: no offset reaches beyond */
    _Atomic uint64_t *pinned_epoch;
};

/**
 * Pin the tables: until table_release() nothing reachable from the returned root is used again for something else. Pins do not
 * nest and never last longer than one callback; what is needed later is copied.
 */
static inline const struct shm_root *table_pin(const struct table_view *view)
{
    uint64_t epoch = atomic_load_explicit(&view->tables->epoch, memory_order_relaxed);

    /* The fence pairs with that of tables_reclaim(): the master either sees this pin before it reclaims, or we see what it
     * published before that. The store is a release, so that whoever reads it also knows that earlier look-ups are over. */
    atomic_store_explicit(view->pinned_epoch, epoch, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    shm_off root = atomic_load_explicit(&view->tables->root, memory_order_acquire);
    return (const struct shm_root *)((const char *)view->tables + root);
}

static inline void table_release(const struct table_view *view)
{
    atomic_store_explicit(view->pinned_epoch, 0, memory_order_release);
}

#endif
