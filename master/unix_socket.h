#ifndef UNIX_SOCKET_H
#define UNIX_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>

#include "address.h"
#include "check.h"
#include "strbuf.h"

/*
 * A listening Unix socket that is there under its name at once and completely: it is bound under another name in the same folder,
 * listens already, and takes its own by rename(2). Mode 0600 whatever the umask, from its first moment.
 */
struct unix_socket {
    int fd; /* -1: none */
    char path[BACKEND_UNIX_PATH_MAX + 1];
    char hidden[64]; /* the other name, in the same folder; "": it has its own */
    int folder;      /* open as long as there is a hidden name: taking the other must not need a descriptor */
    dev_t dev;       /* which file it is */
    ino_t ino;
};

/**
 * Bind beside `path` and listen. What is at `path` stays as it is until unix_socket_publish().
 *
 * @param path  absolute, 1..BACKEND_UNIX_PATH_MAX bytes
 * @param why   on error gets a reason fit to stand behind "unix:/PATH: "
 * @return 0; ERR_IN_USE: somebody accepts connections at path, or something else than a socket is there; ERR_SYSTEM
 */
int unix_socket_open(const char *path, struct unix_socket *out, struct strbuf *why) MUST_CHECK;

/** Take the name, in place of a stale socket if there is one. @return 0; ERR_IN_USE, ERR_SYSTEM: it could not, and listens unseen */
int unix_socket_publish(struct unix_socket *socket) MUST_CHECK;

/** Close; the file is removed if it still is ours, and not that of a successor. fd is -1 afterwards, and may be before. */
void unix_socket_close(struct unix_socket *socket);

/** Close, but leave the file alone: somebody else goes on with the same socket. */
void unix_socket_abandon(struct unix_socket *socket);

#endif
