/* One table of routes: records under their keys, and the counts from which the wildcard depths follow. */

#include "route_set.h"

#include <stdlib.h>

#include "err.h"
#include "route_table.h"

struct route_key route_key_of(const struct tables *t, uint16_t listener, const struct host_pattern *pattern)
{
    bool is_wildcard = pattern->kind != HOST_PATTERN_EXACT;
    struct bytes name = bytes_of(pattern->name, pattern->len);

    return (struct route_key){
        .listener = listener,
        .is_wildcard = is_wildcard,
        .name = name,
        .tag = route_key_tag(t->shm, listener, is_wildcard, name),
    };
}

int route_record_new(struct tables *t, const struct route_key *key, uint32_t backend, bool send_proxy_protocol,
                     shm_off *off_out)
{
    int rc = tables_alloc(t, sizeof(struct shm_route) + key->name.len, off_out);

    if (rc != 0)
        return rc;
    struct shm_route *route = tables_at(t, *off_out);
    *route = (struct shm_route){
        .backend = backend,
        .listener = key->listener,
        .flags = (uint8_t)((key->is_wildcard ? SHM_ROUTE_WILDCARD : 0) |
                           (send_proxy_protocol ? SHM_ROUTE_SEND_PROXY_PROTOCOL : 0)),
        .name_len = (uint8_t)key->name.len,
    };
    memcpy(route->name, key->name.ptr, key->name.len);
    return 0;
}

int route_set_prepare_count(struct route_set *set, const struct route_key *key)
{
    uint32_t **counts = &set->depth_counts[key->listener];

    if (key->is_wildcard && *counts == NULL)
        *counts = calloc(SHM_ROUTE_DEPTH_MAX + 1, sizeof **counts);
    return key->is_wildcard && *counts == NULL ? ERR_NO_MEMORY : 0;
}

static unsigned depth_of(struct bytes name)
{
    unsigned depth = name.len > 0 ? 1 : 0;

    for (size_t i = 0; i < name.len; i++)
        depth += name.ptr[i] == '.';
    CHECK(depth <= SHM_ROUTE_DEPTH_MAX);
    return depth;
}

static _Atomic uint64_t *depth_word(const struct route_set *set, struct tables *t, uint16_t listener, unsigned depth)
{
    struct shm_route_depths *all = tables_at(t, set->depths);

    return &all[listener].words[depth / 64];
}

/** Before the route shows. */
static void count_up(struct route_set *set, struct tables *t, const struct route_key *key)
{
    set->route_counts[key->listener]++;
    if (!key->is_wildcard)
        return;
    unsigned depth = depth_of(key->name);
    if (set->depth_counts[key->listener][depth]++ == 0)
        atomic_fetch_or_explicit(depth_word(set, t, key->listener, depth), 1ull << depth % 64, memory_order_release);
    tables_step("depth_set");
}

/** After the route went. */
static void count_down(struct route_set *set, struct tables *t, const struct route_key *key)
{
    set->route_counts[key->listener]--;
    if (!key->is_wildcard)
        return;
    unsigned depth = depth_of(key->name);
    if (--set->depth_counts[key->listener][depth] == 0)
        atomic_fetch_and_explicit(depth_word(set, t, key->listener, depth), ~(1ull << depth % 64),
                                  memory_order_release);
    tables_step("depth_cleared");
}

shm_off route_set_find(const struct route_set *set, struct tables *t, const struct route_key *key,
                       _Atomic uint64_t **slot_out)
{
    struct shm_hash_probe p = shm_hash_probe_begin(t->shm, &set->hash.ref, key->tag);

    for (shm_off off; (off = shm_hash_probe_next(&p)) != 0;) {
        if (!route_key_matches(tables_at(t, off), key->listener, key->is_wildcard, key->name))
            continue;
        if (slot_out != NULL)
            *slot_out = hash_writer_slot(&set->hash, t, &p);
        return off;
    }
    return 0;
}

shm_off route_set_put(struct route_set *set, struct tables *t, const struct route_key *key, shm_off record)
{
    _Atomic uint64_t *slot = NULL;
    shm_off old = route_set_find(set, t, key, &slot);

    if (old != 0) {
        hash_writer_replace(slot, key->tag, record);
    } else {
        count_up(set, t, key);
        hash_writer_insert(&set->hash, t, key->tag, record);
    }
    tables_step("route_visible");
    return old;
}

shm_off route_set_remove(struct route_set *set, struct tables *t, const struct route_key *key)
{
    _Atomic uint64_t *slot = NULL;
    shm_off old = route_set_find(set, t, key, &slot);

    if (old == 0)
        return 0;
    hash_writer_erase(&set->hash, t, slot);
    tables_step("route_erased");
    count_down(set, t, key);
    return old;
}

void route_set_fini(struct route_set *set)
{
    for (unsigned i = 0; i < SHM_LISTENERS_MAX; i++)
        free(set->depth_counts[i]);
    *set = (struct route_set){0};
}
