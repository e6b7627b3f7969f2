#ifndef LOG_FD_H
#define LOG_FD_H

#include <stdbool.h>
#include <sys/types.h>

#include "bytes.h"
#include "check.h"

/*
 * Writing to a descriptor that we inherited and share (standard error) without ever blocking on it and without changing it for the
 * others who hold it: O_NONBLOCK belongs to the open file description, so setting it would reach the parent's terminal too.
 */
enum log_fd_kind {
    LOG_FD_SOCKET, /* send() with MSG_DONTWAIT */
    LOG_FD_FILE,   /* plain writes: a regular file is always ready */
    LOG_FD_OWN,    /* a pipe or terminal, opened once more with O_NONBLOCK */
    LOG_FD_SHARED, /* the same, where that was refused: poll(), then at most PIPE_BUF bytes */
};

struct log_fd {
    int fd; /* to write to and to wait on */
    enum log_fd_kind kind;
};

/** Find out how to write to fd, which stays the caller's and must stay open. Never fails; LOG_FD_SHARED is the last resort. */
struct log_fd log_fd_open(int fd);

/** Close what log_fd_open() opened. */
void log_fd_close(struct log_fd *f);

/** As write(2): the number of bytes, or -1 and errno; EAGAIN when it would block. The process ignores SIGPIPE. */
ssize_t log_fd_write(const struct log_fd *f, struct bytes b) MUST_CHECK;

/** Wait until something can be written or the other side is gone; false when timeout_ms passed first. */
bool log_fd_wait(const struct log_fd *f, int timeout_ms);

#endif
