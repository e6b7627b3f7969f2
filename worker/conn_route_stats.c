/* What is counted of each route. */

#include "conn_route_stats.h"

#include "conn.h"
#include "conn_facts.h"
#include "stats.h"
#include "worker.h"

static _Atomic uint64_t *counts_of(const struct conn *c)
{
    return conn_worker(c)->mine->routes[c->series & SHM_ROUTE_SERIES_NUMBER].counts;
}

void conn_count_routed(const struct conn *c)
{
    if (c->series != 0)
        stat_add(&counts_of(c)[SHM_ROUTE_CONNECTIONS], 1);
}

/** Does the number still belong to the route that this connection took? */
static bool is_current(const struct conn *c)
{
    const struct shm_tables *tables = conn_worker(c)->view.tables;
    unsigned number = c->series & SHM_ROUTE_SERIES_NUMBER;

    return atomic_load_explicit(&tables->route_generations[number], memory_order_relaxed) == c->series >> 16;
}

static bool is_backend_failure(enum close_reason reason)
{
    return reason == CLOSE_BACKEND_UNRESOLVED || reason == CLOSE_BACKEND_REFUSED || reason == CLOSE_BACKEND_TIMEOUT ||
           reason == CLOSE_BACKEND_UNREACHABLE;
}

void conn_count_route_answer(const struct conn *c)
{
    if (c->series != 0 && is_current(c))
        stat_add(&counts_of(c)[SHM_ROUTE_HANDSHAKES + c->facts->answer.outcome], 1);
}

void conn_count_route_end(const struct conn *c, enum close_reason reason)
{
    bool was_reached = c->step == CONN_STEP_RELAY || c->step == CONN_STEP_FLUSH;

    if (!is_current(c))
        return;
    _Atomic uint64_t *counts = counts_of(c);
    if (is_backend_failure(reason))
        stat_add(&counts[SHM_ROUTE_FAILED], 1);
    else if (was_reached && c->bytes_out == 0)
        stat_add(&counts[SHM_ROUTE_UNANSWERED], 1);
    stat_add(&counts[SHM_ROUTE_BYTES_IN], c->bytes_in);
    stat_add(&counts[SHM_ROUTE_BYTES_OUT], c->bytes_out);
}
