#ifndef FOLDER_SYNC_H
#define FOLDER_SYNC_H

#include "check.h"

/**
 * Bring the names in the folder of a file to the disk (fsync(2): a file's own sync does not).
 *
 * @param path  of the file, with a slash in it
 * @return 0, or -1 with errno
 */
int folder_sync_of(const char *path) MUST_CHECK;

#endif
