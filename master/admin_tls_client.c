/* TLS for the command line. What a wrong certificate is about is found out here, because only OpenSSL knows. */

#include "admin_tls_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin_tls_check.h"
#include "admin_tls_explain.h"
#include "err.h"

#define ADMIN_TLS_CLIENT_MAGIC 0x41544c43u

struct admin_tls_client {
    uint32_t magic;
    SSL_CTX *ctx;
    SSL *ssl;
    EVP_PKEY *known_key; /* of known_cert_path; NULL: none */
    char host[256];
    bool trusts_known;   /* having the known key is enough */
    bool is_established; /* the handshake has succeeded */
    struct admin_tls_failure failure;
};

/* ---- the server's certificate ---- */

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

static bool is_for_host(X509 *cert, const char *host)
{
    struct in6_addr parsed;
    bool is_address = inet_pton(AF_INET, host, &parsed) == 1 || inet_pton(AF_INET6, host, &parsed) == 1;

    if (is_address && X509_check_ip_asc(cert, host, 0) == 1)
        return true;
    if (!is_address)
        return X509_check_host(cert, host, 0, 0, NULL) == 1;
    return is_loopback(host) && X509_check_host(cert, "localhost", 0, 0, NULL) == 1;
}

/** OpenSSL's question, in place of its own X509_verify_cert(): shall this chain be trusted? */
static int on_verify(X509_STORE_CTX *chain, void *context)
{
    struct admin_tls_client *tls = context;
    X509 *leaf = X509_STORE_CTX_get0_cert(chain);
    bool is_known = tls->known_key != NULL && EVP_PKEY_eq(X509_get0_pubkey(leaf), tls->known_key) == 1;

    if (is_known && tls->trusts_known)
        return 1;
    if (X509_verify_cert(chain) == 1) {
        if (is_known || is_for_host(leaf, tls->host))
            return 1;
        X509_STORE_CTX_set_error(chain, X509_V_ERR_HOSTNAME_MISMATCH);
        X509_STORE_CTX_set_current_cert(chain, leaf);
    }
    admin_tls_explain_chain(&tls->failure, chain, tls->host, tls->known_key != NULL);
    return 0;
}

/* ---- files ---- */

struct file_problem {
    const struct admin_tls_files *files;
    struct strbuf *why;
};

static void on_file_problem(void *context, enum admin_tls_file file, bool is_warning, const char *text)
{
    struct file_problem *problem = context;
    const struct admin_tls_files *files = problem->files;
    bool is_key = file == ADMIN_TLS_KEY && files->key_path != files->cert_path;

    if (is_warning || problem->why->len > 0)
        return;
    if (file == ADMIN_TLS_CA)
        strbuf_addf(problem->why, "--ca %s %s", files->ca_path, text);
    else
        strbuf_addf(problem->why, "%s %s %s", is_key ? "--key" : "--cert", is_key ? files->key_path : files->cert_path,
                    text);
}

static bool can_be_clients(SSL_CTX *ctx)
{
    X509 *cert = SSL_CTX_get0_certificate(ctx);

    return cert != NULL && (X509_get_extended_key_usage(cert) & XKU_SSL_CLIENT) != 0;
}

static int load_own(SSL_CTX *ctx, const struct admin_tls_client_options *o)
{
    if (o->cert_path == NULL)
        return 0;
    if (o->is_cert_optional && (access(o->cert_path, R_OK) != 0 || access(o->key_path, R_OK) != 0))
        return 0;
    if (SSL_CTX_use_certificate_chain_file(ctx, o->cert_path) != 1)
        return ERR_INVALID;
    if (o->is_cert_optional && !can_be_clients(ctx))
        return 0; /* without its key it is not used */
    return SSL_CTX_use_PrivateKey_file(ctx, o->key_path, SSL_FILETYPE_PEM) == 1 ? 0 : ERR_INVALID;
}

static EVP_PKEY *read_public_key(const char *path)
{
    BIO *file = BIO_new_file(path, "r");
    X509 *cert = file != NULL ? PEM_read_bio_X509(file, NULL, NULL, NULL) : NULL;
    EVP_PKEY *key = cert != NULL ? X509_get_pubkey(cert) : NULL;

    X509_free(cert);
    BIO_free(file);
    return key;
}

static int load_files(struct admin_tls_client *tls, const struct admin_tls_client_options *o, struct strbuf *why)
{
    const struct admin_tls_files files = {
        .cert_path = o->is_cert_optional ? NULL : o->cert_path,
        .key_path = o->is_cert_optional ? NULL : o->key_path,
        .ca_path = o->ca_path,
        .cert_name = o->key_path != o->cert_path ? "--cert" : "its certificate",
    };
    struct file_problem problem = {.files = &files, .why = why};

    admin_tls_check(&files, on_file_problem, &problem);
    if (why->len > 0)
        return ERR_INVALID;
    if (load_own(tls->ctx, o) != 0) {
        strbuf_addf(why, "%s: cannot be used as a certificate", o->cert_path);
        return ERR_INVALID;
    }
    if (o->ca_path != NULL ? SSL_CTX_load_verify_file(tls->ctx, o->ca_path) != 1
                           : SSL_CTX_set_default_verify_paths(tls->ctx) != 1) {
        strbuf_addf(why, "%s: cannot be used as a CA", o->ca_path != NULL ? o->ca_path : "the system's certificates");
        return ERR_INVALID;
    }
    if (o->known_cert_path != NULL)
        tls->known_key = read_public_key(o->known_cert_path); /* unreadable for this user: then it is not known */
    tls->trusts_known = o->ca_path == NULL;
    ERR_clear_error();
    return 0;
}

