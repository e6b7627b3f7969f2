#ifndef RATE_FIXTURE_H
#define RATE_FIXTURE_H

/* A rate limiter whose table children share, and times that the test sets; include behind cmocka.h. */

#include <string.h>
#include <sys/mman.h>

#include "rate_limit.h"

#define SECOND 1000000000ull
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define START  (1000 * HOUR)

static const uint64_t seed[2] = {0x0123456789abcdef, 0xfedcba9876543210};

struct limiter {
    struct rate_table *table; /* shared with children */
    struct shm_rate_rules rules;
};

static inline struct limiter limiter_new(uint32_t limit, uint32_t window_ms)
{
    struct limiter l = {.table =
                            mmap(NULL, sizeof *l.table, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)};

    assert_true(l.table != MAP_FAILED);
    rate_table_init(l.table, seed);
    rate_rules_set(&l.rules, (struct rate_rule){limit, window_ms}, l.table, START);
    return l;
}

static inline void limiter_free(struct limiter *l)
{
    munmap(l->table, sizeof *l->table);
}

static inline void set_rule(struct limiter *l, uint32_t limit, uint32_t window_ms, uint64_t now)
{
    rate_rules_set(&l->rules, (struct rate_rule){limit, window_ms}, l->table, now);
}

static inline struct ip_addr ipv4(uint32_t n)
{
    return ip_addr_of_ipv4((const uint8_t[]){(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n});
}

static inline struct ip_addr ipv6(uint64_t high, uint64_t low)
{
    uint8_t bytes[16];

    for (unsigned i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(high >> (56 - 8 * i));
        bytes[8 + i] = (uint8_t)(low >> (56 - 8 * i));
    }
    return ip_addr_of_ipv6(bytes);
}

static inline bool admit(struct limiter *l, struct ip_addr addr, uint64_t now)
{
    return rate_table_admit(l->table, &l->rules, &addr, now);
}

/** How many of `tries` at one time are admitted. */
static inline uint32_t admitted(struct limiter *l, struct ip_addr addr, uint64_t now, uint32_t tries)
{
    uint32_t count = 0;

    while (tries-- > 0)
        count += admit(l, addr, now);
    return count;
}

#endif
