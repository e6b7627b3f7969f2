#ifndef CLIENT_DIAL_H
#define CLIENT_DIAL_H

#include <stdint.h>

#include "check.h"
#include "strbuf.h"

struct client_endpoint;

/**
 * A connected, non-blocking socket of an endpoint, Unix or TCP; a host with several addresses is tried address by address.
 *
 * @param why  on error gets one line that names the endpoint and says what to do
 * @return 0; ERR_NOT_FOUND: nobody is there; ERR_TIMEOUT; ERR_SYSTEM; ERR_INVALID: the path is too long
 */
int client_dial(const struct client_endpoint *endpoint, uint64_t deadline_ms, int *fd_out,
                struct strbuf *why) MUST_CHECK;

/** Poll one socket until the deadline. @return what poll() says of it; 0: the deadline has passed; -1: errno */
int client_wait(int fd, short events, uint64_t deadline_ms);

#endif
