/* Lines of rejected connections: a bucket for each reason. */

#include "reject_limit.h"

#define SECOND_US 1000000ul

static bool is_limited(enum close_reason reason)
{
    enum close_class class = close_reason_class(reason);

    return class == CLOSE_CLASS_REJECTED || class == CLOSE_CLASS_BLOCKED;
}

bool reject_limit_admit(struct reject_limit *limit, enum close_reason reason, uint32_t per_second, uint64_t now_us)
{
    if (per_second == 0 || !is_limited(reason))
        return true;
    uint64_t interval_us = SECOND_US / per_second;
    uint64_t *paid_until_us = &limit->reasons[reason].paid_until_us;

    if (*paid_until_us < now_us)
        *paid_until_us = now_us;
    if (*paid_until_us + interval_us > now_us + REJECT_BURST_S * SECOND_US) {
        limit->reasons[reason].held_back++;
        return false;
    }
    *paid_until_us += interval_us;
    return true;
}

uint64_t reject_limit_take(struct reject_limit *limit, enum close_reason reason)
{
    uint64_t count = limit->reasons[reason].held_back;

    limit->reasons[reason].held_back = 0;
    return count;
}
