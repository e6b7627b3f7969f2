#ifndef H2_BUDGET_H
#define H2_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"

/*
 * What one connection may ask for of the things that cost us more than they cost the peer: a full bucket at the start, refilled at a
 * steady rate. Pure: the clock is the caller's.
 */

/* clang-format off */
/*      id            word             at once   a second */
#define H2_COST_TABLE(X)                                      \
    X(H2_COST_RESET,    "stream resets",  1000,  100)  /* by either side */ \
    X(H2_COST_PING,     "PING frames",    1000,  100)             \
    X(H2_COST_SETTINGS, "SETTINGS frames", 1000, 100)             \
    X(H2_COST_EMPTY,    "empty frames",   1000,  100)             \
    X(H2_COST_OTHER,    "control frames", 10000, 1000) /* PRIORITY, WINDOW_UPDATE, unknown: no work to speak of */
/* clang-format on */

#define H2_COST_ENUM(id, word, at_once, a_second) id,
enum h2_cost { H2_COST_TABLE(H2_COST_ENUM) H2_COST_END };
#undef H2_COST_ENUM

struct h2_bucket {
    uint64_t level; /* thousandths */
    uint64_t at_ms; /* when it was that */
};

struct h2_budget {
    struct h2_bucket buckets[H2_COST_END];
};

void h2_budget_init(struct h2_budget *budget, uint64_t now_ms);

/** Take one; false when the bucket is empty: the connection has to end. */
bool h2_budget_take(struct h2_budget *budget, enum h2_cost cost, uint64_t now_ms) MUST_CHECK;

/** Put count back, up to a full bucket: the peer has good reason to send more of these. */
void h2_budget_give(struct h2_budget *budget, enum h2_cost cost, unsigned count);

/** For logs, static: "PING frames". */
const char *h2_cost_word(enum h2_cost cost);

/** A bucket by itself, for whatever else is limited. */
void h2_bucket_init(struct h2_bucket *bucket, uint32_t at_once, uint64_t now_ms);
bool h2_bucket_take(struct h2_bucket *bucket, uint32_t at_once, uint32_t a_second, uint64_t now_ms) MUST_CHECK;

#endif
