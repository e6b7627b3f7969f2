/* What a worker gives up before it meets the first stranger. The home of libseccomp. */

#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/sockios.h>

#include "err.h"
#include "version.h"

static int fail(struct strbuf *why, const char *what, int error_number)
{
    strbuf_addf(why, "cannot %s: %s", what, strerror(error_number));
    return ERR_SYSTEM;
}

/**
 * A program file with capabilities gives them to workers too, and these are no root that would lose them with its user. A service
 * manager's filter may keep capset(2) away; what is only inheritable then stays, and is worth nothing with no_new_privs.
 */
static int drop_capabilities(struct strbuf *why)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    static const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];
    struct __user_cap_data_struct left[_LINUX_CAPABILITY_U32S_3];

    if (syscall(SYS_capset, &header, none) == 0)
        return 0;
    int error_number = errno;
    if (syscall(SYS_capget, &header, left) == 0 && left[0].permitted == 0 && left[1].permitted == 0)
        return 0;
    return fail(why, "give up capabilities", error_number);
}

static void drop_bounding_set(void)
{
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
}

static int drop_user(uint32_t uid, uint32_t gid, struct strbuf *why)
{
    if (uid == UINT32_MAX)
        return 0;
    if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0)
        return fail(why, "give up root's groups", errno);
    if (setresuid(uid, uid, uid) != 0) /* takes all capabilities with it */
        return fail(why, "become the configured user", errno);
    if (uid != 0 && setuid(0) == 0)
        return fail(why, "give up root for good", EPERM);
    return 0;
}

#ifdef MCPROXY_SANITIZED

/*
 * The sanitizers' own runtime makes calls of its own (maps, clones a tracer, opens /proc) that no worker makes, and the tracer, which
 * looks for leaks at the end, must be allowed to be born and to look.
 */
static int limit_resources(struct strbuf *why)
{
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fail(why, "refuse new privileges", errno);
    return 0;
}

static int filter_calls(struct strbuf *why)
{
    (void)why;
    return 0;
}

#else

#ifdef MCPROXY_COVERAGE
/* A build that counts lines writes what it has counted into files at its end (gcov), so it may do that. A limit that it was given is not
 * raised: that is root's. */
static const struct rlimit file_size = {64u << 20, 64u << 20};
static const int counting_calls[] = {SCMP_SYS(openat),     SCMP_SYS(fcntl), SCMP_SYS(mkdir),
                                     SCMP_SYS(newfstatat), SCMP_SYS(fstat), SCMP_SYS(ftruncate)};
#else
static const struct rlimit file_size = {0, 0};
#endif

static int limit_resources(struct strbuf *why)
{
    static const struct rlimit none = {0, 0};

    if (setrlimit(RLIMIT_NPROC, &none) != 0 || setrlimit(RLIMIT_FSIZE, &file_size) != 0 ||
        setrlimit(RLIMIT_CORE, &none) != 0)
        return fail(why, "limit resources", errno);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fail(why, "refuse new privileges", errno);
    return 0;
}

/* Calls that are allowed whatever their arguments. */
/* clang-format off */
static const int plain_calls[] = {
    /* connections */
    SCMP_SYS(accept4), SCMP_SYS(connect), SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(shutdown), SCMP_SYS(close),
    SCMP_SYS(getsockname),
    /* the loop and the control socket */
    SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_ctl), SCMP_SYS(read), SCMP_SYS(recvmsg), SCMP_SYS(sendmsg),
    /* clocks, where the kernel does not give them without a call */
    SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(clock_nanosleep),
    /* malloc and other parts of libc */
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(getrandom),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall),
    /* the end of a process, orderly or by abort() and with a last line on standard error */
    SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(lseek), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(getpid),
    SCMP_SYS(gettid), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(sigaltstack),
};
/* clang-format on */

/* Calls of which only some uses are needed: all comparisons of a row must hold. */
struct narrow_call {
    int call;
    unsigned count;
    struct scmp_arg_cmp args[3];
};

/* The 0 that ends a plain comparison says what clang wants to be told: there is no second operand. */
#define IS(argument, value)                         \
    {                                               \
        argument, SCMP_CMP_EQ, (uint64_t)(value), 0 \
    }
