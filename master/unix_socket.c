/* Listening Unix sockets with a name that changes hands in one step. */

#include "unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "err.h"

#define BACKLOG 64

static int fail_errno(struct strbuf *why, const char *what)
{
    strbuf_addf(why, "%s: %s", what, strerror(errno));
    return ERR_SYSTEM;
}

/* ---- what is there already ---- */

/** Does anybody accept connections there? A full queue is somebody, too. */
static bool is_served(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return true; /* cannot tell: leave it alone */
    memcpy(addr.sun_path, path, strlen(path) + 1);
    int rc = connect(fd, (struct sockaddr *)&addr, sizeof addr);
    int error_number = rc == 0 ? 0 : errno;
    close(fd);
    return rc == 0 || (error_number != ECONNREFUSED && error_number != ENOENT);
}

static int check_place(const char *path, struct strbuf *why)
{
    struct stat st;

    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : fail_errno(why, "cannot look there");
    if (!S_ISSOCK(st.st_mode)) {
        strbuf_add(why, "something that is no socket is there; remove it or choose another path");
        return ERR_IN_USE;
    }
    if (is_served(path)) {
        strbuf_add(why,
                   "another program, or another mc-proxy, accepts connections there; stop it or choose another path");
        return ERR_IN_USE;
    }
    return 0;
}

/* ---- the folder ---- */

/** The folder of an absolute path, opened to name files in it; -1 with errno. */
static int open_folder(const char *path)
{
    char folder[BACKEND_UNIX_PATH_MAX + 1];
    size_t len = (size_t)(strrchr(path, '/') - path);

    memcpy(folder, path, len);
    folder[len] = '\0';
    return open(len > 0 ? folder : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static const char *name_of(const char *path)
{
    return strrchr(path, '/') + 1;
}

/* ---- binding ---- */

/**
 * The hidden name may make the path longer than a socket address can hold, so the folder goes in by its descriptor. The mode of the
 * file is that of the socket's inode less the umask, so it can never be seen with more than 0600; less is mended afterwards.
 */
static int bind_hidden(struct unix_socket *s, int folder)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct stat st;

    snprintf(addr.sun_path, sizeof addr.sun_path, "/proc/self/fd/%d/%s", folder, s->hidden);
    if (fchmod(s->fd, 0600) != 0 || (unlinkat(folder, s->hidden, 0) != 0 && errno != ENOENT) ||
        bind(s->fd, (struct sockaddr *)&addr, sizeof addr) != 0)
        return -1;
    if (fchmodat(folder, s->hidden, 0600, 0) != 0 || fstatat(folder, s->hidden, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        listen(s->fd, BACKLOG) != 0) {
        int error_number = errno;
        (void)unlinkat(folder, s->hidden, 0);
        errno = error_number;
        return -1;
    }
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    return 0;
}

int unix_socket_open(const char *path, struct unix_socket *out, struct strbuf *why)
{
    static unsigned number; /* several may be prepared at once */
    int rc = check_place(path, why);

    if (rc != 0)
        return rc;
    *out = (struct unix_socket){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    memcpy(out->path, path, strlen(path) + 1);
    snprintf(out->hidden, sizeof out->hidden, ".mc-proxy-%d-%u", (int)getpid(), number++);
    int folder = open_folder(path);
    if (out->fd < 0 || folder < 0 || bind_hidden(out, folder) != 0)
        rc = fail_errno(why, folder < 0 ? "the folder cannot be opened" : "cannot make a socket there");
    out->folder = folder;
    if (rc != 0 && folder >= 0)
        close(folder);
    if (rc != 0 && out->fd >= 0)
        close(out->fd);
    return rc;
}

int unix_socket_publish(struct unix_socket *s)
{
    struct stat st;
    int rc = ERR_SYSTEM;

    CHECK(s->hidden[0] != '\0');
    if (fstatat(s->folder, name_of(s->path), &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISSOCK(st.st_mode))
        rc = ERR_IN_USE; /* since we looked */
    else if (renameat(s->folder, s->hidden, s->folder, name_of(s->path)) == 0)
        rc = 0;
    if (rc == 0) {
        s->hidden[0] = '\0';
        close(s->folder);
    }
    return rc;
}

/* ---- the end ---- */

static void remove_file(const struct unix_socket *s)
{
    int folder = open_folder(s->path);
    const char *name = s->hidden[0] != '\0' ? s->hidden : name_of(s->path);
    struct stat st;

    if (folder < 0)
        return;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
        (void)unlinkat(folder, name, 0);
    close(folder);
}

void unix_socket_close(struct unix_socket *s)
{
    if (s->fd < 0)
        return;
    remove_file(s);
    unix_socket_abandon(s);
}

void unix_socket_abandon(struct unix_socket *s)
{
    if (s->fd >= 0 && s->hidden[0] != '\0')
        close(s->folder);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}
