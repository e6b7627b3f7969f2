#ifndef HELLO_BUILDER_H
#define HELLO_BUILDER_H

/* What the tests of the ClientHello share: hellos built field by field, records of any size, and a judge that has every verdict
 * given twice, for the bytes in one piece and for the bytes one by one. */

#include <stdlib.h>
#include <string.h>

#include "client_hello.h"

#define HELLO_LITERAL(text) ((struct bytes){(const uint8_t *)(text), sizeof(text) - 1})
#define HELLO_ABSENT        HELLO_LITERAL("") /* in a hello_spec, where {0} stands for the usual value */

/* server_name extensions; all lengths by hand, so that nothing but the test counts them */
#define HELLO_SNI_EXAMPLE "\0\0\0\x14\0\x12\0\0\x0fwww.example.com"
#define HELLO_SNI_A       "\0\0\0\6\0\4\0\0\1a"

/** Bytes under construction, with room for more than a parser takes. */
struct hello_bytes {
    uint8_t data[3 * CLIENT_HELLO_MAX_BYTES];
    size_t len;
};

static inline struct bytes hello_all(const struct hello_bytes *h)
{
    return bytes_of(h->data, h->len);
}

static inline void hello_put(struct hello_bytes *h, struct bytes b)
{
    CHECK(b.len <= sizeof h->data - h->len);
    if (b.len > 0)
        memcpy(h->data + h->len, b.ptr, b.len);
    h->len += b.len;
}

static inline void hello_put_number(struct hello_bytes *h, unsigned width, size_t value)
{
    for (unsigned i = width; i-- > 0;)
        hello_put(h, bytes_of(&(uint8_t){(uint8_t)(value >> 8 * i)}, 1));
}

/** A vector with a length of width bytes in front. */
static inline void hello_put_vector(struct hello_bytes *h, unsigned width, struct bytes b)
{
    hello_put_number(h, width, b.len);
    hello_put(h, b);
}

/** The fields of a ClientHello; what is {0} gets a usual value. */
struct hello_spec {
    uint16_t version; /* 0x0303 */
    bool has_no_extensions;
    struct bytes session_id, ciphers, compression; /* 32 bytes; two suites; null */
    struct bytes extensions;                       /* server_name www.example.com */
    struct bytes tail;                             /* behind them, inside the message: nothing */
};

static inline struct bytes hello_or(struct bytes given, struct bytes usual)
{
    return given.ptr != NULL ? given : usual;
}

/** The handshake message. */
static inline void hello_build_message(const struct hello_spec *spec, struct hello_bytes *out)
{
    static struct hello_bytes body;
    struct bytes id = HELLO_LITERAL("0123456789abcdef0123456789ABCDEF");

    body.len = 0;
    hello_put_number(&body, 2, spec->version != 0 ? spec->version : 0x0303);
    hello_put(&body, HELLO_LITERAL("random bytes, thirty-two of them"));
    hello_put_vector(&body, 1, hello_or(spec->session_id, id));
    hello_put_vector(&body, 2, hello_or(spec->ciphers, HELLO_LITERAL("\x13\x01\xc0\x2f")));
    hello_put_vector(&body, 1, hello_or(spec->compression, HELLO_LITERAL("\0")));
    if (!spec->has_no_extensions)
        hello_put_vector(&body, 2, hello_or(spec->extensions, HELLO_LITERAL(HELLO_SNI_EXAMPLE)));
    hello_put(&body, spec->tail);
    out->len = 0;
    hello_put_number(out, 1, 1);
    hello_put_vector(out, 3, hello_all(&body));
}

/** A message whose length is exactly len, by way of a padding extension; len is at least 200. */
static inline void hello_build_long_message(size_t len, struct hello_bytes *out)
{
    static struct hello_bytes extensions;
    const struct hello_spec plain = {0};

    hello_build_message(&plain, out);
    size_t padding = len - out->len - 4;
    extensions.len = 0;
    hello_put(&extensions, HELLO_LITERAL(HELLO_SNI_EXAMPLE));
    hello_put_number(&extensions, 2, 21);
    hello_put_number(&extensions, 2, padding);
    CHECK(padding <= sizeof extensions.data - extensions.len);
    memset(extensions.data + extensions.len, 0, padding);
    extensions.len += padding;
    hello_build_message(&(struct hello_spec){.extensions = hello_all(&extensions)}, out);
    CHECK(out->len == len);
}

