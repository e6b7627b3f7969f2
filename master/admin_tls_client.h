#ifndef ADMIN_TLS_CLIENT_H
#define ADMIN_TLS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "check.h"
#include "strbuf.h"

/* The command line's end of a TLS connection to the admin API: TLS 1.3, ALPN h2, the server's certificate checked. */
struct admin_tls_client;

struct admin_tls_client_options {
    /* What was dialled, a name or an address: the certificate must be for it; for a loopback address it may be for "localhost". */
    const char *host;
    const char *ca_path;   /* PEM; NULL: the system's CAs */
    const char *cert_path; /* the client's own certificate chain and key, PEM; NULL: none */
    const char *key_path;  /* the same pointer as cert_path: one file holds both */
    /* PEM certificate of which we know that the server at this address uses it (its configuration says so); NULL: none known. A
     * server that proves to have its key needs no matching name, and without ca_path no CA and no date either. */
    const char *known_cert_path;
    /* Use cert_path only if it is usable for clients: the file can be read, and its extended key usage allows it. */
    bool is_cert_optional;
};

/** What the calls below return other than a number of bytes; 0 is the end of the stream. */
enum admin_tls_io { ADMIN_TLS_WANTS_READ = -1, ADMIN_TLS_WANTS_WRITE = -2, ADMIN_TLS_FAILED = -3 };

/**
 * Load the files and prepare a handshake on a connected non-blocking socket, which stays the caller's.
 *
 * @param options  borrowed for the call
 * @param why      on error gets one line that names the file
 * @return 0; ERR_INVALID: a file cannot be used; ERR_NO_MEMORY
 */
int admin_tls_client_new(const struct admin_tls_client_options *options, int fd, struct admin_tls_client **out,
                         struct strbuf *why) MUST_CHECK;

/** One step of the handshake: 1 when it is done, else one of admin_tls_io. */
int admin_tls_client_handshake(struct admin_tls_client *tls) MUST_CHECK;

ssize_t admin_tls_client_read(struct admin_tls_client *tls, void *data, size_t len) MUST_CHECK;
ssize_t admin_tls_client_write(struct admin_tls_client *tls, const void *data, size_t len) MUST_CHECK;

/** After ADMIN_TLS_FAILED: what went wrong, with what to do about it, fit to stand behind "...: ". */
void admin_tls_client_explain(const struct admin_tls_client *tls, struct strbuf *why);

/** Tells the server (if it can be told without waiting) and frees. Accepts NULL; clears the caller's pointer. */
void admin_tls_client_free(struct admin_tls_client **tls);

#endif
