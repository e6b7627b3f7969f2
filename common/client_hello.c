/*
 * The ClientHello: its records are scanned as they come, and the message is read once, when it is whole.
 *
 *     wire     | hdr | fragment 1 | hdr | fragment 2 | ...      progress.scanned stands before a header that is not complete
 *     message  | type, length | body .....                 |    or before a record whose last byte has not come
 *
 * A message in one record, as nearly all are, is read where it lies; one that spans records is put together in the scratch first.
 */

#include "client_hello.h"

#include <string.h>

#define RECORD_HEADER_BYTES    5     /* RFC 8446 5.1 */
#define RECORD_MAX_BYTES       16384 /* RFC 8446 5.1: 2^14 */
#define MESSAGE_HEADER_BYTES   4     /* RFC 8446 4 */
#define CONTENT_TYPE_HANDSHAKE 22
#define HANDSHAKE_CLIENT_HELLO 1
#define VERSION_MAJOR          3

enum extension {
    EXT_SERVER_NAME = 0,         /* RFC 6066 3 */
    EXT_ALPN = 16,               /* RFC 7301 3.1 */
    EXT_PRE_SHARED_KEY = 41,     /* RFC 8446 4.2.11 */
    EXT_SUPPORTED_VERSIONS = 43, /* RFC 8446 4.2.1 */
    EXT_ECH = 0xfe0d,            /* RFC 9849 */
};

static enum hello_result bad(struct client_hello *out, const char *reason)
{
    out->reason = reason;
    out->is_too_large = false;
    return HELLO_BAD;
}

static enum hello_result too_large(struct client_hello *out)
{
    out->reason = "too large";
    out->is_too_large = true;
    return HELLO_BAD;
}

/* ---- extensions: each reads its whole body; false is malformed ---- */

static bool read_server_name(struct bytes body, struct client_hello *out)
{
    struct reader r = reader_of(body);
    struct reader list = reader_of(reader_vector16(&r));
    uint8_t type = reader_u8(&list);
    struct bytes name = reader_vector16(&list);

    /* One name of type host_name: more were never defined, and servers refuse them. */
    if (!reader_is_done(&r) || !reader_is_done(&list) || type != 0)
        return false;
    size_t len = hostname_normalise(name, out->name);
    out->name_len = (uint8_t)len;
    return len > 0;
}

static void add_protocol(struct bytes name, struct client_hello *out, size_t *len)
{
    if (*len + name.len + 2 > sizeof out->alpn)
        return;
    if (*len > 0)
        out->alpn[(*len)++] = ',';
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.ptr[i];
        out->alpn[(*len)++] = c > 0x20 && c < 0x7f && c != ',' && c != '"' ? (char)c : '?';
    }
    out->alpn[*len] = '\0';
}

static bool read_alpn(struct bytes body, struct client_hello *out)
{
    struct reader r = reader_of(body);
    struct reader list = reader_of(reader_vector16(&r));
    size_t len = 0;

    if (!reader_is_done(&r) || list.left < 2)
        return false;
    while (list.left > 0) {
        struct bytes name = reader_vector8(&list);
        if (list.failed || name.len == 0)
            return false;
        add_protocol(name, out, &len);
    }
    return true;
}

static uint8_t version_bit(uint16_t version)
{
    switch (version) {
    case 0x0301: return HELLO_VERSION_TLS10;
    case 0x0302: return HELLO_VERSION_TLS11;
    case 0x0303: return HELLO_VERSION_TLS12;
    case 0x0304: return HELLO_VERSION_TLS13;
    default:
        /* GREASE (RFC 8701): 0x0a0a, 0x1a1a, ... */
        return (version & 0x0f0f) == 0x0a0a && version >> 8 == (version & 0xff) ? 0 : HELLO_VERSION_OTHER;
    }
}

static bool read_supported_versions(struct bytes body, struct client_hello *out)
{
    struct reader r = reader_of(body);
    struct reader list = reader_of(reader_vector8(&r));

    if (!reader_is_done(&r) || list.left < 2 || list.left % 2 != 0)
        return false;
    out->versions = 0;
    while (list.left > 0)
        out->versions |= version_bit(reader_u16(&list));
    return true;
}

