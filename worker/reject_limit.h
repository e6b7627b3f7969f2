#ifndef REJECT_LIMIT_H
#define REJECT_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "close_reason.h"

/*
 * How many rejected connections have an access line of their own: a flood must not turn into a flood of lines. Each reason of the
 * classes rejected and blocked has so many a second, and those of REJECT_BURST_S seconds at once; the rest is
 * counted. All other reasons always have their line. Counters and metrics know nothing of this.
 */
#define REJECT_BURST_S 5

struct reject_limit {
    struct {
        uint64_t paid_until_us; /* the lines so far are paid for until then (GCRA) */
        uint64_t held_back;     /* not told yet */
    } reasons[CLOSE_REASON_COUNT];
};

/**
 * May a connection that ends for this reason have its line? If not, it is counted.
 *
 * @param per_second  0: no limit; at most 1000000
 * @param now_us      monotonic
 */
bool reject_limit_admit(struct reject_limit *limit, enum close_reason reason, uint32_t per_second, uint64_t now_us);

/** How many had none since the last call. */
uint64_t reject_limit_take(struct reject_limit *limit, enum close_reason reason);

#endif
