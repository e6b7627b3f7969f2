/* What is in force: lists for people, numbers for status and metrics. */

#include "err.h"
#include "firewall_writer.h"
#include "route_writer.h"
#include "state_change.h"
#include "state_fields.h"
#include "state_internal.h"
#include "tables.h"

/* ---- listeners ---- */

int state_find_listener(const struct state *state, const struct listen_addr *addr, uint16_t *id_out)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    for (unsigned id = 0; id < state->listener_count; id++) {
        const struct listener_entry *entry = &state->listeners[id];
        if (entry->is_configured && listen_addr_equal(&entry->addr, addr)) {
            *id_out = (uint16_t)id;
            return 0;
        }
    }
    return ERR_NOT_FOUND;
}

int state_need_listener_at(struct state *state, const struct listen_addr *addr, struct bytes text, uint16_t *id_out,
                           struct strbuf *why)
{
    int rc = state_find_listener(state, addr, id_out);

    if (rc != 0) {
        strbuf_add(why, "listener_addr: no listener of the configuration has the address ");
        state_add_quoted(text, why);
    }
    return rc;
}

int state_need_listener(struct state *state, struct bytes text, uint16_t *id_out, struct strbuf *why)
{
    struct listen_addr addr;
    int rc = state_parse_listener(text, &addr, why);

    return rc == 0 ? state_need_listener_at(state, &addr, text, id_out, why) : rc;
}

/* ---- lists ---- */

int state_each_route(struct state *state, struct bytes listener, struct state_page *page, store_route_fn fn, void *ctx,
                     struct strbuf *why)
{
    struct store_page rows = {.position = page->position, .limit = page->limit};
    uint16_t id = 0;
    int rc;

    CHECK_MAGIC(state, STATE_MAGIC);
    if ((rc = state_need_store(state, why)) != 0 || (rc = state_need_listener(state, listener, &id, why)) != 0 ||
        (rc = store_page_routes_of(state->store, state->listeners[id].key, &rows, fn, ctx, why)) != 0)
        return rc;
    page->position = rows.position;
    return 0;
}

int state_each_rule(struct state *state, struct state_page *page, store_rule_fn fn, void *ctx, struct strbuf *why)
{
    struct store_page rows = {.position = page->position, .limit = page->limit};

    CHECK_MAGIC(state, STATE_MAGIC);
    int rc = state_need_store(state, why);
    if (rc != 0 || (rc = store_page_rules(state->store, &rows, fn, ctx, why)) != 0)
        return rc;
    page->position = rows.position;
    return 0;
}

/* ---- numbers ---- */

uint32_t state_route_count(const struct state *state, uint16_t id)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    return route_writer_count(state->routes, id);
}

uint32_t state_max_connections(const struct state *state, uint16_t id)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    CHECK(id < SHM_LISTENERS_MAX);
    return atomic_load_explicit(&state->tables->shm->listeners[id].max_connections, memory_order_relaxed);
}

uint64_t state_rule_count(const struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    struct firewall_counts counts = firewall_writer_counts(state->firewall);
    return (uint64_t)counts.ip + counts.cidr + counts.country;
}

uint64_t state_generation(const struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    return state->generation;
}
