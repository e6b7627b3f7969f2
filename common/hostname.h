#ifndef HOSTNAME_H
#define HOSTNAME_H

#include <stdint.h>

#include "bytes.h"
#include "check.h"
#include "strbuf.h"

#define HOSTNAME_MAX 253 /* RFC 1035 2.3.4 less the root label */

/**
 * Normalise a hostname: letters, digits, '-' and '_', labels of 1..63 bytes, 1..253 in all; one trailing dot is dropped, letters
 * become lower case. Configured names and names from the wire both pass through here, so that they compare by bytes. Pure.
 *
 * @param in   any bytes, also NUL and 8-bit ones (refused)
 * @param out  HOSTNAME_MAX + 1 bytes; NUL-terminated on success, undefined otherwise
 * @return the length, 1..253; 0 if in is no hostname
 */
size_t hostname_normalise(struct bytes in, char out[HOSTNAME_MAX + 1]);

enum host_pattern_kind {
    HOST_PATTERN_EXACT,    /* www.example.com */
    HOST_PATTERN_WILDCARD, /* *.example.com: any depth below example.com, not example.com itself */
    HOST_PATTERN_ANY,      /* *: what is left, connections without SNI too */
};

/** What the left side of a route says. */
struct host_pattern {
    enum host_pattern_kind kind;
    uint8_t len;                 /* of name; 0 for HOST_PATTERN_ANY */
    char name[HOSTNAME_MAX + 1]; /* normalised, without "*." */
};

/**
 * Parse a route's hostname: a hostname, "*." and a hostname (253 bytes in all), or "*". Pure.
 *
 * @param why  on ERR_INVALID gets a short English reason fit to stand behind "hostname: "
 * @return 0 or ERR_INVALID
 */
int host_pattern_parse(struct bytes text, struct host_pattern *out, struct strbuf *why) MUST_CHECK;

/** The canonical text of a pattern: "www.example.com", "*.example.com", "*". */
void host_pattern_format(const struct host_pattern *pattern, struct strbuf *out);

#endif
