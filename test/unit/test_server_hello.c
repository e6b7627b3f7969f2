/* What a backend answers first: the verdict on messages of all kinds, however they are cut, and on everything that is wrong. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check.h"
#include "server_hello.h"

#define LITERAL(text) ((struct bytes){(const uint8_t *)(text), sizeof(text) - 1})

#define RANDOM "random bytes, thirty-two of them"
#define RETRY_RANDOM                                                   \
    "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91" \
    "\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"
#define SESSION_ID "0123456789abcdef0123456789ABCDEF"

/* Extensions. */
#define TLS13         "\x00\x2b\x00\x02\x03\x04"
#define SHARE_25519   "\x00\x33\x00\x24\x00\x1d\x00\x20" SESSION_ID
#define RETRY_P256    "\x00\x33\x00\x02\x00\x17"
#define RENEGOTIATION "\xff\x01\x00\x01\x00"

struct wire {
    uint8_t data[40000];
    size_t len;
};

static void put(struct wire *w, struct bytes b)
{
    CHECK(b.len <= sizeof w->data - w->len);
    if (b.len > 0)
        memcpy(w->data + w->len, b.ptr, b.len);
    w->len += b.len;
}

static void put_number(struct wire *w, unsigned width, size_t value)
{
    for (unsigned i = width; i-- > 0;)
        put(w, bytes_of(&(uint8_t){(uint8_t)(value >> 8 * i)}, 1));
}

struct spec {
    uint16_t version; /* 0x0303 */
    struct bytes random, session_id, extensions;
    bool has_no_block;
    int extra; /* to the length of the block */
};

static void build_message(const struct spec *s, struct wire *out)
{
    struct wire *body = calloc(1, sizeof *body);

    put_number(body, 2, s->version != 0 ? s->version : 0x0303);
    put(body, s->random.ptr != NULL ? s->random : LITERAL(RANDOM));
    put_number(body, 1, s->session_id.len);
    put(body, s->session_id);
    put(body, LITERAL("\x13\x01\x00"));
    if (!s->has_no_block) {
        put_number(body, 2, s->extensions.len + (size_t)s->extra);
        put(body, s->extensions);
    }
    out->len = 0;
    put_number(out, 1, 2);
    put_number(out, 3, body->len);
    put(out, bytes_of(body->data, body->len));
    free(body);
}

static void put_record(struct wire *out, unsigned type, struct bytes body)
{
    put_number(out, 1, type);
    put(out, LITERAL("\x03\x03"));
    put_number(out, 2, body.len);
    put(out, body);
}

static void build(const struct spec *s, struct wire *out)
{
    struct wire *message = calloc(1, sizeof *message);

    build_message(s, message);
    out->len = 0;
    put_record(out, 22, bytes_of(message->data, message->len));
    free(message);
}

static bool is_same(const struct server_hello *a, const struct server_hello *b)
{
    return a->outcome == b->outcome && a->alert == b->alert && a->version == b->version && a->group == b->group;
}

static struct server_hello judge_pieces(struct bytes in, size_t piece)
{
    struct server_hello h = {0};

    for (size_t at = 0; at < in.len; at += piece) {
        size_t n = in.len - at < piece ? in.len - at : piece;
        uint8_t *copy = malloc(n); /* of exact size: the address sanitizer sees a read past the end */
        memcpy(copy, in.ptr + at, n);
        bool is_done = server_hello_feed(&h, bytes_of(copy, n));
        free(copy);
        CHECK(is_done == server_hello_is_done(&h));
        CHECK(is_done || h.outcome == HANDSHAKE_NONE);
    }
    server_hello_end(&h);
    CHECK(server_hello_is_done(&h));
    return h;
}

/** The verdict, the same for every way to cut the bytes. */
static struct server_hello judge(struct bytes in)
{
    struct server_hello whole = judge_pieces(in, in.len + 1);

