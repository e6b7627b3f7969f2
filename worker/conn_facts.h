#ifndef CONN_FACTS_H
#define CONN_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "bytes.h"
#include "check.h"
#include "hostname.h"
#include "server_hello.h"

struct client_hello;
struct route_match;

#define CONN_NOT_YET     UINT32_MAX         /* a time that has not come; longer ones are told as one microsecond less */
#define CONN_PATTERN_MAX (HOSTNAME_MAX + 2) /* "*." and a name */

/**
 * What is known of a connection beyond what moving its bytes needs: for its access line, and for whoever asks meanwhile. One
 * allocation, made when the hello is complete, as small as the names in it allow: an idle connection has one.
 */
struct conn_facts {
    uint32_t hello_us;               /* from accept to the complete hello */
    uint32_t connect_us;             /* from there to the connected backend, or CONN_NOT_YET as the next */
    uint32_t first_byte_us;          /* from there to its first byte */
    struct ip_endpoint backend_addr; /* connected, or tried last; family 0: none, or a Unix socket */
    struct server_hello answer;
    char country[2];      /* of the client; country[0] is '\0': not known */
    uint16_t backend_len; /* of the names in text, as the next two */
    uint8_t sni_len;
    uint8_t alpn_len;
    uint8_t route_len;        /* 0 without is_wildcard: no route */
    uint8_t versions;         /* HELLO_VERSION_* that the client offers */
    bool has_ech : 1;         /* it offers Encrypted Client Hello */
    bool has_peer : 1;        /* a PROXY header has replaced the address of the peer */
    bool is_wildcard : 1;     /* the route is "*." and the last route_len bytes of the name; "*" if there are none */
    uint8_t first_to_end : 2; /* enum close_party: who finished sending first; CLOSE_BY_PROXY: nobody yet */
    char text[];              /* backend NUL sni alpn, then the peer's struct ip_endpoint (unaligned) if has_peer */
};

/**
 * @param hello  borrowed
 * @param match  borrowed; NULL: no route
 * @param peer   borrowed; NULL: the client is the peer
 * @return what the hello says, and nothing yet of what comes later; free() it. NULL: no memory
 */
struct conn_facts *conn_facts_new(const struct client_hello *hello, const struct route_match *match,
                                  const struct ip_endpoint *peer) MUST_CHECK;

/** The names are empty when there is none. Only that of the backend is NUL-terminated (the NUL is not among the bytes). */
static inline struct bytes conn_facts_backend(const struct conn_facts *f)
{
    return bytes_of(f->text, f->backend_len);
}

static inline struct bytes conn_facts_sni(const struct conn_facts *f)
{
    return bytes_of(f->text + f->backend_len + 1, f->sni_len);
}

static inline struct bytes conn_facts_alpn(const struct conn_facts *f)
{
    return bytes_of(f->text + f->backend_len + 1 + f->sni_len, f->alpn_len);
}

/** The route's pattern, empty without. Borrowed from the facts, or from buffer. */
struct bytes conn_facts_route(const struct conn_facts *f, char buffer[CONN_PATTERN_MAX]);

/** False: none. */
bool conn_facts_peer(const struct conn_facts *f, struct ip_endpoint *out);

/** A span of time for the facts. */
static inline uint32_t conn_span_us(uint64_t us)
{
    return us < CONN_NOT_YET ? (uint32_t)us : CONN_NOT_YET - 1;
}

#endif
