#ifndef PROCESS_FDS_H
#define PROCESS_FDS_H

#include <stdint.h>
#include <sys/types.h>

#include "check.h"

/**
 * How many file descriptors a process has open, at a cost that does not grow with them (Linux 6.2 tells it as the size of
 * /proc/PID/fd; before that only our own are counted, one by one).
 *
 * @return 0; ERR_UNAVAILABLE: it cannot be told
 */
int process_fds_count(pid_t pid, uint64_t *out) MUST_CHECK;

/** How many this process, and with it a worker, may have open. */
uint64_t process_fds_limit(void);

#endif