static bool read_extension(uint16_t type, struct bytes body, struct client_hello *out)
{
    switch (type) {
    case EXT_SERVER_NAME: return read_server_name(body, out);
    case EXT_ALPN: return read_alpn(body, out);
    case EXT_SUPPORTED_VERSIONS: return read_supported_versions(body, out);
    case EXT_ECH: out->has_ech = true; return true;
    default: return true;
    }
}

/** Walk the extensions; NULL or why they are malformed. Marks the types it has seen. */
static const char *read_extensions(struct bytes extensions, uint64_t *seen, struct client_hello *out)
{
    struct reader r = reader_of(extensions);

    while (r.left > 0) {
        uint16_t type = reader_u16(&r);
        struct bytes body = reader_vector16(&r);
        uint64_t bit = 1ull << (type % 64);
        if (r.failed)
            return "an extension overruns the hello";
        if (seen[type / 64] & bit)
            return "an extension occurs twice"; /* RFC 8446 4.2 */
        seen[type / 64] |= bit;
        if (type == EXT_PRE_SHARED_KEY && r.left > 0)
            return "pre_shared_key is not the last extension"; /* RFC 8446 4.2.11 */
        if (!read_extension(type, body, out))
            return type == EXT_SERVER_NAME ? "malformed server_name" : "malformed extension";
    }
    return NULL;
}

/** Take the marks back, as far as the walk has come. */
static void clear_seen(struct bytes extensions, uint64_t *seen)
{
    struct reader r = reader_of(extensions);

    while (r.left > 0 && !r.failed) {
        uint16_t type = reader_u16(&r);
        (void)reader_vector16(&r);
        seen[type / 64] = 0;
    }
}

/* ---- the message ---- */

static bool has_null_compression(struct bytes methods)
{
    return methods.len > 0 && memchr(methods.ptr, 0, methods.len) != NULL;
}

static enum hello_result read_body(struct bytes body, struct hello_scratch *scratch, struct client_hello *out)
{
    struct reader r = reader_of(body);
    uint16_t legacy_version = reader_u16(&r);
    (void)reader_slice(&r, 32); /* random */
    struct bytes session_id = reader_vector8(&r);
    struct bytes cipher_suites = reader_vector16(&r);
    struct bytes compression = reader_vector8(&r);

    if (r.failed)
        return bad(out, "a field overruns the hello");
    if (legacy_version >> 8 < VERSION_MAJOR)
        return bad(out, "a version older than SSL 3.0");
    if (session_id.len > 32 || cipher_suites.len < 2 || cipher_suites.len % 2 != 0 ||
        !has_null_compression(compression))
        return bad(out, "malformed session id, cipher suites or compression");
    out->versions = version_bit(legacy_version);
    if (r.left == 0)
        return HELLO_OK; /* RFC 5246 7.4.1.2: extensions may be absent */
    struct bytes extensions = reader_vector16(&r);
    if (!reader_is_done(&r))
        return bad(out, "extensions do not end with the hello");
    const char *reason = read_extensions(extensions, scratch->seen_extensions, out);
    clear_seen(extensions, scratch->seen_extensions);
    return reason == NULL ? HELLO_OK : bad(out, reason);
}

/* ---- the records ---- */

/** Copy the fragments of the records in wire (all complete) one behind the other. */
static struct bytes gather(struct bytes wire, uint8_t *message)
{
    struct reader r = reader_of(wire);
    size_t len = 0;

    while (r.left > 0) {
        (void)reader_slice(&r, RECORD_HEADER_BYTES - 2);
        struct bytes fragment = reader_vector16(&r);
        memcpy(message + len, fragment.ptr, fragment.len);
        len += fragment.len;
    }
    return bytes_of(message, len);
}

/**
 * The first bytes of the message, as far as they have come: its four header bytes may be spread over as many records.
 */
