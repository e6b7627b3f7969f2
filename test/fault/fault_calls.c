/* The wrapped system calls: for most a wrapper that is nothing but "fail, or make the call". */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_table.h"

/* A wrapper has the prototype of what it wraps, but not its promises (nonnull, fortified inlines). */

#define AS_ROW(name, interrupted, ...) {#name, interrupted, {__VA_ARGS__, 0}},
const struct fault_call fault_calls[] = {FAULT_CALLS(AS_ROW)};
const unsigned fault_call_count = CALL_COUNT;

/* ---- what is known of a descriptor, from the calls that made it: to ask the kernel is more than a worker's filter lets pass ---- */

#define FDS_MAX 65536

static struct {
    int epoll_fd; /* plus one; 0: in no set */
    struct epoll_event event;
    bool is_eventfd;
    bool is_stream; /* a stream socket */
} known[FDS_MAX];

static bool is_knowable(int fd)
{
    return fd >= 0 && fd < FDS_MAX;
}

/* ---- a call that was not made, or not in full, must not swallow an edge of an edge-triggered set ---- */

static void *real_epoll_ctl;

/** The kernel reports what is still ready once more, as it would if the call had really found what it said. */
static void rearm(int fd)
{
    int before = errno;

    if (is_knowable(fd) && known[fd].epoll_fd > 0)
        (void)REAL(epoll_ctl, known[fd].epoll_fd - 1, EPOLL_CTL_MOD, fd, &known[fd].event);
    errno = before;
}

int epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event)
{
    if (op != EPOLL_CTL_DEL && fault_strikes(CALL_epoll_ctl))
        return -1;
    int rc = REAL(epoll_ctl, epoll_fd, op, fd, event);
    if (rc == 0 && is_knowable(fd)) {
        known[fd].epoll_fd = op == EPOLL_CTL_DEL ? 0 : epoll_fd + 1;
        if (event != NULL)
            known[fd].event = *event;
    }
    return rc;
}

/** Reading and writing an eventfd takes no time and nothing else: it cannot fail, and libev relies on that. */
static bool strikes_fd(unsigned call, int fd)
{
    if ((is_knowable(fd) && known[fd].is_eventfd) || !fault_strikes(call))
        return false;
    rearm(fd);
    return true;
}

static void *real_close;

/* The descriptor is gone whatever close() says (close(2)). */
int close(int fd)
{
    bool fails = fault_strikes(CALL_close);
    int error = errno;

    if (is_knowable(fd))
        memset(&known[fd], 0, sizeof known[fd]);
    int rc = REAL(close, fd);
    if (fails) {
        errno = error;
        return -1;
    }
    return rc;
}

/* ---- reads and writes that may be cut ---- */

/** How much of `len` bytes this call moves. */
static size_t cut_stream(int fd, size_t len)
{
    return len > 1 && is_knowable(fd) && known[fd].is_stream && fault_is_short() ? 1 : len;
}

static size_t cut_file(size_t len)
{
    return len > 1 && fault_is_short() ? (len + 1) / 2 : len;
}

