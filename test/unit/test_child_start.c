/* Starting programs: they run, or it is known why not; nothing stays behind, and nobody waits for ever. */

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "child_start.h"
#include "clock.h"
#include "err.h"

/* The shape is child_exec_fn's. NOLINTBEGIN(readability-non-const-parameter) */
static void exec_path(void *context, int *report_fd)
{
    char *argv[] = {context, NULL}, *environment[] = {NULL};

    (void)report_fd;
    child_reset_signals(NULL, 0);
    execve(context, argv, environment);
}

static unsigned open_fd_count(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void test_a_program_runs_and_is_the_callers_to_reap(void **state)
{
    static char program[] = "/bin/false";
    unsigned before = open_fd_count();
    pid_t pid;
    int status;

    (void)state;
    assert_int_equal(child_start(exec_path, program, &pid), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_int_equal(open_fd_count(), before);
}

static void test_a_program_that_cannot_run_is_an_error_with_its_reason(void **state)
{
    static const struct {
        const char *path;
        int error_number;
    } cases[] = {{"/nonexistent/program", ENOENT}, {"/etc/passwd", EACCES}, {"/", EACCES}};
    unsigned before = open_fd_count();

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[64];
        pid_t pid;
        snprintf(path, sizeof path, "%s", cases[i].path);
        assert_int_equal(child_start(exec_path, path, &pid), ERR_SYSTEM);
        assert_int_equal(errno, cases[i].error_number);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
    }
    assert_int_equal(open_fd_count(), before);
}

static void exec_move_report(void *context, int *report_fd)
{
    (void)context;
    if (child_move_up(report_fd, 100) == 0)
        errno = *report_fd >= 100 && (fcntl(*report_fd, F_GETFD) & FD_CLOEXEC) != 0 ? EDOM : ERANGE;
}

static void test_the_report_may_be_moved(void **state)
{
    pid_t pid;

    (void)state;
    assert_int_equal(child_start(exec_move_report, NULL, &pid), ERR_SYSTEM);
    assert_int_equal(errno, EDOM);
}

static void exec_stop(void *context, int *report_fd)
{
    (void)context;
    (void)report_fd;
    child_reset_signals(NULL, 0);
    raise(SIGSTOP);
    errno = EDOM;
}

static void test_a_child_that_is_stopped_before_it_executes_does_not_stop_us(void **state)
{
    uint64_t begun_ms = clock_monotonic_ms();
    pid_t pid;

    (void)state;
    assert_int_equal(child_start(exec_stop, NULL, &pid), ERR_SYSTEM);
    assert_int_equal(errno, ETIMEDOUT);
    assert_in_range(clock_monotonic_ms() - begun_ms, CHILD_START_WAIT_MS, CHILD_START_WAIT_MS + 5000);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void exec_die(void *context, int *report_fd)
{
    (void)context;
    (void)report_fd;
    raise(SIGKILL);
}

static void test_a_child_that_is_killed_is_seen_when_it_is_reaped(void **state)
{
    pid_t pid;
    int status;

    (void)state;
    assert_int_equal(child_start(exec_die, NULL, &pid), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void exec_show_signals(void *context, int *report_fd)
{
    static const int ignored[] = {SIGUSR2};
    struct sigaction action;
    sigset_t mask;

    (void)context;
    (void)report_fd;
    child_reset_signals(ignored, 1);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    errno = EDOM;
    for (int number = 1; number < 32; number++) {
        if (sigismember(&mask, number) == 1)
            errno = number;
        if (number == SIGKILL || number == SIGSTOP || sigaction(number, NULL, &action) != 0)
            continue;
        if (action.sa_handler != (number == SIGUSR2 ? SIG_IGN : SIG_DFL))
            errno = number;
    }
}

/* NOLINTEND(readability-non-const-parameter) */
static void test_signals_are_reset(void **state)
{
    pid_t pid;

    (void)state;
    signal(SIGTERM, SIG_IGN);
    assert_int_equal(child_start(exec_show_signals, NULL, &pid), ERR_SYSTEM);
    assert_int_equal(errno, EDOM);
    signal(SIGTERM, SIG_DFL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_program_runs_and_is_the_callers_to_reap),
        cmocka_unit_test(test_a_program_that_cannot_run_is_an_error_with_its_reason),
        cmocka_unit_test(test_the_report_may_be_moved),
        cmocka_unit_test(test_a_child_that_is_stopped_before_it_executes_does_not_stop_us),
        cmocka_unit_test(test_a_child_that_is_killed_is_seen_when_it_is_reaped),
        cmocka_unit_test(test_signals_are_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
