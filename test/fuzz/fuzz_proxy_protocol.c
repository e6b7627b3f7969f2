/* PROXY headers: a verdict does not depend on how the bytes arrive. Prefixes of a good header are MORE, a bad one stays bad, and
 * what was understood can be built and understood again. */

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Parses an exact-size copy, so that the address sanitizer sees a read past the end. */
static enum proxy_result parse(const uint8_t *data, size_t len, struct proxy_header *out)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    CHECK(copy != NULL);
    if (len > 0)
        memcpy(copy, data, len);
    enum proxy_result result = proxy_header_parse(bytes_of(copy, len), out);
    CHECK(result != PROXY_BAD || out->reason != NULL);
    CHECK(result != PROXY_OK || (out->len > 0 && out->len <= len && out->len <= PROXY_V2_MAX_BYTES));
    free(copy);
    return result;
}

static void check_prefixes(const uint8_t *data, size_t size)
{
    enum proxy_result before = PROXY_MORE;
    size_t ok_len = 0;
    size_t step = size > 512 ? size / 128 : 1; /* every prefix of what is short, some of what is long */

    for (size_t len = 0; len <= size; len += step) {
        struct proxy_header h;
        enum proxy_result result = parse(data, len, &h);
        CHECK(before == PROXY_MORE || result == before);
        CHECK(before != PROXY_OK || h.len == ok_len);
        if (result == PROXY_OK)
            ok_len = h.len;
        before = result;
    }
}

static void check_ok(const uint8_t *data, const struct proxy_header *h)
{
    uint8_t built[PROXY_HEADER_OUT_MAX_BYTES];
    struct proxy_header again;

    CHECK(parse(data, h->len, &again) == PROXY_OK && again.len == h->len);
    CHECK(parse(data, h->len - 1U, &again) == PROXY_MORE);
    CHECK(!(h->is_local && h->has_addresses));
    size_t len = proxy_header_build(h->is_local, &h->source, &h->destination, built);
    CHECK(parse(built, len, &again) == PROXY_OK && again.len == len);
    CHECK(again.is_local == h->is_local && again.has_addresses == h->has_addresses);
    CHECK(ip_addr_equal(&again.source.addr, &h->source.addr) && again.source.port == h->source.port);
    CHECK(ip_addr_equal(&again.destination.addr, &h->destination.addr) &&
          again.destination.port == h->destination.port);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header h;

    if (parse(data, size, &h) == PROXY_OK)
        check_ok(data, &h);
    check_prefixes(data, size);
    return 0;
}
