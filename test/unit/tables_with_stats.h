#ifndef TABLES_WITH_STATS_H
#define TABLES_WITH_STATS_H

/* Empty tables and a stats segment that child processes share; include behind cmocka.h. */

#include <sys/mman.h>

#include "tables.h"

/** munmap() the stats, of sizeof(struct shm_stats), after tables_free(). */
static inline struct tables *tables_with_stats(uint64_t segment_bytes, unsigned worker_slots,
                                               struct shm_stats **stats_out)
{
    struct tables *tables;
    void *stats =
        mmap(NULL, sizeof(struct shm_stats), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    assert_true(stats != MAP_FAILED);
    *stats_out = stats;
    struct tables_options options = {.segment_bytes = segment_bytes, .stats = stats, .worker_slots = worker_slots};
    assert_int_equal(tables_new(&options, &tables), 0);
    return tables;
}

#endif
