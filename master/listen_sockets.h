#ifndef LISTEN_SOCKETS_H
#define LISTEN_SOCKETS_H

#include <stdbool.h>

#include "address.h"
#include "check.h"
#include "strbuf.h"

/*
 * Listening sockets, one per worker slot and listener (SO_REUSEPORT): each worker has a queue of its own that outlives it, because
 * the master keeps the socket. Non-blocking and close-on-exec; what accepted connections inherit (TCP_NODELAY, keep-alive after
 * 60 s without a byte, then every 15 s, dead after 4 tries) is set here, so that workers need no call for it.
 *
 * `why` gets a short English reason on every error, fit to stand behind "listener https (:443): ".
 */

/**
 * Does nobody else listen on this address? SO_REUSEPORT alone would let a second program of the same user take every second
 * connection, so this binds once without it and closes again. Blocks up to wait_ms while the address is in use: workers of a master
 * that has just died need a moment to let go of it.
 *
 * @return 0; ERR_IN_USE; else as listen_sockets_open()
 */
int listen_sockets_probe(const struct listen_addr *addr, unsigned wait_ms, struct strbuf *why) MUST_CHECK;

/**
 * Open `count` listening sockets on one address, or none. ":443" is one IPv6 socket for both families, or an IPv4 one on a host
 * without IPv6 (logged). The kernel numbers the sockets of an address in the order in which they were opened.
 *
 * @param fds_out  count descriptors, the caller's to close
 * @return 0; ERR_IN_USE; ERR_NOT_FOUND if the host has no such address; ERR_NO_SPACE for want of descriptors or memory; ERR_SYSTEM
 */
int listen_sockets_open(const struct listen_addr *addr, unsigned count, int *fds_out, struct strbuf *why) MUST_CHECK;

/**
 * Make `count` descriptors of one listening socket that somebody else opened (socket activation), with the options above; its queue
 * is then shared by all workers.
 *
 * @param inherited_fd  borrowed
 * @return as listen_sockets_open(); ERR_INVALID if it is no listening TCP socket
 */
int listen_sockets_share(int inherited_fd, unsigned count, int *fds_out, struct strbuf *why) MUST_CHECK;

/**
 * Make `count` sockets that were opened for us, one for each slot, our own: duplicates with the options above, reached by all
 * connections (listen_sockets_balance() is undone).
 *
 * @param inherited_fds  borrowed; listening TCP sockets of one address with SO_REUSEPORT, in the kernel's order
 * @return as listen_sockets_share()
 */
int listen_sockets_adopt(const int *inherited_fds, unsigned count, int *fds_out, struct strbuf *why) MUST_CHECK;

/**
 * What is this descriptor?
 *
 * @param addr_out            where it listens
 * @param has_reuse_port_out  was it opened with SO_REUSEPORT, so that others may be added?
 * @return 0; ERR_INVALID if it is no listening TCP socket
 */
int listen_sockets_describe(int fd, struct listen_addr *addr_out, bool *has_reuse_port_out) MUST_CHECK;

/**
 * Let new connections reach only the first `count` sockets of an address, so that the others' queues run dry before they are closed;
 * 0: all of them again.
 *
 * @param fd  any of the address's sockets
 * @return 0; ERR_SYSTEM with errno
 */
int listen_sockets_balance(int fd, unsigned count) MUST_CHECK;

/**
 * Let no handshake begin at this socket any more, while those under way complete and can be accepted: SYNs are dropped, so that their
 * senders repeat them a second later and then find who listens there next, or nobody. Not for a socket that somebody else goes on
 * using. Accepted connections inherit the rule, which means nothing to them.
 *
 * @return 0; ERR_SYSTEM with errno
 */
int listen_sockets_refuse_new(int fd) MUST_CHECK;

/**
 * Would so many more descriptors be had now? For those who need them a moment later, when it cannot be taken back any more.
 *
 * @param fd  any that is open
 * @return 0; ERR_NO_SPACE, ERR_SYSTEM
 */
int listen_sockets_spare(int fd, unsigned count, struct strbuf *why) MUST_CHECK;

/** Close those that are not -1, and set them to -1. */
void listen_sockets_close(int *fds, unsigned count);

/** Could one connection belong to both? */
bool listen_addr_overlaps(const struct listen_addr *a, const struct listen_addr *b);

#endif