static unsigned peek_message_header(struct bytes in, uint8_t header[MESSAGE_HEADER_BYTES])
{
    struct reader r = reader_of(in);
    unsigned have = 0;

    while (r.left > RECORD_HEADER_BYTES && have < MESSAGE_HEADER_BYTES) {
        (void)reader_slice(&r, RECORD_HEADER_BYTES - 2);
        size_t len = reader_u16(&r);
        struct bytes fragment = reader_slice(&r, len < r.left ? len : r.left);
        for (size_t i = 0; i < fragment.len && have < MESSAGE_HEADER_BYTES; i++)
            header[have++] = fragment.ptr[i];
    }
    return have;
}

/** Learn the message's length, as soon as its header is there. */
static enum hello_result scan_message_header(struct hello_progress *p, struct bytes in, struct client_hello *out)
{
    uint8_t header[MESSAGE_HEADER_BYTES];
    unsigned have = peek_message_header(in, header);

    if (have > 0 && header[0] != HANDSHAKE_CLIENT_HELLO)
        return bad(out, "not a ClientHello");
    if (have == MESSAGE_HEADER_BYTES)
        p->message_len = MESSAGE_HEADER_BYTES + ((uint32_t)header[1] << 16 | (uint32_t)header[2] << 8 | header[3]);
    return HELLO_MORE;
}

/** Can what is missing of the message still fit into the limit, with as few record headers as possible? */
static bool fits(const struct hello_progress *p)
{
    uint64_t missing = p->message_len - p->message_bytes;
    uint64_t headers = (missing + RECORD_MAX_BYTES - 1) / RECORD_MAX_BYTES;

    return p->scanned + missing + headers * RECORD_HEADER_BYTES <= CLIENT_HELLO_MAX_BYTES;
}

/** Look at the record at hand. HELLO_OK: it is complete and was taken; HELLO_MORE: it is not complete. */
static enum hello_result scan_record(struct hello_progress *p, struct bytes in, struct client_hello *out)
{
    const uint8_t *record = in.ptr + p->scanned;
    size_t have = in.len - p->scanned;

    if (have >= 1 && record[0] != CONTENT_TYPE_HANDSHAKE)
        return bad(out, "not a TLS handshake record");
    if (have >= 2 && record[1] != VERSION_MAJOR)
        return bad(out, "not a TLS record version");
    if (have < RECORD_HEADER_BYTES)
        return HELLO_MORE;
    uint32_t len = (uint32_t)record[3] << 8 | record[4];
    if (len == 0 || len > RECORD_MAX_BYTES)
        return bad(out, len == 0 ? "an empty record" : "a record of more than 16384 bytes");
    if (p->message_len == 0 && scan_message_header(p, in, out) == HELLO_BAD)
        return HELLO_BAD;
    if (p->message_len != 0 && p->message_bytes + len > p->message_len)
        return bad(out, "bytes behind the ClientHello in its record");
    if (p->scanned + RECORD_HEADER_BYTES + len > CLIENT_HELLO_MAX_BYTES || (p->message_len != 0 && !fits(p)))
        return too_large(out);
    if (have < RECORD_HEADER_BYTES + len)
        return HELLO_MORE;
    p->scanned += RECORD_HEADER_BYTES + len;
    p->message_bytes += len;
    return HELLO_OK;
}

enum hello_result client_hello_parse(struct hello_progress *progress, struct bytes in, struct hello_scratch *scratch,
                                     struct client_hello *out)
{
    struct hello_progress *p = progress;

    while (p->message_len == 0 || p->message_bytes < p->message_len) {
        enum hello_result result = scan_record(p, in, out);
        if (result != HELLO_OK)
            return result;
    }
    bool is_in_one_record = p->scanned == RECORD_HEADER_BYTES + p->message_len;
    struct bytes wire = bytes_of(in.ptr, p->scanned);
    struct bytes message =
        is_in_one_record ? bytes_of(in.ptr + RECORD_HEADER_BYTES, p->message_len) : gather(wire, scratch->message);
    out->name_len = 0;
    out->name[0] = '\0';
    out->has_ech = false;
    out->alpn[0] = '\0';
    return read_body(bytes_of(message.ptr + MESSAGE_HEADER_BYTES, message.len - MESSAGE_HEADER_BYTES), scratch, out);
}
