#ifndef GRPC_ENDPOINTS_H
#define GRPC_ENDPOINTS_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "check.h"
#include "config.h"
#include "strbuf.h"
#include "unix_socket.h"

/* The listening sockets of the admin API: a set that a configuration asks for, made from the set in force. */

struct admin_tls_context;
struct grpc_server;

struct grpc_endpoint {
    uint64_t id; /* never used again */
    bool is_unix;
    bool is_taken;             /* prepared: it is one of the set in force, whose descriptor it gets at the commit */
    struct unix_socket socket; /* .fd in any case; the rest for is_unix */
    struct listen_addr addr;   /* not is_unix */
    struct ev_io accepts;
};

struct grpc_endpoints {
    struct grpc_server *server;
    struct admin_tls_context *tls; /* NULL: no TCP address */
    unsigned count;
    struct grpc_endpoint items[CONFIG_GRPC_ADDRS_MAX];
};

/**
 * Everything that can fail: bind what `current` has not, read the certificates.
 *
 * @param current  the set in force; unchanged
 * @param out      zeroed; grpc_endpoints_close() it, also on failure
 * @param why      on error gets a line that names address or file
 */
int grpc_endpoints_open(const struct grpc_endpoints *current, const struct config *config, struct grpc_endpoints *out,
                        struct strbuf *why) MUST_CHECK;

/** Take over from `current` what is the same in both, so that it is missing there. Unix sockets get their names. */
void grpc_endpoints_take(struct grpc_endpoints *fresh, struct grpc_endpoints *current);

/** Close what is left, remove the files of Unix sockets. */
void grpc_endpoints_close(struct grpc_endpoints *set);

#endif
