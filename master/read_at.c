/* Reading a piece of a file, all of it. */

#include "read_at.h"

#include <errno.h>
#include <unistd.h>

ssize_t read_at(int fd, void *to, size_t len, off_t at)
{
    size_t have = 0;

    while (have < len) {
        ssize_t n = pread(fd, (char *)to + have, len - have, at + (off_t)have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        have += (size_t)n;
    }
    return (ssize_t)have;
}
