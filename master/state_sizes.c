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
    uint64_t epoch = atomic_load_explicit(&state->tables->shm->epoch, memory_order_relaxed);

    return (struct state_sizes){
        .generation = epoch / 2, /* a change moves the epoch when it begins and when it ends */
        .table_bytes = shm_arena_stats(&state->tables->arena).committed_bytes,
        .backends = backend_set_count(state->backends),
        .ip_rules = rules.ip,
        .cidr_rules = rules.cidr,
        .country_rules = rules.country,
    };
}

struct state_listener_sizes state_listener_sizes(const struct state *state, uint16_t id)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    CHECK(id < state->listener_count);
    const struct shm_listener *listener = &state->tables->shm->listeners[id];

    return (struct state_listener_sizes){
        .routes = route_writer_count(state->routes, id),
        .max_connections = atomic_load_explicit(&listener->max_connections, memory_order_relaxed),
    };
}
