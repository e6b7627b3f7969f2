/* Addresses of every kind: any text ends in a verdict with its reason, an accepted one is canonical after one round. */

#include <string.h>

#include "address.h"
#include "check.h"
#include "err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

union parsed {
    struct ip_addr addr;
    struct ip_cidr cidr;
    struct listen_addr listen;
    struct backend_addr backend;
};

static int parse_addr(struct bytes text, union parsed *out, struct strbuf *why)
{
    return ip_addr_parse(text, &out->addr, why);
}

static int parse_cidr(struct bytes text, union parsed *out, struct strbuf *why)
{
    return ip_cidr_parse(text, &out->cidr, why);
}

static int parse_listen(struct bytes text, union parsed *out, struct strbuf *why)
{
    return listen_addr_parse(text, &out->listen, why);
}

static int parse_backend(struct bytes text, union parsed *out, struct strbuf *why)
{
    return backend_addr_parse(text, &out->backend, why);
}

static void format_addr(const union parsed *in, struct strbuf *out)
{
    ip_addr_format(&in->addr, out);
}

static void format_cidr(const union parsed *in, struct strbuf *out)
{
    ip_cidr_format(&in->cidr, out);
}

static void format_listen(const union parsed *in, struct strbuf *out)
{
    listen_addr_format(&in->listen, out);
}

static void format_backend(const union parsed *in, struct strbuf *out)
{
    backend_addr_format(&in->backend, out);
}

static bool equal_addr(const union parsed *a, const union parsed *b)
{
    return ip_addr_equal(&a->addr, &b->addr);
}

static bool equal_cidr(const union parsed *a, const union parsed *b)
{
    return ip_addr_equal(&a->cidr.addr, &b->cidr.addr) && a->cidr.prefix_len == b->cidr.prefix_len;
}

static bool equal_listen(const union parsed *a, const union parsed *b)
{
    return listen_addr_equal(&a->listen, &b->listen);
}

static bool equal_backend(const union parsed *a, const union parsed *b)
{
    const struct backend_addr *x = &a->backend, *y = &b->backend;

    return x->kind == y->kind && x->port == y->port && ip_addr_equal(&x->addr, &y->addr) &&
           strcmp(x->host, y->host) == 0 && strcmp(x->path, y->path) == 0;
}

static const struct kind {
    int (*parse)(struct bytes text, union parsed *out, struct strbuf *why);
    void (*format)(const union parsed *in, struct strbuf *out);
    bool (*equal)(const union parsed *a, const union parsed *b);
    size_t text_max;
} kinds[] = {
    {parse_addr, format_addr, equal_addr, ADDRESS_TEXT_MAX},
    {parse_cidr, format_cidr, equal_cidr, ADDRESS_TEXT_MAX},
    {parse_listen, format_listen, equal_listen, ADDRESS_TEXT_MAX},
    {parse_backend, format_backend, equal_backend, BACKEND_TEXT_MAX},
};

static void check_kind(const struct kind *kind, struct bytes text)
{
    char why_text[128], canonical_text[BACKEND_TEXT_MAX], again_text[BACKEND_TEXT_MAX];
    struct strbuf why = STRBUF_OF(why_text);
    struct strbuf canonical = strbuf_init(canonical_text, kind->text_max);
    struct strbuf again = strbuf_init(again_text, kind->text_max);
    union parsed first, second;

    int rc = kind->parse(text, &first, &why);
    if (rc != 0) {
        CHECK((rc == ERR_INVALID || rc == ERR_RANGE) && why.len > 0);
        return;
    }
    kind->format(&first, &canonical);
    CHECK(why.len == 0 && !canonical.overflowed);
    CHECK(kind->parse(bytes_of(canonical.data, canonical.len), &second, &why) == 0);
    CHECK(kind->equal(&first, &second));
    kind->format(&second, &again);
    CHECK(strcmp(canonical.data, again.data) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        check_kind(&kinds[i], bytes_of(data, size));
    return 0;
}