static inline void hello_put_record(struct hello_bytes *out, struct bytes body)
{
    hello_put(out, HELLO_LITERAL("\x16\x03\x01"));
    hello_put_vector(out, 2, body);
}

/** The message in records: the first of first bytes (if that many are there), the others of at most rest bytes. */
static inline void hello_put_records(struct hello_bytes *out, struct bytes message, size_t first, size_t rest)
{
    for (size_t at = 0, piece = first; at < message.len; at += piece, piece = rest) {
        if (piece > message.len - at)
            piece = message.len - at;
        hello_put_record(out, bytes_of(message.ptr + at, piece));
    }
}

/** The spec's hello in one record. */
static inline void hello_build(const struct hello_spec *spec, struct hello_bytes *out)
{
    static struct hello_bytes message;

    hello_build_message(spec, &message);
    out->len = 0;
    hello_put_record(out, hello_all(&message));
}

static struct hello_scratch hello_scratch;

/** One call; the scratch must come back clean, and a verdict with its reason. */
static inline enum hello_result hello_call(struct hello_progress *progress, struct bytes in, struct client_hello *out)
{
    static const uint64_t clean[sizeof hello_scratch.seen_extensions / sizeof(uint64_t)];
    uint32_t scanned = progress->scanned;

    memset(out, 0x5a, sizeof *out);
    enum hello_result result = client_hello_parse(progress, in, &hello_scratch, out);
    CHECK(memcmp(hello_scratch.seen_extensions, clean, sizeof clean) == 0);
    CHECK(progress->scanned >= scanned && progress->scanned <= in.len);
    CHECK(result != HELLO_MORE || in.len < CLIENT_HELLO_MAX_BYTES);
    CHECK(result != HELLO_BAD || (out->reason != NULL && strlen(out->reason) > 0));
    CHECK(result != HELLO_OK || (out->name[out->name_len] == '\0' && strlen(out->name) == out->name_len));
    return result;
}

/** The verdict on an exact-size copy, so that the address sanitizer sees a read past the end. */
static inline enum hello_result hello_parse_whole(struct bytes in, struct client_hello *out)
{
    struct hello_progress progress = {0};
    uint8_t *copy = malloc(in.len > 0 ? in.len : 1);

    CHECK(copy != NULL);
    if (in.len > 0)
        memcpy(copy, in.ptr, in.len);
    enum hello_result result = hello_call(&progress, bytes_of(in.len > 0 ? copy : NULL, in.len), out);
    free(copy);
    return result;
}

/** The verdict on bytes that come one by one; *len_out is how many it took. */
static inline enum hello_result hello_parse_trickle(struct bytes in, struct client_hello *out, size_t *len_out)
{
    struct hello_progress progress = {0};
    enum hello_result result = HELLO_MORE;
    size_t len = 0;

    while (result == HELLO_MORE && len < in.len)
        result = hello_call(&progress, bytes_of(in.ptr, ++len), out);
    *len_out = len;
    return result;
}

/** The verdict, which must be the same in one piece and byte by byte. */
static inline enum hello_result hello_judge(struct bytes in, struct client_hello *out)
{
    struct client_hello trickled;
    size_t len = 0;
    enum hello_result result = hello_parse_whole(in, out);

    CHECK(hello_parse_trickle(in, &trickled, &len) == result);
    if (result == HELLO_OK)
        CHECK(strcmp(out->name, trickled.name) == 0 && strcmp(out->alpn, trickled.alpn) == 0 &&
              out->versions == trickled.versions && out->has_ech == trickled.has_ech);
    if (result == HELLO_BAD)
        CHECK(strcmp(out->reason, trickled.reason) == 0 && out->is_too_large == trickled.is_too_large);
    return result;
}

#endif
