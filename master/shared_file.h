#ifndef SHARED_FILE_H
#define SHARED_FILE_H

#include <stdint.h>

#include "check.h"

/**
 * Make zeroed memory to share with workers: a memfd that can neither grow nor shrink (so that nobody who maps it can be hit by
 * SIGBUS), mapped read-write.
 *
 * @param name         shown in /proc/PID/maps
 * @param fd_out       close-on-exec, the caller's to close
 * @param mapping_out  bytes long, the caller's to munmap
 * @return 0; ERR_NO_SPACE for want of descriptors or memory; ERR_SYSTEM with errno
 */
int shared_file_make(const char *name, uint64_t bytes, int *fd_out, void **mapping_out) MUST_CHECK;

/**
 * Why shared memory could not be made, for people: a limit that the service was given, mostly.
 *
 * @param rc  of the function that failed just now: errno is still its own
 */
const char *shared_file_why(int rc);

#endif
