#ifndef TRAFFIC_H
#define TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "close_reason.h"
#include "shm_layout.h"

struct route_series;
struct stats_segment;

/* The workers' counters added up, for GetStatus. Takes a few loads per worker slot in use. */

struct listener_traffic {
    uint64_t accepted;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t closed[CLOSE_REASON_COUNT];
    uint64_t classes[CLOSE_CLASSES];
};

/** All zero for a listener that has not been in use. */
void traffic_of_listener(const struct stats_segment *stats, uint16_t listener, struct listener_traffic *out);

struct route_traffic {
    uint16_t number; /* of its series */
    uint64_t connections;
    uint64_t failed;
    uint64_t unanswered;
    uint64_t bytes_in;
    uint64_t bytes_out;
};

/**
 * The routes that are counted, busiest first: by connections, then by bytes. At most SHM_ROUTE_SERIES_MAX - 1.
 *
 * @param listeners  by id: those whose routes are wanted
 * @param out        free() it; never NULL on 0
 * @return 0 or ERR_NO_MEMORY
 */
int traffic_of_routes(const struct stats_segment *stats, const struct route_series *series,
                      const bool listeners[SHM_LISTENERS_MAX], struct route_traffic **out,
                      unsigned *count_out) MUST_CHECK;

#endif
