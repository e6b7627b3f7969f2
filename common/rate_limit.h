#ifndef RATE_LIMIT_H
#define RATE_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "shm_layout.h"

/*
 * New connections per client address and window, over all workers together: a fixed table in shared memory that every worker reads
 * and changes by compare-and-swap. No locks and no system calls.
 *
 * The rule is GCRA, the generic cell rate algorithm (ITU-T I.371): a key has one number, the theoretical arrival time of its next
 * connection if it kept exactly to the rate. A connection is admitted if that lies no further ahead than the window less one interval
 * (so `limit` at once), and moves it on by one interval (so the quota comes back evenly). A refused try changes nothing.
 *
 *     one word:   63      42 41  40 39                               0
 *                 | key tag | rule | arrival time in units of 256 ns |      0: free
 *
 * How far the arrival time lies ahead, in intervals, is what the address has used. When the limit or the window changes, that number
 * is kept: who had used 7 of 10 has used 7 of 20 afterwards, or is over a limit of 5. So a word says by which rule it counts.
 *
 * A word whose arrival time has passed says no more than a free one, so it is free. When all eight words of a bucket are in the
 * future, the one nearest to its end makes room: a full table forgets, beginning with those who have used least, and never refuses an
 * address that it does not know. Nor does it take one for another easily: which bucket an address has and which tag is keyed with a
 * seed from the kernel, and a stranger is refused only if one of the eight words in its bucket is over the limit and has its tag of
 * 22 bits: with the whole table full of addresses over the limit, once in half a million tries (8 / 2^22).
 */

#define RATE_MAGIC         0x31455441524d434dull /* "MCMRATE1" */
#define RATE_BUCKET_WORDS  8
#define RATE_BUCKETS       (1u << 17) /* times 8 words: a million addresses in 8 MiB */
#define RATE_WINDOW_MS_MAX 86400000u  /* a day */

struct rate_bucket {
    _Alignas(SHM_CACHE_LINE) _Atomic uint64_t words[RATE_BUCKET_WORDS];
};

struct rate_table {
    uint64_t magic;
    uint64_t seed[2]; /* random per start: which addresses share a bucket cannot be guessed from outside */
    struct rate_bucket buckets[RATE_BUCKETS];
};

struct rate_rule {
    uint32_t limit;     /* connections per window; 0: no limit */
    uint32_t window_ms; /* 1..RATE_WINDOW_MS_MAX; of no meaning without a limit */
};

/** Master: make an empty table in zeroed shared memory of sizeof(struct rate_table) bytes. */
void rate_table_init(struct rate_table *table, const uint64_t seed[2]);

/** The rule in force. */
struct rate_rule rate_rules_current(const struct shm_rate_rules *rules);

/**
 * Master: another rule is in force from now on. What was counted so far is carried over into it; a rule that is the same already
 * changes nothing.
 *
 * @param table   where was counted; NULL: nowhere yet
 * @param now_ns  monotonic
 */
void rate_rules_set(struct shm_rate_rules *rules, struct rate_rule rule, struct rate_table *table, uint64_t now_ns);

/**
 * Ask for one connection of a client. Any process, at any time.
 *
 * @param rules   in the tables segment
 * @param addr    IPv4 counts whole, IPv6 by its /64; family 0 (no address) is always admitted
 * @param now_ns  monotonic
 * @return true if it may enter (and is counted), false if it is over the limit (and nothing was changed)
 */
bool rate_table_admit(struct rate_table *table, const struct shm_rate_rules *rules, const struct ip_addr *addr,
                      uint64_t now_ns);

/** What a client has used, as rate_table_admit() would see it now. */
struct rate_usage {
    struct rate_rule rule;
    uint32_t used;        /* connections of the limit that have not come back yet, rounded up */
    uint64_t retry_in_ns; /* until the next one is admitted; 0: it is now */
};

/** Look, and use up nothing. Without a limit, or for family 0: all zero but the rule. */
struct rate_usage rate_table_look(const struct rate_table *table, const struct shm_rate_rules *rules,
                                  const struct ip_addr *addr, uint64_t now_ns);

/**
 * Master, at least once a day: free the words whose time has passed. Times wrap around after 78 hours, and a word that nobody asked
 * for in the 54 hours after it had passed would count as one of the future again. Takes some milliseconds.
 */
void rate_table_sweep(struct rate_table *table, const struct shm_rate_rules *rules, uint64_t now_ns);

/** Words in use whose time has not passed. */
uint32_t rate_table_used(const struct rate_table *table, uint64_t now_ns);

#endif
