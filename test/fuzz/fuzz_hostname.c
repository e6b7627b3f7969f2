/* Hostnames and patterns: what is taken is canonical (it normalises to itself), and a pattern survives being written and read. */

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "hostname.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(struct bytes in)
{
    char once[HOSTNAME_MAX + 1], twice[HOSTNAME_MAX + 1];
    size_t len = hostname_normalise(in, once);

    CHECK(len <= HOSTNAME_MAX && len <= in.len && len + 1 >= (len > 0 ? in.len : 0));
    if (len == 0)
        return;
    CHECK(strlen(once) == len);
    CHECK(hostname_normalise(bytes_of(once, len), twice) == len && strcmp(once, twice) == 0);
}

static void check_pattern(struct bytes in)
{
    struct host_pattern pattern, again;
    char why_text[160], text[HOSTNAME_MAX + 1];
    struct strbuf why = STRBUF_OF(why_text), canonical = STRBUF_OF(text);

    if (host_pattern_parse(in, &pattern, &why) != 0) {
        CHECK(why.len > 0 && !why.overflowed);
        return;
    }
    host_pattern_format(&pattern, &canonical);
    CHECK(!canonical.overflowed && why.len == 0);
    CHECK(host_pattern_parse(bytes_of(text, canonical.len), &again, &why) == 0);
    CHECK(again.kind == pattern.kind && again.len == pattern.len && strcmp(again.name, pattern.name) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_name(bytes_of(data, size));
    check_pattern(bytes_of(data, size));
    return 0;
}
