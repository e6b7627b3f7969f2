#ifndef FORK_CHILD_H
#define FORK_CHILD_H

/* A process beside a test; include behind cmocka.h. */

#include <signal.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

/** fork() a child that does not outlive us, not even when an assertion ends the test early. */
static inline pid_t fork_child(void)
{
    pid_t parent = getpid();
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent))
        _exit(2);
    return child;
}

#endif
