#ifndef SHM_PAGES_H
#define SHM_PAGES_H

#include <stdint.h>

#include "check.h"
#include "shm_layout.h"
#include "shm_segment.h"

/**
 * What is known of one page of the segment. Runs of free pages carry their length at both ends, so that a run given back finds
 * its neighbours without a search, and giving back needs no memory. Slabs (shm_arena.c) keep their state here too: nothing of the
 * allocator's own lies in the shared segment, except links inside freed records.
 */
struct shm_page {
    uint8_t kind;       /* enum in shm_pages.c and shm_arena.c; 0: in use or never used */
    uint8_t size_class; /* of a slab; in a slab's further pages the distance to its first */
    uint16_t used;      /* records of a slab */
    uint32_t run_pages; /* length of a free run, at its first and its last page */
    uint16_t free_head; /* first free record of a slab, as (offset in slab) / 8; 0xffff: none */
    uint16_t fresh;     /* first never used byte of a slab, / 8 */
    uint32_t next;      /* page number in the list this run or slab is in; 0: end */
    uint32_t prev;
};

enum shm_page_kind { SHM_PAGE_OTHER, SHM_PAGE_FREE, SHM_PAGE_SLAB, SHM_PAGE_SLAB_REST };

#define SHM_RUN_BINS 32

/**
 * Runs of pages out of a segment: fresh ones from the end of what was ever used, memory for which is committed ahead in growing
 * steps, and freed ones, whose memory went back to the system and is committed again on reuse. Runs always read as zeros.
 */
struct shm_pages {
    struct shm_segment segment;
    struct shm_page *pages;      /* one per page of the segment; untouched entries take no memory */
    uint32_t page_count;         /* of the segment */
    uint32_t top;                /* first page that was never used */
    uint32_t committed_top;      /* first page behind top without memory */
    uint32_t bins[SHM_RUN_BINS]; /* free runs by log2 of their length */
    uint64_t free_pages;         /* in bins */
};

/**
 * @param reserved_bytes  at the start of the segment, left to the caller (page-aligned)
 * @return 0, ERR_NO_MEMORY, or ERR_SYSTEM with errno
 */
int shm_pages_init(struct shm_pages *p, const char *name, uint64_t segment_bytes, uint64_t reserved_bytes) MUST_CHECK;
void shm_pages_fini(struct shm_pages *p);

/** Before the first allocation: leave more bytes (page-aligned) at the start to the caller. */
void shm_pages_skip(struct shm_pages *p, uint64_t bytes);

/** A run of count pages, zeroed; *page_out is its first. 0 or ERR_NO_MEMORY. */
int shm_pages_alloc(struct shm_pages *p, uint32_t count, uint32_t *page_out) MUST_CHECK;

/** Give back exactly what was allocated. Cannot fail. */
void shm_pages_free(struct shm_pages *p, uint32_t page, uint32_t count);

#endif
