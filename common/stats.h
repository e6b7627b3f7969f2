#ifndef STATS_H
#define STATS_H

#include <stdatomic.h>
#include <stdint.h>

#include "shm_layout.h"

/*
 * Counting in the stats segment. Each word has one writer (the worker of its slot; the master while there is none), so a load, an
 * add and a store do, without a locked instruction; whoever reads sees every word whole.
 */

static inline uint64_t stat_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline void stat_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, stat_get(counter) + n, memory_order_relaxed);
}

/** Where the buckets of a histogram end, in microseconds, inclusive and ascending; one more bucket takes what is longer. */
struct histogram_scale {
    unsigned bound_count; /* 1..SHM_HISTOGRAM_BUCKETS - 1 */
    uint64_t bounds_us[SHM_HISTOGRAM_BUCKETS - 1];
};

extern const struct histogram_scale histogram_latency;  /* 250 us to 10 s: what a backend takes */
extern const struct histogram_scale histogram_duration; /* 10 ms to a day: how long connections last */

/** Count one value. Only the histogram's writer. */
void histogram_observe(struct shm_histogram *h, const struct histogram_scale *scale, uint64_t value_us);

#endif