#define STREAM_CALL(name, params, fd, len, ...) \
    static void *real_##name;                   \
    ssize_t name params                         \
    {                                           \
        if (strikes_fd(CALL_##name, fd))        \
            return -1;                          \
        size_t part = cut_stream(fd, len);      \
        ssize_t n = REAL(name, __VA_ARGS__);    \
        if (part < (len))                       \
            rearm(fd);                          \
        return n;                               \
    }

STREAM_CALL(recv, (int fd, void *to, size_t len, int flags), fd, len, fd, to, flags &MSG_PEEK ? len : part, flags)
STREAM_CALL(send, (int fd, const void *from, size_t len, int flags), fd, len, fd, from, part, flags)
STREAM_CALL(read, (int fd, void *to, size_t len), fd, len, fd, to, part)
STREAM_CALL(write, (int fd, const void *from, size_t len), fd, len, fd, from, part)

#define FILE_CALL(name, params, len, ...) \
    static void *real_##name;             \
    ssize_t name params                   \
    {                                     \
        if (fault_strikes(CALL_##name))   \
            return -1;                    \
        size_t part = cut_file(len);      \
        return REAL(name, __VA_ARGS__);   \
    }

FILE_CALL(pread, (int fd, void *to, size_t len, off_t at), len, fd, to, part, at)
FILE_CALL(pwrite, (int fd, const void *from, size_t len, off_t at), len, fd, from, part, at)
ssize_t pread64(int fd, void *to, size_t len, off64_t at)
{
    return pread(fd, to, len, at);
}
ssize_t pwrite64(int fd, const void *from, size_t len, off64_t at)
{
    return pwrite(fd, from, len, at);
}
ssize_t __pread_chk(int fd, void *to, size_t len, off_t at, size_t room);
ssize_t __pread_chk(int fd, void *to, size_t len, off_t at, size_t room)
{
    return len > room ? (abort(), -1) : pread(fd, to, len, at);
}
ssize_t __read_chk(int fd, void *to, size_t len, size_t room);
ssize_t __read_chk(int fd, void *to, size_t len, size_t room)
{
    return len > room ? (abort(), -1) : read(fd, to, len);
}
ssize_t __recv_chk(int fd, void *to, size_t len, size_t room, int flags);
ssize_t __recv_chk(int fd, void *to, size_t len, size_t room, int flags)
{
    return len > room ? (abort(), -1) : recv(fd, to, len, flags);
}

/* ---- calls that fail or are made ---- */

#define FD_CALL(type, name, params, ...)                                   \
    static void *real_##name;                                              \
    type name params                                                       \
    {                                                                      \
        return strikes_fd(CALL_##name, fd) ? -1 : REAL(name, __VA_ARGS__); \
    }
#define PLAIN_CALL(type, failed, name, params, ...)                           \
    static void *real_##name;                                                 \
    type name params                                                          \
    {                                                                         \
        return fault_strikes(CALL_##name) ? failed : REAL(name, __VA_ARGS__); \
    }

FD_CALL(ssize_t, recvmsg, (int fd, struct msghdr *msg, int flags), fd, msg, flags)
FD_CALL(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags), fd, msg, flags)
FD_CALL(ssize_t, writev, (int fd, const struct iovec *iov, int count), fd, iov, count)
PLAIN_CALL(int, -1, connect, (int fd, const struct sockaddr *sa, socklen_t len), fd, sa, len)
PLAIN_CALL(int, -1, socketpair, (int family, int type, int protocol, int out[2]), family, type, protocol, out)
PLAIN_CALL(int, -1, bind, (int fd, const struct sockaddr *sa, socklen_t len), fd, sa, len)
PLAIN_CALL(int, -1, listen, (int fd, int backlog), fd, backlog)
PLAIN_CALL(int, -1, setsockopt, (int fd, int level, int name, const void *value, socklen_t len), fd, level, name, value,
           len)
PLAIN_CALL(int, -1, getsockname, (int fd, struct sockaddr *sa, socklen_t *len), fd, sa, len)
PLAIN_CALL(int, -1, shutdown, (int fd, int how), fd, how)
PLAIN_CALL(int, -1, epoll_create1, (int flags), flags)
PLAIN_CALL(int, -1, epoll_wait, (int fd, struct epoll_event *events, int max, int timeout), fd, events, max, timeout)
PLAIN_CALL(int, -1, poll, (struct pollfd * fds, nfds_t count, int timeout), fds, count, timeout)
PLAIN_CALL(int, -1, pipe2, (int out[2], int flags), out, flags)
PLAIN_CALL(int, -1, munmap, (void *at, size_t len), at, len)
PLAIN_CALL(int, -1, memfd_create, (const char *name, unsigned flags), name, flags)
PLAIN_CALL(int, -1, ftruncate, (int fd, off_t size), fd, size)
PLAIN_CALL(int, -1, fallocate, (int fd, int mode, off_t at, off_t len), fd, mode, at, len)
PLAIN_CALL(int, -1, fsync, (int fd), fd)
PLAIN_CALL(int, -1, fdatasync, (int fd), fd)
PLAIN_CALL(int, -1, fstat, (int fd, struct stat *out), fd, out)
PLAIN_CALL(int, -1, unlink, (const char *path), path)
PLAIN_CALL(FILE *, NULL, fopen, (const char *path, const char *mode), path, mode)
PLAIN_CALL(int, -1, dup2, (int from, int to), from, to)
PLAIN_CALL(void *, MAP_FAILED, mmap, (void *at, size_t len, int prot, int flags, int fd, off_t offset), at, len, prot,
           flags, fd, offset)
PLAIN_CALL(int, -1, waitpid, (pid_t pid, int *status, int options), pid, status, options)

static void *real_accept4, *real_socket, *real_eventfd, *real_getsockopt;

int accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags)
{
    int accepted = strikes_fd(CALL_accept4, fd) ? -1 : REAL(accept4, fd, sa, len, flags);

    if (is_knowable(accepted))
        known[accepted].is_stream = true; /* nobody here listens on anything else */
    return accepted;
}

int socket(int family, int type, int protocol)
{
    int fd = fault_strikes(CALL_socket) ? -1 : REAL(socket, family, type, protocol);

    if (is_knowable(fd))
        known[fd].is_stream = (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_STREAM;
    return fd;
}

int eventfd(unsigned count, int flags)
{
    int fd = fault_strikes(CALL_eventfd) ? -1 : REAL(eventfd, count, flags);

    if (is_knowable(fd))
        known[fd].is_eventfd = true;
    return fd;
}

PLAIN_CALL(int, -1, timerfd_create, (clockid_t clock, int flags), clock, flags)
PLAIN_CALL(int, -1, flock, (int fd, int operation), fd, operation)
PLAIN_CALL(ssize_t, -1, getrandom, (void *to, size_t len, unsigned flags), to, len, flags)
PLAIN_CALL(int, -1, setgroups, (size_t count, const gid_t *groups), count, groups)
PLAIN_CALL(int, -1, setresgid, (gid_t a, gid_t b, gid_t c), a, b, c)
PLAIN_CALL(int, -1, setresuid, (uid_t a, uid_t b, uid_t c), a, b, c)
PLAIN_CALL(int, -1, setrlimit, (__rlimit_resource_t which, const struct rlimit *limit), which, limit)

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    return fault_strikes(CALL_getsockopt) ? -1 : REAL(getsockopt, fd, level, name, value, len);
}

void *mmap64(void *at, size_t len, int prot, int flags, int fd, off64_t offset)
{
    return mmap(at, len, prot, flags, fd, offset);
}

int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

int fallocate64(int fd, int mode, off64_t at, off64_t len)
{
    return fallocate(fd, mode, at, len);
}

int fstat64(int fd, struct stat64 *out)
{
    return fstat(fd, (struct stat *)out);
}

FILE *fopen64(const char *path, const char *mode)
{
    return fopen(path, mode);
}

/* ---- those with arguments that may be missing ---- */

static void *real_open, *real_fcntl, *real_prctl, *real_syscall, *real_execve, *real_fork;

int open(const char *path, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fault_strikes(CALL_open) ? -1 : REAL(open, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open(path, flags, mode);
}

int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
    return open(path, flags);
}

/** Reading and setting flags cannot fail. */
static bool may_fail(int command)
{
    return command != F_GETFD && command != F_SETFD && command != F_GETFL && command != F_SETFL;
}

int fcntl(int fd, int command, ...)
{
    va_list args;

    va_start(args, command);
    void *argument = va_arg(args, void *);
    va_end(args);
    return may_fail(command) && fault_strikes(CALL_fcntl) ? -1 : REAL(fcntl, fd, command, argument);
}

int fcntl64(int fd, int command, ...)
{
    va_list args;

    va_start(args, command);
    void *argument = va_arg(args, void *);
    va_end(args);
    return fcntl(fd, command, argument);
}

int prctl(int option, ...)
{
    va_list args;
    unsigned long a[4];

    va_start(args, option);
    for (int i = 0; i < 4; i++)
        a[i] = va_arg(args, unsigned long);
    va_end(args);
    return fault_strikes(CALL_prctl) ? -1 : REAL(prctl, option, a[0], a[1], a[2], a[3]);
}

pid_t fork(void)
{
    if (fault_strikes(CALL_fork))
        return -1;
    pid_t pid = REAL(fork, );
    if (pid == 0)
        fault_in_child();
    return pid;
}

int execve(const char *path, char *const *argv, char *const *envp)
{
    return fault_strikes(CALL_exec) ? -1 : REAL(execve, path, argv, fault_environment(envp));
}

long syscall(long number, ...)
{
    va_list args;
    long a[6];

    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if (number == SYS_execveat) {
        if (fault_strikes(CALL_exec))
            return -1;
        a[3] = (long)fault_environment((char *const *)a[3]);
    }
    return REAL(syscall, number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

#define LOOK_UP(name, ...) (void)next(&real_##name, #name);
static void *real_exec = &real_execve; /* stands for execve and execveat: there is no function of that name */

__attribute__((constructor(101))) static void look_all_up(void)
{
    FAULT_SYSTEM_CALLS(LOOK_UP)
    (void)next(&real_syscall, "syscall");
    (void)next(&real_execve, "execve");
}
