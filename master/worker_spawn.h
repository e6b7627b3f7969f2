#ifndef WORKER_SPAWN_H
#define WORKER_SPAWN_H

#include <sys/types.h>

#include "check.h"

/** What one worker is started with. All descriptors are borrowed, and close-on-exec in the master. */
struct worker_spawn {
    int binary_fd; /* the program to execute (worker_binary_open()) */
    unsigned slot; /* shown in the process list */
    int control_fd;
    int tables_fd;
    int stats_fd;
    int log_fd;
    int rate_fd; /* -1: none, the worker gets /dev/null */
};

/**
 * A descriptor of the program that runs now, so that workers are the same version as the master also after an upgrade has replaced
 * the file.
 *
 * @return the caller's to close, or -1 with errno
 */
int worker_binary_open(void) MUST_CHECK;

/**
 * Start a worker: fork, put the descriptors of handover.h in place, execute `binary_fd` with the hidden subcommand. Nothing else is
 * inherited: no other descriptor, no signal handler, ignored or blocked signal, and no environment but what sanitizers, coverage and
 * malloc read.
 *
 * The worker is the leader of a process group of its own: a terminal's Ctrl-C (or Ctrl-Z, or hang-up) goes to the master alone,
 * which then drains it. It gets no parent-death signal, because it shall drain when the master dies; the control socket's end of
 * file tells it.
 *
 * Waits for the execution itself (child_start()), so that a failure is known here. The caller must reap pid_out.
 *
 * @return 0; ERR_SYSTEM with errno (EACCES: the program cannot be executed; ETIMEDOUT: somebody has stopped the child)
 */
int worker_spawn(const struct worker_spawn *spec, pid_t *pid_out) MUST_CHECK;

#endif
