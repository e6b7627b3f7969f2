#ifndef SMALL_DISK_H
#define SMALL_DISK_H

/* A real disk that fills up: a small tmpfs over a fixture's folder that only one child sees. */

#include "store_fixture.h"

#include <sched.h>
#include <sys/mount.h>

#define NOT_PERMITTED 77

/** In the child. Returns 0, or NOT_PERMITTED to exit with. */
static inline int mount_small_disk(const struct fixture *f)
{
    if (unshare(CLONE_NEWNS) != 0)
        return NOT_PERMITTED;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                   mount("tmpfs", f->folder, "tmpfs", 0, "size=1m,mode=0700") == 0
               ? 0
               : NOT_PERMITTED;
}

static inline void filler_path(const struct fixture *f, char out[128])
{
    snprintf(out, 128, "%s/filler", f->folder);
}

/** To the last byte. */
static inline void fill_disk(const struct fixture *f)
{
    static const char block[4096];
    char filler[128];

    filler_path(f, filler);
    int fd = open(filler, O_WRONLY | O_CREAT, 0600);
    for (size_t len = sizeof block; len > 0;) {
        if (write(fd, block, len) < 0)
            len /= 2;
    }
    close(fd);
}

/** Space again. */
static inline void empty_disk(const struct fixture *f)
{
    char filler[128];

    filler_path(f, filler);
    unlink(filler);
}

/** Run body in a child; it returns 0, NOT_PERMITTED, or the number of what went wrong. */
static inline void run_on_small_disk(struct fixture *f, child_fn body)
{
    int status = run_child(f, body);

    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NOT_PERMITTED) {
        print_message("skipped: mounting a file system of its own is not permitted here\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

#endif
