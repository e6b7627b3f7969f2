/* The shared rate limiter: one word per client address, changed by compare-and-swap, so that no worker can hold up another. */

#include "rate_limit.h"

#include <string.h>

#include "shm_hash.h"

#define TIME_BITS       40
#define TIME_MASK       ((1ull << TIME_BITS) - 1)
#define NS_PER_UNIT     256u
#define TAG_SHIFT       42
#define RULE_SHIFT      TIME_BITS
#define UNITS_OF_MS(ms) ((uint64_t)(ms)*1000000u / NS_PER_UNIT)
/* No rule puts a time further ahead than its window; the second is for workers that read the clock a little later than others. */
#define AHEAD_MAX UNITS_OF_MS(RATE_WINDOW_MS_MAX + 1000u)
/* For each failed try somebody else was admitted or evicted: to fail so often, all other workers must win many times in a row. */
#define ADMIT_TRIES 1024

_Static_assert(SHM_RATE_RULES == 1u << (TAG_SHIFT - RULE_SHIFT), "a word has two bits for its rule");
_Static_assert(AHEAD_MAX < TIME_MASK / 3, "the past has two thirds of the circle of times");
_Static_assert(sizeof(struct rate_bucket) == SHM_CACHE_LINE, "a bucket is one cache line");

void rate_table_init(struct rate_table *table, const uint64_t seed[2])
{
    table->seed[0] = seed[0];
    table->seed[1] = seed[1];
    table->magic = RATE_MAGIC;
}

/* ---- words ---- */

static uint64_t time_of_ns(uint64_t ns)
{
    return ns / NS_PER_UNIT & TIME_MASK;
}

static uint64_t word_of(uint64_t tag, unsigned rule, uint64_t time)
{
    return tag << TAG_SHIFT | (uint64_t)rule << RULE_SHIFT | (time & TIME_MASK);
}

static unsigned rule_of(uint64_t word)
{
    return (unsigned)(word >> RULE_SHIFT) % SHM_RATE_RULES;
}

/** How far a word's arrival time lies ahead; 0 if it has passed, which frees the word. */
static uint64_t ahead_of(uint64_t word, uint64_t now)
{
    uint64_t ahead = (word - now) & TIME_MASK;

    return word == 0 || ahead > AHEAD_MAX ? 0 : ahead;
}

/* ---- rules ---- */

static uint64_t rule_pack(struct rate_rule rule)
{
    return (uint64_t)rule.limit << 32 | rule.window_ms;
}

static struct rate_rule rule_at(const struct shm_rate_rules *rules, unsigned index)
{
    uint64_t packed = atomic_load_explicit(&rules->rules[index], memory_order_relaxed);

    return (struct rate_rule){.limit = (uint32_t)(packed >> 32), .window_ms = (uint32_t)packed};
}

static unsigned current_index(const struct shm_rate_rules *rules)
{
    return (unsigned)atomic_load_explicit(&rules->current, memory_order_acquire) % SHM_RATE_RULES;
}

struct rate_rule rate_rules_current(const struct shm_rate_rules *rules)
{
    return rule_at(rules, current_index(rules));
}

/** What one connection costs. Rounded down, so that the quota is back a little before the window has passed, never after. */
static uint64_t interval_of(struct rate_rule rule)
{
    uint64_t interval = UNITS_OF_MS(rule.window_ms) / rule.limit;

    return interval > 0 ? interval : 1;
}

/** How far ahead a word lies when counted by the rule with this interval, in which nobody owes more than `full`. */
static uint64_t ahead_by_rule(const struct shm_rate_rules *rules, uint64_t word, unsigned rule, uint64_t interval,
                              uint64_t full, uint64_t now)
{
    uint64_t ahead = ahead_of(word, now);

    if (ahead > 0 && rule_of(word) != rule) {
        struct rate_rule old = rule_at(rules, rule_of(word));
        if (old.limit > 0)
            ahead = (uint64_t)((unsigned __int128)ahead * interval / interval_of(old));
    }
    return ahead < full ? ahead : full;
}

/* ---- asking ---- */

static uint64_t key_hash(const struct rate_table *table, const struct ip_addr *addr)
{
    uint64_t words[2] = {addr->family, 0};

    memcpy(&words[1], addr->bytes, addr->family == 4 ? 4 : 8);
    return shm_hash_words64(table->seed, words, 2);
}

/** What is asked for, in the terms of the rule in force. */
struct query {
    const struct shm_rate_rules *rules;
    unsigned rule_index;
    uint64_t interval;
    uint64_t full;
    uint64_t tag;
    uint64_t bucket;
    uint64_t now;
};

static struct query query_of(const struct rate_table *table, const struct shm_rate_rules *rules, unsigned rule_index,
                             struct rate_rule rule, const struct ip_addr *addr, uint64_t now_ns)
{
    uint64_t interval = interval_of(rule);
    uint64_t hash = key_hash(table, addr);

    return (struct query){
        .rules = rules,
        .rule_index = rule_index,
        .interval = interval,
        .full = interval * rule.limit,
        .tag = hash >> TAG_SHIFT != 0 ? hash >> TAG_SHIFT : 1, /* 0 looks like a free word */
        .bucket = hash % RATE_BUCKETS,
        .now = time_of_ns(now_ns),
    };
}

/** Where an address is counted, or would be. */
struct place {
    unsigned index; /* in its bucket */
    uint64_t seen;  /* what the word held */
    bool is_known;  /* it is the address's own */
};