#define HAS(argument, mask, of)                                        \
    {                                                                  \
        argument, SCMP_CMP_MASKED_EQ, (uint64_t)(mask), (uint64_t)(of) \
    }
#define TYPE_BITS ~(uint64_t)(SOCK_NONBLOCK | SOCK_CLOEXEC)
#define STREAM(family)                                              \
    {                                                               \
        SCMP_SYS(socket), 3,                                        \
        {                                                           \
            IS(0, family), HAS(1, TYPE_BITS, SOCK_STREAM), IS(2, 0) \
        }                                                           \
    }
#define OPTION(level, name)           \
    {                                 \
        SCMP_SYS(setsockopt), 2,      \
        {                             \
            IS(1, level), IS(2, name) \
        }                             \
    }

/* clang-format off */
static const struct narrow_call narrow_calls[] = {
    STREAM(AF_INET),
    STREAM(AF_INET6),
    STREAM(AF_UNIX),
    OPTION(SOL_SOCKET, SO_LINGER),
    OPTION(SOL_SOCKET, SO_RCVLOWAT),
    OPTION(IPPROTO_TCP, TCP_NODELAY),
    /* Memory of its own, or to read what was passed to it (a new GeoIP database); none of it executable. */
    {SCMP_SYS(mmap), 2, {HAS(2, PROT_EXEC, 0), HAS(3, MAP_ANONYMOUS, MAP_ANONYMOUS)}},
    {SCMP_SYS(mmap), 1, {IS(2, PROT_READ)}},
    {SCMP_SYS(mprotect), 1, {HAS(2, PROT_EXEC, 0)}},
    {SCMP_SYS(ioctl), 1, {IS(1, SIOCOUTQ)}},
    {SCMP_SYS(fcntl), 1, {IS(1, F_GET_SEALS)}}, /* a new GeoIP database: is it sealed? */
};
/* clang-format on */

static int allow_plain(scmp_filter_ctx filter)
{
    for (unsigned i = 0; i < sizeof plain_calls / sizeof plain_calls[0]; i++) {
        int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, plain_calls[i], 0);
        if (rc != 0)
            return rc;
    }
#ifdef MCPROXY_COVERAGE
    for (unsigned i = 0; i < sizeof counting_calls / sizeof counting_calls[0]; i++) {
        int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, counting_calls[i], 0);
        if (rc != 0)
            return rc;
    }
#endif
    return 0;
}

/** 0 or a negative errno. */
static int allow_some(scmp_filter_ctx filter)
{
    for (unsigned i = 0; i < sizeof narrow_calls / sizeof narrow_calls[0]; i++) {
        const struct narrow_call *n = &narrow_calls[i];
        int rc = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, n->call, n->count, n->args);
        if (rc != 0)
            return rc;
    }
    /* Only this process may be signalled, which is how abort() ends it. */
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, (uint64_t)getpid(), 0));
}

static int filter_calls(struct strbuf *why)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int rc = -ENOMEM;

    /* Calls in the manner of another architecture (32 bits) kill the process too, and not only a thread. */
    if (filter != NULL && (rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)) == 0 &&
        (rc = allow_plain(filter)) == 0 && (rc = allow_some(filter)) == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc == 0 ? 0 : fail(why, "install the system-call filter", -rc);
}

#endif

int sandbox_enter(uint32_t uid, uint32_t gid, struct strbuf *why)
{
    int rc;

    drop_bounding_set(); /* while we may: an unprivileged worker may not, and has no_new_privs to make it worth nothing */
    if ((rc = drop_user(uid, gid, why)) != 0 || (rc = drop_capabilities(why)) != 0 ||
        (rc = limit_resources(why)) != 0 || (rc = filter_calls(why)) != 0)
        return rc;
    return 0;
}

const char *version_of_seccomp(void)
{
    static char text[32];
    const struct scmp_version *v = seccomp_version();

    snprintf(text, sizeof text, "%u.%u.%u", v->major, v->minor, v->micro);
    return text;
}
