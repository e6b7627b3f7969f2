/* A call aside: done when it is said to be, attended to meanwhile, by nobody's signals disturbed, and done also where there is no thread. */

#include "aside.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "attendance.h"
#include "clock.h"
#include "fork_child.h"

#define WORK_US 200000

struct work {
    unsigned us;
    pthread_t thread;
    bool takes_signals;
    bool is_done;
};

static void work(void *context)
{
    struct work *w = context;
    sigset_t blocked;

    w->thread = pthread_self();
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    w->takes_signals = !sigismember(&blocked, SIGCHLD) || !sigismember(&blocked, SIGTERM);
    if (w->us > 0)
        usleep(w->us);
    w->is_done = true;
}

static void test_who_waits_attends_to_other_things_in_its_own_thread(void **state)
{
    struct attendance a = {.thread = pthread_self()};
    struct work w = {.us = WORK_US};

    (void)state;
    aside_run(work, &w, attend, &a);
    assert_true(w.is_done);
    assert_false(w.takes_signals);
    assert_false(pthread_equal(w.thread, pthread_self()));
    assert_true(a.count >= 2); /* some twenty, on a machine that is not busy */
    assert_int_equal(a.elsewhere, 0);
}

static void test_what_is_done_at_once_is_not_waited_for(void **state)
{
    struct attendance a = {.thread = pthread_self()};
    uint64_t began_ms = clock_monotonic_ms();

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        struct work w = {0};
        aside_run(work, &w, attend, &a);
        assert_true(w.is_done);
    }
    /* Less by far; so long if each waited for the next look. */
    assert_true(clock_monotonic_ms() - began_ms < 1000 * ASIDE_LOOK_MS);
}

static void test_signals_of_the_caller_are_as_before(void **state)
{
    struct attendance a = {.thread = pthread_self()};
    struct work w = {0};
    sigset_t before, after;

    (void)state;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    aside_run(work, &w, attend, &a);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    for (int number = 1; number < NSIG; number++)
        assert_int_equal(sigismember(&before, number), sigismember(&after, number));
}

/** In a child: a user who may have no process more. 0: the work was done right there. */
static int work_without_threads(void)
{
    const struct rlimit none = {0};
    struct attendance a = {.thread = pthread_self()};
    struct work w = {0};

    if (setrlimit(RLIMIT_NPROC, &none) != 0 || (getuid() == 0 && setuid(65534) != 0))
        return 2;
    aside_run(work, &w, attend, &a);
    return w.is_done && pthread_equal(w.thread, pthread_self()) && a.count == 0 ? 0 : 1;
}

static void test_without_a_thread_it_is_done_right_here(void **state)
{
    int status = -1;

    (void)state;
    pid_t pid = fork_child();
    if (pid == 0)
        _exit(work_without_threads());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_waits_attends_to_other_things_in_its_own_thread),
        cmocka_unit_test(test_what_is_done_at_once_is_not_waited_for),
        cmocka_unit_test(test_signals_of_the_caller_are_as_before),
        cmocka_unit_test(test_without_a_thread_it_is_done_right_here),
    };
    return cmocka_run_group_tests_name("aside", tests, NULL, NULL);
}
