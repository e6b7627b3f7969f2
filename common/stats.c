/* Histograms in the stats segment: a few fixed buckets and a sum, so that counting is a handful of compares and two additions. */

#include "stats.h"

#define MS  1000ull
#define S   (1000 * MS)
#define MIN (60 * S)
#define H   (60 * MIN)

/* clang-format off */
const struct histogram_scale histogram_latency = {
    15, {250, 500, 1 * MS, 5 * MS / 2, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS, 1 * S, 5 * S / 2, 5 * S, 10 * S},
};
const struct histogram_scale histogram_duration = {
    15, {10 * MS, 50 * MS, 100 * MS, 500 * MS, 1 * S, 5 * S, 10 * S, 30 * S, 1 * MIN, 5 * MIN, 10 * MIN, 30 * MIN, 1 * H, 4 * H, 24 * H},
};
/* clang-format on */

void histogram_observe(struct shm_histogram *h, const struct histogram_scale *scale, uint64_t value_us)
{
    unsigned bucket = 0;

    while (bucket < scale->bound_count && value_us > scale->bounds_us[bucket])
        bucket++;
    stat_add(&h->buckets[bucket], 1);
    stat_add(&h->sum_us, value_us);
}
