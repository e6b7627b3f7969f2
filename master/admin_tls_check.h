#ifndef ADMIN_TLS_CHECK_H
#define ADMIN_TLS_CHECK_H

#include <stdbool.h>

/** Which of the files a problem is about. */
enum admin_tls_file { ADMIN_TLS_CERT, ADMIN_TLS_KEY, ADMIN_TLS_CA };

/** PEM files; NULL: not given. */
struct admin_tls_files {
    const char *cert_path;
    const char *key_path;
    const char *ca_path;
    const char *cert_name; /* how whoever named the files calls the certificate: "tls_cert", "--cert" */
};

/** text says "what is wrong; what would be right", fit to stand behind "PATH: "; borrowed for the call. */
typedef void (*admin_tls_report_fn)(void *context, enum admin_tls_file file, bool is_warning, const char *text);

/**
 * Look at the files that TLS of the admin API needs, at either end, the way the server loads them, and report every problem:
 * unreadable, no PEM, a key that asks for a passphrase or belongs to another certificate; as warnings a certificate, be it the CA's,
 * that has run out or is not valid yet.
 */
void admin_tls_check(const struct admin_tls_files *files, admin_tls_report_fn report, void *context);

/** The OpenSSL library at run time: "3.0.15". */
const char *admin_tls_version_text(void);

#endif
