/* The PROXY protocol, version 1 (section 2.1 of its text): one line, read field by field. A line that is still coming is BAD as
 * soon as the field at its end can no longer become a right one. */

#include "proxy_v1.h"

#include <string.h>

#include "address.h"

#define PORT_TEXT_LONGEST 5

static const struct v1_opening {
    const char *text;
    uint8_t family; /* 0: UNKNOWN */
} openings[] = {
    {"PROXY TCP4 ", 4},
    {"PROXY TCP6 ", 6},
    {"PROXY UNKNOWN", 0},
};

static enum proxy_result bad(struct proxy_header *out, const char *reason)
{
    out->reason = reason;
    return PROXY_BAD;
}

static enum proxy_result read_literal(struct reader *r, const char *text)
{
    size_t len = strlen(text);
    size_t n = len < r->left ? len : r->left;

    if (n > 0 && memcmp(r->at, text, n) != 0)
        return PROXY_BAD;
    if (n < len)
        return PROXY_MORE;
    (void)reader_slice(r, len);
    return PROXY_OK;
}

static enum proxy_result read_opening(struct reader *r, uint8_t *family_out)
{
    for (size_t i = 0; i < sizeof openings / sizeof openings[0]; i++) {
        enum proxy_result result = read_literal(r, openings[i].text);
        *family_out = openings[i].family;
        if (result != PROXY_BAD)
            return result;
    }
    return PROXY_BAD;
}

static bool read_addr(struct bytes text, uint8_t family, struct ip_addr *out)
{
    char unused[1];
    struct strbuf why = STRBUF_OF(unused);
    bool has_colon = text.len > 0 && memchr(text.ptr, ':', text.len) != NULL;

    return has_colon == (family == 6) && ip_addr_parse(text, out, &why) == 0;
}

/* Every beginning of an address becomes one with one of these endings; a text that none of them helps is no beginning. */
static bool is_addr_beginning(struct bytes text, uint8_t family)
{
    static const char *const endings[] = {"", "::", ":", "0", ".0", "0.0", ".0.0", "0.0.0", ".0.0.0", "0.0.0.0"};
    struct ip_addr unused;

    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        char copy[ADDRESS_TEXT_MAX];
        struct strbuf whole = STRBUF_OF(copy);
        strbuf_add_bytes(&whole, text);
        strbuf_add(&whole, endings[i]);
        if (!whole.overflowed && read_addr(bytes_of(copy, whole.len), family, &unused))
            return true;
    }
    return false;
}

static bool read_port(struct bytes text, uint16_t *out)
{
    uint32_t value = 0;

    if (text.len == 0 || text.len > PORT_TEXT_LONGEST || (text.len > 1 && text.ptr[0] == '0'))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        value = value * 10 + (uint32_t)(text.ptr[i] - '0');
    }
    *out = (uint16_t)value;
    return value <= UINT16_MAX;
}

/* What stands before the next separator; without one, all that is left, and then the field may not be complete. */
static struct bytes peek_field(const struct reader *r, char separator, bool *is_complete_out)
{
    const uint8_t *end = r->left > 0 ? memchr(r->at, separator, r->left) : NULL;

    *is_complete_out = end != NULL;
    return bytes_of(r->at, end != NULL ? (size_t)(end - r->at) : r->left);
}

static enum proxy_result read_addr_field(struct reader *r, uint8_t family, struct ip_addr *out)
{
    bool is_complete;
    struct bytes field = peek_field(r, ' ', &is_complete);

    if (!is_complete)
        return is_addr_beginning(field, family) ? PROXY_MORE : PROXY_BAD;
    if (!read_addr(field, family, out))
        return PROXY_BAD;
    (void)reader_slice(r, field.len);
    return read_literal(r, " ");
}

static enum proxy_result read_port_field(struct reader *r, const char *separator, uint16_t *out)
{
    bool is_complete;
    struct bytes field = peek_field(r, separator[0], &is_complete);

    if (!is_complete) /* the beginnings of a port are ports */
        return field.len == 0 || read_port(field, out) ? PROXY_MORE : PROXY_BAD;
    if (!read_port(field, out))
        return PROXY_BAD;
    (void)reader_slice(r, field.len);
    return read_literal(r, separator);
}

static enum proxy_result read_tcp(struct reader *r, uint8_t family, struct proxy_header *out)
{
    enum proxy_result result;

    if ((result = read_addr_field(r, family, &out->source.addr)) != PROXY_OK ||
        (result = read_addr_field(r, family, &out->destination.addr)) != PROXY_OK)
        return result == PROXY_BAD ? bad(out, "malformed v1 address") : result;
    if ((result = read_port_field(r, " ", &out->source.port)) != PROXY_OK ||
        (result = read_port_field(r, "\r\n", &out->destination.port)) != PROXY_OK)
        return result == PROXY_BAD ? bad(out, "malformed v1 port or line end") : result;
    out->has_addresses = true;
    return PROXY_OK;
}

/* Behind "UNKNOWN" comes CRLF, or a space and anything at all before the first CRLF. */
static enum proxy_result read_unknown(struct reader *r, struct proxy_header *out)
{
    if (r->left > 0 && r->at[0] == ' ') {
        const uint8_t *end = memmem(r->at, r->left, "\r\n", 2);
        if (end == NULL)
            return PROXY_MORE;
        (void)reader_slice(r, (size_t)(end - r->at));
    }
    enum proxy_result result = read_literal(r, "\r\n");
    return result == PROXY_BAD ? bad(out, "malformed v1 protocol or line end") : result;
}

enum proxy_result proxy_v1_parse(struct bytes in, struct proxy_header *out)
{
    struct bytes line = bytes_of(in.ptr, in.len < PROXY_V1_MAX_BYTES ? in.len : PROXY_V1_MAX_BYTES);
    struct reader r = reader_of(line);
    uint8_t family;

    *out = (struct proxy_header){.version = 1};
    enum proxy_result result = read_opening(&r, &family);
    if (result == PROXY_BAD)
        return bad(out, "malformed v1 opening");
    if (result == PROXY_OK)
        result = family != 0 ? read_tcp(&r, family, out) : read_unknown(&r, out);
    if (result == PROXY_MORE) {
        size_t end_len = line.len > 0 && line.ptr[line.len - 1] == '\r' ? 1 : 2; /* bytes of CRLF still to come */
        return line.len + end_len > PROXY_V1_MAX_BYTES ? bad(out, "v1 line too long") : PROXY_MORE;
    }
    out->len = (uint16_t)(line.len - r.left);
    return result;
}
