/*
 * The reading side of the route table: which route takes a name. A name's candidates are itself and those of its suffixes at whose
 * depth the listener has a wildcard at all; one pass over the name hashes them all, then they are asked for in order.
 */

#include "route_table.h"

#include "shm_hash.h"

/** Nobody changes tables this often: a look-up that was overtaken this many times takes what it last saw. */
#define LOOKUP_TRIES 8

struct route_query {
    const struct shm_tables *tables;
    const struct shm_root *root;
    uint16_t listener;
    struct bytes name;
};

/** A suffix that may have a wildcard route. */
struct candidate {
    uint32_t tag;
    uint32_t len;
};

uint32_t route_key_tag(const struct shm_tables *tables, uint16_t listener, bool is_wildcard, struct bytes name)
{
    struct shm_hash_name h;

    shm_hash_name_init(&h, tables->hash_seed, name);
    return shm_hash_name_suffix(&h, name.len, route_key_context(listener, is_wildcard));
}

bool route_key_matches(const struct shm_route *route, uint16_t listener, bool is_wildcard, struct bytes name)
{
    return route->name_len == name.len && route->listener == listener &&
           ((route->flags & SHM_ROUTE_WILDCARD) != 0) == is_wildcard &&
           (name.len == 0 || memcmp(route->name, name.ptr, name.len) == 0);
}

static const struct shm_backend *load_backend(const struct route_query *q, uint32_t id)
{
    const _Atomic uint64_t *words = shm_at(q->tables, q->root->backends);

    return shm_at(q->tables, atomic_load_explicit(&words[id], memory_order_acquire));
}

static bool find_key(const struct route_query *q, uint32_t tag, bool is_wildcard, struct bytes name,
                     struct route_match *out)
{
    struct shm_hash_probe p = shm_hash_probe_begin(q->tables, &q->root->routes, tag);

    for (shm_off off; (off = shm_hash_probe_next(&p)) != 0;) {
        const struct shm_route *route = shm_at(q->tables, off);
        if (route_key_matches(route, q->listener, is_wildcard, name)) {
            out->route = route;
            out->backend = load_backend(q, route->backend);
            return true;
        }
    }
    return false;
}

static inline bool depth_is_set(const uint64_t depths[2], unsigned depth)
{
    return (depths[depth / 64] >> depth % 64 & 1) != 0;
}

static unsigned deepest_of(const uint64_t depths[2])
{
    if (depths[1] != 0)
        return 127u - (unsigned)__builtin_clzll(depths[1]);
    return depths[0] != 0 ? 63u - (unsigned)__builtin_clzll(depths[0]) : 0;
}

/** Collect the name's proper suffixes that may have a wildcard, shortest first; fetch their buckets meanwhile. */
static unsigned collect_candidates(const struct route_query *q, const uint64_t depths[2], struct shm_hash_name *h,
                                   struct candidate out[SHM_ROUTE_DEPTH_MAX])
{
    unsigned deepest = deepest_of(depths);
    unsigned count = 0;
    size_t at = q->name.len;

    for (unsigned depth = 1; depth <= deepest && depth <= SHM_ROUTE_DEPTH_MAX; depth++) {
        const uint8_t *dot = at > 0 ? memrchr(q->name.ptr, '.', at) : NULL;
        if (dot == NULL)
            break;
        at = (size_t)(dot - q->name.ptr);
        if (!depth_is_set(depths, depth))
            continue;
        size_t len = q->name.len - at - 1;
        uint32_t tag = shm_hash_name_suffix(h, len, route_key_context(q->listener, true));
        shm_hash_prefetch(q->tables, &q->root->routes, tag);
        out[count++] = (struct candidate){.tag = tag, .len = (uint32_t)len};
    }
    return count;
}

static bool find_wildcard(const struct route_query *q, const struct candidate *candidates, unsigned count,
                          struct route_match *out)
{
    while (count-- > 0) { /* longest first */
        struct bytes suffix = bytes_of(q->name.ptr + q->name.len - candidates[count].len, candidates[count].len);
        if (find_key(q, candidates[count].tag, true, suffix, out))
            return true;
    }
    return false;
}

static bool match_once(const struct route_query *q, struct route_match *out)
{
    const struct shm_route_depths *all = shm_at(q->tables, q->root->route_depths);
    const uint64_t depths[2] = {atomic_load_explicit(&all[q->listener].words[0], memory_order_acquire),
                                atomic_load_explicit(&all[q->listener].words[1], memory_order_acquire)};
    struct candidate candidates[SHM_ROUTE_DEPTH_MAX];
    struct shm_hash_name h;

    shm_hash_name_init(&h, q->tables->hash_seed, q->name);
    unsigned count = collect_candidates(q, depths, &h, candidates);
    if (q->name.len > 0) {
        uint32_t tag = shm_hash_name_suffix(&h, q->name.len, route_key_context(q->listener, false));
        if (find_key(q, tag, false, q->name, out))
            return true;
    }
    if (find_wildcard(q, candidates, count, out))
        return true;
    if (!depth_is_set(depths, 0))
        return false;
    uint32_t any = route_key_tag(q->tables, q->listener, true, bytes_of(NULL, 0));
    return find_key(q, any, true, bytes_of(NULL, 0), out);
}

/*
 * One change during a look-up is harmless: the look-up sees the state before or after it. Two are not: when "www.example.com" is
 * added behind our back and then "*.example.com" removed before we ask for it, we would see neither and fall to "*", a state that
 * never was. The epoch goes up when a change begins, so an unchanged epoch says that at most one change, the one already under
 * way, overlapped. Trying again is bounded; a writer that died leaves the epoch as it is.
 */
bool route_match_name(const struct shm_tables *tables, const struct shm_root *root, uint16_t listener,
                      struct bytes name, struct route_match *out)
{
    const struct route_query q = {.tables = tables, .root = root, .listener = listener, .name = name};
    uint64_t before = atomic_load_explicit(&tables->epoch, memory_order_acquire);
    bool found = false;

    for (unsigned tries = 0; tries < LOOKUP_TRIES; tries++) {
        found = match_once(&q, out);
        uint64_t after = atomic_load_explicit(&tables->epoch, memory_order_acquire);
        if (after == before)
            break;
        before = after;
    }
    return found;
}

bool route_find_pattern(const struct shm_tables *tables, const struct shm_root *root, uint16_t listener,
                        bool is_wildcard, struct bytes name, struct route_match *out)
{
    const struct route_query q = {.tables = tables, .root = root, .listener = listener, .name = name};

    return find_key(&q, route_key_tag(tables, listener, is_wildcard, name), is_wildcard, name, out);
}
