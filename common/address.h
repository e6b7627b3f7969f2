#ifndef ADDRESS_H
#define ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "bytes.h"
#include "check.h"
#include "strbuf.h"

/* Addresses as operators write them and as tables hold them. All functions are pure. */

#define ADDRESS_TEXT_MAX      64  /* "[" + IPv6 of 45 characters + "]:65535" + NUL, rounded up; also a CIDR */
#define BACKEND_UNIX_PATH_MAX 107 /* sun_path less its NUL, unix(7) */
#define BACKEND_TEXT_MAX      264 /* 253-byte name + ":65535" + NUL, rounded up; the longest form of a backend */

/** An IP address. IPv4-mapped IPv6 never appears here: every function that makes one turns ::ffff:a.b.c.d into IPv4. */
struct ip_addr {
    uint8_t family;    /* 4, 6, or 0 for "none" */
    uint8_t bytes[16]; /* network order; IPv4 uses the first four, the rest is zero */
};

/** A network: canonical, so all bits behind prefix_len are zero. */
struct ip_cidr {
    struct ip_addr addr;
    uint8_t prefix_len; /* 0..32 or 0..128 */
};

/** An address and port a client or backend has; family 0 when unknown (a Unix peer). */
struct ip_endpoint {
    struct ip_addr addr;
    uint16_t port; /* host order */
};

/** Where a listener listens: ":443" (IPv4 and IPv6), "0.0.0.0:443", "[::1]:443". */
struct listen_addr {
    bool is_dual_stack; /* ":443"; addr.family is then 0 */
    struct ip_addr addr;
    uint16_t port; /* 1..65535, host order */
};

enum backend_kind { BACKEND_IP, BACKEND_NAME, BACKEND_UNIX };

/** Where a backend is: "10.0.0.5:8443", "[2001:db8::5]:443", "app.internal:443", "unix:/run/app.sock". */
struct backend_addr {
    enum backend_kind kind;
    struct ip_addr addr;                  /* BACKEND_IP */
    uint16_t port;                        /* BACKEND_IP, BACKEND_NAME: 1..65535, host order */
    char host[254];                       /* BACKEND_NAME: normalised hostname */
    char path[BACKEND_UNIX_PATH_MAX + 1]; /* BACKEND_UNIX: absolute path */
};

/*
 * Parsers of text. Each takes exactly the whole of text (no blanks around it), sets *out on 0, and on ERR_INVALID or ERR_RANGE
 * adds a short English reason to *why, fit to stand behind "value: " ("port must be 1 to 65535"). why may not be NULL.
 */

/** A plain address without port, brackets or zone: "192.0.2.7", "2001:db8::7"; "::ffff:192.0.2.7" gives IPv4. */
int ip_addr_parse(struct bytes text, struct ip_addr *out, struct strbuf *why) MUST_CHECK;

/** A canonical network, "198.51.100.0/24": host bits must be zero (the reason names the network meant), IPv4-mapped is refused. */
int ip_cidr_parse(struct bytes text, struct ip_cidr *out, struct strbuf *why) MUST_CHECK;

int listen_addr_parse(struct bytes text, struct listen_addr *out, struct strbuf *why) MUST_CHECK;

/** Names are checked with hostname_normalise(); a name that reads like an IPv4 address with a mistake ("10.0.0.256") is refused. */
int backend_addr_parse(struct bytes text, struct backend_addr *out, struct strbuf *why) MUST_CHECK;

/* Canonical text, the same for every spelling of one thing (RFC 5952 for IPv6). */
void ip_addr_format(const struct ip_addr *addr, struct strbuf *out); /* "192.0.2.7", "2001:db8::7" */
void ip_cidr_format(const struct ip_cidr *cidr, struct strbuf *out); /* "198.51.100.0/24" */
void ip_endpoint_format(const struct ip_endpoint *end,
                        struct strbuf *out); /* "192.0.2.1:5000", "[2001:db8::1]:5000", "unknown" */
void listen_addr_format(const struct listen_addr *addr, struct strbuf *out); /* ":443" */
void backend_addr_format(const struct backend_addr *addr, struct strbuf *out);

/** Does cidr cover addr? False for different families. */
bool ip_cidr_covers(const struct ip_cidr *cidr, const struct ip_addr *addr);

/** The address of four bytes, or of sixteen (IPv4-mapped gives IPv4), in network order. */
struct ip_addr ip_addr_of_ipv4(const uint8_t bytes[4]);
struct ip_addr ip_addr_of_ipv6(const uint8_t bytes[16]);

/** The endpoint of an AF_INET or AF_INET6 socket address (IPv4-mapped gives IPv4); family 0 for anything else. */
struct ip_endpoint ip_endpoint_of_sockaddr(const struct sockaddr_storage *ss);

/** The socket address of an endpoint of family 4 or 6; returns its length. */
socklen_t ip_endpoint_to_sockaddr(const struct ip_endpoint *end, struct sockaddr_storage *out);

bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b);
bool listen_addr_equal(const struct listen_addr *a, const struct listen_addr *b);

#endif
