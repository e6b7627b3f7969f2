#ifndef FAULT_TABLE_H
#define FAULT_TABLE_H

/* The table of wrapped calls, and how a wrapper reaches what it wraps. */

#include <dlfcn.h>
#include <stddef.h>

#include "fault_control.h"

/* clang-format off */
/*    name          interrupted  plausible errors */
#define FAULT_ALLOCATIONS(X)                                                            \
    X(malloc,         false, ENOMEM)                                                    \
    X(calloc,         false, ENOMEM)                                                    \
    X(realloc,        false, ENOMEM)                                                    \
    X(aligned_alloc,  false, ENOMEM)                                                    \
    X(posix_memalign, false, ENOMEM)
#define FAULT_SYSTEM_CALLS(X)                                                           \
    X(accept4,        true,  EMFILE, ECONNABORTED, ENOMEM, EINTR, EAGAIN)               \
    X(recv,           true,  ECONNRESET, ENOMEM, EINTR, EAGAIN, ETIMEDOUT)              \
    X(recvmsg,        true,  ENOMEM, EINTR, ECONNRESET)                                 \
    X(send,           true,  ECONNRESET, ENOBUFS, EINTR, EAGAIN, EPIPE)                 \
    X(sendmsg,        true,  ENOBUFS, EINTR, EAGAIN, ENOMEM)                             \
    X(connect,        false, EADDRNOTAVAIL, ENETUNREACH, ENOMEM, EACCES)                \
    X(socket,         false, EMFILE, ENOBUFS)                                           \
    X(socketpair,     false, EMFILE, ENOMEM)                                            \
    X(bind,           false, EADDRINUSE, ENOMEM)                                        \
    X(listen,         false, EADDRINUSE)                                                \
    X(setsockopt,     false, ENOBUFS, ENOMEM)                                           \
    X(getsockopt,     false, ENOBUFS)                                                   \
    X(getsockname,    false, ENOBUFS)                                                   \
    X(shutdown,       false, ENOTCONN)                                                  \
    X(close,          false, EIO, EINTR)                                                \
    X(epoll_create1,  false, EMFILE, ENOMEM)                                            \
    X(epoll_ctl,      false, ENOMEM, ENOSPC)                                            \
    X(epoll_wait,     true,  EINTR)                                                     \
    X(poll,           true,  EINTR, ENOMEM)                                             \
    X(read,           true,  EIO, EINTR)                                                \
    X(write,          true,  ENOSPC, EINTR, EPIPE, EAGAIN)                              \
    X(writev,         true,  ENOBUFS, EINTR, EPIPE, EAGAIN)                             \
    X(pread,          true,  EIO, EINTR)                                                \
    X(pwrite,         true,  ENOSPC, EIO, EINTR)                                        \
    X(pipe2,          false, EMFILE, ENFILE)                                            \
    X(eventfd,        false, EMFILE)                                                    \
    X(timerfd_create, false, EMFILE)                                                    \
    X(mmap,           false, ENOMEM)                                                    \
    X(munmap,         false, ENOMEM)                                                    \
    X(memfd_create,   false, EMFILE, ENOMEM)                                            \
    X(ftruncate,      false, ENOSPC, EIO, EINTR)                                        \
    X(fallocate,      true,  ENOSPC, EIO, EINTR)                                        \
    X(fsync,          false, EIO, ENOSPC)                                               \
    X(fdatasync,      false, EIO, ENOSPC)                                               \
    X(fstat,          false, EIO)                                                       \
    X(open,           false, EMFILE, ENOMEM, EINTR, EIO)                                \
    X(fopen,          false, EMFILE, ENOMEM)                                            \
    X(fcntl,          false, EMFILE, ENOLCK)                                            \
    X(flock,          false, ENOLCK, EINTR)                                             \
    X(unlink,         false, EIO)                                                       \
    X(fork,           false, EAGAIN, ENOMEM)                                            \
    X(exec,           false, ENOMEM, EACCES)                                            \
    X(waitpid,        true,  EINTR)                                                     \
    X(dup2,           false, EMFILE)                                                    \
    X(getrandom,      false, EAGAIN)                                                    \
    X(setgroups,      false, EPERM)                                                     \
    X(setresgid,      false, EPERM)                                                     \
    X(setresuid,      false, EAGAIN)                                                    \
    X(setrlimit,      false, EPERM)                                                     \
    X(prctl,          false, EINVAL)
/* clang-format on */
#define FAULT_CALLS(X) FAULT_ALLOCATIONS(X) FAULT_SYSTEM_CALLS(X)

#define FAULT_AS_ENUM(name, ...) CALL_##name,
enum { FAULT_CALLS(FAULT_AS_ENUM) CALL_COUNT };

/** The next definition of the wrapped function, looked up once (constructors do so for all, before any sandbox). */
static inline void *next(void **cache, const char *name)
{
    if (*cache == NULL) {
        fault_depth++;
        *cache = dlsym(RTLD_NEXT, name);
        fault_depth--;
    }
    return *cache;
}

#define REAL(name, ...) ((__typeof__(&name))next(&real_##name, #name))(__VA_ARGS__)

#endif
