/* Cuts "host:port" in two. Most of it is about telling an operator what the address should have looked like. */

#include "host_port.h"

#include <string.h>

#include "err.h"
#include "invalid.h"

#define PORT_MAX 65535

static bool spells_addr(struct bytes text, struct ip_addr *out)
{
    char unused[1];
    struct strbuf why = STRBUF_OF(unused);

    return ip_addr_parse(text, out, &why) == 0;
}

/* Only what could be a host is repeated in a message. */
static bool is_host_like(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        bool is_alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_alphanumeric && c != '.' && c != '-' && c != '_')
            return false;
    }
    return text.len > 0;
}

static int read_port(struct bytes text, uint16_t *out, struct strbuf *why)
{
    uint32_t value = 0;

    if (text.len == 0)
        return invalid(why, "port is missing behind ':'");
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return invalid(why, "port must be a number of 1 to 65535");
        if (value <= PORT_MAX)
            value = value * 10 + (uint32_t)(text.ptr[i] - '0');
    }
    if (value == 0 || value > PORT_MAX) {
        strbuf_add(why, "port must be 1 to 65535");
        return ERR_RANGE;
    }
    if (text.ptr[0] == '0')
        return invalid(why, "port must not have leading zeros");
    *out = (uint16_t)value;
    return 0;
}

/* "[v6]:port" */
static int parse_bracketed(struct bytes text, struct host_port *out, struct strbuf *why)
{
    const uint8_t *closing = memchr(text.ptr, ']', text.len);
    if (closing == NULL)
        return invalid(why, "']' is missing, write [2001:db8::5]:443");

    struct bytes host = bytes_of(text.ptr + 1, (size_t)(closing - text.ptr) - 1);
    struct bytes rest = bytes_of(closing + 1, text.len - host.len - 2);
    struct ip_addr addr;
    int rc = ip_addr_parse(host, &addr, why);
    if (rc != 0)
        return rc;
    if (memchr(host.ptr, ':', host.len) == NULL)
        return invalid(why, "brackets are for IPv6 addresses only, write 10.0.0.5:443");
    if (rest.len == 0) {
        strbuf_addf(why, "port is missing, write [%.*s]:443", (int)host.len, (const char *)host.ptr);
        return ERR_INVALID;
    }
    if (rest.ptr[0] != ':')
        return invalid(why, "']' must be followed by ':' and the port, write [2001:db8::5]:443");
    out->host = host;
    out->addr = addr;
    return read_port(bytes_of(rest.ptr + 1, rest.len - 1), &out->port, why);
}

static int refuse_without_colon(struct bytes text, struct strbuf *why)
{
    if (is_host_like(text))
        strbuf_addf(why, "port is missing, write %.*s:443", (int)text.len, (const char *)text.ptr);
    else
        strbuf_add(why, "port is missing, write host:port");
    return ERR_INVALID;
}

int host_port_parse(struct bytes text, struct host_port *out, struct strbuf *why)
{
    struct host_port parsed = {0};
    struct ip_addr addr;
    int rc;

    if (text.len == 0)
        return invalid(why, "address is missing");
    if (text.ptr[0] == '[') {
        rc = parse_bracketed(text, &parsed, why);
    } else {
        const uint8_t *colon = memchr(text.ptr, ':', text.len);
        if (colon == NULL)
            return refuse_without_colon(text, why);
        /* Where "2001:db8::5:443" would have its port nobody can say, so none of its readings is taken. */
        if (memrchr(text.ptr, ':', text.len) != colon)
            return invalid(why, spells_addr(text, &addr) ? "IPv6 addresses need brackets: [2001:db8::5]:443"
                                                         : "has more than one ':', write host:port or [IPv6]:port");
        parsed.host = bytes_of(text.ptr, (size_t)(colon - text.ptr));
        if (spells_addr(parsed.host, &addr))
            parsed.addr = addr;
        rc = read_port(bytes_of(colon + 1, text.len - parsed.host.len - 1), &parsed.port, why);
    }
    if (rc == 0)
        *out = parsed;
    return rc;
}
