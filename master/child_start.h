#ifndef CHILD_START_H
#define CHILD_START_H

#include <sys/types.h>

#include "check.h"

/*
 * Starting a program in a child process, with the certainty that it runs: the child reports why it could not be executed through a
 * pipe that a successful execution closes. Between fork and exec only async-signal-safe calls are allowed.
 */

#define CHILD_START_WAIT_MS 2000 /* somebody may stop the child (SIGSTOP) before it has executed anything */

/**
 * Runs in the child, with all signals blocked: get ready and execute. When it returns, errno says why it could not.
 *
 * @param report_fd  the pipe's end; may be moved to another number, must not be closed
 */
typedef void (*child_exec_fn)(void *context, int *report_fd);

/**
 * Fork, and wait until the child has executed its program (well below a millisecond). A child that could not, or has not within
 * CHILD_START_WAIT_MS, is gone and reaped when this returns.
 *
 * @return 0, and the caller must reap pid_out; ERR_SYSTEM with errno, ETIMEDOUT for the latter
 */
int child_start(child_exec_fn fn, void *context, pid_t *pid_out) MUST_CHECK;

/** In the child: every signal as it is by default, except that those of `ignored` are ignored, and none blocked. */
void child_reset_signals(const int *ignored, unsigned count);

/** In the child: move a descriptor to a number of at least `least`, close-on-exec. 0, or -1 with errno. */
int child_move_up(int *fd, int least);

/** In the child: everything from `first` on closes at exec. */
void child_close_from(int first);

#endif
