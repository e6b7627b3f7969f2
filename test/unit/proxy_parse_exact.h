#ifndef PROXY_PARSE_EXACT_H
#define PROXY_PARSE_EXACT_H

/* PROXY headers of either version, as the tests of both parse them; include behind cmocka.h. */

#include <stdlib.h>
#include <string.h>

#include "proxy_protocol.h"

/** Parses an exact-size copy, so that the address sanitizer sees a read past the end. */
static inline enum proxy_result parse_exact(const void *data, size_t len, struct proxy_header *out)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, data, len);
    enum proxy_result result = proxy_header_parse(bytes_of(copy, len), out);
    free(copy);
    return result;
}

#endif
