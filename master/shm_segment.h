#ifndef SHM_SEGMENT_H
#define SHM_SEGMENT_H

#include <stdint.h>

#include "check.h"

#define SHM_SEGMENT_BYTES     (16ull << 30)  /* address space asked for; memory is taken only where it is committed */
#define SHM_SEGMENT_BYTES_MIN (256ull << 20) /* less than this is not worth starting with */
#define SHM_SEGMENT_BYTES_MAX (32ull << 30)  /* what an offset / 8 of 32 bits reaches (shm_layout.h) */
#define SHM_PAGE              4096u

/**
 * A sparse memory file of fixed size, mapped read-write here and handed to workers as a descriptor that can only be mapped
 * read-only. Its memory is committed range by range, so that having none left is an error code here and never a SIGBUS later.
 */
struct shm_segment {
    int fd;           /* read-write, stays in the master */
    int read_only_fd; /* for workers */
    char *base;
    uint64_t bytes;
    uint64_t committed_bytes; /* sum of commits less discards */
    uint64_t commit_limit;    /* tests set it to play a machine without memory; UINT64_MAX: none */
};

/**
 * Make and map a segment of want_bytes (0: SHM_SEGMENT_BYTES); where so much address space is not to be had (RLIMIT_AS), of half,
 * and so on down to SHM_SEGMENT_BYTES_MIN or want_bytes, whichever is less.
 *
 * @return 0, or ERR_SYSTEM with errno; shm_segment_fini() it only on 0
 */
int shm_segment_init(struct shm_segment *s, const char *name, uint64_t want_bytes) MUST_CHECK;
void shm_segment_fini(struct shm_segment *s);

/** Back a page-aligned range that has no memory yet; it reads as zeros. 0, or ERR_NO_MEMORY, and then nothing has changed. */
int shm_segment_commit(struct shm_segment *s, uint64_t off, uint64_t bytes) MUST_CHECK;

/** Give the memory of a committed page-aligned range back to the system. Cannot fail. */
void shm_segment_discard(struct shm_segment *s, uint64_t off, uint64_t bytes);

#endif
