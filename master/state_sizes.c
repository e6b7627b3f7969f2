/* How much the state holds. */

#include "state_sizes.h"

#include "backend_set.h"
#include "check.h"
#include "firewall_writer.h"
#include "route_writer.h"
#include "state_internal.h"
#include "tables.h"

struct state_sizes state_sizes(const struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    struct firewall_counts rules = firewall_writer_counts(state->firewall);

    return (struct state_sizes){
        .table_bytes = shm_arena_stats(&state->tables->arena).committed_bytes,
        .backends = backend_set_count(state->backends),
        .ip_rules = rules.ip,
        .cidr_rules = rules.cidr,
        .country_rules = rules.country,
    };
}

const struct route_series *state_route_series(const struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    return route_writer_series(state->routes);
}
