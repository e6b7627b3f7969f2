#ifndef READ_AT_H
#define READ_AT_H

#include <sys/types.h>

#include "check.h"

/**
 * pread() of as much as there is: what a signal or a slow file system (FUSE, NFS) cuts short is read on.
 *
 * @return bytes read, less than `len` only at the end of the file; -1 with errno
 */
ssize_t read_at(int fd, void *to, size_t len, off_t at) MUST_CHECK;

#endif
