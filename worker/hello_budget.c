/* Who has to go when too many have connected and not said what they want. The idea is in the header. */

#include "hello_budget.h"

#include <stddef.h>

#include "check.h"

#define COUNTED_PER_ADD 4 /* two would be enough to have counted all when the cap is reached */

_Static_assert(HELLO_BUCKETS == 1 << 12, "the bucket is the upper 12 bits of a hash, and fits into 16");

uint16_t hello_budget_bucket(const struct hello_budget *budget, uint64_t network)
{
    return (uint16_t)(((network ^ budget->seed[0]) * (budget->seed[1] | 1)) >> (64 - 12));
}

/* ---- the heap: buckets that are not empty, none fuller than its parent ---- */

static uint32_t fill_at(const struct hello_budget *b, uint32_t at)
{
    return b->buckets[b->heap[at]].count;
}

static void heap_put(struct hello_budget *b, uint32_t at, uint16_t bucket)
{
    b->heap[at] = bucket;
    b->buckets[bucket].heap_at = at;
}

static void heap_swap(struct hello_budget *b, uint32_t x, uint32_t y)
{
    uint16_t bucket = b->heap[x];

    heap_put(b, x, b->heap[y]);
    heap_put(b, y, bucket);
}

static void heap_rise(struct hello_budget *b, uint32_t at)
{
    for (uint32_t parent; at > 0; at = parent) {
        parent = (at - 1) / 2;
        if (fill_at(b, parent) >= fill_at(b, at))
            return;
        heap_swap(b, at, parent);
    }
}

static void heap_sink(struct hello_budget *b, uint32_t at)
{
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child + 1 < b->heap_len && fill_at(b, child) < fill_at(b, child + 1))
            child++;
        if (child >= b->heap_len || fill_at(b, child) <= fill_at(b, at))
            return;
        heap_swap(b, at, child);
        at = child;
    }
}

static void bucket_grew(struct hello_budget *b, uint16_t index)
{
    struct hello_bucket *bucket = &b->buckets[index];

    if (++bucket->count == 1)
        heap_put(b, b->heap_len++, index);
    heap_rise(b, bucket->heap_at);
}

static void bucket_shrank(struct hello_budget *b, uint16_t index)
{
    struct hello_bucket *bucket = &b->buckets[index];

    bucket->count--;
    heap_sink(b, bucket->heap_at);
    if (bucket->count == 0) { /* then it has sunk to the bottom, but perhaps not to the last place there */
        uint32_t at = bucket->heap_at;
        heap_put(b, at, b->heap[--b->heap_len]);
        heap_rise(b, at);
    }
}

/* ---- counting by network ---- */

static void count_one(struct hello_budget *b)
{
    struct hello_wait *w = b->first_uncounted;

    b->first_uncounted = w->newer;
    w->is_counted = true;
    w->bucket = hello_budget_bucket(b, w->network);
    struct hello_bucket *bucket = &b->buckets[w->bucket];
    w->bucket_newer = NULL;
    w->bucket_older = bucket->newest; /* those who are older were counted before */
    if (bucket->newest != NULL)
        bucket->newest->bucket_newer = w;
    else
        bucket->oldest = w;
    bucket->newest = w;
    bucket_grew(b, w->bucket);
}

void hello_budget_uncount(struct hello_budget *budget, const struct hello_wait *w)
{
    struct hello_bucket *bucket = &budget->buckets[w->bucket];

    if (w->bucket_older != NULL)
        w->bucket_older->bucket_newer = w->bucket_newer;
    else
        bucket->oldest = w->bucket_newer;
    if (w->bucket_newer != NULL)
        w->bucket_newer->bucket_older = w->bucket_older;
    else
        bucket->newest = w->bucket_older;
    bucket_shrank(budget, w->bucket);
}

/* ---- the whole ---- */

void hello_budget_seed(struct hello_budget *budget, const uint64_t seed[2])
{
    CHECK(budget->count == 0);
    budget->seed[0] = seed[0];
    budget->seed[1] = seed[1];
}

void hello_budget_set_cap(struct hello_budget *budget, uint32_t cap)
{
    budget->cap = cap > 0 ? cap : UINT32_MAX;
    budget->uncounted_max = cap > 0 ? cap / 2 : UINT32_MAX;
}

void hello_budget_count_some(struct hello_budget *budget)
{
    for (unsigned i = 0; i < COUNTED_PER_ADD && budget->first_uncounted != NULL; i++)
        count_one(budget);
}

struct hello_wait *hello_budget_excess(struct hello_budget *budget)
{
    if (!hello_budget_is_over(budget))
        return NULL;
    while (budget->first_uncounted != NULL) /* few, unless the cap has just been lowered */
        count_one(budget);
    const struct hello_bucket *fullest = &budget->buckets[budget->heap[0]];
    uint32_t share = budget->cap / HELLO_SHARE;
    return fullest->count > (share > HELLO_SHARE_MIN ? share : HELLO_SHARE_MIN) ? fullest->oldest : budget->oldest;
}
