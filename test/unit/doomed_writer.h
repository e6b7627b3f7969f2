#ifndef DOOMED_WRITER_H
#define DOOMED_WRITER_H

/* A writer of the tables that is killed between two of its stores; include behind cmocka.h. */

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fork_child.h"
#include "tables.h"

static unsigned steps_left;

static inline void die_at_step(const char *step)
{
    (void)step;
    if (steps_left-- == 0)
        raise(SIGKILL);
}

/** fork() a child that is to change the tables and to _exit(0). It dies at one of its steps (tables_on_step), 0 being the first. */
static inline pid_t fork_doomed(unsigned step)
{
    pid_t child = fork_child();

    if (child == 0) {
        steps_left = step;
        tables_on_step = die_at_step;
    }
    return child;
}

/** Wait for its end; false: it came to the end of its change, which has fewer steps. */
static inline bool has_died(pid_t child)
{
    int status = 0;

    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGKILL);
    return WIFSIGNALED(status);
}

#endif
