#ifndef ROUTE_SET_H
#define ROUTE_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"
#include "hash_writer.h"
#include "hostname.h"
#include "tables.h"

/* All routes of all listeners as one table: the one in force, or one that is being built aside. Used by route_writer.c,
 * route_bulk.c and route_batch.c only. It stores records and counts them; who owns a record and when it is freed is its user's business. */

#define ROUTE_DEPTHS_BYTES (SHM_LISTENERS_MAX * sizeof(struct shm_route_depths))

struct route_set {
    struct hash_writer hash;
    shm_off depths;                            /* struct shm_route_depths[SHM_LISTENERS_MAX] */
    uint32_t *depth_counts[SHM_LISTENERS_MAX]; /* wildcards by depth; NULL as long as there was none */
    uint32_t route_counts[SHM_LISTENERS_MAX];
};

/** What a route is found by. */
struct route_key {
    uint16_t listener;
    bool is_wildcard;
    struct bytes name; /* borrowed; without "*." */
    uint32_t tag;
};

struct route_key route_key_of(const struct tables *t, uint16_t listener, const struct host_pattern *pattern);

/** Bytes of a record. */
static inline uint64_t route_record_bytes(const struct shm_route *route)
{
    return sizeof *route + route->name_len;
}

/** A new record, complete but for its series, not visible. 0 or ERR_NO_MEMORY. */
int route_record_new(struct tables *t, const struct route_key *key, uint32_t backend, bool send_proxy_protocol,
                     shm_off *off_out) MUST_CHECK;

/** Make sure that a route of this key can be counted. 0 or ERR_NO_MEMORY. */
int route_set_prepare_count(struct route_set *set, const struct route_key *key) MUST_CHECK;

/** The record of a key, 0 if there is none; *slot_out (may be NULL) is where it is shown. */
shm_off route_set_find(const struct route_set *set, struct tables *t, const struct route_key *key,
                       _Atomic uint64_t **slot_out);

/** Show a record under its key; returns the record it replaced, 0: none. Cannot fail after prepare_count and with room in hash. */
shm_off route_set_put(struct route_set *set, struct tables *t, const struct route_key *key, shm_off record);

/** Take a key out; returns its record, 0: there was none. */
shm_off route_set_remove(struct route_set *set, struct tables *t, const struct route_key *key);

/** Frees the counts, not the shared memory. */
void route_set_fini(struct route_set *set);

#endif
