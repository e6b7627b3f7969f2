/*
 * Reads along what a backend answers first. The bytes come as they are cut, and none is kept: a field is gathered in one word, all
 * that is between fields is passed over and only counted.
 *
 *     record header | type, length | version | random | session id | cipher, compression | length | type, length, body | ...
 *     header_have     STEP_MESSAGE   _VERSION  _RANDOM   _SESSION_ID   _CIPHER              _BLOCK   _EXTENSION
 *
 * A record may end anywhere in between (RFC 8446 5.1); its header is gathered apart from the fields.
 */

#include "server_hello.h"

#include <string.h>

#include "check.h"

#define RECORD_ALERT           21
#define RECORD_HANDSHAKE       22
#define RECORD_MAX             16384 /* RFC 8446 5.1 */
#define TLS_MAJOR              3
#define ALERT_BYTES            2
#define MESSAGE_HEADER         4
#define MESSAGE_SERVER_HELLO   2
#define MESSAGE_MAX            16384 /* the longest there is, with a post-quantum key share, has about 1,300 bytes */
#define SESSION_ID_MAX         32
#define EXT_SUPPORTED_VERSIONS 43
#define EXT_KEY_SHARE          51
#define USUAL_MESSAGE          9 /* record's and message's header */
#define USUAL_FIXED \
    (USUAL_MESSAGE + 2 + (int)sizeof retry_random + 1) /* and version, random, length of the session id */

enum step {
    STEP_MESSAGE, /* zero: the beginning */
    STEP_VERSION,
    STEP_RANDOM,
    STEP_SESSION_ID,
    STEP_CIPHER, /* and compression */
    STEP_BLOCK,  /* length of all extensions */
    STEP_EXTENSION,
    STEP_SELECTED_VERSION,
    STEP_GROUP,
    STEP_ALERT,
    STEP_DONE,
};

/* The random of a ServerHello that is a HelloRetryRequest (RFC 8446 4.1.3): SHA-256 of "HelloRetryRequest". */
static const uint8_t retry_random[] = {
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
};

static const uint8_t field_bytes[] = {
    [STEP_MESSAGE] = MESSAGE_HEADER,
    [STEP_VERSION] = 2,
    [STEP_RANDOM] = sizeof retry_random,
    [STEP_SESSION_ID] = 1,
    [STEP_CIPHER] = 3,
    [STEP_BLOCK] = 2,
    [STEP_EXTENSION] = 4,
    [STEP_GROUP] = 2,
    [STEP_SELECTED_VERSION] = 2,
    [STEP_ALERT] = ALERT_BYTES,
};

static void decide(struct server_hello *h, enum handshake_outcome outcome)
{
    h->outcome = (uint8_t)outcome;
    h->step = STEP_DONE;
    if (outcome == HANDSHAKE_OTHER)
        h->version = h->group = h->alert = 0; /* half of one is none */
}

static void decide_hello(struct server_hello *h)
{
    decide(h, h->is_retry ? HANDSHAKE_RETRY : HANDSHAKE_SERVER_HELLO);
}

/** The next field, behind bytes that are passed over; the message must have room for both. */
static void go_on(struct server_hello *h, enum step step, uint16_t skip)
{
    h->step = (uint8_t)step;
    h->have = 0;
    h->skip = skip;
    if (skip + field_bytes[step] > h->message_left)
        decide(h, HANDSHAKE_OTHER);
    h->message_left = (uint16_t)(h->message_left - skip - field_bytes[step]);
}

/** The next extension, or the end of the message. */
static void go_on_behind(struct server_hello *h, uint16_t skip)
{
    if (skip == h->message_left)
        decide_hello(h);
    else
        go_on(h, STEP_EXTENSION, skip);
}

/* ---- what each field says, when it is complete ---- */

static void take_message(struct server_hello *h)
{
    uint32_t len = h->last4 & 0xffffff;

    if (h->last4 >> 24 != MESSAGE_SERVER_HELLO || len > MESSAGE_MAX) {
        decide(h, HANDSHAKE_OTHER);
        return;
    }
    h->message_left = (uint16_t)len;
    go_on(h, STEP_VERSION, 0);
}

static void take_version(struct server_hello *h)
{
    h->version = (uint16_t)h->last4; /* the chosen one, unless supported_versions says otherwise */
    h->is_retry = true;              /* until a byte of the random differs */
    if (h->version >> 8 == TLS_MAJOR)
        go_on(h, STEP_RANDOM, 0);
    else
        decide(h, HANDSHAKE_OTHER);
}

