#ifndef ROUTE_TABLE_H
#define ROUTE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "shm_layout.h"

/* The reading side of the route table: pure functions over a pinned root. The writing side is master/route_writer.h. */

/** A route and its backend; both borrowed until table_release(). */
struct route_match {
    const struct shm_route *route;
    const struct shm_backend *backend;
};

/**
 * Find the route for a server name on a listener: exact before wildcard, a longer wildcard before a shorter one, then "*".
 * One pass over the name gives the hash of every suffix, and only those depths are probed that have a wildcard at all.
 * The answer is one that was right at some moment during the call, whatever the master changed meanwhile.
 *
 * @param root      from table_pin()
 * @param listener  listener id
 * @param name      normalised (hostname.h), 0..253 bytes; empty: no SNI, which only "*" matches
 * @return false if there is no route; *out is then undefined
 */
bool route_match_name(const struct shm_tables *tables, const struct shm_root *root, uint16_t listener,
                      struct bytes name, struct route_match *out);

/**
 * Find the route of exactly this pattern, as the admin API names routes.
 *
 * @param is_wildcard  name is what stands behind "*." ("" for "*")
 */
bool route_find_pattern(const struct shm_tables *tables, const struct shm_root *root, uint16_t listener,
                        bool is_wildcard, struct bytes name, struct route_match *out);

/** What the hash of a route's key takes besides the name. */
static inline uint32_t route_key_context(uint16_t listener, bool is_wildcard)
{
    return (uint32_t)listener | (uint32_t)is_wildcard << 16;
}

/** The hash tag of a pattern, for the writing side. */
uint32_t route_key_tag(const struct shm_tables *tables, uint16_t listener, bool is_wildcard, struct bytes name);

/** Is this record the route of exactly this pattern? */
bool route_key_matches(const struct shm_route *route, uint16_t listener, bool is_wildcard, struct bytes name);

/** The text of a backend ("10.0.0.5:8443"), borrowed like the backend. */
static inline struct bytes shm_backend_text(const struct shm_backend *backend)
{
    return bytes_of(&backend->addrs[backend->addr_count], backend->text_len);
}

#endif
