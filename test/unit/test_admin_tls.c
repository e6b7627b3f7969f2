/* TLS between two memory buffers: who gets in, what goes through, how it ends. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "admin_tls.h"
#include "err.h"
#include "test_pems.h"

static char folder[64], cert_path[96], key_path[96];
static struct admin_tls_context *context, *strict;
static SSL_CTX *client_ctx;
static struct admin_tls *server;
static SSL *client;
static BIO *to_client, *from_client;
static size_t piece; /* bytes that the server is fed at once */

static void put_file(const char *name, const char *text, char path[96])
{
    snprintf(path, 96, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int group_setup(void **state)
{
    char why_text[256];
    struct strbuf why = STRBUF_OF(why_text);

    (void)state;
    snprintf(folder, sizeof folder, "/tmp/mc-proxy-tls-XXXXXX");
    assert_non_null(mkdtemp(folder));
    put_file("cert.pem", cert_text, cert_path);
    put_file("key.pem", key_text, key_path);
    assert_int_equal(admin_tls_context_new(cert_path, key_path, NULL, &context, &why), 0);
    assert_int_equal(admin_tls_context_new(cert_path, key_path, cert_path, &strict, &why), 0);
    client_ctx = SSL_CTX_new(TLS_client_method());
    return client_ctx != NULL ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    admin_tls_context_free(&context);
    admin_tls_context_free(&context);
    admin_tls_context_free(&strict);
    SSL_CTX_free(client_ctx);
    unlink(cert_path);
    unlink(key_path);
    return rmdir(folder);
}

static void open_pair(struct admin_tls_context *with, const char *alpn)
{
    server = admin_tls_new(with);
    client = SSL_new(client_ctx);
    to_client = BIO_new(BIO_s_mem());
    from_client = BIO_new(BIO_s_mem());
    assert_true(server != NULL && client != NULL && to_client != NULL && from_client != NULL);
    SSL_set_bio(client, to_client, from_client);
    SSL_set_connect_state(client);
    if (alpn != NULL)
        assert_int_equal(SSL_set_alpn_protos(client, (const uint8_t *)alpn, (unsigned)strlen(alpn)), 0);
    piece = 65536;
}

static int setup(void **state)
{
    (void)state;
    open_pair(context, "\x02h2");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    admin_tls_free(&server);
    admin_tls_free(&server);
    SSL_free(client);
    assert_int_equal(ERR_peek_error(), 0); /* nothing is left behind for whoever uses OpenSSL next */
    return 0;
}

static void to_the_client(void)
{
    uint8_t out[777];
    size_t len;

    while ((len = admin_tls_take(server, out, sizeof out)) > 0)
        assert_int_equal(BIO_write(to_client, out, (int)len), len);
    assert_false(admin_tls_has_output(server));
}

/* Everything that the client has said; what the server makes of it is added to out. */
static int to_the_server(uint8_t *out, size_t capacity, size_t *got_out)
{
    uint8_t in[65536];
    size_t len, got = 0;
    int rc = 0, n;

    while (rc == 0 && (n = BIO_read(from_client, in, (int)(piece < sizeof in ? piece : sizeof in))) > 0) {
        rc = admin_tls_feed(server, bytes_of(in, (size_t)n));
        do {
            len = 0;
            rc = rc == 0 ? admin_tls_read(server, out + got, capacity - got, &len) : rc;
            got += len;
        } while (rc == 0 && len > 0 && got < capacity);
    }
    if (got_out != NULL)
        *got_out = got;
    to_the_client();
    return rc;
}

static int shake_hands(void)
{
    uint8_t out[16];
    int rc = 0;

    for (int i = 0; i < 5 && rc == 0; i++) {
        (void)SSL_do_handshake(client);
        rc = to_the_server(out, sizeof out, NULL);
    }
    ERR_clear_error(); /* the client's */
    return rc;
}

static void expect_refusal(const char *reason)
{
    assert_int_equal(shake_hands(), ERR_PROTOCOL);
    assert_false(admin_tls_is_open(server));
    if (strstr(admin_tls_reason(server), reason) == NULL)
        fail_msg("%s", admin_tls_reason(server));
}

static void bytes_go_both_ways(void **state)
{
    static uint8_t message[300000], got[300000];
    size_t len = 0;

    (void)state;
    assert_int_equal(shake_hands(), 0);
    assert_true(admin_tls_is_open(server));
    assert_int_equal(SSL_version(client), TLS1_3_VERSION);
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)(i * 7);
    assert_int_equal(SSL_write(client, message, sizeof message), sizeof message);
    assert_int_equal(to_the_server(got, sizeof got, &len), 0);
    assert_int_equal(len, sizeof message);
    assert_memory_equal(got, message, sizeof message);
    assert_int_equal(admin_tls_write(server, bytes_of(message, sizeof message)), 0);
    assert_int_equal(admin_tls_write(server, bytes_of(NULL, 0)), 0);
    to_the_client();
    memset(got, 0, sizeof got);
    for (len = 0; len < sizeof got;) {
        int n = SSL_read(client, got + len, (int)(sizeof got - len));
        assert_true(n > 0);
        len += (size_t)n;
    }
    assert_memory_equal(got, message, sizeof message);
}

static void bytes_may_come_one_by_one(void **state)
{
    uint8_t got[8];
    size_t len = 0;

    (void)state;
    piece = 1;
    assert_int_equal(shake_hands(), 0);
    assert_true(admin_tls_is_open(server));
    assert_int_equal(SSL_write(client, "hello", 5), 5);
    assert_int_equal(to_the_server(got, sizeof got, &len), 0);
    assert_int_equal(len, 5);
}

static void only_h2_will_do(void **state)
{
    static const char *const offers[] = {NULL, "\x08http/1.1", "\x02h3", "\x03h2c"};

    for (size_t i = 0; i < sizeof offers / sizeof offers[0]; i++) {
        open_pair(context, offers[i]);
        expect_refusal("application protocol");
        assert_true(BIO_ctrl_pending(to_client) > 0); /* an alert */
        teardown(state);
    }
    open_pair(context, "\x08http/1.1\x02h2");
    assert_int_equal(shake_hands(), 0);
}

static void only_1_3_will_do(void **state)
{
    (void)state;
    assert_int_equal(SSL_set_max_proto_version(client, TLS1_2_VERSION), 1);
    expect_refusal("protocol");
}

static void what_is_no_tls_is_refused(void **state)
{
    size_t len;
    uint8_t out[16];

    (void)state;
    assert_int_equal(admin_tls_feed(server, bytes_of_str("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")), 0);
    assert_int_equal(admin_tls_read(server, out, sizeof out, &len), ERR_PROTOCOL);
    assert_int_equal(len, 0);
}

static void use_certificate(const char *cert, const char *key)
{
    BIO *bio = BIO_new_mem_buf(cert, -1);
    X509 *x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    bio = BIO_new_mem_buf(key, -1);
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_int_equal(SSL_use_certificate(client, x509), 1);
    assert_int_equal(SSL_use_PrivateKey(client, pkey), 1);
    X509_free(x509);
    EVP_PKEY_free(pkey);
}

static void client_certificates_are_looked_at(void **state)
{
    (void)state;
    teardown(state);
    open_pair(strict, "\x02h2");
    use_certificate(cert_text, key_text);
    assert_int_equal(shake_hands(), 0);
    assert_true(admin_tls_is_open(server));
    teardown(state);
    open_pair(strict, "\x02h2");
    expect_refusal("peer did not return a certificate");
    teardown(state);
    open_pair(strict, "\x02h2");
    use_certificate(expired_cert_text, key_text); /* and self-signed */
    expect_refusal("certificate");
}

static void goodbyes_are_heard(void **state)
{
    uint8_t out[16];

    (void)state;
    admin_tls_say_goodbye(server); /* too early: nobody is there yet */
    assert_int_equal(shake_hands(), 0);
    admin_tls_say_goodbye(server);
    to_the_client();
    assert_int_equal(SSL_read(client, out, sizeof out), 0);
    assert_int_equal(SSL_get_error(client, 0), SSL_ERROR_ZERO_RETURN);
    assert_int_equal(SSL_shutdown(client), 1);
    assert_int_equal(to_the_server(out, sizeof out, NULL), ERR_CLOSED);
}

static void no_session_can_be_resumed(void **state)
{
    uint8_t out[16];

    (void)state;
    assert_int_equal(shake_hands(), 0);
    (void)SSL_read(client, out, sizeof out); /* a ticket would be here */
    ERR_clear_error();
    assert_int_equal(SSL_SESSION_is_resumable(SSL_get0_session(client)), 0);
}

/* The client's first message with one byte changed: a verdict, or still a handshake, never more. */
static void every_flipped_byte_ends_in_a_verdict(void **state)
{
    uint8_t hello[2048], out[16];
    int len;

    (void)SSL_do_handshake(client);
    ERR_clear_error();
    len = BIO_read(from_client, hello, sizeof hello);
    assert_in_range(len, 100, sizeof hello - 1);
    teardown(state);
    for (int i = 0; i < len; i++) {
        size_t got;
        open_pair(context, "\x02h2");
        hello[i] ^= 0x55;
        assert_int_equal(admin_tls_feed(server, bytes_of(hello, (size_t)len)), 0);
        int rc = admin_tls_read(server, out, sizeof out, &got);
        assert_true(rc == 0 || rc == ERR_PROTOCOL);
        assert_int_equal(got, 0);
        assert_false(admin_tls_is_open(server));
        hello[i] ^= 0x55;
        teardown(state);
    }
    open_pair(context, "\x02h2");
}

static void files_that_are_wrong_are_named(void **state)
{
    struct admin_tls_context *made = NULL;
    char why_text[256], other[96];
    struct strbuf why = STRBUF_OF(why_text);

    (void)state;
    put_file("other.pem", other_key_text, other);
    assert_int_equal(admin_tls_context_new(cert_path, other, NULL, &made, &why), ERR_INVALID);
    assert_memory_equal(why_text, other, strlen(other));
    assert_non_null(strstr(why_text, "is not the key of tls_cert"));
    strbuf_reset(&why);
    assert_int_equal(admin_tls_context_new(cert_path, key_path, other, &made, &why), ERR_INVALID);
    assert_memory_equal(why_text, other, strlen(other));
    unlink(other);
    strbuf_reset(&why);
    assert_int_equal(admin_tls_context_new(cert_path, key_path, other, &made, &why), ERR_INVALID);
    assert_non_null(strstr(why_text, "No such file"));
    assert_null(made);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(bytes_go_both_ways),
        TEST(bytes_may_come_one_by_one),
        cmocka_unit_test_teardown(only_h2_will_do, teardown),
        TEST(only_1_3_will_do),
        TEST(what_is_no_tls_is_refused),
        TEST(client_certificates_are_looked_at),
        TEST(goodbyes_are_heard),
        TEST(no_session_can_be_resumed),
        TEST(every_flipped_byte_ends_in_a_verdict),
        TEST(files_that_are_wrong_are_named),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
