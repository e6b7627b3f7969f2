#ifndef STATE_SIZES_H
#define STATE_SIZES_H

#include <stdint.h>

struct state;

/* How much the state holds, for the metrics: what is in force, as the workers see it. */

struct state_sizes {
    uint64_t generation;  /* goes up with every change that the workers are shown */
    uint64_t table_bytes; /* shared memory that routes, backends and rules take */
    uint32_t backends;
    uint32_t ip_rules;
    uint32_t cidr_rules;
    uint32_t country_rules;
};

struct state_sizes state_sizes(const struct state *state);

struct state_listener_sizes {
    uint32_t routes;
    uint32_t max_connections; /* 0: no limit */
};

/** @param id  as of state_assign_id() */
struct state_listener_sizes state_listener_sizes(const struct state *state, uint16_t id);

#endif
