#ifndef METRICS_RENDER_H
#define METRICS_RENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "metrics_catalogue.h"
#include "metrics_text.h"

struct route_series;
struct stats_segment;

/* What a scrape answers, from what the workers have counted and what the master knows. Reads the stats segment, changes nothing. */

/** A listener that has or had connections. */
struct metrics_listener {
    const char *addr; /* as the configuration writes it; borrowed */
    uint16_t id;
    bool is_configured; /* by the configuration in force: it has the next two */
    uint32_t routes;
    uint32_t max_connections;
};

#define METRICS_PROCESS_NAME_MAX 16

struct metrics_process {
    char name[METRICS_PROCESS_NAME_MAX]; /* "master", "worker-0" */
    uint64_t open_fds;
};

struct metrics_input {
    const struct stats_segment *stats;
    const struct metrics_listener *listeners;
    unsigned listener_count;
    const struct metrics_process *processes;
    unsigned process_count;
    const struct route_series *routes; /* NULL: routes have no series of their own */
    uint32_t max_route_series;         /* at most so many for all routes together */
    const char *version;
    uint64_t rules[RULE_COUNT]; /* RULE_RATE_LIMIT: not looked at, as it is no rule */
    uint64_t reloads[RESULT_COUNT];
    uint64_t log_dropped[STAGE_COUNT];
    uint64_t values[METRIC_COUNT]; /* of the metrics without labels that the workers do not count; times in seconds */
};

/** Add all metrics. Without memory out->failed is set. */
void metrics_render(const struct metrics_input *in, struct metrics_text *out);

#endif
