/* ClientHellos against OpenSSL's own server: where we find a name, OpenSSL finds the same one, and where we find none, it finds none.
 *
 * OpenSSL runs as a server over memory BIOs and is asked twice: when it has taken the hello apart (client hello callback), and behind all
 * its checks of the extensions (servername callback), where a backend acts on the name. The first must come for every hello that we
 * take. What OpenSSL refuses later, a version it has not or a key share it cannot read, is for a backend to say. What we refuse it may
 * take: we are stricter about names.
 *
 * Random bytes rarely make a hello, so the mutator knows the format (hello_mutator.h). At the end the number of hellos that were
 * compared is told, as a run that was refused by us at once proves nothing. */

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "client_hello.h"
#include "hello_mutator.h"

#define EXTENSION_USE_SRTP 14 /* RFC 5764: for DTLS; OpenSSL refuses it over TLS, others ignore it as an unknown one */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed);

/** What OpenSSL's server made of the bytes. */
struct server_view {
    bool was_taken_apart;
    char raw_name[HOSTNAME_MAX + 3];
    bool was_checked;
    bool has_name;
    char name[HOSTNAME_MAX + 3];
    int reason; /* of the error */
};

static struct {
    unsigned long runs, taken_apart, checked;
} totals;

static void print_totals(void)
{
    printf("%lu inputs: OpenSSL's view was compared for %lu hellos, behind all its checks for %lu of them\n",
           totals.runs, totals.taken_apart, totals.checked);
}

static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    struct server_view *view = SSL_get_app_data(ssl);
    const unsigned char *body;
    size_t len;

    (void)alert, (void)arg;
    view->was_taken_apart = true;
    /* list length, type, name length, name */
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &body, &len) == 1 && len > 5 &&
        len - 5 < sizeof view->raw_name)
        memcpy(view->raw_name, body + 5, len - 5);
    return SSL_CLIENT_HELLO_SUCCESS;
}

static int on_servername(SSL *ssl, int *alert, void *arg)
{
    struct server_view *view = SSL_get_app_data(ssl);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)arg;
    view->was_checked = true;
    view->has_name = name != NULL;
    if (name != NULL)
        snprintf(view->name, sizeof view->name, "%s", name);
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* nobody needs the rest of the handshake */
}

static SSL_CTX *server_context(void)
{
    static SSL_CTX *context;

    if (context == NULL) {
        context = SSL_CTX_new(TLS_server_method());
        CHECK(context != NULL);
        SSL_CTX_set_security_level(context, 0);
        SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
        SSL_CTX_set_client_hello_cb(context, on_client_hello, NULL);
        SSL_CTX_set_tlsext_servername_callback(context, on_servername);
        atexit(print_totals);
    }
    return context;
}

static void ask_openssl(const uint8_t *data, size_t size, struct server_view *view)
{
    SSL *ssl = SSL_new(server_context());
    BIO *in = BIO_new_mem_buf(data, (int)size);
    BIO *out = BIO_new(BIO_s_null());

    CHECK(ssl != NULL && in != NULL && out != NULL);
    BIO_set_mem_eof_return(in, -1); /* more may come */
    SSL_set_bio(ssl, in, out);
    SSL_set_app_data(ssl, view);
    ERR_clear_error();
    (void)SSL_accept(ssl);
    view->reason = ERR_GET_REASON(ERR_peek_error());
    SSL_free(ssl);
}

/** Does the hello, all of whose bytes are in data, carry this extension? The mutator's way to read it, not the parser's. */
static bool has_extension(struct bytes wire, uint16_t type)
{
    static struct mutator m;
    static uint8_t message[MUTATOR_MESSAGE_MAX];
    size_t len = mutator_gather(wire, message);

    if (!mutator_take_apart(&m, bytes_of(message, len)))
        return false;
    for (size_t i = 0; i < m.count; i++) {
        if (m.extensions[i].type == type)
            return true;
    }
    return false;
}

static void check_same_name(const struct client_hello *ours, const char *theirs)
{
    char name[HOSTNAME_MAX + 1];

    if (ours->name_len == 0) {
        CHECK(theirs[0] == '\0');
        return;
    }
    CHECK(hostname_normalise(bytes_of_str(theirs), name) == ours->name_len);
    CHECK(strcmp(name, ours->name) == 0);
}

/* The last hellos that we took: to mutate instead of one that is refused already, which the corpus is full of. */
#define VALID_KEPT 64
static struct {
    size_t len;
    uint8_t bytes[4096];
} valid[VALID_KEPT];
static size_t valid_count;

static void keep_valid(const uint8_t *data, size_t size)
{
    size_t at = valid_count % VALID_KEPT;

    if (size > sizeof valid[at].bytes)
        return;
    memcpy(valid[at].bytes, data, size);
    valid[at].len = size;
    valid_count++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hello_scratch scratch;
    struct hello_progress progress = {0};
    struct client_hello hello;
    struct server_view view = {0};

    totals.runs++;
    if (client_hello_parse(&progress, bytes_of(data, size), &scratch, &hello) != HELLO_OK)
        return 0;
    keep_valid(data, size);
    ask_openssl(data, size, &view);
    if (!view.was_taken_apart) {
        CHECK(view.reason == SSL_R_BAD_EXTENSION);
        CHECK(has_extension(bytes_of(data, progress.scanned), EXTENSION_USE_SRTP));
        return 0;
    }
    totals.taken_apart++;
    check_same_name(&hello, view.raw_name);
    if (view.was_checked) {
        totals.checked++;
        CHECK(view.has_name == (hello.name_len > 0));
        check_same_name(&hello, view.name);
    }
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    static struct hello_scratch scratch;
    struct hello_progress progress = {0};
    struct client_hello hello;

    if (valid_count > 0 && client_hello_parse(&progress, bytes_of(data, size), &scratch, &hello) != HELLO_OK) {
        size_t at = seed % (valid_count < VALID_KEPT ? valid_count : VALID_KEPT);
        size = valid[at].len < capacity ? valid[at].len : capacity;
        memcpy(data, valid[at].bytes, size);
    }
    return hello_mutate(data, size, capacity, seed);
}
