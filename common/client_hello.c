/* Finds the server name in the first bytes of a TLS connection.
 *
 * Two steps. The scan walks the records as they arrive and remembers where it stands, so that a hello in single bytes costs no
 * more than one in one piece; it refuses at once what no further byte could mend. When the last record of the message is
 * complete, the message is parsed, once: in place if one record holds it, else gathered in the scratch space.
 *
 *     in:  | header | body | header | body | header | bo            (5 bytes and 1..16384 bytes each)
 *          0                         ^ progress->scanned            message_bytes: the two bodies before it
 *
 * Whatever cannot be parsed is refused, never taken for "no name": a backend that reads the hello otherwise than we do would
 * be reached past its route. Leaf functions return NULL, or why the hello is bad. */

#include "client_hello.h"

#include <string.h>

#include "check.h"
#include "strbuf.h"

#define RECORD_HEADER          5
#define RECORD_TYPE_HANDSHAKE  22
#define RECORD_MAX             16384 /* RFC 8446 5.1 */
#define TLS_MAJOR              3
#define MESSAGE_HEADER         4
#define MESSAGE_CLIENT_HELLO   1
#define RANDOM_LEN             32
#define SESSION_ID_MAX         32  /* RFC 8446 4.1.2 */
#define SERVER_NAME_MAX        255 /* as OpenSSL; longer ones are no hostname with or without trailing dot */
#define SERVER_NAME_TYPE_HOST  0
#define COMPRESSION_NULL       0
#define EXT_SERVER_NAME        0
#define EXT_ALPN               16
#define EXT_PRE_SHARED_KEY     41
#define EXT_SUPPORTED_VERSIONS 43
#define EXT_ENCRYPTED_HELLO    0xfe0d /* RFC 9849 */
#define VERSION_TLS10          0x0301
#define VERSION_TLS12          0x0303
#define VERSION_TLS13          0x0304

_Static_assert(HELLO_VERSION_TLS13 == HELLO_VERSION_TLS10 << (VERSION_TLS13 - VERSION_TLS10),
               "version bits count up like the versions");

static enum hello_result refuse(struct client_hello *out, const char *reason, bool is_too_large)
{
    out->reason = reason;
    out->is_too_large = is_too_large;
    return HELLO_BAD;
}

/* Looks at what is there of a record header. */
static const char *check_record_header(struct bytes header)
{
    if (header.len >= 1 && header.ptr[0] != RECORD_TYPE_HANDSHAKE)
        return "not a TLS handshake record";
    if (header.len >= 2 && header.ptr[1] != TLS_MAJOR)
        return "record of an unknown version";
    if (header.len < RECORD_HEADER - 1)
        return NULL;
    size_t len = (size_t)(header.ptr[3] << 8 | (header.len >= RECORD_HEADER ? header.ptr[4] : 0));
    if (len > RECORD_MAX)
        return "record longer than 16384 bytes";
    return header.len >= RECORD_HEADER && len == 0 ? "empty record" : NULL;
}

/*
 * Reads the message's type and length as far as they are there: in at most four records, as none is empty. in ends with the
 * record at hand at the latest, so all the headers in it were checked.
 */
static size_t peek_message_header(struct bytes in, uint8_t header[MESSAGE_HEADER])
{
    struct reader r = reader_of(in);
    size_t have = 0;

    while (have < MESSAGE_HEADER && r.left > RECORD_HEADER) {
        reader_slice(&r, RECORD_HEADER - 2);
        size_t body = reader_u16(&r);
        for (; body > 0 && r.left > 0 && have < MESSAGE_HEADER; body--)
            header[have++] = reader_u8(&r);
    }
    return have;
}

/* Can `left` more bytes of the message follow after `wire` bytes of records? They need at least this many headers. */
static bool is_room_for(size_t wire, size_t left)
{
    size_t records = (left + RECORD_MAX - 1) / RECORD_MAX;

    return wire + left + records * RECORD_HEADER <= CLIENT_HELLO_MAX_BYTES;
}

/*
 * Checks the message's header, and the record at hand, which ends at record_end, against the message's length and the limit. Of
 * a length whose last bytes are still to come the smallest possible one counts.
 */
static enum hello_result check_message_length(struct hello_progress *progress, struct bytes in, size_t record_end,
                                              size_t record_len, struct client_hello *out)
{
    size_t announced = progress->message_len;

    if (announced == 0) {
        uint8_t header[MESSAGE_HEADER] = {0};
        size_t visible = in.len < record_end ? in.len : record_end;
        size_t have = peek_message_header(bytes_of(in.ptr, visible), header);

        if (have > 0 && header[0] != MESSAGE_CLIENT_HELLO)
            return refuse(out, "first message is no ClientHello", false);
        announced = MESSAGE_HEADER + ((size_t)header[1] << 16 | (size_t)header[2] << 8 | header[3]);
        if (have == MESSAGE_HEADER)
            progress->message_len = (uint32_t)announced;
    }
    size_t gathered = progress->message_bytes + record_len;
    if (progress->message_len != 0 && gathered > progress->message_len)
        return refuse(out, "bytes behind the ClientHello in its record", false);
    if (!is_room_for(record_end, announced > gathered ? announced - gathered : 0))
        return refuse(out, "longer than 65536 bytes", true);
    return HELLO_OK;
}

