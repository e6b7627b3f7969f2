/* A consistent copy of the database while it is in use. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "folder_sync.h"
#include "store_internal.h"

static int system_error(const char *path, const char *what, struct strbuf *why)
{
    strbuf_addf(why, "snapshot %s: %s: %s", path, what, strerror(errno));
    return errno == ENOSPC || errno == EDQUOT || errno == EIO ? ERR_UNAVAILABLE : ERR_SYSTEM;
}

/* VACUUM INTO takes an existing file if it is empty; so we choose its mode, and never overwrite one. */
static int make_target(const char *path, int *fd_out, struct strbuf *why)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 && errno == EEXIST) {
        strbuf_addf(why, "snapshot %s: there is a file of that name already", path);
        return ERR_EXISTS;
    }
    if (fd < 0)
        return system_error(path, "cannot be made", why);
    *fd_out = fd;
    return fchmod(fd, 0600) == 0 ? 0 : system_error(path, "cannot be given mode 0600", why);
}

static int copy_into(struct store *store, const char *path, struct strbuf *why)
{
    sqlite3_stmt *stmt = NULL;
    int rc = 0;

    if (sqlite3_prepare_v2(store->db, "VACUUM INTO ?1", -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_bind_text(stmt, 1, path, -1, SQLITE_STATIC) != SQLITE_OK || sqlite3_step(stmt) != SQLITE_DONE)
        rc = store_fail(store, "cannot write the snapshot", why);
    sqlite3_finalize(stmt);
    return rc;
}

/* VACUUM INTO leaves it to the system when its output reaches the disk. */
static int make_durable(int fd, const char *path, struct strbuf *why)
{
    if (fsync(fd) != 0)
        return system_error(path, "cannot be written", why);
    return folder_sync_of(path) == 0 ? 0 : system_error(path, "its folder cannot be written", why);
}

struct copying {
    struct store *store;
    const char *path;
    int fd;
    struct strbuf *why;
    int rc;
};

static void copy(void *context)
{
    struct copying *c = context;

    if ((c->rc = copy_into(c->store, c->path, c->why)) == 0)
        c->rc = make_durable(c->fd, c->path, c->why);
}

int store_snapshot(struct store *store, const char *path, struct strbuf *why)
{
    char target[STORE_PATH_MAX + 1];
    int fd = -1;
    int rc;

    CHECK_MAGIC(store, STORE_MAGIC);
    CHECK(!store->in_transaction);
    if ((rc = store_path_set(path, target, why)) != 0)
        return rc;
    if ((rc = make_target(target, &fd, why)) == 0) {
        struct copying c = {.store = store, .path = target, .fd = fd, .why = why};
        store_run_aside(store, copy, &c);
        rc = c.rc;
    }
    if (fd >= 0) {
        if (rc != 0)
            (void)unlink(target);
        close(fd);
    }
    return rc;
}
