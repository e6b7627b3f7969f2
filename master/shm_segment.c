/* The memory file of the shared tables: made, sealed, mapped, and backed with memory range by range. */

#include "shm_segment.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u /* Linux 6.3 */
#endif

static int make_file(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* an older kernel */
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd;
}

/** A second descriptor of the same file, opened for reading: whoever holds only this one can never map it writable. */
static int open_read_only(int fd)
{
    char path[32];

    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int map_file(struct shm_segment *s, uint64_t bytes)
{
    void *base = MAP_FAILED;

    if (ftruncate(s->fd, (off_t)bytes) != 0)
        return ERR_SYSTEM;
    base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, s->fd, 0);
    if (base == MAP_FAILED)
        return ERR_SYSTEM;
    s->base = base;
    s->bytes = bytes;
    return 0;
}

static int map_largest(struct shm_segment *s, uint64_t want_bytes)
{
    uint64_t bytes = want_bytes != 0 ? want_bytes : SHM_SEGMENT_BYTES;
    uint64_t least = bytes < SHM_SEGMENT_BYTES_MIN ? bytes : SHM_SEGMENT_BYTES_MIN;
    int rc = ERR_SYSTEM;

    for (; rc != 0 && bytes >= least; bytes /= 2)
        rc = map_file(s, bytes);
    return rc;
}

int shm_segment_init(struct shm_segment *s, const char *name, uint64_t want_bytes)
{
    *s = (struct shm_segment){.fd = -1, .read_only_fd = -1, .commit_limit = UINT64_MAX};
    if ((s->fd = make_file(name)) >= 0 && map_largest(s, want_bytes) == 0 &&
        fcntl(s->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0 && fchmod(s->fd, 0600) == 0 &&
        (s->read_only_fd = open_read_only(s->fd)) >= 0)
        return 0;

    int kept = errno;
    shm_segment_fini(s);
    errno = kept;
    return ERR_SYSTEM;
}

void shm_segment_fini(struct shm_segment *s)
{
    if (s->base != NULL)
        (void)munmap(s->base, s->bytes);
    if (s->read_only_fd >= 0)
        (void)close(s->read_only_fd);
    if (s->fd >= 0)
        (void)close(s->fd);
    *s = (struct shm_segment){.fd = -1, .read_only_fd = -1};
}

static int allocate(int fd, int mode, uint64_t off, uint64_t bytes)
{
    int rc = 0;

    do {
        rc = fallocate(fd, mode, (off_t)off, (off_t)bytes);
    } while (rc != 0 && errno == EINTR); /* memory files look for signals between pages */
    return rc;
}

int shm_segment_commit(struct shm_segment *s, uint64_t off, uint64_t bytes)
{
    CHECK(off % SHM_PAGE == 0 && bytes % SHM_PAGE == 0 && bytes > 0 && off <= s->bytes && bytes <= s->bytes - off);
    if (bytes > s->commit_limit || s->committed_bytes > s->commit_limit - bytes)
        return ERR_NO_MEMORY;
    if (allocate(s->fd, 0, off, bytes) != 0)
        return ERR_NO_MEMORY;
    s->committed_bytes += bytes;
    return 0;
}

void shm_segment_discard(struct shm_segment *s, uint64_t off, uint64_t bytes)
{
    CHECK(s->committed_bytes >= bytes);
    s->committed_bytes -= bytes;
    /* A kernel that cannot punch keeps the pages, and a commit finds them there: it only has to read as zeros again. */
    if (allocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, bytes) != 0)
        memset(s->base + off, 0, bytes);
}
