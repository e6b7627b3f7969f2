/*
 * The PROXY protocol: telling the versions apart, version 2 (section 2.2 of its text), and the header we send ourselves.
 *
 *      0            12        13                  14       16            16+A                 16+length
 *      | signature  | 2 | cmd | family| transport | length | addresses A | TLVs: type length16 value ... |
 */

#include "proxy_protocol.h"

#include <string.h>

#include "crc32c.h"
#include "proxy_v1.h"

#define V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

enum {
    V2_SIGNATURE_LEN = 12,
    V2_HEAD_LEN = 16, /* all that stands before the addresses */
    V2_VERSION = 2,
    V2_TLV_HEAD_LEN = 3,
    V2_TLV_CRC32C = 0x03,
    V2_CRC32C_LEN = 4,
};

enum v2_command { V2_LOCAL, V2_PROXY, V2_COMMANDS };
enum v2_family { V2_UNSPEC, V2_INET, V2_INET6, V2_UNIX, V2_FAMILIES };
enum v2_transport { V2_ANY, V2_STREAM, V2_DGRAM, V2_TRANSPORTS };

/* Bytes of both addresses and both ports, or of both paths. */
static const uint8_t v2_addresses_len[V2_FAMILIES] = {[V2_INET] = 12, [V2_INET6] = 36, [V2_UNIX] = 216};

struct v2_head {
    uint8_t command;
    uint8_t family;
    uint8_t transport;
    size_t total; /* bytes of the header, V2_HEAD_LEN included */
};

static enum proxy_result bad(struct proxy_header *out, const char *reason)
{
    out->reason = reason;
    return PROXY_BAD;
}

/* Each byte is judged as soon as it is there. Those that are not yet read as zero, which no check minds. */
static enum proxy_result read_v2_head(struct bytes in, struct v2_head *head, struct proxy_header *out)
{
    uint8_t raw[V2_HEAD_LEN] = {0};
    size_t len = in.len < V2_HEAD_LEN ? in.len : V2_HEAD_LEN;

    memcpy(raw, in.ptr, len);
    if (memcmp(raw, V2_SIGNATURE, len < V2_SIGNATURE_LEN ? len : V2_SIGNATURE_LEN) != 0)
        return bad(out, "malformed v2 signature");
    if (len > 12 && raw[12] >> 4 != V2_VERSION)
        return bad(out, "unknown v2 version");
    head->command = raw[12] & 0x0f;
    if (head->command >= V2_COMMANDS)
        return bad(out, "unknown v2 command");
    head->family = raw[13] >> 4;
    head->transport = raw[13] & 0x0f;
    /* A LOCAL header's family is ignored, whatever it is. */
    if (head->command == V2_PROXY && (head->family >= V2_FAMILIES || head->transport >= V2_TRANSPORTS))
        return bad(out, "unknown v2 family or transport");
    head->total = V2_HEAD_LEN + (size_t)(raw[14] << 8 | raw[15]);
    if (head->total > PROXY_V2_MAX_BYTES)
        return bad(out, "v2 header too long");
    return len < V2_HEAD_LEN ? PROXY_MORE : PROXY_OK;
}

/*
 * Walk the TLVs from `at` to the end of the header, of which in may be the beginning only.
 * Sets *crc_at to where the value of the CRC32C TLV stands, 0 if there is none.
 */
static enum proxy_result walk_tlvs(struct bytes in, size_t at, size_t total, size_t *crc_at, struct proxy_header *out)
{
    *crc_at = 0;
    while (at < total) {
        if (total - at < V2_TLV_HEAD_LEN)
            return bad(out, "v2 TLV cut short");
        if (in.len < at + V2_TLV_HEAD_LEN)
            return PROXY_MORE;
        size_t len = (size_t)(in.ptr[at + 1] << 8 | in.ptr[at + 2]);
        bool is_crc = in.ptr[at] == V2_TLV_CRC32C;
        at += V2_TLV_HEAD_LEN;
        if (len > total - at)
            return bad(out, "v2 TLV overruns the header");
        if (is_crc && (len != V2_CRC32C_LEN || *crc_at != 0))
            return bad(out, "malformed v2 checksum");
        if (is_crc)
            *crc_at = at;
        at += len;
    }
    return in.len < total ? PROXY_MORE : PROXY_OK;
}

/* The checksum is that of the whole header with the checksum itself taken for zeros. */
static bool is_crc_right(struct bytes header, size_t crc_at)
{
    static const uint8_t zeros[V2_CRC32C_LEN];
    struct reader r = reader_of(header);
    struct bytes before = reader_slice(&r, crc_at);
    uint32_t announced = reader_u32(&r);
    uint32_t crc = crc32c_add(crc32c_add(0, before), bytes_of(zeros, sizeof zeros));

    return crc32c_add(crc, reader_slice(&r, r.left)) == announced;
}

