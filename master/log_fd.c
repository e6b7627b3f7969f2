/* Non-blocking writes to a descriptor whose file status flags are not ours to change. */

#include "log_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/** The same pipe or terminal with a file description of our own; -1 if the system refuses (a FIFO without reader, another user's). */
static int open_again(int fd)
{
    char path[40];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NONBLOCK | O_APPEND | O_NOCTTY | O_CLOEXEC);
}

struct log_fd log_fd_open(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return (struct log_fd){.fd = fd, .kind = LOG_FD_SHARED};
    if (S_ISSOCK(st.st_mode))
        return (struct log_fd){.fd = fd, .kind = LOG_FD_SOCKET};
    if (S_ISREG(st.st_mode))
        return (struct log_fd){.fd = fd, .kind = LOG_FD_FILE};
    int own = open_again(fd);
    if (own < 0)
        return (struct log_fd){.fd = fd, .kind = LOG_FD_SHARED};
    return (struct log_fd){.fd = own, .kind = LOG_FD_OWN};
}

void log_fd_close(struct log_fd *f)
{
    if (f->kind == LOG_FD_OWN)
        close(f->fd);
    f->fd = -1;
}

/** poll() says that a pipe takes PIPE_BUF bytes without blocking, and not more; pipe(7). */
static ssize_t write_if_ready(int fd, struct bytes b)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    if (poll(&p, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(fd, b.ptr, b.len < PIPE_BUF ? b.len : PIPE_BUF);
}

ssize_t log_fd_write(const struct log_fd *f, struct bytes b)
{
    switch (f->kind) {
    case LOG_FD_SOCKET: return send(f->fd, b.ptr, b.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    case LOG_FD_SHARED: return write_if_ready(f->fd, b);
    case LOG_FD_FILE:
    case LOG_FD_OWN: break;
    }
    return write(f->fd, b.ptr, b.len);
}

bool log_fd_wait(const struct log_fd *f, int timeout_ms)
{
    struct pollfd p = {.fd = f->fd, .events = POLLOUT};

    return poll(&p, 1, timeout_ms) != 0;
}
