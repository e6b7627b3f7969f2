/* What is known of a connection, in one allocation. */

#include "conn_facts.h"

#include <stdlib.h>
#include <string.h>

#include "client_hello.h"
#include "route_table.h"

static char *put(char *at, struct bytes text)
{
    if (text.len > 0)
        memcpy(at, text.ptr, text.len);
    at[text.len] = '\0';
    return at + text.len + 1;
}

struct conn_facts *conn_facts_new(const struct client_hello *hello, const struct route_match *match,
                                  const struct ip_endpoint *peer)
{
    struct bytes sni = bytes_of(hello->name, hello->name_len);
    struct bytes alpn = bytes_of_str(hello->alpn);
    struct bytes backend = match != NULL ? shm_backend_text(match->backend) : bytes_of(NULL, 0);
    struct conn_facts *f = malloc(sizeof *f + sni.len + backend.len + alpn.len + 3 + (peer != NULL ? sizeof *peer : 0));

    if (f == NULL)
        return NULL;
    *f = (struct conn_facts){
        .hello_us = CONN_NOT_YET,
        .connect_us = CONN_NOT_YET,
        .first_byte_us = CONN_NOT_YET,
        .versions = hello->versions,
        .has_ech = hello->has_ech,
        .has_peer = peer != NULL,
        .sni_len = hello->name_len,
        .alpn_len = (uint8_t)alpn.len,
        .backend_len = (uint16_t)backend.len,
    };
    if (match != NULL) {
        f->is_wildcard = (match->route->flags & SHM_ROUTE_WILDCARD) != 0;
        f->route_len = match->route->name_len;
    }
    char *at = put(put(put(f->text, sni), backend), alpn);
    if (peer != NULL)
        memcpy(at, peer, sizeof *peer);
    return f;
}
_Static_assert(sizeof((struct client_hello){0}.alpn) <= UINT8_MAX + 1, "its length fits");

struct bytes conn_facts_route(const struct conn_facts *f, char buffer[CONN_PATTERN_MAX])
{
    const char *name = f->text + f->sni_len - f->route_len;

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
        memcpy(out, f->text + f->sni_len + f->backend_len + f->alpn_len + 3, sizeof *out);
    return f->has_peer;
}
