/* The workers' counters added up: per listener, and per route with the busiest first. */

#include "traffic.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "route_series.h"
#include "stats.h"
#include "stats_segment.h"

void traffic_of_listener(const struct stats_segment *stats, uint16_t listener, struct listener_traffic *out)
{
    *out = (struct listener_traffic){0};
    for (unsigned slot = 0; slot < stats->slot_end && listener < stats->listener_end; slot++) {
        const struct shm_listener_stats *l = &stats->stats->workers[slot].listeners[listener];
        for (unsigned reason = 0; reason < CLOSE_REASON_COUNT; reason++)
            out->closed[reason] += stat_get(&l->closed[reason]);
        atomic_thread_fence(memory_order_acquire); /* who has ended had begun: never more of those than accepted */
        out->accepted += stat_get(&l->accepted);
        out->bytes_in += stat_get(&l->bytes_in);
        out->bytes_out += stat_get(&l->bytes_out);
    }
    for (unsigned reason = 0; reason < CLOSE_REASON_COUNT; reason++)
        out->classes[close_reason_class(reason)] += out->closed[reason];
}

static struct route_traffic add_up_route(const struct stats_segment *stats, unsigned number)
{
    struct route_traffic sum = {.number = (uint16_t)number};

    for (unsigned slot = 0; slot < stats->slot_end; slot++) {
        const _Atomic uint64_t *counts = stats->stats->workers[slot].routes[number].counts;
        sum.connections += stat_get(&counts[SHM_ROUTE_CONNECTIONS]);
        sum.failed += stat_get(&counts[SHM_ROUTE_FAILED]);
        sum.unanswered += stat_get(&counts[SHM_ROUTE_UNANSWERED]);
        sum.bytes_in += stat_get(&counts[SHM_ROUTE_BYTES_IN]);
        sum.bytes_out += stat_get(&counts[SHM_ROUTE_BYTES_OUT]);
    }
    return sum;
}

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a < b) - (a > b); /* the greater first */
}

static int by_business(const void *left, const void *right)
{
    const struct route_traffic *a = left, *b = right;
    int order = compare_numbers(a->connections, b->connections);

    if (order == 0)
        order = compare_numbers(a->bytes_in + a->bytes_out, b->bytes_in + b->bytes_out);
    return order != 0 ? order : (a->number > b->number) - (a->number < b->number);
}

int traffic_of_routes(const struct stats_segment *stats, const struct route_series *series,
                      const bool listeners[SHM_LISTENERS_MAX], struct route_traffic **out, unsigned *count_out)
{
    unsigned end = route_series_end(series), count = 0;
    struct route_traffic *list = calloc(end, sizeof *list);

    if (list == NULL)
        return ERR_NO_MEMORY;
    for (unsigned number = 1; number < end; number++) {
        struct route_series_info info;
        if (route_series_get(series, number, &info) && listeners[info.listener])
            list[count++] = add_up_route(stats, number);
    }
    qsort(list, count, sizeof *list, by_business);
    *out = list;
    *count_out = count;
    return 0;
}