    for (size_t piece = 1; piece < 40; piece++) {
        struct server_hello cut = judge_pieces(in, piece);
        CHECK(is_same(&cut, &whole));
    }
    return whole;
}

static void assert_verdict(const char *name, struct server_hello h, enum handshake_outcome outcome, unsigned version,
                           unsigned group, unsigned alert)
{
    if (h.outcome != outcome || h.version != version || h.group != group || h.alert != alert)
        fail_msg("%s: outcome %u, version %04x, group %04x, alert %u", name, h.outcome, h.version, h.group, h.alert);
}

/* ---- what servers say ---- */

static const struct {
    const char *name;
    struct spec spec;
    enum handshake_outcome outcome;
    uint16_t version, group;
} hellos[] = {
    {"TLS 1.3",
     {.session_id = LITERAL(SESSION_ID), .extensions = LITERAL(TLS13 SHARE_25519)},
     HANDSHAKE_SERVER_HELLO,
     0x0304,
     29},
    {"the group first",
     {.session_id = LITERAL(SESSION_ID), .extensions = LITERAL(SHARE_25519 TLS13)},
     HANDSHAKE_SERVER_HELLO,
     0x0304,
     29},
    {"a resumption without key exchange",
     {.extensions = LITERAL(TLS13 "\x00\x29\x00\x02\x00\x00")},
     HANDSHAKE_SERVER_HELLO,
     0x0304,
     0},
    {"others before and between",
     {.extensions = LITERAL(RENEGOTIATION SHARE_25519 RENEGOTIATION TLS13)},
     HANDSHAKE_SERVER_HELLO,
     0x0304,
     29},
    {"TLS 1.2",
     {.session_id = LITERAL(SESSION_ID), .extensions = LITERAL(RENEGOTIATION)},
     HANDSHAKE_SERVER_HELLO,
     0x0303,
     0},
    {"TLS 1.2 without extensions", {.has_no_block = true}, HANDSHAKE_SERVER_HELLO, 0x0303, 0},
    {"TLS 1.2 with none in the block", {.extensions = {0}}, HANDSHAKE_SERVER_HELLO, 0x0303, 0},
    {"TLS 1.0", {.version = 0x0301, .has_no_block = true}, HANDSHAKE_SERVER_HELLO, 0x0301, 0},
    {"SSL 3", {.version = 0x0300, .has_no_block = true}, HANDSHAKE_SERVER_HELLO, 0x0300, 0},
    {"a draft of TLS 1.3",
     {.extensions = LITERAL("\x00\x2b\x00\x02\x7f\x1c" SHARE_25519)},
     HANDSHAKE_SERVER_HELLO,
     0x7f1c,
     29},
    {"HelloRetryRequest",
     {.random = LITERAL(RETRY_RANDOM), .extensions = LITERAL(TLS13 RETRY_P256)},
     HANDSHAKE_RETRY,
     0x0304,
     23},
    {"HelloRetryRequest, group first",
     {.random = LITERAL(RETRY_RANDOM), .extensions = LITERAL(RETRY_P256 TLS13)},
     HANDSHAKE_RETRY,
     0x0304,
     23},
    {"HelloRetryRequest for a cookie",
     {.random = LITERAL(RETRY_RANDOM), .extensions = LITERAL(TLS13 "\x00\x2c\x00\x03\x00\x01x")},
     HANDSHAKE_RETRY,
     0x0304,
     0},
    {"a share of no group, and another one",
     {.extensions = LITERAL(TLS13 "\x00\x33\x00\x02\x00\x00" SHARE_25519)},
     HANDSHAKE_SERVER_HELLO,
     0x0304,
     0},
    {"a share of no group before the version",
     {.extensions = LITERAL("\x00\x33\x00\x02\x00\x00" TLS13 SHARE_25519)},
     HANDSHAKE_SERVER_HELLO,
     0x0304,
     29},
    {"garbage behind all that matters",
     {.extensions = LITERAL(TLS13 SHARE_25519 "zzz")},
     HANDSHAKE_SERVER_HELLO,
     0x0304,
     29},
    {"another major version", {.version = 0x0203, .has_no_block = true}, HANDSHAKE_OTHER, 0, 0},
    {"a session id of 33 bytes",
     {.session_id = LITERAL(SESSION_ID "x"), .extensions = LITERAL(TLS13)},
     HANDSHAKE_OTHER,
     0,
     0},
    {"a block shorter than the rest", {.extensions = LITERAL(TLS13 SHARE_25519), .extra = -1}, HANDSHAKE_OTHER, 0, 0},
    {"a block longer than the rest", {.extensions = LITERAL(TLS13 SHARE_25519), .extra = 1}, HANDSHAKE_OTHER, 0, 0},
    {"an extension that runs over", {.extensions = LITERAL("\x00\x17\x00\x05zzzz")}, HANDSHAKE_OTHER, 0, 0},
    {"no room for an extension's header", {.extensions = LITERAL(RENEGOTIATION "\x00\x17\x00")}, HANDSHAKE_OTHER, 0, 0},
    {"a version of three bytes", {.extensions = LITERAL("\x00\x2b\x00\x03\x02\x03\x04")}, HANDSHAKE_OTHER, 0, 0},
    {"a version that runs over", {.extensions = LITERAL("\x00\x2b\x00\x02\x03")}, HANDSHAKE_OTHER, 0, 0},
    {"a key share of one byte", {.extensions = LITERAL("\x00\x33\x00\x01\x00" TLS13)}, HANDSHAKE_OTHER, 0, 0},
    {"a key share that runs over",
     {.extensions = LITERAL("\x00\x33\x00\x24\x00\x1d\x00\x20short")},
     HANDSHAKE_OTHER,
     0,
     0},
};

