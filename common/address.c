/* IP addresses, networks and endpoints: text in, struct out, and back. The libc reads and writes the numbers; what it leaves
 * open (padded octets, zone ids, IPv4 in IPv6 clothes) is decided here, so that one address has one form everywhere. */

#include "address.h"

#include <arpa/inet.h>
#include <string.h>

#include "err.h"
#include "invalid.h"

#define IPV4_BYTES       4
#define IPV6_BYTES       16
#define IPV4_BITS        32
#define IPV6_BITS        128
#define IPV4_MAPPED_BITS 96 /* of ::ffff:0:0/96, RFC 4291 2.5.5.2 */

static const uint8_t ipv4_mapped_prefix[IPV6_BYTES - IPV4_BYTES] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool has_char(struct bytes text, char c)
{
    return text.len > 0 && memchr(text.ptr, c, text.len) != NULL; /* GCOVR_EXCL_BR_LINE: callers have refused "" */
}

static bool is_made_of(struct bytes text, const char *alphabet)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\0' || strchr(alphabet, text.ptr[i]) == NULL)
            return false;
    }
    return true;
}

/* Some programs read "010" as eight, others as ten; an address that two readers understand differently is refused. */
static bool has_padded_octet(const char *text)
{
    for (size_t i = 0; text[i] != '\0'; i++) {
        bool is_after_dot = i > 0 && text[i - 1] == '.';
        bool is_start = i == 0 || is_after_dot || text[i - 1] == ':';
        size_t digits = strspn(text + i, "0123456789");
        if (is_start && digits > 1 && text[i] == '0' && (is_after_dot || text[i + digits] == '.'))
            return true;
    }
    return false;
}

static bool is_ipv4_mapped(const struct ip_addr *addr)
{
    return addr->family == 6 && memcmp(addr->bytes, ipv4_mapped_prefix, sizeof ipv4_mapped_prefix) == 0;
}

struct ip_addr ip_addr_of_ipv4(const uint8_t bytes[4])
{
    struct ip_addr addr = {.family = 4};
    memcpy(addr.bytes, bytes, IPV4_BYTES);
    return addr;
}

struct ip_addr ip_addr_of_ipv6(const uint8_t bytes[16])
{
    if (memcmp(bytes, ipv4_mapped_prefix, sizeof ipv4_mapped_prefix) == 0)
        return ip_addr_of_ipv4(bytes + sizeof ipv4_mapped_prefix);
    struct ip_addr addr = {.family = 6};
    memcpy(addr.bytes, bytes, IPV6_BYTES);
    return addr;
}

/* The rule of address.h: IPv4-mapped IPv6 becomes IPv4. */
static struct ip_addr unmapped(const struct ip_addr *addr)
{
    return addr->family == 6 ? ip_addr_of_ipv6(addr->bytes) : *addr;
}

/* The address as written: IPv4-mapped stays IPv6. */
static bool read_addr(struct bytes text, struct ip_addr *out)
{
    char copy[INET6_ADDRSTRLEN];

    if (text.len == 0 || text.len >= sizeof copy || !is_made_of(text, "0123456789abcdefABCDEF:."))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *out = (struct ip_addr){.family = has_char(text, ':') ? 6 : 4};
    return !has_padded_octet(copy) && inet_pton(out->family == 6 ? AF_INET6 : AF_INET, copy, out->bytes) == 1;
}

/* What is most likely wrong with a text that is no address. */
static const char *addr_fault(struct bytes text)
{
    static const struct {
        char mark;
        const char *reason;
    } marks[] = {
        {'/', "must be a single address, not a network"},
        {'%', "zone ids are not supported"},
        {'[', "must be an address without brackets or port"},
        {' ', "must not contain blanks"},
    };

    if (text.len == 0)
        return "IP address is missing";
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        if (has_char(text, marks[i].mark))
            return marks[i].reason;
    }
    if (is_made_of(text, "0123456789."))
        return "not an IPv4 address: four numbers of 0 to 255 without leading zeros, like 192.0.2.7";
    if (has_char(text, '.') && has_char(text, ':') &&
        memchr(text.ptr, ':', text.len) == memrchr(text.ptr, ':', text.len))
        return "must be an address without port";
    if (is_made_of(text, "0123456789abcdefABCDEF:."))
        return "not an IPv6 address, like 2001:db8::7";
    return "not an IP address";
}

int ip_addr_parse(struct bytes text, struct ip_addr *out, struct strbuf *why)
{
    struct ip_addr as_written;

    if (!read_addr(text, &as_written))
        return invalid(why, addr_fault(text));
    *out = unmapped(&as_written);
    return 0;
}

static unsigned family_bits(uint8_t family)
{
    return family == 4 ? IPV4_BITS : IPV6_BITS;
}

static struct ip_addr network_of(const struct ip_addr *addr, unsigned prefix_len)
{
    struct ip_addr net = *addr;

    for (unsigned bit = prefix_len; bit < family_bits(addr->family); bit++)
        net.bytes[bit / 8] &= (uint8_t) ~(0x80U >> bit % 8);
    return net;
}

/* One to three digits, without a zero in front. */
static int read_prefix_len(struct bytes text, unsigned max, unsigned *out, struct strbuf *why)
{
    unsigned value = 0;

    if (text.len == 0 || !is_made_of(text, "0123456789"))
        return invalid(why, "prefix length must be a number, like 24 in 198.51.100.0/24");
    if (text.len > 1 && text.ptr[0] == '0')
        return invalid(why, "prefix length must not have leading zeros");
    for (size_t i = 0; i < text.len && value <= max; i++)
        value = value * 10 + (unsigned)(text.ptr[i] - '0');
    if (value > max) {
        strbuf_addf(why, "prefix length must be 0 to %u", max);
        return ERR_RANGE;
    }
    *out = value;
    return 0;
}

