/* Token buckets for frames that are cheap to send and not so cheap to serve. */

#include "h2_budget.h"

#define UNIT 1000u /* levels count thousandths, so that a millisecond's refill is whole */

struct cost_row {
    const char *word;
    uint32_t at_once;
    uint32_t a_second;
};

#define H2_COST_ROW(id, word, at_once, a_second) [id] = {word, at_once, a_second},
static const struct cost_row cost_rows[H2_COST_END] = {H2_COST_TABLE(H2_COST_ROW)};
#undef H2_COST_ROW

void h2_bucket_init(struct h2_bucket *bucket, uint32_t at_once, uint64_t now_ms)
{
    *bucket = (struct h2_bucket){.level = (uint64_t)at_once * UNIT, .at_ms = now_ms};
}

static void bucket_refill(struct h2_bucket *bucket, uint32_t at_once, uint32_t a_second, uint64_t now_ms)
{
    uint64_t full = (uint64_t)at_once * UNIT, missing = full - bucket->level;
    uint64_t elapsed = now_ms > bucket->at_ms ? now_ms - bucket->at_ms : 0;

    /* A thousandth per event a second and millisecond. Compared by division: years between two frames must not overflow. */
    bucket->level = elapsed > missing / a_second ? full : bucket->level + elapsed * a_second;
    bucket->at_ms += elapsed;
}

bool h2_bucket_take(struct h2_bucket *bucket, uint32_t at_once, uint32_t a_second, uint64_t now_ms)
{
    bucket_refill(bucket, at_once, a_second, now_ms);
    if (bucket->level < UNIT)
        return false;
    bucket->level -= UNIT;
    return true;
}

void h2_budget_init(struct h2_budget *budget, uint64_t now_ms)
{
    for (unsigned i = 0; i < H2_COST_END; i++)
        h2_bucket_init(&budget->buckets[i], cost_rows[i].at_once, now_ms);
}

bool h2_budget_take(struct h2_budget *budget, enum h2_cost cost, uint64_t now_ms)
{
    const struct cost_row *row = &cost_rows[cost];

    return h2_bucket_take(&budget->buckets[cost], row->at_once, row->a_second, now_ms);
}

void h2_budget_give(struct h2_budget *budget, enum h2_cost cost, unsigned count)
{
    uint64_t full = (uint64_t)cost_rows[cost].at_once * UNIT;
    struct h2_bucket *bucket = &budget->buckets[cost];

    bucket->level += (uint64_t)count * UNIT;
    if (bucket->level > full)
        bucket->level = full;
}

const char *h2_cost_word(enum h2_cost cost)
{
    return cost_rows[cost].word;
}
