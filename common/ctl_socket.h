#ifndef CTL_SOCKET_H
#define CTL_SOCKET_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"
#include "ctl_msg.h"

/*
 * One message in, one message out of the control socket (SOCK_SEQPACKET, unix(7)), with at most one descriptor travelling along
 * (SCM_RIGHTS). The one place in common/ that touches a socket: both processes need exactly the same code at their ends, on a
 * descriptor that somebody else opened and will close. Neither call ever blocks.
 */

/**
 * Send one message.
 *
 * @param payload    0..CTL_MSG_MAX less the header; borrowed
 * @param passed_fd  a descriptor to pass along, borrowed (the receiver gets its own duplicate), or -1 for none
 * @return 0; ERR_UNAVAILABLE if the socket is full (try again when it is writable); ERR_NO_MEMORY if the kernel is short of memory
 *         or too many descriptors are on their way (try again after a while: the socket may well call itself writable);
 *         ERR_CLOSED if the other end is gone; ERR_TOO_LARGE; ERR_SYSTEM with errno
 */
int ctl_send(int fd, uint16_t type, struct bytes payload, int passed_fd) MUST_CHECK;

/**
 * Receive one message. The outputs are set on 0 only; a descriptor that came with a message that is refused is closed here.
 *
 * @param buffer         CTL_MSG_MAX bytes hold every valid message; must be aligned to 8, as the payload is read as a struct
 * @param payload_out    borrowed from buffer, at an offset of sizeof(struct ctl_header)
 * @param passed_fd_out  the caller's to close, close-on-exec; -1 if none came
 * @return 0; ERR_UNAVAILABLE if nothing waits; ERR_CLOSED at end of file; ERR_PROTOCOL for a malformed message (shorter or longer
 *         than it says, larger than buffer, with more than one descriptor); ERR_NO_SPACE if this process could not take the
 *         descriptor (EMFILE) - the message is lost; ERR_NO_MEMORY if the kernel has none - the message still waits; ERR_SYSTEM with
 *         errno
 */
int ctl_recv(int fd, uint8_t *buffer, size_t capacity, struct ctl_header *header_out, struct bytes *payload_out,
             int *passed_fd_out) MUST_CHECK;

#endif