static void take_random(struct server_hello *h)
{
    go_on(h, STEP_SESSION_ID, 0);
}

static void take_session_id(struct server_hello *h)
{
    uint8_t len = (uint8_t)h->last4;

    if (len <= SESSION_ID_MAX)
        go_on(h, STEP_CIPHER, len);
    else
        decide(h, HANDSHAKE_OTHER);
}

static void take_cipher(struct server_hello *h)
{
    if (h->message_left == 0)
        decide_hello(h); /* before TLS 1.3 it may end without extensions */
    else
        go_on(h, STEP_BLOCK, 0);
}

static void take_block(struct server_hello *h)
{
    if ((uint16_t)h->last4 == h->message_left)
        go_on_behind(h, 0);
    else
        decide(h, HANDSHAKE_OTHER);
}

static void take_extension(struct server_hello *h)
{
    uint16_t type = (uint16_t)(h->last4 >> 16), len = (uint16_t)h->last4;

    if (len > h->message_left || (type == EXT_SUPPORTED_VERSIONS && len != 2) || (type == EXT_KEY_SHARE && len < 2))
        decide(h, HANDSHAKE_OTHER);
    else if (type == EXT_SUPPORTED_VERSIONS)
        go_on(h, STEP_SELECTED_VERSION, 0);
    else if (type == EXT_KEY_SHARE)
        go_on(h, STEP_GROUP, 0);
    else
        go_on_behind(h, len);
}

static void take_selected_version(struct server_hello *h)
{
    h->version = (uint16_t)h->last4;
    h->has_selected_version = true;
    if (h->group != 0)
        decide_hello(h);
    else
        go_on_behind(h, 0);
}

static void take_group(struct server_hello *h)
{
    uint16_t extension_len = (uint16_t)(h->last4 >> 16); /* stood right before it */

    h->group = (uint16_t)h->last4;
    if (h->has_selected_version)
        decide_hello(h);
    else
        go_on_behind(h, (uint16_t)(extension_len - 2));
}

static void take_alert(struct server_hello *h)
{
    uint8_t level = (uint8_t)(h->last4 >> 8);

    h->alert = (uint8_t)h->last4;
    decide(h, level == 1 || level == 2 ? HANDSHAKE_ALERT : HANDSHAKE_OTHER);
}

static void (*const take_field[])(struct server_hello *h) = {
    [STEP_MESSAGE] = take_message,       [STEP_VERSION] = take_version, [STEP_RANDOM] = take_random,
    [STEP_SESSION_ID] = take_session_id, [STEP_CIPHER] = take_cipher,   [STEP_BLOCK] = take_block,
    [STEP_EXTENSION] = take_extension,   [STEP_GROUP] = take_group,     [STEP_SELECTED_VERSION] = take_selected_version,
    [STEP_ALERT] = take_alert,
};

/* ---- bytes ---- */

static size_t lesser(size_t a, size_t b)
{
    return a < b ? a : b;
}

/** The next bytes of the field at hand. */
static void gather(struct server_hello *h, const uint8_t *at, size_t n)
{
    uint32_t last4 = h->last4;

    h->have = (uint8_t)(h->have + n);
    if (h->step == STEP_RANDOM) {
        h->is_retry = h->is_retry && memcmp(at, retry_random + h->have - n, n) == 0;
        return;
    }
    for (; n > 0; n--)
        last4 = last4 << 8 | *at++;
    h->last4 = last4;
}

/** Bytes of the record at hand. How many of them were looked at: all, unless there is a verdict. */
static size_t feed_body(struct server_hello *h, const uint8_t *body, size_t len)
{
    size_t at = 0;

    while (at < len && h->step != STEP_DONE) {
        size_t n = lesser(len - at, h->skip);
        h->skip = (uint16_t)(h->skip - n);
        at += n;
        n = lesser(len - at, (size_t)(field_bytes[h->step] - h->have));
        gather(h, body + at, n);
        at += n;
        if (h->have == field_bytes[h->step])
            take_field[h->step](h);
    }
    return at;
}

/** The first byte of a record. False: it cannot come here. */
static bool begin_record(struct server_hello *h, uint8_t type)
{
    bool is_first = h->step == STEP_MESSAGE && h->have == 0;

    if (is_first && type == RECORD_ALERT)
        h->step = STEP_ALERT;
    return type == RECORD_HANDSHAKE || h->step == STEP_ALERT;
}

