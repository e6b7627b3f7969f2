/* OpenSSL's errors in words for an operator: which certificate is wrong, whose, and which option helps. */

#include "admin_tls_explain.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "strbuf.h"

#define NAMES_SHOWN_MAX            4
#define ALERT_CERTIFICATE_REQUIRED 116 /* RFC 8446 6.2; OpenSSL keeps its name for it to itself */

void admin_tls_explain_text(struct admin_tls_failure *out, const char *text)
{
    struct strbuf to = STRBUF_OF(out->text);

    strbuf_add(&to, text);
}

/* ---- parts of certificates; whatever they hold, the text is printable ---- */

static void add_printable(struct bytes text, struct strbuf *out)
{
    for (size_t i = 0; i < text.len; i++)
        strbuf_add_char(out, text.ptr[i] >= 0x20 && text.ptr[i] < 0x7f ? (char)text.ptr[i] : '?');
}

static void add_name(const X509_NAME *name, struct strbuf *out)
{
    char data[200];

    X509_NAME_oneline(name, data, sizeof data);
    add_printable(bytes_of_str(data), out);
}

static void add_date(const ASN1_TIME *date, struct strbuf *out)
{
    char data[32];
    struct tm tm;

    if (ASN1_TIME_to_tm(date, &tm) == 1 && strftime(data, sizeof data, "%Y-%m-%d %H:%M UTC", &tm) > 0)
        strbuf_add(out, data);
}

static void add_address(const ASN1_OCTET_STRING *address, struct strbuf *out)
{
    char data[INET6_ADDRSTRLEN] = "?";
    int len = ASN1_STRING_length(address);

    if (len == 4 || len == 16)
        inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), data, sizeof data);
    strbuf_add(out, data);
}

static bool add_alternative(const GENERAL_NAME *name, const char *before, struct strbuf *out)
{
    if (name->type != GEN_DNS && name->type != GEN_IPADD)
        return false;
    strbuf_add(out, before);
    if (name->type == GEN_IPADD)
        add_address(name->d.iPAddress, out);
    else
        add_printable(bytes_of(ASN1_STRING_get0_data(name->d.dNSName), (size_t)ASN1_STRING_length(name->d.dNSName)),
                      out);
    return true;
}

/** The names that a certificate is for: "localhost, 127.0.0.1". */
static void add_names(const X509 *cert, struct strbuf *out)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int shown = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && shown < NAMES_SHOWN_MAX; i++)
        shown += add_alternative(sk_GENERAL_NAME_value(names, i), shown > 0 ? ", " : "", out);
    if (shown == 0)
        add_name(X509_get_subject_name(cert), out);
    GENERAL_NAMES_free(names);
}

/* ---- chains ---- */

static bool is_about_ca(int error)
{
    return error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT || error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
           error == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE || error == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ||
           error == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN || error == X509_V_ERR_CERT_SIGNATURE_FAILURE;
}

void admin_tls_explain_chain(struct admin_tls_failure *out, X509_STORE_CTX *chain, const char *host, bool has_known_key)
{
    struct strbuf to = STRBUF_OF(out->text);
    int error = X509_STORE_CTX_get_error(chain);
    const X509 *cert = X509_STORE_CTX_get_current_cert(chain);

    if (cert == NULL)
        cert = X509_STORE_CTX_get0_cert(chain);
    strbuf_add(&to, "wrong certificate: ");
    if (error == X509_V_ERR_HOSTNAME_MISMATCH) {
        strbuf_add(&to, "it is for ");
        add_names(cert, &to);
        strbuf_addf(&to, ", not for %s", host);
    } else if (error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID) {
        bool has_expired = error == X509_V_ERR_CERT_HAS_EXPIRED;
        strbuf_add(&to, "that of ");
        add_name(X509_get_subject_name(cert), &to);
        strbuf_add(&to, has_expired ? " has expired on " : " is not valid before ");
        add_date(has_expired ? X509_get0_notAfter(cert) : X509_get0_notBefore(cert), &to);
    } else if (is_about_ca(error)) {
        strbuf_add(&to, "it comes from a CA that is not trusted here (");
        add_name(X509_get_issuer_name(X509_STORE_CTX_get0_cert(chain)), &to);
        strbuf_add(&to, "); name the right one with --ca");
    } else {
        strbuf_add(&to, X509_verify_cert_error_string(error));
    }
    if (has_known_key)
        strbuf_add(&to, "; nor is it tls_cert of the configuration, has the server read that?");
}

/* ---- everything else ---- */

/** Alerts of the server, RFC 8446 6: OpenSSL's reason is SSL_AD_REASON_OFFSET and the alert's number. */
static const struct alert_text {
    int alert;
    const char *text;
} alert_texts[] = {
    {SSL_AD_HANDSHAKE_FAILURE, "the server and we have no cipher or signature in common"},
    {SSL_AD_BAD_CERTIFICATE, "the server refuses the client certificate; give another with --cert and --key"},
    {SSL_AD_UNSUPPORTED_CERTIFICATE, "the server refuses this kind of client certificate: is it one for servers?"},
    {SSL_AD_CERTIFICATE_REVOKED, "the server says that the client certificate was revoked"},
    {SSL_AD_CERTIFICATE_EXPIRED, "the server says that the client certificate has expired"},
    {SSL_AD_CERTIFICATE_UNKNOWN, "the server refuses the client certificate; give another with --cert and --key"},
    {SSL_AD_UNKNOWN_CA, "the server does not trust the client certificate: it is not from the CA in its client_ca"},
    {SSL_AD_DECRYPT_ERROR, "the server refuses the client certificate: its signature is wrong"},
    {SSL_AD_PROTOCOL_VERSION, "the server has no TLS 1.3; is this the address of the admin API?"},
    {SSL_AD_NO_APPLICATION_PROTOCOL, "it speaks TLS, but not HTTP/2; is this the address of the admin API?"},
    {ALERT_CERTIFICATE_REQUIRED, "the server demands a client certificate; give one with --cert and --key"},
};

static const char *find_alert(int reason)
{
    for (size_t i = 0; i < sizeof alert_texts / sizeof alert_texts[0]; i++) {
        if (SSL_AD_REASON_OFFSET + alert_texts[i].alert == reason)
            return alert_texts[i].text;
    }
    return NULL;
}

static const char *find_reason(unsigned long error)
{
    int reason = ERR_GET_REASON(error);

    if (ERR_GET_LIB(error) != ERR_LIB_SSL)
        return NULL;
    switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG: return "it does not speak TLS; is this the address of the admin API?";
    case SSL_R_UNSUPPORTED_PROTOCOL: return "the server has no TLS 1.3; is this the address of the admin API?";
    case SSL_R_UNEXPECTED_EOF_WHILE_READING: return "the server closed the connection";
    default: return find_alert(reason);
    }
}

void admin_tls_explain_error(struct admin_tls_failure *out, int system_error, bool is_established)
{
    unsigned long error = ERR_peek_error();
    const char *text = find_reason(error);
    const char *reason = ERR_reason_error_string(error);
    struct strbuf to;

    if (out->text[0] != '\0')
        return; /* the first cause is the one that helps */
    to = strbuf_init(out->text, sizeof out->text);
    if (text != NULL)
        strbuf_add(&to, text);
    else if (error == 0 && system_error != 0)
        strbuf_add(&to, strerror(system_error));
    else if (error == 0)
        strbuf_add(&to, "the server closed the connection");
    else
        strbuf_addf(&to, "TLS failed%s: %s", is_established ? "" : " in the handshake",
                    reason != NULL ? reason : "unknown error");
}
