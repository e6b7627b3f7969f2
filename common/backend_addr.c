/* Where backends are: an IP address or a name with a port, or a Unix socket. */

#include <string.h>

#include "address.h"
#include "err.h"
#include "host_port.h"
#include "hostname.h"
#include "invalid.h"

#define UNIX_PREFIX     "unix:"
#define UNIX_PREFIX_LEN (sizeof UNIX_PREFIX - 1)

_Static_assert(sizeof(((struct backend_addr *)0)->host) == HOSTNAME_MAX + 1, "a backend's name holds any hostname");
_Static_assert(HOSTNAME_MAX + sizeof ":65535" <= BACKEND_TEXT_MAX, "the longest name fits a backend's text");

static int parse_unix(struct bytes path, struct backend_addr *out, struct strbuf *why)
{
    if (path.len == 0 || path.ptr[0] != '/')
        return invalid(why, "a Unix socket needs an absolute path, write unix:/run/app.sock");
    if (memchr(path.ptr, '\0', path.len) != NULL)
        return invalid(why, "the path must not contain a NUL byte");
    if (path.len > BACKEND_UNIX_PATH_MAX) {
        strbuf_addf(why, "the path of a Unix socket has at most %d bytes", BACKEND_UNIX_PATH_MAX);
        return ERR_RANGE;
    }
    *out = (struct backend_addr){.kind = BACKEND_UNIX};
    memcpy(out->path, path.ptr, path.len);
    return 0;
}

/*
 * Does a name end in a number, decimal or hexadecimal? No top-level domain does (RFC 3696 2), but resolvers may take "10.0.0.256",
 * "1.2.3" or "0x7f.1" for an IPv4 address in one of its old spellings, and then traffic goes where nobody wrote.
 */
static bool ends_in_number(const char *name)
{
    const char *dot = strrchr(name, '.');
    const char *last = dot != NULL ? dot + 1 : name;
    bool is_hex = last[0] == '0' && last[1] == 'x';

    return is_hex ? last[2 + strspn(last + 2, "0123456789abcdef")] == '\0' : last[strspn(last, "0123456789")] == '\0';
}

static int parse_name(struct bytes host, uint16_t port, struct backend_addr *out, struct strbuf *why)
{
    struct backend_addr parsed = {.kind = BACKEND_NAME, .port = port};

    if (host.len == 0)
        return invalid(why, "host is missing in front of ':'");
    if (hostname_normalise(host, parsed.host) == 0)
        return invalid(why, "host is neither an IP address nor a valid name");
    if (ends_in_number(parsed.host)) {
        strbuf_addf(why, "%s reads like an IPv4 address but is none: four numbers of 0 to 255 without leading zeros",
                    parsed.host);
        return ERR_INVALID;
    }
    /* "UNIX:1" and "unix.:1" would become "unix:1", which reads as a path. */
    if (strcmp(parsed.host, "unix") == 0)
        return invalid(why, "a host cannot be called unix, as unix: begins the path of a socket");
    *out = parsed;
    return 0;
}

int backend_addr_parse(struct bytes text, struct backend_addr *out, struct strbuf *why)
{
    struct host_port parsed;
    int rc;

    if (text.len >= UNIX_PREFIX_LEN && memcmp(text.ptr, UNIX_PREFIX, UNIX_PREFIX_LEN) == 0)
        return parse_unix(bytes_of(text.ptr + UNIX_PREFIX_LEN, text.len - UNIX_PREFIX_LEN), out, why);
    if ((rc = host_port_parse(text, &parsed, why)) != 0)
        return rc;
    if (parsed.addr.family == 0)
        return parse_name(parsed.host, parsed.port, out, why);
    *out = (struct backend_addr){.kind = BACKEND_IP, .addr = parsed.addr, .port = parsed.port};
    return 0;
}

void backend_addr_format(const struct backend_addr *addr, struct strbuf *out)
{
    struct ip_endpoint end = {.addr = addr->addr, .port = addr->port};

    switch (addr->kind) { /* GCOVR_EXCL_BR_LINE: there is no fourth kind */
    case BACKEND_IP: ip_endpoint_format(&end, out); break;
    case BACKEND_NAME: strbuf_addf(out, "%s:%u", addr->host, addr->port); break;
    case BACKEND_UNIX: strbuf_addf(out, UNIX_PREFIX "%s", addr->path); break;
    }
}