static int refuse_cidr(struct strbuf *why, const char *reason, const struct ip_addr *addr, unsigned prefix_len)
{
    struct ip_cidr meant = {.addr = network_of(addr, prefix_len), .prefix_len = (uint8_t)prefix_len};

    strbuf_add(why, reason);
    strbuf_add(why, ", write ");
    ip_cidr_format(&meant, why);
    return ERR_INVALID;
}

int ip_cidr_parse(struct bytes text, struct ip_cidr *out, struct strbuf *why)
{
    const uint8_t *slash = text.len > 0 ? memchr(text.ptr, '/', text.len) : NULL;
    size_t addr_len = slash != NULL ? (size_t)(slash - text.ptr) : text.len;
    struct ip_addr addr;
    unsigned prefix_len;
    int rc;

    if (!read_addr(bytes_of(text.ptr, addr_len), &addr))
        return invalid(why, addr_fault(bytes_of(text.ptr, addr_len)));
    if (slash == NULL) {
        struct ip_addr single = unmapped(&addr);
        return refuse_cidr(why, "prefix length is missing", &single, family_bits(single.family));
    }
    if ((rc = read_prefix_len(bytes_of(slash + 1, text.len - addr_len - 1), family_bits(addr.family), &prefix_len,
                              why)) != 0)
        return rc;
    if (is_ipv4_mapped(&addr)) {
        struct ip_addr ipv4 = unmapped(&addr);
        return refuse_cidr(why, "IPv4-mapped networks are not supported", &ipv4,
                           prefix_len > IPV4_MAPPED_BITS ? prefix_len - IPV4_MAPPED_BITS : 0);
    }
    struct ip_addr net = network_of(&addr, prefix_len);
    if (!ip_addr_equal(&net, &addr))
        return refuse_cidr(why, "has bits set behind its prefix", &addr, prefix_len);
    *out = (struct ip_cidr){.addr = net, .prefix_len = (uint8_t)prefix_len};
    return 0;
}

/* In ::/96, where IPv4-compatible addresses once lived, the libc writes "::0.1.0.2"; nobody else does since RFC 4291 2.5.5.1. */
static bool is_ipv4_compatible(const struct ip_addr *addr)
{
    static const uint8_t zeros[IPV6_BYTES - IPV4_BYTES];

    return addr->family == 6 && memcmp(addr->bytes, zeros, sizeof zeros) == 0 &&
           (addr->bytes[12] | addr->bytes[13]) != 0;
}

void ip_addr_format(const struct ip_addr *addr, struct strbuf *out)
{
    char text[INET6_ADDRSTRLEN];

    if (addr->family == 0) {
        strbuf_add(out, "unknown");
    } else if (is_ipv4_compatible(addr)) {
        const uint8_t *end = addr->bytes + IPV6_BYTES - IPV4_BYTES;
        strbuf_addf(out, "::%x:%x", end[0] << 8 | end[1], end[2] << 8 | end[3]);
    } else {
        const char *p = inet_ntop(addr->family == 4 ? AF_INET : AF_INET6, addr->bytes, text, sizeof text);
        CHECK(p != NULL);
        strbuf_add(out, p);
    }
}

void ip_cidr_format(const struct ip_cidr *cidr, struct strbuf *out)
{
    ip_addr_format(&cidr->addr, out);
    strbuf_addf(out, "/%u", cidr->prefix_len);
}

void ip_endpoint_format(const struct ip_endpoint *end, struct strbuf *out)
{
    if (end->addr.family == 6)
        strbuf_add_char(out, '[');
    ip_addr_format(&end->addr, out);
    if (end->addr.family == 6)
        strbuf_add_char(out, ']');
    if (end->addr.family != 0)
        strbuf_addf(out, ":%u", end->port);
}

bool ip_cidr_covers(const struct ip_cidr *cidr, const struct ip_addr *addr)
{
    unsigned whole = cidr->prefix_len / 8;
    unsigned rest = cidr->prefix_len % 8;

    if (cidr->addr.family != addr->family || memcmp(cidr->addr.bytes, addr->bytes, whole) != 0)
        return false;
    return rest == 0 || (cidr->addr.bytes[whole] ^ addr->bytes[whole]) >> (8 - rest) == 0;
}

struct ip_endpoint ip_endpoint_of_sockaddr(const struct sockaddr_storage *ss)
{
    struct ip_endpoint end = {0};

    if (ss->ss_family == AF_INET) {
        struct sockaddr_in in4;
        memcpy(&in4, ss, sizeof in4);
        end.addr = ip_addr_of_ipv4((const uint8_t *)&in4.sin_addr);
        end.port = ntohs(in4.sin_port);
    } else if (ss->ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, ss, sizeof in6);
        end.addr = ip_addr_of_ipv6(in6.sin6_addr.s6_addr);
        end.port = ntohs(in6.sin6_port);
    }
    return end;
}

socklen_t ip_endpoint_to_sockaddr(const struct ip_endpoint *end, struct sockaddr_storage *out)
{
    CHECK(end->addr.family == 4 || end->addr.family == 6);
    memset(out, 0, sizeof *out);
    if (end->addr.family == 4) {
        struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(end->port)};
        memcpy(&in4.sin_addr, end->addr.bytes, IPV4_BYTES);
        memcpy(out, &in4, sizeof in4);
        return sizeof in4;
    }
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(end->port)};
    memcpy(&in6.sin6_addr, end->addr.bytes, IPV6_BYTES);
    memcpy(out, &in6, sizeof in6);
    return sizeof in6;
}

bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
