#ifndef ADMIN_TLS_H
#define ADMIN_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"
#include "strbuf.h"

/*
 * The server's side of TLS for the admin API: 1.3 only, ALPN h2, with a client_ca only clients with a certificate of it. Between two
 * memory buffers, so it knows no socket and never blocks.
 *
 *     socket -> admin_tls_feed() -> admin_tls_read()  -> HTTP/2
 *     socket <- admin_tls_take() <- admin_tls_write() <- HTTP/2
 */
struct admin_tls_context;
struct admin_tls;

/**
 * Read certificate, key and CA.
 *
 * @param ca_path  NULL: no client certificates are asked for
 * @param why      on error gets "FILE: what is wrong; what would be right"
 * @return 0; ERR_INVALID, ERR_NO_MEMORY
 */
int admin_tls_context_new(const char *cert_path, const char *key_path, const char *ca_path,
                          struct admin_tls_context **out, struct strbuf *why) MUST_CHECK;
/** Sessions that were made of it go on. Accepts NULL; clears the caller's pointer. */
void admin_tls_context_free(struct admin_tls_context **context);

/** @return NULL without memory */
struct admin_tls *admin_tls_new(struct admin_tls_context *context);
void admin_tls_free(struct admin_tls **tls);

/** Bytes from the socket. @return 0 or ERR_NO_MEMORY */
int admin_tls_feed(struct admin_tls *tls, struct bytes in) MUST_CHECK;

/**
 * What the fed bytes say, decrypted; drives the handshake too. Call until *len_out is 0.
 *
 * @return 0; ERR_CLOSED: the client has said goodbye; ERR_PROTOCOL: admin_tls_reason() says why, and admin_tls_take() may have an
 *         alert for the client
 */
int admin_tls_read(struct admin_tls *tls, uint8_t *out, size_t capacity, size_t *len_out) MUST_CHECK;

/** Is the handshake over, so that admin_tls_write() works? */
bool admin_tls_is_open(const struct admin_tls *tls);

/** Encrypt all of it. @return 0 or ERR_PROTOCOL, ERR_NO_MEMORY */
int admin_tls_write(struct admin_tls *tls, struct bytes in) MUST_CHECK;
/** Encrypt the goodbye. */
void admin_tls_say_goodbye(struct admin_tls *tls);

/** Bytes for the socket, 0: none now. */
size_t admin_tls_take(struct admin_tls *tls, uint8_t *out, size_t capacity);
bool admin_tls_has_output(const struct admin_tls *tls);

/** Why it failed, for logs; static or as long as the session. */
const char *admin_tls_reason(const struct admin_tls *tls);

#endif