static void test_hellos(void **state)
{
    struct wire *w = calloc(1, sizeof *w);

    (void)state;
    for (size_t i = 0; i < sizeof hellos / sizeof hellos[0]; i++) {
        build(&hellos[i].spec, w);
        assert_verdict(hellos[i].name, judge(bytes_of(w->data, w->len)), hellos[i].outcome, hellos[i].version,
                       hellos[i].group, 0);
    }
    free(w);
}

static void test_a_hello_in_several_records(void **state)
{
    const struct spec spec = {.session_id = LITERAL(SESSION_ID), .extensions = LITERAL(TLS13 SHARE_25519)};
    struct wire *message = calloc(1, sizeof *message), *w = calloc(1, sizeof *w);

    (void)state;
    build_message(&spec, message);
    for (size_t cut = 1; cut < message->len; cut++) {
        w->len = 0;
        put_record(w, 22, bytes_of(message->data, cut));
        put_record(w, 22, bytes_of(message->data + cut, message->len - cut));
        assert_verdict("two records", judge(bytes_of(w->data, w->len)), HANDSHAKE_SERVER_HELLO, 0x0304, 29, 0);
        w->len = 0;
        put_record(w, 22, bytes_of(message->data, cut));
        put_record(w, cut % 2 == 0 ? 21 : 23, LITERAL("\2\50"));
        bool was_enough = judge_pieces(bytes_of(w->data, cut + 5), cut + 5).outcome == HANDSHAKE_SERVER_HELLO;
        assert_verdict("another one between", judge(bytes_of(w->data, w->len)),
                       was_enough ? HANDSHAKE_SERVER_HELLO : HANDSHAKE_OTHER, was_enough ? 0x0304 : 0,
                       was_enough ? 29 : 0, 0);
    }
    free(message);
    free(w);
}

