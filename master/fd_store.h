#ifndef FD_STORE_H
#define FD_STORE_H

#include <stdint.h>

#include "check.h"

struct notify;

/*
 * The service manager's descriptor store (sd_pid_notify_with_fds(3), FDSTORE=1): what is in it is passed to the next process of the
 * unit, so that a restart finds the listening sockets open, with the connections that wait in them. This keeps the store equal to a
 * list; names and sockets are remembered, and only differences are told.
 */

#define FD_STORE_NAME_MAX 255

/** A descriptor that the store should hold. */
struct fd_store_item {
    char name[FD_STORE_NAME_MAX + 1]; /* printable ASCII without ':'; the only one of its kind */
    int fd;                           /* borrowed */
    uint64_t inode;                   /* set by fd_store_sync(): which socket it is */
};

struct fd_store_entry;

struct fd_store {
    struct notify *notify;
    struct fd_store_entry *entries; /* what it has, as far as we know */
    unsigned count;
};

void fd_store_init(struct fd_store *store, struct notify *notify);
/** The manager keeps what it has. */
void fd_store_fini(struct fd_store *store);

/**
 * The store may have something of this name, from an earlier run: it is taken out with the next sync, and put in anew if it is wanted.
 *
 * @return 0 or ERR_NO_MEMORY
 */
int fd_store_expect(struct fd_store *store, const char *name) MUST_CHECK;

/**
 * Tell the manager what is to go, then what is new.
 *
 * @param wanted  all that should be in it; inode is filled in
 * @return 0; ERR_UNAVAILABLE: it takes no more messages at the moment, try again; ERR_NO_MEMORY: the same
 */
int fd_store_sync(struct fd_store *store, struct fd_store_item *wanted, unsigned count) MUST_CHECK;

#endif
