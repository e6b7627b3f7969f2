#ifndef HANDSHAKES_H
#define HANDSHAKES_H

#include <stdbool.h>

#include "address.h"
#include "check.h"

/*
 * TCP handshakes under way: the kernel has answered a SYN and waits for the ACK. They belong to the listening socket that got the
 * SYN, are in no queue that could be accepted from, and are reset with it when it is closed.
 */

/**
 * Which of these addresses have handshakes under way? One that has gone without answer for more than 3 s does not count: nobody is
 * there. Asks the kernel (sock_diag), which looks through all its connections: some milliseconds where there are a million.
 *
 * @param is_pending_out  count answers
 * @return 0; ERR_SYSTEM where the kernel cannot be asked, in a sandbox without AF_NETLINK
 */
int handshakes_look(const struct listen_addr *addrs, unsigned count, bool *is_pending_out) MUST_CHECK;

#endif
