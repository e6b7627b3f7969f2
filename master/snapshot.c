/*
 * Snapshots: where a copy of the database goes, under which name, and which old ones go for it.
 *
 *     /srv/mc-proxy/mc-proxy.db                                   the database
 *     /srv/mc-proxy/backups/mc-proxy-20261122T183000Z.db          a name of our own making: UTC to the second
 *     /srv/mc-proxy/backups/mc-proxy-20261122T183000Z-2.db        the second one within that second
 *     /srv/mc-proxy/backups/before-upgrade.db                     somebody else's: never removed here
 */

#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "err.h"
#include "folder_sync.h"
#include "snapshot_names.h"
#include "state_change.h"
#include "store.h"
#include "utf8.h"

#define FOLDER_NAME "backups"
#define SAME_SECOND 1000 /* names that are tried */

/** A snapshot on its way. */
struct target {
    const char *database_path;
    char folder[PATH_MAX]; /* of backups, without a slash at the end */
    char path[PATH_MAX];   /* of the new file */
    struct strbuf *why;
};

static int refuse(struct target *t, const char *reason)
{
    strbuf_addf(t->why, "output_path: %s", reason);
    return ERR_INVALID;
}

static int system_error(struct target *t, const char *path, const char *what)
{
    int rc = errno == ENOSPC || errno == EDQUOT || errno == EIO ? ERR_UNAVAILABLE : ERR_SYSTEM;

    strbuf_addf(t->why, "snapshot: %s %s: %s", path, what, strerror(errno));
    return rc;
}

/* ---- the folder ---- */

static int set_folder(struct target *t)
{
    const char *slash = strrchr(t->database_path, '/');
    int len = slash != NULL ? (int)(slash - t->database_path) : 1;
    struct strbuf folder = STRBUF_OF(t->folder);

    strbuf_addf(&folder, "%.*s/" FOLDER_NAME, len, slash != NULL ? t->database_path : ".");
    return folder.overflowed ? refuse(t, "the folder's path is too long") : 0;
}

/** Make the folder, on disk, if there is none. */
static int need_folder(struct target *t)
{
    if (mkdir(t->folder, 0700) != 0)
        return errno == EEXIST ? 0 : system_error(t, t->folder, "cannot be made");
    return folder_sync_of(t->folder) == 0 ? 0 : system_error(t, t->folder, "cannot be brought to the disk");
}

/* ---- a path that was asked for ---- */

static bool is_in_folder(const struct target *t)
{
    size_t len = strlen(t->folder);

    return strncmp(t->path, t->folder, len) == 0 && t->path[len] == '/';
}

static bool has_dot_dot(const char *path)
{
    for (const char *p = path; (p = strstr(p, "..")) != NULL; p += 2) {
        if ((p == path || p[-1] == '/') && (p[2] == '\0' || p[2] == '/'))
            return true;
    }
    return false;
}

/** The path of what was asked for: absolute as it is, else in the folder. */
static int set_path(struct target *t, struct bytes asked)
{
    struct strbuf path = STRBUF_OF(t->path);

    if (!utf8_is_printable(asked))
        return refuse(t, "must be UTF-8 without control characters");
    if (asked.ptr[0] != '/')
        strbuf_addf(&path, "%s/", t->folder);
    strbuf_add_bytes(&path, asked);
    if (path.overflowed)
        return refuse(t, "is too long");
    const char *name = strrchr(t->path, '/') + 1;
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return refuse(t, "must end in the name of a file");
    return 0;
}

/** Where a path leads when links are followed; the last part of it may not be one (store_snapshot() makes a new file). */
static int check_confined(struct target *t)
{
    char parent[PATH_MAX], real_parent[PATH_MAX], real_folder[PATH_MAX];
    size_t len;

    snprintf(parent, sizeof parent, "%.*s", (int)(strrchr(t->path, '/') - t->path), t->path);
    if (realpath(t->folder, real_folder) == NULL)
        return system_error(t, t->folder, "cannot be reached");
    if (realpath(parent, real_parent) == NULL)
        return system_error(t, parent, "cannot be reached");
    len = strlen(real_folder);
    if (strncmp(real_parent, real_folder, len) == 0 && (real_parent[len] == '\0' || real_parent[len] == '/'))
        return 0;
    strbuf_addf(t->why, "output_path: leads out of %s by a link, which is allowed over the Unix socket only",
                t->folder);
    return ERR_RANGE;
}

static int take_asked(struct target *t, const struct state_snapshot *snapshot)
{
    int rc = set_path(t, snapshot->output_path);

    if (rc != 0)
        return rc;
    bool is_inside = is_in_folder(t) && !has_dot_dot(t->path);
    if (!is_inside && !snapshot->is_anywhere_allowed) {
        strbuf_addf(t->why, "output_path: outside of %s, which is allowed over the Unix socket only", t->folder);
        return ERR_RANGE;
    }
    if (is_inside && (rc = need_folder(t)) != 0)
        return rc;
    return snapshot->is_anywhere_allowed ? 0 : check_confined(t);
}

static int write_asked(struct store *store, struct target *t, const struct state_snapshot *snapshot)
{
    int rc = take_asked(t, snapshot);

    return rc != 0 ? rc : store_snapshot(store, t->path, t->why);
}

/* ---- a name of our own ---- */

static int write_named(struct store *store, struct target *t)
{
    struct timespec now;
    int rc = need_folder(t);

    if (rc != 0)
        return rc;
    clock_gettime(CLOCK_REALTIME, &now);
    /* Behind the last one, and not in a gap that --keep has left: numbers tell which is newer. */
    unsigned last = snapshot_names_last(t->folder, now.tv_sec);
    for (unsigned number = last + 1; number <= last + SAME_SECOND; number++) {
        char name[SNAPSHOT_NAME_MAX];
        struct strbuf path = STRBUF_OF(t->path);
        size_t said = t->why->len;
        snapshot_name_format(now.tv_sec, number, name);
        strbuf_addf(&path, "%s/%s", t->folder, name);
        if (path.overflowed)
            return refuse(t, "the folder's path is too long");
        if ((rc = store_snapshot(store, t->path, t->why)) != ERR_EXISTS)
            return rc;
        strbuf_cut(t->why, said);
    }
    strbuf_addf(t->why, "snapshot: %s has a file of every name of this second", t->folder);
    return ERR_EXISTS;
}

/* ---- all of it ---- */

int snapshot_write(struct store *store, const char *database_path, const struct state_snapshot *snapshot,
                   struct strbuf *path_out, struct strbuf *why)
{
    struct target t = {.database_path = database_path, .why = why};
    int rc = set_folder(&t);

    if (rc == 0)
        rc = snapshot->output_path.len == 0 ? write_named(store, &t) : write_asked(store, &t, snapshot);
    if (rc != 0)
        return rc;
    strbuf_add(path_out, t.path);
    if (snapshot->keep > 0)
        snapshot_prune(t.folder, snapshot->keep, t.path, why);
    return 0;
}
