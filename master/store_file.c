/*
 * The database file before SQLite sees it: made with the right mode, locked against a second server, its header read. SQLite would
 * change a file by opening it (a -wal, a -shm, a recovery), and a file that is refused must stay as it was.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "err.h"
#include "read_at.h"
#include "store_internal.h"

#define HEADER_BYTES          100 /* sqlite.org/fileformat.html 1.3, as the offsets below */
#define HEADER_USER_VERSION   60
#define HEADER_APPLICATION_ID 68
#define JOURNAL_PAGES_BEFORE  16 /* sqlite.org/fileformat.html 3 */
#define LOCK_WAIT_MS          1000
#define LOCK_WAIT_CHECK_MS    10000 /* a check reads the whole file, and goes away by itself */
#define LOCK_POLL_US          20000
#define REPLACED_TRIES        8

static const char header_magic[16] = "SQLite format 3";

static int system_error(const char *path, const char *what, struct strbuf *why)
{
    strbuf_addf(why, "database %s: %s: %s", path, what, strerror(errno));
    return ERR_SYSTEM;
}

int store_path_set(const char *path, char out[STORE_PATH_MAX + 1], struct strbuf *why)
{
    struct strbuf text = strbuf_init(out, STORE_PATH_MAX + 1);

    if (path[0] != '/')
        strbuf_add(&text, "./");
    strbuf_add(&text, path);
    if (!text.overflowed)
        return 0;
    strbuf_addf(why, "database %s: the path is longer than %d bytes", path, STORE_PATH_MAX);
    return ERR_SYSTEM;
}

/* SQLite makes files beside the database, so the folder must be writable too. */
static int check_folder(const char *path, struct strbuf *why)
{
    char folder[STORE_PATH_MAX + 1];
    size_t len = (size_t)(strrchr(path, '/') + 1 - path);

    memcpy(folder, path, len); /* with its slash: a file in the place of the folder is then told as such */
    folder[len] = '\0';
    if (faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) == 0)
        return 0;
    strbuf_addf(why, "database %s: folder %s must exist and be writable: %s", path, folder, strerror(errno));
    return ERR_SYSTEM;
}

/* Asked before the file is opened, as opening a device can have effects of its own. */
static int check_kind(const char *path, bool *exists_out, struct strbuf *why)
{
    struct stat st;

    *exists_out = true;
    if (lstat(path, &st) != 0) {
        *exists_out = false;
        return errno == ENOENT ? 0 : system_error(path, "cannot be reached", why);
    }
    if (S_ISREG(st.st_mode))
        return 0;
    strbuf_addf(why, "database %s: this is %s; give the path of a regular file", path,
                S_ISLNK(st.st_mode)   ? "a symbolic link"
                : S_ISDIR(st.st_mode) ? "a folder"
                                      : "a device, pipe or socket");
    return ERR_SYSTEM;
}

static int make_file(struct store_file *file, struct strbuf *why)
{
    file->fd = open(file->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file->fd < 0)
        return errno == EEXIST ? 0 : system_error(file->path, "cannot be made", why);
    file->is_made = true;
    return 0;
}

