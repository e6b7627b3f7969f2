#ifndef HELLO_BUDGET_H
#define HELLO_BUDGET_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "address.h"

/*
 * A cap on those who have connected and not yet said what they want: who waits longest goes first, and first in the network that
 * holds most (docs/decisions/0014). Pure: it says who is to go, the owner closes.
 *
 *     oldest -> ... counted ... -> first_uncounted -> ... -> newest      all who wait, by age
 *                  |
 *                  v
 *     buckets[hash of the network]: count, its own oldest .. newest      heap: buckets by count, the fullest first
 *
 * As long as less than half of the cap is used, a newcomer costs a link at the end of one list. Beyond that each newcomer has a few
 * of the list counted, so that all are when the cap is reached, and no single call takes long.
 */

#define HELLO_BUCKETS 4096 /* networks that share a bucket by chance share a fate: one in so many */

/** A network holds too much from this share of the cap on, but only if there are HELLO_SHARE_MIN of it. */
#define HELLO_SHARE     64
#define HELLO_SHARE_MIN 4

/** One who waits; embedded in its owner, all zero when it does not wait. */
struct hello_wait {
    struct hello_wait *older, *newer;
    struct hello_wait *bucket_older, *bucket_newer; /* is_counted: of its bucket */
    uint64_t network;                               /* hello_network_of() */
    uint16_t bucket;                                /* is_counted: which */
    bool is_waiting;
    bool is_counted;
};

struct hello_bucket {
    struct hello_wait *oldest, *newest;
    uint32_t count;
    uint32_t heap_at; /* its index in the heap, if count > 0 */
};

/** Begins as all zero; hello_budget_set_cap() and hello_budget_seed() it before strangers come. Owns no memory. */
struct hello_budget {
    struct hello_wait *oldest, *newest;
    struct hello_wait *first_uncounted; /* it and all that are newer; NULL: all are counted */
    uint32_t count;
    uint32_t cap;           /* UINT32_MAX: none */
    uint32_t uncounted_max; /* when more wait, they are counted by network */
    uint32_t heap_len;
    uint64_t seed[2];
    uint16_t heap[HELLO_BUCKETS];
    struct hello_bucket buckets[HELLO_BUCKETS];
};

/** The network that an address counts for, its /24 or its /64, as a number without meaning. */
static inline uint64_t hello_network_of(const struct ip_addr *addr)
{
    uint64_t network;

    memcpy(&network, addr->bytes, sizeof network);
    return addr->family == 4 ? network & be64toh(UINT64_C(0xffffff0000000000)) : network;
}

/** Secret numbers, so that nobody can choose addresses that share the bucket of somebody else. Only while nobody waits. */
void hello_budget_seed(struct hello_budget *budget, const uint64_t seed[2]);

/** At most so many may wait; 0: any number. If more do now, hello_budget_excess() says so. */
void hello_budget_set_cap(struct hello_budget *budget, uint32_t cap);

/* Of the next two functions: what takes more than a few instructions. */
void hello_budget_count_some(struct hello_budget *budget);
void hello_budget_uncount(struct hello_budget *budget, const struct hello_wait *w);

/**
 * From now on w waits, as the newest. It must not wait already, and must stay where it is until it is removed. Inline, as the next:
 * both are on the way of every connection.
 */
static inline void hello_budget_add(struct hello_budget *budget, struct hello_wait *w, uint64_t network)
{
    w->older = budget->newest;
    w->newer = NULL;
    w->network = network;
    w->is_waiting = true;
    w->is_counted = false;
    *(budget->newest != NULL ? &budget->newest->newer : &budget->oldest) = w;
    budget->newest = w;
    if (budget->first_uncounted == NULL)
        budget->first_uncounted = w;
    if (++budget->count > budget->uncounted_max)
        hello_budget_count_some(budget);
}

/** w waits no more; nothing happens if it did not. */
static inline void hello_budget_remove(struct hello_budget *budget, struct hello_wait *w)
{
    if (!w->is_waiting)
        return;
    *(w->older != NULL ? &w->older->newer : &budget->oldest) = w->newer;
    *(w->newer != NULL ? &w->newer->older : &budget->newest) = w->older;
    if (budget->first_uncounted == w)
        budget->first_uncounted = w->newer;
    if (w->is_counted)
        hello_budget_uncount(budget, w);
    budget->count--;
    w->is_waiting = false;
}

/**
 * Who has to go for the cap to hold: the oldest of the fullest bucket if that holds too much, or else the oldest of all. It is not
 * removed. NULL: nobody has to.
 */
struct hello_wait *hello_budget_excess(struct hello_budget *budget);

/** Is there an excess? */
static inline bool hello_budget_is_over(const struct hello_budget *budget)
{
    return budget->count > budget->cap;
}

/** The bucket of a network; for tests. */
uint16_t hello_budget_bucket(const struct hello_budget *budget, uint64_t network);

#endif
