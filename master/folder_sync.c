/* What a power cut must not take: the names of new files. */

#include "folder_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int folder_sync_of(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');

    CHECK(slash != NULL);
    int len =
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path) + 1, path); /* with its slash: it may be the root */
    if (len >= (int)sizeof folder) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd >= 0 ? fsync(fd) : -1;
    int kept = errno;
    if (fd >= 0)
        close(fd);
    errno = kept;
    return rc;
}
