/* TLS of the admin API: OpenSSL between two memory buffers. */

#include "admin_tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "admin_tls_check.h"
#include "err.h"

#define ADMIN_TLS_MAGIC 0x736c7461u

static const unsigned char alpn_h2[] = {2, 'h', '2'};

struct admin_tls_context {
    SSL_CTX *ctx;
};

struct admin_tls {
    uint32_t magic;
    SSL *ssl;
    BIO *in;  /* from the socket; ssl's */
    BIO *out; /* for the socket; ssl's */
    const char *reason;
};

/* ---- certificates ---- */

struct file_report {
    const char *paths[3]; /* by enum admin_tls_file */
    struct strbuf *why;
    bool has_error;
};

static void on_report(void *context, enum admin_tls_file file, bool is_warning, const char *text)
{
    struct file_report *r = context;

    if (is_warning || r->has_error)
        return;
    r->has_error = true;
    strbuf_addf(r->why, "%s: %s", r->paths[file], text);
}

/** The client offers what it speaks; only HTTP/2 will do (RFC 7301 3.2, RFC 9113 3.2). */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                   unsigned int in_len, void *arg)
{
    unsigned char *selected = NULL;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&selected, out_len, alpn_h2, sizeof alpn_h2, in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = selected;
    return SSL_TLSEXT_ERR_OK;
}

/** A client that offers no protocol at all never gets to on_alpn(). */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    const unsigned char *extension;
    size_t len;

    (void)arg;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &extension, &len) == 1)
        return SSL_CLIENT_HELLO_SUCCESS;
    struct admin_tls *t = SSL_get_app_data(ssl);
    CHECK_MAGIC(t, ADMIN_TLS_MAGIC);
    t->reason = "the client offers no application protocol (ALPN), it has to offer h2";
    *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
    return SSL_CLIENT_HELLO_ERROR;
}

static bool load_ca(SSL_CTX *ctx, const char *path)
{
    STACK_OF(X509_NAME) * names;

    if (SSL_CTX_load_verify_file(ctx, path) != 1 || (names = SSL_load_client_CA_file(path)) == NULL)
        return false;
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return true;
}

/** No tickets and no resumption: every connection shows its certificate, and it is as valid as it is today. */
static bool set_up(SSL_CTX *ctx, const char *cert_path, const char *key_path, const char *ca_path)
{
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    SSL_CTX_set_client_hello_cb(ctx, on_client_hello, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 && SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
           SSL_CTX_use_certificate_chain_file(ctx, cert_path) == 1 &&
           SSL_CTX_use_PrivateKey_file(ctx, key_path, SSL_FILETYPE_PEM) == 1 &&
           (ca_path == NULL || load_ca(ctx, ca_path));
}

int admin_tls_context_new(const char *cert_path, const char *key_path, const char *ca_path,
                          struct admin_tls_context **out, struct strbuf *why)
{
    const struct admin_tls_files files = {cert_path, key_path, ca_path, "tls_cert"};
    struct file_report report = {.paths = {cert_path, key_path, ca_path}, .why = why};

    admin_tls_check(&files, on_report, &report);
    if (report.has_error)
        return ERR_INVALID;
    struct admin_tls_context *c = calloc(1, sizeof *c);
    if (c == NULL || (c->ctx = SSL_CTX_new(TLS_server_method())) == NULL) {
        free(c);
        strbuf_add(why, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    if (!set_up(c->ctx, cert_path, key_path, ca_path)) {
        const char *text = ERR_reason_error_string(ERR_peek_error());
        strbuf_addf(why, "%s: cannot be used: %s", cert_path, text != NULL ? text : "unknown error");
        ERR_clear_error();
        admin_tls_context_free(&c);
        return ERR_INVALID;
    }
    *out = c;
    return 0;
}

void admin_tls_context_free(struct admin_tls_context **context)
{
    if (*context != NULL)
        SSL_CTX_free((*context)->ctx);
    free(*context);
    *context = NULL;
}

/* ---- a session ---- */

struct admin_tls *admin_tls_new(struct admin_tls_context *context)
{
    struct admin_tls *t = calloc(1, sizeof *t);

    if (t == NULL)
        return NULL;
    *t = (struct admin_tls){.magic = ADMIN_TLS_MAGIC,
                            .ssl = SSL_new(context->ctx),
                            .in = BIO_new(BIO_s_mem()),
                            .out = BIO_new(BIO_s_mem())};
    if (t->ssl == NULL || t->in == NULL || t->out == NULL) {
        BIO_free(t->in);
        BIO_free(t->out);
        SSL_free(t->ssl);
        free(t);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_app_data(t->ssl, t);
    SSL_set_bio(t->ssl, t->in, t->out);
    SSL_set_accept_state(t->ssl);
    return t;
}

void admin_tls_free(struct admin_tls **tls)
{
    if (*tls != NULL)
        SSL_free((*tls)->ssl);
    free(*tls);
    *tls = NULL;
}

int admin_tls_feed(struct admin_tls *t, struct bytes in)
{
    CHECK_MAGIC(t, ADMIN_TLS_MAGIC);
    return BIO_write(t->in, in.ptr, (int)in.len) == (int)in.len ? 0 : ERR_NO_MEMORY;
}

/** OpenSSL's queue of errors is the thread's: read what is ours, leave nothing behind. */
static int fail(struct admin_tls *t)
{
    long verify = SSL_get_verify_result(t->ssl);
    const char *text = ERR_reason_error_string(ERR_peek_error());

    if (verify != X509_V_OK)
        text = X509_verify_cert_error_string(verify);
    if (t->reason == NULL)
        t->reason = text != NULL ? text : "unknown error";
    ERR_clear_error();
    return ERR_PROTOCOL;
}

int admin_tls_read(struct admin_tls *t, uint8_t *out, size_t capacity, size_t *len_out)
{
    CHECK_MAGIC(t, ADMIN_TLS_MAGIC);
    *len_out = 0;
    ERR_clear_error();
    int rc = SSL_read_ex(t->ssl, out, capacity, len_out);
    if (rc == 1)
        return 0;
    switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return 0;
    case SSL_ERROR_ZERO_RETURN: return ERR_CLOSED;
    default: return fail(t);
    }
}

bool admin_tls_is_open(const struct admin_tls *t)
{
    return SSL_is_init_finished(t->ssl) == 1;
}

int admin_tls_write(struct admin_tls *t, struct bytes in)
{
    size_t written = 0;

    CHECK_MAGIC(t, ADMIN_TLS_MAGIC);
    ERR_clear_error();
    if (in.len == 0 || SSL_write_ex(t->ssl, in.ptr, in.len, &written) == 1)
        return 0;
    return fail(t);
}

void admin_tls_say_goodbye(struct admin_tls *t)
{
    CHECK_MAGIC(t, ADMIN_TLS_MAGIC);
    if (SSL_is_init_finished(t->ssl))
        (void)SSL_shutdown(t->ssl);
    ERR_clear_error();
}

size_t admin_tls_take(struct admin_tls *t, uint8_t *out, size_t capacity)
{
    CHECK_MAGIC(t, ADMIN_TLS_MAGIC);
    int len = BIO_read(t->out, out, (int)capacity);

    return len > 0 ? (size_t)len : 0;
}

bool admin_tls_has_output(const struct admin_tls *t)
{
    return BIO_ctrl_pending(t->out) > 0;
}

const char *admin_tls_reason(const struct admin_tls *t)
{
    return t->reason != NULL ? t->reason : "closed by the other side";
}
