/* Open descriptors: ours and a child's, counted right. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "process_fds.h"

static void test_our_own_are_counted(void **state)
{
    uint64_t before, after;
    int fds[10];

    (void)state;
    assert_int_equal(process_fds_count(getpid(), &before), 0);
    for (unsigned i = 0; i < 10; i++)
        assert_true((fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0);
    assert_int_equal(process_fds_count(getpid(), &after), 0);
    assert_int_equal(after, before + 10);
    for (unsigned i = 0; i < 10; i++)
        close(fds[i]);
    assert_int_equal(process_fds_count(getpid(), &after), 0);
    assert_int_equal(after, before);
}

static void test_a_childs_are_its_own(void **state)
{
    uint64_t ours, its;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        (void)open("/dev/null", O_RDONLY | O_CLOEXEC);
        raise(SIGSTOP);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
    assert_int_equal(process_fds_count(getpid(), &ours), 0);
    int rc = process_fds_count(pid, &its);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    if (rc == ERR_UNAVAILABLE)
        skip(); /* Linux before 6.2 */
    assert_int_equal(its, ours + 1);
    assert_int_equal(process_fds_count(pid, &its), ERR_UNAVAILABLE); /* it is gone */
}

static void test_the_limit(void **state)
{
    struct rlimit limit;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(process_fds_limit(), limit.rlim_cur);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_our_own_are_counted),
        cmocka_unit_test(test_a_childs_are_its_own),
        cmocka_unit_test(test_the_limit),
    };
    return cmocka_run_group_tests_name("process_fds", tests, NULL, NULL);
}
