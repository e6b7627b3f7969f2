/* Open file descriptors of this process and its children. */

#include "process_fds.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"

/** Names in the folder, without "." and "..", and without the one that reading it takes. */
static int count_names(const char *path, uint64_t *out)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    uint64_t names = 0;

    if (folder == NULL)
        return ERR_UNAVAILABLE;
    while ((entry = readdir(folder)) != NULL)
        names += entry->d_name[0] != '.';
    closedir(folder);
    *out = names > 0 ? names - 1 : 0;
    return 0;
}

int process_fds_count(pid_t pid, uint64_t *out)
{
    char path[32];
    struct stat st;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    if (stat(path, &st) != 0)
        return ERR_UNAVAILABLE;
    if (st.st_size > 0) {
        *out = (uint64_t)st.st_size;
        return 0;
    }
    return pid == getpid() ? count_names(path, out) : ERR_UNAVAILABLE;
}

uint64_t process_fds_limit(void)
{
    struct rlimit limit = {0};

    (void)getrlimit(RLIMIT_NOFILE, &limit); /* cannot fail with these arguments */
    return limit.rlim_cur;
}
