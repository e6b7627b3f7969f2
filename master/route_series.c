/* Numbers for the routes that are counted one by one: a table by number, chained by the route's hash, and a queue of free numbers. */

#include "route_series.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "route_set.h"
#include "tables.h"

#define BUCKETS SHM_ROUTE_SERIES_MAX /* a power of two */
_Static_assert((BUCKETS & (BUCKETS - 1)) == 0, "a mask finds the bucket");

/** A route; the first one, number 0, is none. */
struct entry {
    char *pattern; /* own; NULL: free */
    uint32_t tag;  /* the route's hash */
    uint32_t records;
    uint16_t listener;
    uint16_t next; /* in its bucket, or in the queue of free ones; 0: the last */
};

struct route_series {
    struct tables *tables;
    unsigned end; /* numbers below this have been in use */
    uint16_t free_head, free_tail;
    uint16_t buckets[BUCKETS];
    struct entry entries[SHM_ROUTE_SERIES_MAX];
};

int route_series_new(struct tables *tables, struct route_series **out)
{
    struct route_series *rs = calloc(1, sizeof *rs);

    if (rs == NULL)
        return ERR_NO_MEMORY;
    rs->tables = tables;
    rs->end = 1;
    *out = rs;
    return 0;
}

void route_series_free(struct route_series **series)
{
    struct route_series *rs = *series;

    *series = NULL;
    if (rs == NULL)
        return;
    for (unsigned number = 1; number < rs->end; number++)
        free(rs->entries[number].pattern);
    free(rs);
}

static uint16_t *bucket_of(struct route_series *rs, uint32_t tag)
{
    return &rs->buckets[tag & (BUCKETS - 1)];
}

static uint32_t word_of(const struct route_series *rs, unsigned number)
{
    uint32_t generation = atomic_load_explicit(&rs->tables->shm->route_generations[number], memory_order_relaxed);

    return generation << 16 | number;
}

/** "*." and the name; own memory, NULL without. */
static char *pattern_of(const struct route_key *key)
{
    const char *prefix = !key->is_wildcard ? "" : key->name.len > 0 ? "*." : "*";
    size_t prefix_len = strlen(prefix);
    char *pattern = malloc(prefix_len + key->name.len + 1);

    if (pattern == NULL)
        return NULL;
    memcpy(pattern, prefix, prefix_len);
    if (key->name.len > 0)
        memcpy(pattern + prefix_len, key->name.ptr, key->name.len);
    pattern[prefix_len + key->name.len] = '\0';
    return pattern;
}

static bool is_route(const struct entry *e, const struct route_key *key)
{
    const char *name = e->pattern;

    if (e->tag != key->tag || e->listener != key->listener || (*name == '*') != key->is_wildcard)
        return false;
    if (key->is_wildcard)
        name += name[1] == '.' ? 2 : 1;
    return bytes_equal_str(key->name, name);
}

static unsigned find(struct route_series *rs, const struct route_key *key)
{
    unsigned number = *bucket_of(rs, key->tag);

    while (number != 0 && !is_route(&rs->entries[number], key))
        number = rs->entries[number].next;
    return number;
}

/* ---- free numbers ---- */

static void queue_free(struct route_series *rs, unsigned number)
{
    rs->entries[number].next = 0;
    if (rs->free_tail != 0)
        rs->entries[rs->free_tail].next = (uint16_t)number;
    else
        rs->free_head = (uint16_t)number;
    rs->free_tail = (uint16_t)number;
}

/** Nobody counts here any more: the generation has moved on. */
static void clear_counters(const struct route_series *rs, unsigned number)
{
    for (unsigned slot = 0; slot < rs->tables->worker_slots; slot++) {
        struct shm_route_stats *stats = &rs->tables->stats->workers[slot].routes[number];
        for (unsigned i = 0; i < SHM_ROUTE_COUNTS; i++)
            atomic_store_explicit(&stats->counts[i], 0, memory_order_relaxed);
    }
}

/** A number that was never used, or the one that is free for the longest; 0: none. */
static unsigned take_number(struct route_series *rs)
{
    unsigned number = rs->free_head;

    if (rs->end < SHM_ROUTE_SERIES_MAX)
        return rs->end++;
    if (number == 0)
        return 0;
    rs->free_head = rs->entries[number].next;
    if (rs->free_head == 0)
        rs->free_tail = 0;
    clear_counters(rs, number);
    return number;
}

/* ---- routes ---- */

static unsigned add(struct route_series *rs, const struct route_key *key)
{
    char *pattern = pattern_of(key);
    unsigned number = pattern != NULL ? take_number(rs) : 0;

    if (number == 0) {
        free(pattern);
        return 0;
    }
    uint16_t *bucket = bucket_of(rs, key->tag);
    rs->entries[number] =
        (struct entry){.pattern = pattern, .tag = key->tag, .listener = key->listener, .next = *bucket};
    *bucket = (uint16_t)number;
    return number;
}

uint32_t route_series_acquire(struct route_series *rs, const struct route_key *key)
{
    unsigned number = find(rs, key);

    if (number == 0)
        number = add(rs, key);
    if (number == 0)
        return 0;
    rs->entries[number].records++;
    return word_of(rs, number);
}

static void take_out(struct route_series *rs, unsigned number)
{
    uint16_t *at = bucket_of(rs, rs->entries[number].tag);

    while (*at != number) {
        CHECK(*at != 0);
        at = &rs->entries[*at].next;
    }
    *at = rs->entries[number].next;
}

void route_series_release(struct route_series *rs, uint32_t word)
{
    unsigned number = word & SHM_ROUTE_SERIES_NUMBER;
    struct entry *e = &rs->entries[number];

    if (number == 0)
        return;
    CHECK(number < rs->end && e->records > 0 && word == word_of(rs, number));
    if (--e->records > 0)
        return;
    take_out(rs, number);
    free(e->pattern);
    e->pattern = NULL;
    atomic_fetch_add_explicit(&rs->tables->shm->route_generations[number], 1, memory_order_relaxed);
    queue_free(rs, number);
}

unsigned route_series_end(const struct route_series *rs)
{
    return rs->end;
}

bool route_series_get(const struct route_series *rs, unsigned number, struct route_series_info *out)
{
    CHECK(number < rs->end);
    const struct entry *e = &rs->entries[number];

    if (e->pattern == NULL)
        return false;
    *out = (struct route_series_info){.pattern = e->pattern, .listener = e->listener};
    return true;
}