/** The word of this tag; or the one that may be taken for it: free, or nearest to its end. */
static struct place find_place(const struct rate_bucket *bucket, uint64_t tag, uint64_t now)
{
    struct place best = {0};
    uint64_t best_ahead = UINT64_MAX;

    for (unsigned i = 0; i < RATE_BUCKET_WORDS; i++) {
        uint64_t word = atomic_load_explicit(&bucket->words[i], memory_order_relaxed);
        if (word >> TAG_SHIFT == tag)
            return (struct place){.index = i, .seen = word, .is_known = true};
        uint64_t ahead = ahead_of(word, now);
        if (ahead < best_ahead) {
            best = (struct place){.index = i, .seen = word};
            best_ahead = ahead;
        }
    }
    return best;
}

static uint64_t ahead_at(const struct query *q, const struct place *p)
{
    return p->is_known ? ahead_by_rule(q->rules, p->seen, q->rule_index, q->interval, q->full, q->now) : 0;
}

bool rate_table_admit(struct rate_table *table, const struct shm_rate_rules *rules, const struct ip_addr *addr,
                      uint64_t now_ns)
{
    unsigned rule_index = current_index(rules);
    struct rate_rule rule = rule_at(rules, rule_index);

    if (rule.limit == 0 || addr->family == 0)
        return true;
    const struct query q = query_of(table, rules, rule_index, rule, addr, now_ns);
    struct rate_bucket *bucket = &table->buckets[q.bucket];

    for (unsigned tries = 0; tries < ADMIT_TRIES; tries++) {
        struct place p = find_place(bucket, q.tag, q.now);
        uint64_t ahead = ahead_at(&q, &p);
        if (ahead > q.full - q.interval)
            return false;
        if (atomic_compare_exchange_strong_explicit(&bucket->words[p.index], &p.seen,
                                                    word_of(q.tag, rule_index, q.now + ahead + q.interval),
                                                    memory_order_relaxed, memory_order_relaxed))
            return true;
    }
    return true; /* contention is no reason to refuse anybody */
}

struct rate_usage rate_table_look(const struct rate_table *table, const struct shm_rate_rules *rules,
                                  const struct ip_addr *addr, uint64_t now_ns)
{
    unsigned rule_index = current_index(rules);
    struct rate_rule rule = rule_at(rules, rule_index);
    struct rate_usage usage = {.rule = rule};

    if (rule.limit == 0 || addr->family == 0)
        return usage;
    const struct query q = query_of(table, rules, rule_index, rule, addr, now_ns);
    struct place p = find_place(&table->buckets[q.bucket], q.tag, q.now);
    uint64_t ahead = ahead_at(&q, &p);
    usage.used = (uint32_t)((ahead + q.interval - 1) / q.interval);
    if (ahead > q.full - q.interval)
        usage.retry_in_ns = (ahead - (q.full - q.interval)) * NS_PER_UNIT;
    return usage;
}

/* ---- the master's part ---- */

/** Free a word that has passed, carry over one that counts by an older rule. */
static void tidy_word(_Atomic uint64_t *word, const struct shm_rate_rules *rules, uint64_t now)
{
    unsigned index = current_index(rules);
    struct rate_rule rule = rule_at(rules, index);
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);

    for (unsigned tries = 0; tries < ADMIT_TRIES && seen != 0; tries++) {
        uint64_t tidy = 0;
        if (ahead_of(seen, now) > 0) {
            if (rule.limit == 0 || rule_of(seen) == index)
                return; /* without a limit it goes on by its own rule, until there is one again */
            uint64_t interval = interval_of(rule);
            tidy = word_of(seen >> TAG_SHIFT, index,
                           now + ahead_by_rule(rules, seen, index, interval, interval * rule.limit, now));
        }
        if (atomic_compare_exchange_strong_explicit(word, &seen, tidy, memory_order_relaxed, memory_order_relaxed))
            return;
    }
}

void rate_table_sweep(struct rate_table *table, const struct shm_rate_rules *rules, uint64_t now_ns)
{
    uint64_t now = time_of_ns(now_ns);

    for (unsigned b = 0; b < RATE_BUCKETS; b++) {
        for (unsigned i = 0; i < RATE_BUCKET_WORDS; i++)
            tidy_word(&table->buckets[b].words[i], rules, now);
    }
}

void rate_rules_set(struct shm_rate_rules *rules, struct rate_rule rule, struct rate_table *table, uint64_t now_ns)
{
    unsigned index = current_index(rules);

    if (rule.limit == 0)
        rule.window_ms = 0;
    if (rule_pack(rule) == rule_pack(rule_at(rules, index)))
        return;
    index = (index + 1) % SHM_RATE_RULES;
    atomic_store_explicit(&rules->rules[index], rule_pack(rule), memory_order_relaxed);
    atomic_store_explicit(&rules->current, index, memory_order_release);
    /* Now, not when an address comes again: until then its quota would come back at the old pace, and the place of its rule among
     * the last ones might be another's. */
    if (table != NULL)
        rate_table_sweep(table, rules, now_ns);
}

uint32_t rate_table_used(const struct rate_table *table, uint64_t now_ns)
{
    uint64_t now = time_of_ns(now_ns);
    uint32_t used = 0;

    for (unsigned b = 0; b < RATE_BUCKETS; b++) {
        for (unsigned i = 0; i < RATE_BUCKET_WORDS; i++)
            used += ahead_of(atomic_load_explicit(&table->buckets[b].words[i], memory_order_relaxed), now) > 0;
    }
    return used;
}
