#ifndef SHM_ARENA_H
#define SHM_ARENA_H

#include <stdint.h>

#include "check.h"
#include "shm_pages.h"
#include "strbuf.h"

#define SHM_SMALL_MAX    1024 /* larger ones get pages of their own */
#define SHM_SIZE_CLASSES 44   /* 8..64 by 8, 80..256 by 16, 288..1024 by 32 */

/**
 * Memory for records and arrays in the shared segment. The master's alone; not for memory that readers may still hold: that goes
 * through retire_queue.h first.
 *
 *     small (1..1024 bytes)   from slabs of eight pages with records of one size; a slab that is empty goes back as pages
 *     large                   a run of pages of their own, zeroed
 */
struct shm_arena {
    struct shm_pages pages;
    uint32_t partial[SHM_SIZE_CLASSES]; /* slabs with room, by first page; 0: none */
    uint64_t used_bytes;                /* allocated, rounded up to class or page */
    uint64_t slab_count;
};

/** For dumps and tests; bytes. */
struct shm_arena_stats {
    uint64_t segment_bytes;
    uint64_t committed_bytes; /* memory the segment takes */
    uint64_t used_bytes;      /* of these, allocated (rounded up to size class or page) */
    uint64_t slab_bytes;
    uint64_t free_run_bytes; /* address space to use again, without memory */
};

/** See shm_pages_init(). */
int shm_arena_init(struct shm_arena *a, uint64_t segment_bytes, uint64_t reserved_bytes) MUST_CHECK;
void shm_arena_fini(struct shm_arena *a);

/**
 * Allocate; aligned to 8 bytes, to a page when size > SHM_SMALL_MAX. Large ones are zeroed, small ones are not.
 *
 * @param size  1 and up
 * @return 0 and *off_out, or ERR_NO_MEMORY
 */
int shm_arena_alloc(struct shm_arena *a, uint64_t size, shm_off *off_out) MUST_CHECK;

/** Free with the size of the allocation. Cannot fail. */
void shm_arena_free(struct shm_arena *a, shm_off off, uint64_t size);

static inline void *shm_arena_at(const struct shm_arena *a, shm_off off)
{
    return a->pages.segment.base + off;
}

struct shm_arena_stats shm_arena_stats(const struct shm_arena *a);

/** One line of key=value. */
void shm_arena_dump(const struct shm_arena *a, struct strbuf *out);

#endif