static int open_file(struct store_file *file, int flags, struct strbuf *why)
{
    file->fd = open(file->path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (file->fd >= 0 || errno == ENOENT)
        return 0;
    return system_error(file->path, flags == O_RDWR ? "cannot be opened for writing" : "cannot be read", why);
}

/* The process that holds the flock, by /proc/locks ("1: FLOCK  ADVISORY  WRITE 123 fd:00:456 0 EOF"); false if that does not tell. */
static bool find_lock_holder(int fd, char pid_out[16])
{
    struct stat st;
    char line[256], ours[64], theirs[64];
    bool is_found = false;

    if (fstat(fd, &st) != 0)
        return false;
    FILE *locks = fopen("/proc/locks", "re");
    if (locks == NULL)
        return false;
    snprintf(ours, sizeof ours, "%02x:%02x:%" PRIu64, major(st.st_dev), minor(st.st_dev), (uint64_t)st.st_ino);
    while (!is_found && fgets(line, sizeof line, locks) != NULL)
        is_found = sscanf(line, "%*s FLOCK %*s WRITE %15s %63s", pid_out, theirs) == 2 && strcmp(ours, theirs) == 0;
    fclose(locks);
    return is_found;
}

static int refuse_in_use(const struct store_file *file, struct strbuf *why)
{
    char pid[16];

    strbuf_addf(why, "database %s: in use by another mc-proxy", file->path);
    if (find_lock_holder(file->fd, pid))
        strbuf_addf(why, " (pid %s)", pid);
    strbuf_add(why, "; stop that one first, or use another database");
    return ERR_IN_USE;
}

/* A lock that can be shared belongs to a check. It is not kept while waiting, or two waiting servers would take each other for one. */
static bool is_held_by_check(int fd)
{
    if (flock(fd, LOCK_SH | LOCK_NB) != 0)
        return false;
    (void)flock(fd, LOCK_UN);
    return true;
}

static int lock_file(struct store_file *file, struct strbuf *why)
{
    uint64_t start = clock_monotonic_ms();

    while (flock(file->fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return system_error(file->path, "cannot be locked", why);
        uint64_t limit = is_held_by_check(file->fd) ? LOCK_WAIT_CHECK_MS : LOCK_WAIT_MS;
        if (clock_monotonic_ms() - start >= limit)
            return refuse_in_use(file, why);
        usleep(LOCK_POLL_US);
    }
    return 0;
}

/* Whether the path still leads to what was opened: the server that held the lock may have removed its new file again. */
static bool is_still_there(const struct store_file *file)
{
    struct stat opened, now;

    return fstat(file->fd, &opened) == 0 && lstat(file->path, &now) == 0 && opened.st_ino == now.st_ino &&
           opened.st_dev == now.st_dev;
}

static int open_and_lock(struct store_file *file, struct strbuf *why)
{
    bool exists;
    int rc;

    for (int tries = 0; tries < REPLACED_TRIES; tries++) {
        if ((rc = check_kind(file->path, &exists, why)) != 0 ||
            (rc = exists ? open_file(file, O_RDWR, why) : make_file(file, why)) != 0)
            return rc;
        if (file->fd < 0)
            continue;
        if ((rc = lock_file(file, why)) != 0)
            return rc;
        if (is_still_there(file))
            return 0;
        close(file->fd);
        file->fd = -1;
        file->is_made = false;
    }
    strbuf_addf(why, "database %s: other processes keep replacing the file", file->path);
    return ERR_IN_USE;
}

static bool has_companion(const struct store_file *file, const char *suffix)
{
    char name[STORE_PATH_MAX + 16];
    struct stat st;

    snprintf(name, sizeof name, "%s%s", file->path, suffix);
    return lstat(name, &st) == 0 && st.st_size > 0;
}

bool store_file_has_full_wal(const struct store_file *file)
{
    return has_companion(file, "-wal");
}

bool store_file_has_wal(const struct store_file *file)
{
    char name[STORE_PATH_MAX + 16];

    snprintf(name, sizeof name, "%s-wal", file->path);
    return access(name, F_OK) == 0;
}

static uint32_t be32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

int store_file_judge(const char *path, uint32_t application_id, uint32_t version, int64_t objects, struct strbuf *why)
{
    if (application_id != 0 && application_id != STORE_APPLICATION_ID) {
        strbuf_addf(why, "database %s: this SQLite file belongs to another program (application_id 0x%08x)", path,
                    application_id);
        return ERR_FOREIGN;
    }
    if (application_id == 0 && (objects > 0 || version != 0)) {
        strbuf_addf(why, "database %s: this SQLite file was not made by mc-proxy", path);
        return ERR_FOREIGN;
    }
    if (version > store_schema_version()) {
        strbuf_addf(
            why,
            "database %s: made by a newer mc-proxy (schema %u, this one knows %u); use that version, or restore "
            "a snapshot",
            path, version, store_schema_version());
        return ERR_NEWER;
    }
    if (version == 0 && objects > 0) {
        strbuf_addf(why, "database %s: damaged (tables without a schema number); restore a snapshot", path);
        return ERR_CORRUPT;
    }
    return 0;
}

/*
 * Did the power go while the file was made? Then its journal says that there were no pages before (fileformat.html 3), and what is in
 * the file now is nobody's: SQLite will take it back to nothing.
 */
static bool is_stillborn(const struct store_file *file)
{
    static const uint8_t journal_magic[8] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
    char name[STORE_PATH_MAX + 16];
    uint8_t header[JOURNAL_PAGES_BEFORE + 4];
    ssize_t n = -1;

    snprintf(name, sizeof name, "%s-journal", file->path);
    int fd = file->has_journal ? open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    if (fd >= 0) {
        n = read_at(fd, header, sizeof header, 0);
        close(fd);
    }
    return n == (ssize_t)sizeof header && memcmp(header, journal_magic, sizeof journal_magic) == 0 &&
           be32(header + JOURNAL_PAGES_BEFORE) == 0;
}

static int check_header(struct store_file *file, struct strbuf *why)
{
    uint8_t header[HEADER_BYTES];
    ssize_t n = read_at(file->fd, header, sizeof header, 0);

    if (n < 0)
        return system_error(file->path, "cannot be read", why);
    file->is_empty = n == 0 || is_stillborn(file);
    if (file->is_empty)
        return 0;
    size_t compared = (size_t)n < sizeof header_magic ? (size_t)n : sizeof header_magic;
    if (memcmp(header, header_magic, compared) != 0) {
        strbuf_addf(why, "database %s: this is not an SQLite file", file->path);
        return ERR_FOREIGN;
    }
    if ((size_t)n < sizeof header) {
        strbuf_addf(why, "database %s: damaged (cut short within its header); restore a snapshot", file->path);
        return ERR_CORRUPT;
    }
    /* SQLite would roll an unfinished change back before anybody could count tables. A file of ours says so in its header from its first
     * change on, so this journal is another program's. */
    uint32_t application_id = be32(header + HEADER_APPLICATION_ID);
    int64_t objects = file->has_journal && application_id == 0 ? INT64_MAX : -1;
    return store_file_judge(file->path, application_id, be32(header + HEADER_USER_VERSION), objects, why);
}

static int look_at(struct store_file *file, struct strbuf *why)
{
    file->has_wal = has_companion(file, "-wal");
    file->has_journal = has_companion(file, "-journal");
    return check_header(file, why);
}

int store_file_open(const char *path, struct store_file *out, struct strbuf *why)
{
    int rc;

    *out = (struct store_file){.fd = -1};
    if ((rc = store_path_set(path, out->path, why)) != 0 || (rc = check_folder(out->path, why)) != 0 ||
        (rc = open_and_lock(out, why)) != 0 || (rc = look_at(out, why)) != 0)
        store_file_close(out, false);
    else if (
        out->is_empty) /* of our own making under some umask, or made by hand to become ours; then its owner may differ */
        (void)fchmod(out->fd, 0600);
    return rc;
}

static int inspect_existing(struct store_file *file, struct strbuf *why)
{
    int rc = open_file(file, O_RDONLY, why);

    if (rc != 0 || file->fd < 0)
        return rc;
    if (faccessat(AT_FDCWD, file->path, W_OK, AT_EACCESS) != 0)
        return system_error(file->path, "cannot be written", why);
    if (flock(file->fd, LOCK_SH | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return system_error(file->path, "cannot be locked", why);
        file->is_in_use = true;
    }
    return look_at(file, why);
}

int store_file_inspect(const char *path, struct store_file *out, struct strbuf *why)
{
    bool exists;
    int rc;

    *out = (struct store_file){.fd = -1};
    if ((rc = store_path_set(path, out->path, why)) == 0 && (rc = check_folder(out->path, why)) == 0 &&
        (rc = check_kind(out->path, &exists, why)) == 0 && exists)
        rc = inspect_existing(out, why);
    if (rc != 0)
        store_file_close(out, true);
    return rc;
}

void store_file_close(struct store_file *file, bool keep)
{
    static const char *const suffixes[] = {"-shm", "-wal", "-journal", ""};
    char name[STORE_PATH_MAX + 16];

    if (file->fd < 0)
        return;
    for (size_t i = 0; file->is_made && !keep && i < sizeof suffixes / sizeof suffixes[0]; i++) {
        snprintf(name, sizeof name, "%s%s", file->path, suffixes[i]);
        (void)unlink(name); /* best effort: an empty file is as good as none at the next start */
    }
    close(file->fd);
    file->fd = -1;
}
