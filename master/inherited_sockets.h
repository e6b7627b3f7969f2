#ifndef INHERITED_SOCKETS_H
#define INHERITED_SOCKETS_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "check.h"
#include "strbuf.h"

/*
 * Sockets that were open before this process began, passed as systemd passes them (sd_listen_fds(3)): descriptors from 3 on, their
 * number in $LISTEN_FDS, their names in $LISTEN_FDNAMES, for the process of $LISTEN_PID. One mechanism, three sources:
 *
 *     a .socket unit       one socket for each address, named after the unit
 *     systemd's fd store   what an earlier run has put there: our own sockets, one for each listener and worker slot
 *     a predecessor        the same, and the socket to talk to it about the upgrade (upgrade_link.h)
 *
 * What a socket is for is read off the socket itself (getsockname(2)). A name is only a hint: which slot it had, so that the order
 * in which the kernel counts the sockets of an address is known again (listen_sockets_balance()).
 */

#define INHERITED_NAME_MAX 255 /* systemd's FDNAME_MAX */

/** The name of the socket to the predecessor. */
#define INHERITED_UPGRADE_NAME "upgrade"

struct inherited_socket {
    int fd;
    uint64_t inode; /* which socket it is, whatever the descriptor */
    char name[INHERITED_NAME_MAX + 1];
    bool is_listener;        /* a listening TCP socket; else the next three mean nothing */
    struct listen_addr addr; /* where it listens */
    bool has_reuse_port;
    int slot; /* ours, by its name; -1: somebody else's */
    bool is_taken;
};

struct inherited_sockets {
    struct inherited_socket *items; /* in the order in which they came */
    unsigned count;
    int upgrade_fd; /* to the predecessor; -1: none */
};

/** How one listener uses what was passed. */
struct inherited_choice {
    int shared_fd;   /* one socket for all workers; -1: none */
    int *fds;        /* one for each slot from 0 on, in the kernel's order; borrowed from the set, as shared_fd */
    unsigned count;  /* of these; 0: none */
    bool is_foreign; /* fds holds a single one that somebody else opened with SO_REUSEPORT: the rest is to be made */
};

/**
 * Take what was passed to this process: the descriptors become close-on-exec, the variables are removed from the environment. One
 * socket that came twice, from a unit and from the store, is taken once. Nothing passed, or to another process: an empty set.
 *
 * @return 0; ERR_NO_MEMORY; ERR_INVALID, with a reason in why, if the variables make no sense (the set is empty then)
 */
int inherited_sockets_init(struct inherited_sockets *set, struct strbuf *why) MUST_CHECK;

/** Close all of them. */
void inherited_sockets_fini(struct inherited_sockets *set);

/**
 * The sockets for an address; marks them as taken. Choose once per address.
 *
 * @param out  on 0; out->fds is to be free()d
 * @param why  on error gets a reason fit to stand behind "listener https (:443): "
 * @return 0; ERR_INVALID: more than one socket of somebody else's; ERR_NO_MEMORY
 */
int inherited_sockets_choose(struct inherited_sockets *set, const struct listen_addr *addr,
                             struct inherited_choice *out, struct strbuf *why) MUST_CHECK;

/** Slots that our own sockets of an address had; 0: none of ours. */
unsigned inherited_sockets_slots(const struct inherited_sockets *set, const struct listen_addr *addr);

/** The name of a socket of ours: legal for systemd (no ':'), the only one of that address and slot. */
void inherited_socket_name(const struct listen_addr *addr, unsigned slot, struct strbuf *out);

/** The same for a socket that all slots share. */
void inherited_shared_name(const struct listen_addr *addr, struct strbuf *out);

#endif
