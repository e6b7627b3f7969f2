#ifndef CLIENT_LINK_H
#define CLIENT_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "admin_tls_client.h"
#include "bytes.h"
#include "check.h"
#include "strbuf.h"

/*
 * The command line's byte stream to a server: a connected socket, Unix or TCP with TLS. Every wait ends at a deadline, in
 * milliseconds of clock_monotonic_ms().
 */
struct client_link;

/** Where a server is and what is expected of it. All texts are borrowed. */
struct client_endpoint {
    const char *text;                    /* for messages: "unix:/run/mc-proxy/admin.sock", "127.0.0.1:9090" */
    const char *path;                    /* of the Unix socket; NULL: TCP */
    const char *host;                    /* TCP: a name or an address without brackets */
    const char *port;                    /* TCP: decimal */
    struct admin_tls_client_options tls; /* TCP; its host is set by client_link_open() */
};

/**
 * Connect, and with TCP do the TLS handshake.
 *
 * @param why  on error gets one line that names the endpoint and says what to do
 * @return 0; ERR_NOT_FOUND: nobody is there (no such socket, connection refused); ERR_TIMEOUT; ERR_SYSTEM; ERR_PROTOCOL: TLS
 *         failed; ERR_INVALID: a TLS file or the host cannot be used; ERR_NO_MEMORY
 */
int client_link_open(const struct client_endpoint *endpoint, uint64_t deadline_ms, struct client_link **out,
                     struct strbuf *why) MUST_CHECK;

/**
 * Wait until bytes can be sent or have come, and send and receive what goes at once.
 *
 * @param unsent        what to send; what has gone is cut off; may be empty
 * @param received_out  bytes put into data, 0 if only sending was possible
 * @param why           on ERR_SYSTEM and ERR_PROTOCOL gets the reason, fit to stand behind "...: "
 * @return 0; ERR_CLOSED: the server has closed; ERR_TIMEOUT; ERR_SYSTEM; ERR_PROTOCOL: TLS failed
 */
int client_link_exchange(struct client_link *link, struct bytes *unsent, uint8_t *data, size_t len,
                         size_t *received_out, uint64_t deadline_ms, struct strbuf *why) MUST_CHECK;

/** Accepts NULL; clears the caller's pointer. */
void client_link_close(struct client_link **link);

#endif
