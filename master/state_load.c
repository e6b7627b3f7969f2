/* Making a configuration the one in force: ids for its listeners, seeds for the database, and the tables built from the database. */

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "config.h"
#include "err.h"
#include "firewall_writer.h"
#include "hostname.h"
#include "route_writer.h"
#include "state_internal.h"
#include "store.h"
#include "tables.h"

/* ---- routes ---- */

/** A configuration on its way to become the one in force. */
struct loading {
    struct state *state;
    const struct config *config;
    bool is_next[SHM_LISTENERS_MAX]; /* by id: the new configuration has it */
    struct route_bulk *bulk;
    struct firewall_bulk *rules;
    uint64_t expected4, expected6; /* prefixes, when counting rules */
    struct state_loaded *loaded;
    struct strbuf *why;
};

static uint16_t id_of(const struct state *s, const struct listener_entry *entry)
{
    return (uint16_t)(entry - s->listeners);
}

/** The listener of a database row, if the new configuration has it or workers still route for it. */
static const struct listener_entry *find_by_key(const struct loading *l, const char *key)
{
    for (unsigned id = 0; id < l->state->listener_count; id++) {
        const struct listener_entry *entry = &l->state->listeners[id];
        if ((l->is_next[id] || entry->is_in_use) && strcmp(entry->key, key) == 0)
            return entry;
    }
    return NULL;
}

/** A text of the database that our own parser does not take: somebody else wrote it there. */
static int refuse_route(struct loading *l, const struct store_route *route, const char *what,
                        const struct strbuf *reason)
{
    strbuf_addf(l->why, "the database has a route that cannot be used (listener %s, hostname %s, backend %s): %s: %s",
                route->listener, route->hostname, route->backend, what, reason->data);
    return ERR_CORRUPT;
}

static int load_route(const struct store_route *route, void *context)
{
    struct loading *l = context;
    const struct listener_entry *listener = find_by_key(l, route->listener);
    struct host_pattern pattern;
    struct backend_addr backend;
    char text[256];
    struct strbuf reason = STRBUF_OF(text);

    if (listener == NULL)
        return 0;
    if (host_pattern_parse(bytes_of_str(route->hostname), &pattern, &reason) != 0)
        return refuse_route(l, route, "hostname", &reason);
    if (backend_addr_parse(bytes_of_str(route->backend), &backend, &reason) != 0)
        return refuse_route(l, route, "backend", &reason);
    int rc = route_bulk_add(l->bulk, id_of(l->state, listener), &pattern, &backend, route->send_proxy_protocol);
    if (rc != 0)
        strbuf_addf(l->why, "cannot load the routes: %s", err_text(rc));
    return rc;
}

static int count_routes(const struct store_listener *listener, void *context)
{
    uint64_t *sum = context;

    *sum += listener->route_count;
    return 0;
}

static uint32_t configured_max(const struct config *config, const struct listen_addr *addr)
{
    for (unsigned i = 0; i < config->listener_count; i++) {
        if (listen_addr_equal(&config->listeners[i].addr, addr))
            return config->listeners[i].max_connections;
    }
    return 0;
}

static int load_limit(const struct store_listener *listener, void *context)
{
    struct loading *l = context;
    const struct listener_entry *entry = find_by_key(l, listener->addr);

    if (entry == NULL || !l->is_next[id_of(l->state, entry)]) {
        l->loaded->unused_listeners += listener->route_count > 0;
        l->loaded->unused_routes += listener->route_count;
        return 0;
    }
    l->loaded->routes += listener->route_count;
    /* What was set over the admin API beats the file. */
    uint32_t max = listener->max_connections == STORE_MAX_CONNECTIONS_UNSET ? configured_max(l->config, &entry->addr)
                                                                            : (uint32_t)listener->max_connections;
    tables_set_max_connections(l->state->tables, id_of(l->state, entry), max);
    return 0;
}

/** Build the route table aside and show it. */
static int load_routes(struct loading *l)
{
    struct state *s = l->state;
    uint64_t expected = 0;
    int rc;

    if ((rc = store_each_listener(s->store, count_routes, &expected, l->why)) != 0)
        return rc;
    if ((rc = route_bulk_begin(s->routes, expected, &l->bulk)) != 0) {
        strbuf_addf(l->why, "cannot load the routes: %s", err_text(rc));
        return rc;
    }
    if ((rc = store_each_route(s->store, load_route, l, l->why)) != 0) {
        route_bulk_abort(&l->bulk);
        return rc;
    }
    route_bulk_publish(&l->bulk);
    return 0;
}

/* ---- firewall rules ---- */

