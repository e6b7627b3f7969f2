#ifndef PROXY_PROTOCOL_H
#define PROXY_PROTOCOL_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "bytes.h"

/* The PROXY protocol, versions 1 and 2: https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt */

#define PROXY_V1_MAX_BYTES         107  /* "PROXY UNKNOWN" with two full IPv6 addresses, ports and CRLF */
#define PROXY_V2_MAX_BYTES         4096 /* header and body that we take; the field could say up to 65551 */
#define PROXY_HEADER_OUT_MAX_BYTES 52   /* a v2 header with IPv6 addresses and no TLVs */

enum proxy_result {
    PROXY_MORE, /* nothing wrong so far, more bytes could complete it */
    PROXY_OK,   /* complete and valid */
    PROXY_BAD,  /* no further byte could make it valid; out->reason says why */
};

/** What a PROXY header says. */
struct proxy_header {
    uint16_t len;       /* bytes of the header: exactly these are consumed */
    uint8_t version;    /* 1 or 2 */
    bool is_local;      /* v2 LOCAL: the sender's own connection (a health check) */
    bool has_addresses; /* false for LOCAL, UNKNOWN, UNSPEC, UDP and UNIX families: the peer's own address stands */
    struct ip_endpoint source;      /* if has_addresses: the client */
    struct ip_endpoint destination; /* if has_addresses: where the client connected to */
    const char *reason;             /* on PROXY_BAD: static, a few words, never NULL */
};

/**
 * Parse a PROXY header, v1 or v2 told apart by the first byte. Pure. Every strict prefix of a valid header gives PROXY_MORE;
 * bytes behind the header are not looked at. A v2 CRC32C TLV (PP2_TYPE_CRC32C) is verified if there is one; other TLVs are
 * walked, so that one that overruns the header is PROXY_BAD, and skipped.
 *
 * @param in   bytes received so far; borrowed
 * @param out  complete on PROXY_OK; reason set on PROXY_BAD; undefined on PROXY_MORE
 */
enum proxy_result proxy_header_parse(struct bytes in, struct proxy_header *out);

/**
 * Write the v2 header that announces a connection to a backend: 28 bytes when both addresses are IPv4, 52 when both are IPv6
 * (one of each: the IPv4 one as IPv4-mapped IPv6), 16 for is_local or when an address is unknown (family 0).
 *
 * @return the length written to out
 */
size_t proxy_header_build(bool is_local, const struct ip_endpoint *source, const struct ip_endpoint *destination,
                          uint8_t out[PROXY_HEADER_OUT_MAX_BYTES]);

#endif
