/* Fork and execute, with a report. */

#include "child_start.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "err.h"

#define EXEC_FAILED 127 /* as shells report a program that could not be run */
#define FD_SCAN_MAX 65536

/* ---- in the child ---- */

void child_reset_signals(const int *ignored, unsigned count)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        sigaction(number, &action, NULL); /* fails for SIGKILL, SIGSTOP and libc's own two: nothing to reset there */
    action.sa_handler = SIG_IGN;
    for (unsigned i = 0; i < count; i++)
        sigaction(ignored[i], &action, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

int child_move_up(int *fd, int least)
{
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, least);

    if (moved < 0)
        return -1;
    *fd = moved;
    return 0;
}

void child_close_from(int first)
{
    struct rlimit limit = {.rlim_cur = FD_SCAN_MAX};

    if (syscall(SYS_close_range, first, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    getrlimit(RLIMIT_NOFILE, &limit); /* a kernel before 5.11 */
    for (int fd = first; fd < FD_SCAN_MAX && (rlim_t)fd < limit.rlim_cur; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
}

_Noreturn static void child_run(child_exec_fn fn, void *context, int report_fd)
{
    fn(context, &report_fd);
    int error_number = errno;
    ssize_t n = write(report_fd, &error_number, sizeof error_number);
    _exit(n == sizeof error_number ? EXEC_FAILED : EXEC_FAILED - 1);
}

/* ---- in the parent ---- */

/* All signals are blocked around fork: the child must not run our handlers, which write into the event loop's pipe. */
static pid_t fork_child(child_exec_fn fn, void *context, int report_fd)
{
    sigset_t all, before;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        child_run(fn, context, report_fd);
    int error_number = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = error_number;
    return pid;
}

/* errno of the child's failure, or 0 once the new program runs (or the child was killed, which is to be seen when it is reaped). */
static int read_report(int fd)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    uint64_t deadline = clock_monotonic_ms() + CHILD_START_WAIT_MS;
    int error_number = 0, rc;

    do {
        uint64_t now = clock_monotonic_ms();
        rc = poll(&pfd, 1, now < deadline ? (int)(deadline - now) : 0);
    } while (rc < 0 && errno == EINTR);
    if (rc == 0)
        return ETIMEDOUT;
    return read(fd, &error_number, sizeof error_number) == sizeof error_number ? error_number : 0;
}

static void kill_and_reap(pid_t pid)
{
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

int child_start(child_exec_fn fn, void *context, pid_t *pid_out)
{
    int report[2];

    if (pipe2(report, O_CLOEXEC) != 0)
        return ERR_SYSTEM;
    pid_t pid = fork_child(fn, context, report[1]);
    int error_number = pid < 0 ? errno : 0;
    close(report[1]);
    if (pid > 0)
        error_number = read_report(report[0]);
    close(report[0]);
    if (error_number == 0) {
        *pid_out = pid;
        return 0;
    }
    if (pid > 0)
        kill_and_reap(pid);
    errno = error_number;
    return ERR_SYSTEM;
}
