#ifndef UPGRADE_SPAWN_H
#define UPGRADE_SPAWN_H

#include <sys/types.h>

#include "check.h"
#include "inherited_sockets.h"
#include "strbuf.h"

/** A descriptor for a successor. */
struct upgrade_fd {
    char name[INHERITED_NAME_MAX + 1];
    int fd;
};

/**
 * The path that this program was executed by, absolute: what is there when an upgrade comes is the new version. (/proc/self/exe tells
 * where the file went.)
 *
 * @return 0; ERR_NO_SPACE if it does not fit; ERR_SYSTEM with errno
 */
int upgrade_find_program(struct strbuf *out) MUST_CHECK;

/**
 * Execute a successor of this server, with these descriptors as inherited_sockets.h takes them, our environment, our standard streams
 * and our working directory. It stays in our process group; SIGHUP and SIGUSR2 do nothing to it until it is ready for them.
 *
 * @param argv  ended by NULL; argv[0] is the program
 * @return 0, and the caller must reap pid_out; as child_start(); ERR_NO_MEMORY
 */
int upgrade_spawn(char *const *argv, const struct upgrade_fd *fds, unsigned count, pid_t *pid_out) MUST_CHECK;

#endif
