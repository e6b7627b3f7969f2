#ifndef STATE_SIZES_H
#define STATE_SIZES_H

#include <stdint.h>

struct state;

/* How much the state holds, for the metrics; what else there is to know is in state_change.h. */

struct state_sizes {
    uint64_t table_bytes; /* shared memory that routes, backends and rules take */
    uint32_t backends;
    uint32_t ip_rules;
    uint32_t cidr_rules;
    uint32_t country_rules;
};

struct state_sizes state_sizes(const struct state *state);

/** Which counters of the stats segment belong to which route; listeners by their id. Borrowed. */
struct route_series;
const struct route_series *state_route_series(const struct state *state);

#endif
