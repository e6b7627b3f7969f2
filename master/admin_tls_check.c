/* Checks certificate, key and CA of the admin API before anybody relies on them. */

#include "admin_tls_check.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "strbuf.h"

struct tls_check {
    SSL_CTX *ctx;
    const struct admin_tls_files *files;
    admin_tls_report_fn report;
    void *context;
};

static void report(const struct tls_check *c, enum admin_tls_file file, bool is_warning, const char *format, ...)
    PRINTF_LIKE(4, 5);
static void report(const struct tls_check *c, enum admin_tls_file file, bool is_warning, const char *format, ...)
{
    char data[512];
    struct strbuf text = STRBUF_OF(data);
    va_list args;

    va_start(args, format);
    strbuf_addv(&text, format, args);
    va_end(args);
    c->report(c->context, file, is_warning, data);
}

/** What OpenSSL says of the first failure since ERR_clear_error(): those behind it are only on its way out. */
static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_error());

    return text != NULL ? text : "unknown error";
}

static bool can_read(const struct tls_check *c, enum admin_tls_file file, const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0 || (S_ISREG(st.st_mode) && access(path, R_OK) != 0)) {
        report(c, file, false, "cannot be read: %s; expected a PEM file", strerror(errno));
        return false;
    }
    if (!S_ISREG(st.st_mode)) {
        report(c, file, false, "is no regular file; expected a PEM file");
        return false;
    }
    return true;
}

/** consequence: what comes of a wrong date. */
static void check_dates(const struct tls_check *c, enum admin_tls_file file, const X509 *cert, const char *consequence)
{
    if (cert == NULL)
        return;
    if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
        report(c, file, true, "the certificate has expired; %s", consequence);
    if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
        report(c, file, true, "the certificate is not valid yet; %s", consequence);
}

static bool check_cert(const struct tls_check *c, const char *path)
{
    if (!can_read(c, ADMIN_TLS_CERT, path))
        return false;
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(c->ctx, path) != 1) {
        report(c, ADMIN_TLS_CERT, false, "holds no usable certificate: %s; expected a PEM certificate chain", reason());
        return false;
    }
    check_dates(c, ADMIN_TLS_CERT, SSL_CTX_get0_certificate(c->ctx), "clients will refuse it");
    return true;
}

/** A server has nobody to ask; without this OpenSSL would ask on the terminal. */
/* NOLINTNEXTLINE(readability-non-const-parameter): OpenSSL's type pem_password_cb */
static int refuse_passphrase(char *buffer, int size, int is_writing, void *was_asked)
{
    (void)buffer;
    (void)size;
    (void)is_writing;
    *(bool *)was_asked = true;
    return -1;
}

/** Did it fail because the key, good in itself, is another certificate's? */
static bool is_mismatch(unsigned long error)
{
    int what = ERR_GET_REASON(error);

    if (ERR_GET_LIB(error) == ERR_LIB_SSL)
        return what == SSL_R_NO_CERTIFICATE_ASSIGNED; /* it is of another type */
    return ERR_GET_LIB(error) == ERR_LIB_X509 &&
           (what == X509_R_KEY_VALUES_MISMATCH || what == X509_R_KEY_TYPE_MISMATCH);
}

static void check_key(const struct tls_check *c, const char *path, bool has_cert)
{
    bool was_asked = false;

    if (!can_read(c, ADMIN_TLS_KEY, path))
        return;
    SSL_CTX_set_default_passwd_cb(c->ctx, refuse_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(c->ctx, &was_asked);
    ERR_clear_error();
    if (SSL_CTX_use_PrivateKey_file(c->ctx, path, SSL_FILETYPE_PEM) == 1 &&
        (!has_cert || SSL_CTX_check_private_key(c->ctx) == 1))
        return;
    if (was_asked)
        report(c, ADMIN_TLS_KEY, false, "is protected by a passphrase; expected a PEM private key without one");
    else if (has_cert && is_mismatch(ERR_peek_error()))
        report(c, ADMIN_TLS_KEY, false, "is not the key of %s; expected the private key that belongs to it",
               c->files->cert_name);
    else
        report(c, ADMIN_TLS_KEY, false, "holds no usable private key: %s; expected a PEM private key", reason());
}

static void check_ca(const struct tls_check *c, const char *path)
{
    if (!can_read(c, ADMIN_TLS_CA, path))
        return;
    ERR_clear_error();
    if (SSL_CTX_load_verify_file(c->ctx, path) != 1) {
        report(c, ADMIN_TLS_CA, false, "holds no usable certificate: %s; expected PEM certificates of a CA", reason());
        return;
    }
    STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(SSL_CTX_get_cert_store(c->ctx));
    for (int i = 0; i < sk_X509_OBJECT_num(all); i++)
        check_dates(c, ADMIN_TLS_CA, X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i)),
                    "nobody can use a certificate of this CA");
}

void admin_tls_check(const struct admin_tls_files *files, admin_tls_report_fn report_fn, void *context)
{
    struct tls_check c = {
        .ctx = SSL_CTX_new(TLS_server_method()), .files = files, .report = report_fn, .context = context};
    bool has_cert = false;

    if (c.ctx == NULL) {
        report(&c, ADMIN_TLS_CERT, false, "cannot be checked: %s", reason());
        return;
    }
    if (files->cert_path != NULL)
        has_cert = check_cert(&c, files->cert_path);
    if (files->key_path != NULL)
        check_key(&c, files->key_path, has_cert);
    if (files->ca_path != NULL)
        check_ca(&c, files->ca_path);
    SSL_CTX_free(c.ctx);
    ERR_clear_error();
}

const char *admin_tls_version_text(void)
{
    return OpenSSL_version(OPENSSL_VERSION_STRING);
}