/* A key share of ML-KEM takes 1,120 bytes; BoringSSL writes it before the version. */
static void test_a_post_quantum_share(void **state)
{
    static uint8_t extensions[4 + 4 + 1120 + sizeof TLS13 - 1] = "\x00\x33\x04\x64\x11\xec\x04\x60";
    struct wire *w = calloc(1, sizeof *w);

    (void)state;
    memcpy(extensions + sizeof extensions - (sizeof TLS13 - 1), TLS13, sizeof TLS13 - 1);
    build(&(struct spec){.session_id = LITERAL(SESSION_ID), .extensions = bytes_of(extensions, sizeof extensions)}, w);
    assert_verdict("x25519mlkem768", judge(bytes_of(w->data, w->len)), HANDSHAKE_SERVER_HELLO, 0x0304, 0x11ec, 0);
    free(w);
}

static void test_other_bytes(void **state)
{
    static const struct {
        const char *name;
        struct bytes in;
        enum handshake_outcome outcome;
        uint8_t alert;
    } cases[] = {
        {"nothing", {0}, HANDSHAKE_NONE, 0},
        {"handshake_failure", LITERAL("\x15\x03\x03\x00\x02\x02\x28"), HANDSHAKE_ALERT, 40},
        {"unrecognized_name, a warning", LITERAL("\x15\x03\x01\x00\x02\x01\x70"), HANDSHAKE_ALERT, 112},
        {"an alert of SSL 3", LITERAL("\x15\x03\x00\x00\x02\x02\x28 and more"), HANDSHAKE_ALERT, 40},
        {"close_notify", LITERAL("\x15\x03\x03\x00\x02\x01\x00"), HANDSHAKE_ALERT, 0},
        {"an alert of no level", LITERAL("\x15\x03\x03\x00\x02\x03\x28"), HANDSHAKE_OTHER, 0},
        {"an alert of three bytes", LITERAL("\x15\x03\x03\x00\x03\x02\x28\x00"), HANDSHAKE_OTHER, 0},
        {"an encrypted alert", LITERAL("\x15\x03\x03\x00\x1a\x02\x28\x00"), HANDSHAKE_OTHER, 0},
        {"an empty record", LITERAL("\x16\x03\x03\x00\x00"), HANDSHAKE_OTHER, 0},
        {"a record too long", LITERAL("\x16\x03\x03\x40\x01\x02"), HANDSHAKE_OTHER, 0},
        {"a message header cut by its record", LITERAL("\x16\x03\x03\x00\x02\x02\x00"), HANDSHAKE_OTHER, 0},
        {"a record of another version", LITERAL("\x16\x02\x00\x00\x02\x02"), HANDSHAKE_OTHER, 0},
        {"application data", LITERAL("\x17\x03\x03\x00\x02hi"), HANDSHAKE_OTHER, 0},
        {"a ClientHello", LITERAL("\x16\x03\x03\x00\x06\x01\x00\x00\x60\x03\x03"), HANDSHAKE_OTHER, 0},
        {"a message too long", LITERAL("\x16\x03\x03\x10\x00\x02\x00\x40\x01\x03\x03"), HANDSHAKE_OTHER, 0},
        {"a message too short for its fields", LITERAL("\x16\x03\x03\x00\x05\x02\x00\x00\x01\x03"), HANDSHAKE_OTHER, 0},
        {"a message that ends behind its version", LITERAL("\x16\x03\x03\x00\x06\x02\x00\x00\x02\x03\x03"),
         HANDSHAKE_OTHER, 0},
        {"SSH", LITERAL("SSH-2.0-OpenSSH_9.2\r\n"), HANDSHAKE_OTHER, 0},
        {"HTTP", LITERAL("HTTP/1.1 400 Bad Request\r\n\r\n"), HANDSHAKE_OTHER, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_verdict(cases[i].name, judge(cases[i].in), cases[i].outcome, 0, 0, cases[i].alert);
}

/* ---- breaking it ---- */

/** A prefix has no verdict, or the whole one; without one it ends as OTHER. */
static void test_every_strict_prefix_wants_more(void **state)
{
    struct wire *w = calloc(1, sizeof *w);

    (void)state;
    for (size_t i = 0; i < sizeof hellos / sizeof hellos[0]; i++) {
        build(&hellos[i].spec, w);
        struct server_hello whole = judge_pieces(bytes_of(w->data, w->len), w->len);
        bool had_verdict = false;
        for (size_t len = 0; len < w->len; len++) {
            struct server_hello h = {0};
            bool has_verdict = server_hello_feed(&h, bytes_of(w->data, len));
            assert_true(has_verdict || !had_verdict);
            assert_true(!has_verdict || is_same(&h, &whole));
            had_verdict = has_verdict;
            if (has_verdict)
                continue;
            server_hello_end(&h);
            assert_int_equal(h.outcome, len == 0 ? HANDSHAKE_NONE : HANDSHAKE_OTHER);
            assert_int_equal(h.version, 0);
        }
        if (hellos[i].outcome != HANDSHAKE_OTHER)
            assert_true(server_hello_is_done(&whole));
    }
    free(w);
}

static void test_every_flipped_byte_ends_in_a_verdict(void **state)
{
    struct wire *w = calloc(1, sizeof *w);
    unsigned seen[HANDSHAKE_OUTCOMES] = {0};

    (void)state;
    for (size_t i = 0; i < sizeof hellos / sizeof hellos[0]; i++) {
        build(&hellos[i].spec, w);
        for (size_t at = 0; at < w->len; at++) {
            uint8_t kept = w->data[at];
            for (unsigned change = 1; change < 256; change = change * 2 + 1) {
                w->data[at] = kept ^ (uint8_t)change;
                struct server_hello whole = judge_pieces(bytes_of(w->data, w->len), w->len);
                struct server_hello bytewise = judge_pieces(bytes_of(w->data, w->len), 1);
                assert_true(is_same(&whole, &bytewise));
                seen[whole.outcome]++;
            }
            w->data[at] = kept;
        }
    }
    assert_true(seen[HANDSHAKE_OTHER] > 0 && seen[HANDSHAKE_SERVER_HELLO] > 0 && seen[HANDSHAKE_RETRY] > 0);
    free(w);
}

static void test_a_retry_is_one_by_all_of_its_random(void **state)
{
    uint8_t random[32];
    struct wire *w = calloc(1, sizeof *w);

    (void)state;
    for (size_t i = 0; i < sizeof random; i++) {
        memcpy(random, RETRY_RANDOM, sizeof random);
        random[i] ^= 1;
        build(&(struct spec){.random = bytes_of(random, sizeof random), .extensions = LITERAL(TLS13 RETRY_P256)}, w);
        assert_verdict("one bit off", judge(bytes_of(w->data, w->len)), HANDSHAKE_SERVER_HELLO, 0x0304, 23, 0);
    }
    free(w);
}

static void test_what_follows_the_verdict_changes_nothing(void **state)
{
    struct server_hello h = {0}, before;

    (void)state;
    assert_true(server_hello_feed(&h, LITERAL("\x15\x03\x03\x00\x02\x02\x28")));
    before = h;
    assert_true(server_hello_feed(&h, LITERAL("\x16\x03\x03\x00\x02\x02\x28")));
    server_hello_end(&h);
    assert_memory_equal(&h, &before, sizeof h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hellos),
        cmocka_unit_test(test_a_hello_in_several_records),
        cmocka_unit_test(test_a_post_quantum_share),
        cmocka_unit_test(test_other_bytes),
        cmocka_unit_test(test_every_strict_prefix_wants_more),
        cmocka_unit_test(test_every_flipped_byte_ends_in_a_verdict),
        cmocka_unit_test(test_a_retry_is_one_by_all_of_its_random),
        cmocka_unit_test(test_what_follows_the_verdict_changes_nothing),
    };
    return cmocka_run_group_tests_name("server_hello", tests, NULL, NULL);
}
