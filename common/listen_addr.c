/* Where listeners listen: an IP address and a port, or a port alone for IPv4 and IPv6 together. */

#include <string.h>

#include "address.h"
#include "err.h"
#include "host_port.h"
#include "invalid.h"

/* Spellings from elsewhere that host_port_parse() could only answer in general terms; NULL if text is none of them. */
static const char *foreign_spelling(struct bytes text)
{
    bool is_number = text.len > 0;
    for (size_t i = 0; i < text.len; i++)
        is_number = is_number && text.ptr[i] >= '0' && text.ptr[i] <= '9';
    if (is_number)
        return "':' is missing in front of the port, write :443";
    if (text.len >= 5 && memcmp(text.ptr, "unix:", 5) == 0)
        return "must be an IP address and port, not a Unix socket";
    if (text.len >= 2 && memcmp(text.ptr, "*:", 2) == 0)
        return "leave out the '*', write :443";
    return NULL;
}

int listen_addr_parse(struct bytes text, struct listen_addr *out, struct strbuf *why)
{
    const char *fault = foreign_spelling(text);
    struct host_port parsed;
    int rc;

    if (fault != NULL)
        return invalid(why, fault);
    if ((rc = host_port_parse(text, &parsed, why)) != 0)
        return rc;
    if (parsed.host.len > 0 && parsed.addr.family == 0)
        return invalid(why, "a listener needs an IP address, not a name: :443, 192.0.2.1:443 or [::1]:443");
    *out = (struct listen_addr){.is_dual_stack = parsed.host.len == 0, .addr = parsed.addr, .port = parsed.port};
    return 0;
}

void listen_addr_format(const struct listen_addr *addr, struct strbuf *out)
{
    struct ip_endpoint end = {.addr = addr->addr, .port = addr->port};

    if (addr->is_dual_stack)
        strbuf_addf(out, ":%u", addr->port);
    else
        ip_endpoint_format(&end, out);
}

bool listen_addr_equal(const struct listen_addr *a, const struct listen_addr *b)
{
    return a->is_dual_stack == b->is_dual_stack && a->port == b->port && ip_addr_equal(&a->addr, &b->addr);
}
