/* What a worker gives up before it meets the first stranger. The home of libseccomp. */

#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "err.h"
#include "version.h"

static int fail(struct strbuf *why, const char *what, int error_number)
{
    strbuf_addf(why, "cannot %s: %s", what, strerror(error_number));
    return ERR_SYSTEM;
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

static int limit_resources(struct strbuf *why)
{
    static const struct rlimit none = {0, 0};

    if (setrlimit(RLIMIT_NPROC, &none) != 0 || setrlimit(RLIMIT_FSIZE, &none) != 0 ||
        setrlimit(RLIMIT_CORE, &none) != 0)
        return fail(why, "limit resources", errno);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fail(why, "refuse new privileges", errno);
    return 0;
}

/* Calls that are allowed whatever their arguments. Each is made by relaying, by the loop, by malloc, or by the end of a process. */
static const int plain_calls[] = {
    SCMP_SYS(accept4),        SCMP_SYS(recvfrom),        SCMP_SYS(sendto),
    SCMP_SYS(recvmsg),        SCMP_SYS(sendmsg),         SCMP_SYS(connect),
    SCMP_SYS(shutdown),       SCMP_SYS(close),           SCMP_SYS(setsockopt),
    SCMP_SYS(getsockopt),     SCMP_SYS(getsockname),     SCMP_SYS(getpeername),
    SCMP_SYS(epoll_wait),     SCMP_SYS(epoll_pwait),     SCMP_SYS(epoll_ctl),
    SCMP_SYS(read),           SCMP_SYS(write),           SCMP_SYS(writev),
    SCMP_SYS(splice),         SCMP_SYS(pipe2),           SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),   SCMP_SYS(clock_nanosleep), SCMP_SYS(munmap),
    SCMP_SYS(mremap),         SCMP_SYS(madvise),         SCMP_SYS(brk),
    SCMP_SYS(futex),          SCMP_SYS(getrandom),       SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction),    SCMP_SYS(sigaltstack),
    SCMP_SYS(getpid),         SCMP_SYS(gettid),          SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),           SCMP_SYS(exit_group),      SCMP_SYS(lseek),
};

static int allow_plain(scmp_filter_ctx filter)
{
    for (unsigned i = 0; i < sizeof plain_calls / sizeof plain_calls[0]; i++) {
        int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, plain_calls[i], 0);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/** Calls of which only some uses are needed. 0 or a negative errno. */
static int allow_some(scmp_filter_ctx filter)
{
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
    /* The 0 that ends a plain comparison says what clang wants to be told: there is no second operand. */
    const uint64_t type_mask = ~(uint64_t)(SOCK_NONBLOCK | SOCK_CLOEXEC);
    int rc = 0;

    for (unsigned i = 0; i < sizeof families / sizeof families[0] && rc == 0; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
                              SCMP_A0(SCMP_CMP_EQ, (uint64_t)families[i], 0),
                              SCMP_A1(SCMP_CMP_MASKED_EQ, type_mask, SOCK_STREAM));
    /* Memory, but never executable; only this process may be signalled, which is how abort() ends it. */
    if (rc != 0 ||
        (rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0))) !=
            0 ||
        (rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0))) != 0 ||
        (rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                               SCMP_A0(SCMP_CMP_EQ, (uint64_t)getpid(), 0))) != 0 ||
        (rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, SIOCOUTQ, 0))) != 0 ||
        /* A new GeoIP database: is it sealed? */
        (rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_GET_SEALS, 0))) != 0)
        return rc;
    return 0;
}

static int filter_calls(struct strbuf *why)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int rc = -ENOMEM;

    if (filter != NULL && (rc = allow_plain(filter)) == 0 && (rc = allow_some(filter)) == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc == 0 ? 0 : fail(why, "install the system-call filter", -rc);
}

#endif

int sandbox_enter(uint32_t uid, uint32_t gid, struct strbuf *why)
{
    int rc;

    if ((rc = drop_user(uid, gid, why)) != 0 || (rc = limit_resources(why)) != 0 || (rc = filter_calls(why)) != 0)
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