/* Takes the record at hand: HELLO_OK when it is complete and counted. Costs the same however much of it is there. */
static enum hello_result scan_record(struct hello_progress *progress, struct bytes in, struct client_hello *out)
{
    struct reader r = reader_of(in);
    reader_slice(&r, progress->scanned);
    struct bytes rest = bytes_of(r.at, r.left);
    const char *why = check_record_header(rest);

    if (why != NULL)
        return refuse(out, why, false);
    if (rest.len < RECORD_HEADER)
        return HELLO_MORE;
    size_t len = (size_t)(rest.ptr[3] << 8 | rest.ptr[4]);
    size_t end = progress->scanned + RECORD_HEADER + len;
    enum hello_result result = check_message_length(progress, in, end, len, out);
    if (result != HELLO_OK)
        return result;
    if (in.len < end)
        return HELLO_MORE;
    progress->scanned = (uint32_t)end;
    progress->message_bytes += (uint32_t)len;
    return HELLO_OK;
}

/* The whole message, without record headers; records ends with the message's last record. */
static struct bytes gather_message(struct bytes records, size_t message_len, struct hello_scratch *scratch)
{
    struct reader r = reader_of(records);
    size_t len = 0;

    if (records.len == RECORD_HEADER + message_len)
        return bytes_of(records.ptr + RECORD_HEADER, message_len);
    while (r.left > 0) {
        reader_slice(&r, RECORD_HEADER - 2);
        struct bytes body = reader_vector16(&r);
        CHECK(!r.failed && len + body.len <= message_len);
        memcpy(scratch->message + len, body.ptr, body.len);
        len += body.len;
    }
    CHECK(len == message_len);
    return bytes_of(scratch->message, len);
}

/* RFC 6066 3: a list that may hold one name of each type, and there is one type only. */
static const char *parse_server_name(struct bytes body, struct client_hello *out)
{
    struct reader r = reader_of(body);
    struct reader list = reader_of(reader_vector16(&r));

    if (!reader_is_done(&r) || list.left == 0)
        return "server_name: malformed list";
    if (reader_u8(&list) != SERVER_NAME_TYPE_HOST)
        return "server_name: unknown type of name";
    struct bytes name = reader_vector16(&list);
    if (!reader_is_done(&list))
        return "server_name: not exactly one name";
    if (name.len > SERVER_NAME_MAX)
        return "server_name: longer than 255 bytes";
    out->name_len = (uint8_t)hostname_normalise(name, out->name);
    return out->name_len > 0 ? NULL : "server_name: not a hostname";
}

/** Characters of a protocol's name that are shown: visible ones, but for those that logs and lists have a use of their own for. */
static const bool is_plain[256] = {['!'] = true, ['#' ... '+'] = true, ['-' ... '~'] = true};

/* For logs: a name that does not fit whole ends the list (`overflowed` remembers it). */
static void note_protocol(struct strbuf *list, struct bytes name)
{
    size_t comma = list->len > 0 ? 1 : 0;

    if (list->overflowed || list->len + comma + name.len >= list->capacity) {
        list->overflowed = true;
        return;
    }
    if (comma > 0)
        strbuf_add_char(list, ',');
    char *at = list->data + list->len;
    strbuf_add_bytes(list, name);
    for (size_t i = 0; i < name.len; i++) {
        if (!is_plain[name.ptr[i]])
            at[i] = '?';
    }
}

/* RFC 7301 3.1 */
static const char *parse_alpn(struct bytes body, struct client_hello *out)
{
    struct reader r = reader_of(body);
    struct reader list = reader_of(reader_vector16(&r));
    struct strbuf text = STRBUF_OF(out->alpn);

    if (!reader_is_done(&r) || list.left == 0)
        return "ALPN: malformed list";
    while (list.left > 0) {
        struct bytes name = reader_vector8(&list);
        if (name.len == 0)
            return "ALPN: malformed protocol name";
        note_protocol(&text, name);
    }
    return NULL;
}

static bool is_grease(uint16_t value)
{
    return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff); /* RFC 8701 2 */
}

static uint8_t version_bit(uint16_t version)
{
    if (is_grease(version))
        return 0;
    if (version < VERSION_TLS10 || version > VERSION_TLS13)
        return HELLO_VERSION_OTHER;
    return (uint8_t)(HELLO_VERSION_TLS10 << (version - VERSION_TLS10));
}

/* RFC 8446 4.2.1 */
static const char *parse_supported_versions(struct bytes body, struct client_hello *out)
{
    struct reader r = reader_of(body);
    struct reader list = reader_of(reader_vector8(&r));

    if (!reader_is_done(&r) || list.left == 0 || list.left % 2 != 0)
        return "supported_versions: malformed list";
    out->versions = 0; /* legacy_version no longer counts */
    while (list.left > 0)
        out->versions |= version_bit(reader_u16(&list));
    return NULL;
}

