/* What is known of a connection, in one allocation. */

#include "conn_facts.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "client_hello.h"
#include "route_table.h"

static char *put(char *at, struct bytes text)
{
    if (text.len > 0)
        memcpy(at, text.ptr, text.len);
    return at + text.len;
}

struct conn_facts *conn_facts_new(const struct client_hello *hello, const struct route_match *match,
                                  const struct ip_endpoint *peer)
{
    struct bytes sni = bytes_of(hello->name, hello->name_len);
    struct bytes alpn = bytes_of_str(hello->alpn);
    struct bytes backend = match != NULL ? shm_backend_text(match->backend) : bytes_of(NULL, 0);
    struct conn_facts *f = malloc(offsetof(struct conn_facts, text) + backend.len + 1 + sni.len + alpn.len +
                                  (peer != NULL ? sizeof *peer : 0));

    if (f == NULL)
        return NULL;
    memset(f, 0, offsetof(struct conn_facts, text));
    f->hello_us = f->connect_us = f->first_byte_us = CONN_NOT_YET;
    f->versions = hello->versions;
    f->has_ech = hello->has_ech;
    f->has_peer = peer != NULL;
    f->sni_len = hello->name_len;
    f->alpn_len = (uint8_t)alpn.len;
    f->backend_len = (uint16_t)backend.len;
    if (match != NULL) {
        f->is_wildcard = (match->route->flags & SHM_ROUTE_WILDCARD) != 0;
        f->route_len = match->route->name_len;
    }
    char *at = put(f->text, backend);
    *at++ = '\0'; /* the path of a Unix socket */
    at = put(put(at, sni), alpn);
    if (peer != NULL)
        memcpy(at, peer, sizeof *peer);
    return f;
}
_Static_assert(sizeof((struct client_hello){0}.alpn) <= UINT8_MAX + 1, "its length fits");

struct bytes conn_facts_route(const struct conn_facts *f, char buffer[CONN_PATTERN_MAX])
{
    struct bytes sni = conn_facts_sni(f);
    const uint8_t *name = sni.ptr + sni.len - f->route_len;

    if (!f->is_wildcard)
        return bytes_of(name, f->route_len);
    buffer[0] = '*';
    buffer[1] = '.';
    memcpy(buffer + 2, name, f->route_len);
    return bytes_of(buffer, f->route_len > 0 ? f->route_len + 2u : 1);
}

bool conn_facts_peer(const struct conn_facts *f, struct ip_endpoint *out)
{
    if (f->has_peer)
        memcpy(out, conn_facts_alpn(f).ptr + f->alpn_len, sizeof *out);
    return f->has_peer;
}
