#ifndef ADMIN_TLS_EXPLAIN_H
#define ADMIN_TLS_EXPLAIN_H

#include <openssl/types.h>
#include <stdbool.h>

/* Why a TLS connection of the command line failed, in words that say what to do. For the admin TLS files only: it speaks OpenSSL. */

struct admin_tls_failure {
    char text[512]; /* the first cause that was told; "" before */
};

/** A chain that on_verify refuses. @param has_known_key  the server's configuration named a certificate, and this is not it */
void admin_tls_explain_chain(struct admin_tls_failure *out, X509_STORE_CTX *chain, const char *host,
                             bool has_known_key);

/** What OpenSSL's queue of errors, or else errno, says. @param is_established  the handshake was over */
void admin_tls_explain_error(struct admin_tls_failure *out, int system_error, bool is_established);

void admin_tls_explain_text(struct admin_tls_failure *out, const char *text);

#endif