/** The last byte of a record's header. False: a length that cannot be. */
static bool begin_body(struct server_hello *h, uint8_t len_low)
{
    unsigned len = (unsigned)h->len_high << 8 | len_low;

    h->header_have = 0;
    h->record_left = (uint16_t)len;
    return h->step == STEP_ALERT ? len == ALERT_BYTES : len > 0 && len <= RECORD_MAX;
}

/** One byte of a record's header: type, version, length. */
static void feed_header(struct server_hello *h, uint8_t byte)
{
    bool is_sane = true;

    switch (h->header_have++) {
    case 0: is_sane = begin_record(h, byte); break;
    case 1: is_sane = byte == TLS_MAJOR; break;
    case 2: break; /* a minor version says nothing (RFC 8446 5.1) */
    case 3: h->len_high = byte; break;
    default: is_sane = begin_body(h, byte);
    }
    if (!is_sane)
        decide(h, HANDSHAKE_OTHER);
}

static bool is_beginning(const struct server_hello *h)
{
    return h->step == STEP_MESSAGE && h->have == 0 && h->header_have == 0 && h->record_left == 0;
}

/* ---- the usual case ---- */

/** The extensions of a whole ServerHello, as far as they matter. False: something is wrong with them. */
static bool read_usual_extensions(struct server_hello *h, struct bytes block)
{
    struct reader r = reader_of(block);

    if (reader_u16(&r) != r.left)
        return false;
    while (r.left > 0) {
        uint16_t type = reader_u16(&r);
        struct bytes body = reader_vector16(&r);
        if (r.failed)
            return false;
        bool is_share = type == EXT_KEY_SHARE;
        if (!is_share && type != EXT_SUPPORTED_VERSIONS)
            continue;
        if (is_share ? body.len < 2 : body.len != 2)
            return false;
        uint16_t value = (uint16_t)(body.ptr[0] << 8 | body.ptr[1]);
        h->has_selected_version |= !is_share;
        *(is_share ? &h->group : &h->version) = value;
        if (is_share ? h->has_selected_version : h->group != 0)
            return true; /* what follows is not looked at */
    }
    return true;
}

/**
 * A whole ServerHello in one record and one piece, as nearly all come, in a fifth of the instructions. False: it is not that, or
 * there is something wrong with it, and h is as it was.
 */
static bool take_usual(struct server_hello *h, struct bytes in)
{
    const uint8_t *p = in.ptr;

    if (in.len < USUAL_FIXED || p[0] != RECORD_HANDSHAKE || p[1] != TLS_MAJOR || p[5] != MESSAGE_SERVER_HELLO ||
        p[6] != 0 || p[9] != TLS_MAJOR || p[43] > SESSION_ID_MAX)
        return false;
    size_t record_len = (size_t)(p[3] << 8 | p[4]), message_len = (size_t)(p[7] << 8 | p[8]);
    size_t block_at = USUAL_FIXED + p[43] + 3, message_end = USUAL_MESSAGE + message_len;
    if (record_len > RECORD_MAX || record_len < MESSAGE_HEADER + message_len || message_end > in.len ||
        block_at > message_end)
        return false;
    struct server_hello read = {
        .version = (uint16_t)(p[9] << 8 | p[10]),
        .is_retry = memcmp(p + USUAL_FIXED - 1 - sizeof retry_random, retry_random, sizeof retry_random) == 0,
    };
    if (block_at < message_end && !read_usual_extensions(&read, bytes_of(p + block_at, message_end - block_at)))
        return false;
    *h = read;
    decide_hello(h);
    return true;
}

bool server_hello_feed(struct server_hello *h, struct bytes in)
{
    size_t at = 0;

    if (is_beginning(h) && take_usual(h, in))
        return true;

    while (at < in.len && h->step != STEP_DONE) {
        if (h->record_left == 0) {
            feed_header(h, in.ptr[at++]);
            continue;
        }
        size_t n = feed_body(h, in.ptr + at, lesser(in.len - at, h->record_left));
        h->record_left = (uint16_t)(h->record_left - n);
        at += n;
    }
    return h->step == STEP_DONE;
}

void server_hello_end(struct server_hello *h)
{
    bool is_untouched = is_beginning(h);

    if (h->step != STEP_DONE)
        decide(h, is_untouched ? HANDSHAKE_NONE : HANDSHAKE_OTHER);
}

bool server_hello_is_done(const struct server_hello *h)
{
    return h->step == STEP_DONE;
}