static void read_v2_addresses(struct bytes header, uint8_t family, struct proxy_header *out)
{
    struct reader r = reader_of(header);
    size_t addr_len = family == V2_INET ? 4 : 16;

    (void)reader_slice(&r, V2_HEAD_LEN);
    struct bytes source = reader_slice(&r, addr_len);
    struct bytes destination = reader_slice(&r, addr_len);
    CHECK(source.len == addr_len && destination.len == addr_len); /* the length was compared with the family's */
    out->source.port = reader_u16(&r);
    out->destination.port = reader_u16(&r);
    if (family == V2_INET) {
        out->source.addr = ip_addr_of_ipv4(source.ptr);
        out->destination.addr = ip_addr_of_ipv4(destination.ptr);
    } else {
        out->source.addr = ip_addr_of_ipv6(source.ptr);
        out->destination.addr = ip_addr_of_ipv6(destination.ptr);
    }
    out->has_addresses = true;
}

/*
 * LOCAL and UNSPEC: the receiver skips the block and ignores what it says, so nothing in it is malformed. Only where it does read
 * as TLVs with a checksum among them, that checksum must be right: one that is provided must be verified (2.2.3).
 */
static enum proxy_result skip_v2_block(struct bytes in, const struct v2_head *head, struct proxy_header *out)
{
    if (in.len < head->total)
        return PROXY_MORE;

    bool has_layout = head->family < V2_FAMILIES && head->transport != V2_ANY;
    size_t addresses_len = has_layout ? v2_addresses_len[head->family] : 0;
    size_t tlvs_at = V2_HEAD_LEN + addresses_len <= head->total ? V2_HEAD_LEN + addresses_len : V2_HEAD_LEN;
    size_t crc_at;
    struct proxy_header unused;
    if (walk_tlvs(in, tlvs_at, head->total, &crc_at, &unused) == PROXY_OK && crc_at != 0 &&
        !is_crc_right(bytes_of(in.ptr, head->total), crc_at))
        return bad(out, "wrong v2 checksum");
    return PROXY_OK;
}

static enum proxy_result read_v2_block(struct bytes in, const struct v2_head *head, struct proxy_header *out)
{
    size_t tlvs_at = V2_HEAD_LEN + v2_addresses_len[head->family];
    size_t crc_at;

    if (head->total < tlvs_at)
        return bad(out, "v2 length too small for its family");
    enum proxy_result result = walk_tlvs(in, tlvs_at, head->total, &crc_at, out);
    if (result != PROXY_OK)
        return result;
    if (crc_at != 0 && !is_crc_right(bytes_of(in.ptr, head->total), crc_at))
        return bad(out, "wrong v2 checksum");
    if (head->transport == V2_STREAM && head->family != V2_UNIX)
        read_v2_addresses(in, head->family, out);
    return PROXY_OK;
}

static enum proxy_result parse_v2(struct bytes in, struct proxy_header *out)
{
    struct v2_head head;

    *out = (struct proxy_header){.version = 2};
    enum proxy_result result = read_v2_head(in, &head, out);
    if (result != PROXY_OK)
        return result;
    out->len = (uint16_t)head.total;
    out->is_local = head.command == V2_LOCAL;
    if (out->is_local || head.family == V2_UNSPEC || head.transport == V2_ANY)
        return skip_v2_block(in, &head, out);
    return read_v2_block(in, &head, out);
}

enum proxy_result proxy_header_parse(struct bytes in, struct proxy_header *out)
{
    if (in.len == 0)
        return PROXY_MORE;
    if (in.ptr[0] == 'P')
        return proxy_v1_parse(in, out);
    if (in.ptr[0] == V2_SIGNATURE[0])
        return parse_v2(in, out);
    *out = (struct proxy_header){0};
    return bad(out, "no PROXY header");
}

/* An address as the family of the header wants it; in an IPv6 header IPv4 goes as IPv4-mapped. Returns the bytes written. */
static size_t write_addr(const struct ip_addr *addr, enum v2_family family, uint8_t *to)
{
    static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}; /* RFC 4291 2.5.5.2 */

    if (family == V2_INET) {
        memcpy(to, addr->bytes, 4);
        return 4;
    }
    if (addr->family == 6) {
        memcpy(to, addr->bytes, 16);
    } else {
        memcpy(to, mapped_prefix, sizeof mapped_prefix);
        memcpy(to + sizeof mapped_prefix, addr->bytes, 4);
    }
    return 16;
}

static size_t write_u16(uint16_t value, uint8_t *to)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
    return 2;
}

size_t proxy_header_build(bool is_local, const struct ip_endpoint *source, const struct ip_endpoint *destination,
                          uint8_t out[PROXY_HEADER_OUT_MAX_BYTES])
{
    bool has_addresses = !is_local && source->addr.family != 0 && destination->addr.family != 0;
    bool is_ipv4 = has_addresses && source->addr.family == 4 && destination->addr.family == 4;
    enum v2_family family = !has_addresses ? V2_UNSPEC : is_ipv4 ? V2_INET : V2_INET6;
    enum v2_transport transport = has_addresses ? V2_STREAM : V2_ANY;
    size_t at = V2_HEAD_LEN;

    memcpy(out, V2_SIGNATURE, V2_SIGNATURE_LEN);
    out[12] = (uint8_t)(V2_VERSION << 4 | (is_local ? V2_LOCAL : V2_PROXY));
    out[13] = (uint8_t)(family << 4 | transport);
    write_u16(v2_addresses_len[family], out + 14);
    if (!has_addresses)
        return at;
    at += write_addr(&source->addr, family, out + at);
    at += write_addr(&destination->addr, family, out + at);
    at += write_u16(source->port, out + at);
    at += write_u16(destination->port, out + at);
    return at;
}