static int parse_rule(struct loading *l, const struct store_rule *rule, struct firewall_rule *out)
{
    static const enum firewall_rule_kind kinds[] = {
        [STORE_RULE_IP] = FIREWALL_RULE_IP,
        [STORE_RULE_CIDR] = FIREWALL_RULE_CIDR,
        [STORE_RULE_COUNTRY] = FIREWALL_RULE_COUNTRY,
    };
    char text[256];
    struct strbuf reason = STRBUF_OF(text);

    if (firewall_rule_parse(kinds[rule->type], bytes_of_str(rule->value), out, &reason) == 0)
        return 0;
    strbuf_addf(l->why, "the database has a firewall rule that cannot be used (%s %s): %s",
                store_rule_type_text(rule->type), rule->value, reason.data);
    return ERR_CORRUPT;
}

static int count_rule(const struct store_rule *rule, void *context)
{
    struct loading *l = context;
    struct firewall_rule parsed;
    int rc = parse_rule(l, rule, &parsed);

    if (rc != 0)
        return rc;
    if (parsed.kind != FIREWALL_RULE_COUNTRY) {
        l->expected4 += parsed.prefix.addr.family == 4;
        l->expected6 += parsed.prefix.addr.family == 6;
    }
    return 0;
}

static int load_rule(const struct store_rule *rule, void *context)
{
    struct loading *l = context;
    struct firewall_rule parsed;
    int rc = parse_rule(l, rule, &parsed);

    if (rc == 0 && (rc = firewall_bulk_add(l->rules, &parsed)) != 0)
        strbuf_addf(l->why, "cannot load the firewall rules: %s", err_text(rc));
    return rc;
}

static int load_rules(struct loading *l)
{
    struct state *s = l->state;
    int rc;

    if ((rc = store_each_rule(s->store, count_rule, l, l->why)) != 0)
        return rc;
    if ((rc = firewall_bulk_begin(s->firewall, l->expected4, l->expected6, &l->rules)) != 0) {
        strbuf_addf(l->why, "cannot load the firewall rules: %s", err_text(rc));
        return rc;
    }
    if ((rc = store_each_rule(s->store, load_rule, l, l->why)) != 0) {
        firewall_bulk_abort(&l->rules);
        return rc;
    }
    firewall_bulk_publish(&l->rules);
    return 0;
}

/* ---- all of it ---- */

static int assign_ids(struct loading *l)
{
    for (unsigned i = 0; i < l->config->listener_count; i++) {
        uint16_t id;
        int rc = state_assign_id(l->state, &l->config->listeners[i].addr, &id);
        if (rc != 0) {
            strbuf_addf(l->why, "more than %d different listener addresses since the start: restart the server",
                        SHM_LISTENERS_MAX);
            return rc;
        }
        l->is_next[id] = true;
    }
    return 0;
}

/** Does the new configuration have exactly the listeners of the one in force? Then the tables hold what they should already. */
static bool has_same_listeners(const struct loading *l)
{
    for (unsigned id = 0; id < l->state->listener_count; id++) {
        if (l->is_next[id] != l->state->listeners[id].is_configured)
            return false;
    }
    return l->state->is_loaded;
}

static int load_tables(struct loading *l)
{
    struct store_seeded seeded;
    int rc = store_seed(l->state->store, l->config, &seeded, l->why);

    if (rc != 0)
        return rc;
    l->loaded->routes_seeded = seeded.routes_seeded;
    /* Rules are in the tables once the first configuration was loaded: later ones do not touch them. */
    if (!l->state->is_loaded && (rc = load_rules(l)) != 0)
        return rc;
    return load_routes(l);
}

int state_load(struct state *state, const struct config *config, struct state_loaded *out, struct strbuf *why)
{
    struct loading *l = calloc(1, sizeof *l);
    int rc;

    CHECK_MAGIC(state, STATE_MAGIC);
    memset(out, 0, sizeof *out);
    if ((rc = state_need_store(state, why)) != 0) {
        free(l);
        return rc;
    }
    if (l == NULL) {
        strbuf_add(why, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    *l = (struct loading){.state = state, .config = config, .loaded = out, .why = why};
    if ((rc = assign_ids(l)) != 0 || (rc = has_same_listeners(l) ? 0 : load_tables(l)) != 0 ||
        (rc = store_each_listener(state->store, load_limit, l, why)) != 0) {
        free(l);
        return rc;
    }
    for (unsigned id = 0; id < state->listener_count; id++) {
        state->listeners[id].is_configured = l->is_next[id];
        state->listeners[id].is_in_use |= l->is_next[id];
    }
    state->is_loaded = true;
    state->generation++;
    struct firewall_counts counts = firewall_writer_counts(state->firewall);
    out->rules = (uint64_t)counts.ip + counts.cidr + counts.country;
    out->country_rules = counts.country;
    free(l);
    return 0;
}