/* ---- life ---- */

static bool prepare(struct admin_tls_client *tls, int fd)
{
    static const uint8_t alpn[] = {2, 'h', '2'};
    struct in6_addr parsed;
    bool is_address = inet_pton(AF_INET, tls->host, &parsed) == 1 || inet_pton(AF_INET6, tls->host, &parsed) == 1;

    SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(tls->ctx, on_verify, tls);
    SSL_CTX_set_mode(tls->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_set_min_proto_version(tls->ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_alpn_protos(tls->ctx, alpn, sizeof alpn) != 0)
        return false;
    tls->ssl = SSL_new(tls->ctx);
    if (tls->ssl == NULL || SSL_set_fd(tls->ssl, fd) != 1)
        return false;
    return is_address || SSL_set_tlsext_host_name(tls->ssl, tls->host) == 1;
}

int admin_tls_client_new(const struct admin_tls_client_options *options, int fd, struct admin_tls_client **out,
                         struct strbuf *why)
{
    struct admin_tls_client *tls = calloc(1, sizeof *tls);
    int rc;

    if (tls == NULL || (tls->ctx = SSL_CTX_new(TLS_client_method())) == NULL) {
        free(tls);
        strbuf_add(why, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    struct strbuf host = STRBUF_OF(tls->host);
    tls->magic = ADMIN_TLS_CLIENT_MAGIC;
    strbuf_add(&host, options->host);
    rc = load_files(tls, options, why);
    if (rc == 0 && !prepare(tls, fd)) {
        strbuf_add(why, "TLS cannot be set up");
        rc = ERR_NO_MEMORY;
    }
    if (rc != 0)
        admin_tls_client_free(&tls);
    *out = tls;
    return rc;
}

void admin_tls_client_free(struct admin_tls_client **tls)
{
    struct admin_tls_client *t = *tls;

    if (t == NULL)
        return;
    CHECK_MAGIC(t, ADMIN_TLS_CLIENT_MAGIC);
    if (t->is_established && t->failure.text[0] == '\0')
        (void)SSL_shutdown(t->ssl);
    SSL_free(t->ssl);
    SSL_CTX_free(t->ctx);
    EVP_PKEY_free(t->known_key);
    ERR_clear_error();
    free(t);
    *tls = NULL;
}

/* ---- bytes ---- */

/** What OpenSSL's result means; a failure is put into words while OpenSSL still knows them. That the server takes no more bytes is
 *  not yet worth words: what it said before that, which reading will find, is. */
static int judge(struct admin_tls_client *tls, int result, bool is_writing)
{
    int system_error = errno;

    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ: return ADMIN_TLS_WANTS_READ;
    case SSL_ERROR_WANT_WRITE: return ADMIN_TLS_WANTS_WRITE;
    case SSL_ERROR_ZERO_RETURN: return 0;
    default:
        if (!is_writing || ERR_peek_error() != 0)
            admin_tls_explain_error(&tls->failure, system_error, tls->is_established);
        return ADMIN_TLS_FAILED;
    }
}

static bool has_agreed_on_h2(const SSL *ssl)
{
    const uint8_t *name;
    unsigned len;

    SSL_get0_alpn_selected(ssl, &name, &len);
    return len == 2 && memcmp(name, "h2", 2) == 0;
}

int admin_tls_client_handshake(struct admin_tls_client *tls)
{
    CHECK_MAGIC(tls, ADMIN_TLS_CLIENT_MAGIC);
    ERR_clear_error();
    int result = SSL_connect(tls->ssl);
    if (result != 1) {
        int rc = judge(tls, result, false);
        return rc == 0 ? ADMIN_TLS_FAILED : rc;
    }
    if (!has_agreed_on_h2(tls->ssl)) {
        admin_tls_explain_text(&tls->failure, "it speaks TLS, but not HTTP/2; is this the address of the admin API?");
        return ADMIN_TLS_FAILED;
    }
    tls->is_established = true;
    return 1;
}

ssize_t admin_tls_client_read(struct admin_tls_client *tls, void *data, size_t len)
{
    size_t done;

    CHECK_MAGIC(tls, ADMIN_TLS_CLIENT_MAGIC);
    ERR_clear_error();
    int result = SSL_read_ex(tls->ssl, data, len, &done);
    return result == 1 ? (ssize_t)done : judge(tls, result, false);
}

ssize_t admin_tls_client_write(struct admin_tls_client *tls, const void *data, size_t len)
{
    size_t done;

    CHECK_MAGIC(tls, ADMIN_TLS_CLIENT_MAGIC);
    ERR_clear_error();
    int result = SSL_write_ex(tls->ssl, data, len, &done);
    return result == 1 ? (ssize_t)done : judge(tls, result, true);
}

void admin_tls_client_explain(const struct admin_tls_client *tls, struct strbuf *why)
{
    strbuf_add(why, tls->failure.text[0] != '\0' ? tls->failure.text : "the server closed the connection");
}