static const char *parse_encrypted_hello(struct bytes body, struct client_hello *out)
{
    (void)body; /* for the one who can decrypt it */
    out->has_ech = true;
    return NULL;
}

/* The extensions that we read; all others only have to be well-formed. */
static const struct {
    uint16_t type;
    const char *(*parse)(struct bytes body, struct client_hello *out);
} extensions[] = {
    {EXT_SERVER_NAME, parse_server_name},
    {EXT_ALPN, parse_alpn},
    {EXT_SUPPORTED_VERSIONS, parse_supported_versions},
    {EXT_ENCRYPTED_HELLO, parse_encrypted_hello},
};

static const char *parse_extension(uint16_t type, struct bytes body, struct client_hello *out)
{
    for (size_t i = 0; i < sizeof extensions / sizeof extensions[0]; i++) {
        if (extensions[i].type == type)
            return extensions[i].parse(body, out);
    }
    return NULL;
}

static const char *walk_extensions(struct bytes all, uint64_t *seen, struct client_hello *out)
{
    struct reader r = reader_of(all);

    while (r.left > 0) {
        uint16_t type = reader_u16(&r);
        struct bytes body = reader_vector16(&r);
        uint64_t bit = UINT64_C(1) << type % 64;

        if (r.failed)
            return "extension cut short";
        if ((seen[type / 64] & bit) != 0)
            return "extension given twice"; /* RFC 8446 4.2 */
        seen[type / 64] |= bit;
        if (type == EXT_PRE_SHARED_KEY && r.left > 0)
            return "pre_shared_key is not the last extension"; /* RFC 8446 4.2.11 */
        const char *why = parse_extension(type, body, out);
        if (why != NULL)
            return why;
    }
    return NULL;
}

/* Walks the same way again: touching a few words is cheaper than clearing 8 KiB. */
static void forget_extensions(struct bytes all, uint64_t *seen)
{
    struct reader r = reader_of(all);

    while (r.left > 0 && !r.failed) {
        seen[reader_u16(&r) / 64] = 0;
        reader_vector16(&r);
    }
}

/* RFC 8446 4.1.2 and RFC 5246 7.4.1.2, what stands before the extensions; the reader stays there. */
static const char *parse_fixed_fields(struct reader *r, struct client_hello *out)
{
    uint16_t version = reader_u16(r);
    reader_slice(r, RANDOM_LEN);
    struct bytes session_id = reader_vector8(r);
    struct bytes ciphers = reader_vector16(r);
    struct bytes compression = reader_vector8(r);

    if (r->failed)
        return "shorter than its fields";
    if (version >> 8 < TLS_MAJOR)
        return "unknown legacy_version";
    if (session_id.len > SESSION_ID_MAX)
        return "session id longer than 32 bytes";
    if (ciphers.len == 0 || ciphers.len % 2 != 0)
        return "malformed cipher suites";
    if (compression.len == 0 || memchr(compression.ptr, COMPRESSION_NULL, compression.len) == NULL)
        return "no null compression";
    /* Without supported_versions a newer version only means "up to TLS 1.2" (RFC 8446 4.2.1). */
    out->versions = version_bit(version > VERSION_TLS12 ? VERSION_TLS12 : version);
    return NULL;
}

static const char *parse_message(struct bytes message, struct hello_scratch *scratch, struct client_hello *out)
{
    struct reader r = reader_of(message);

    reader_slice(&r, MESSAGE_HEADER); /* checked by the scan */
    const char *why = parse_fixed_fields(&r, out);
    if (why != NULL || r.left == 0)
        return why; /* before TLS 1.3 a hello may end without extensions */
    struct bytes all = reader_vector16(&r);
    if (!reader_is_done(&r))
        return "extensions do not end with the message";
    why = walk_extensions(all, scratch->seen_extensions, out);
    forget_extensions(all, scratch->seen_extensions);
    return why;
}

enum hello_result client_hello_parse(struct hello_progress *progress, struct bytes in, struct hello_scratch *scratch,
                                     struct client_hello *out)
{
    CHECK(progress->scanned <= in.len);
    while (progress->message_len == 0 || progress->message_bytes < progress->message_len) {
        enum hello_result result = scan_record(progress, in, out);
        if (result != HELLO_OK)
            return result;
    }
    struct bytes message = gather_message(bytes_of(in.ptr, progress->scanned), progress->message_len, scratch);

    *out = (struct client_hello){0};
    const char *why = parse_message(message, scratch, out);
    return why == NULL ? HELLO_OK : refuse(out, why, false);
}

size_t client_hello_missing(const struct hello_progress *progress, struct bytes in)
{
    struct reader r = reader_of(in);

    reader_slice(&r, progress->scanned);
    /* Each byte of a header, the record's or the message's, may be the one that refuses the hello. */
    if (progress->message_len == 0 || r.left < RECORD_HEADER)
        return 1;
    reader_slice(&r, RECORD_HEADER - 2);
    size_t body = reader_u16(&r);
    CHECK(body > r.left); /* or the record would be complete, and the next one at hand */
    return body - r.left;
}
