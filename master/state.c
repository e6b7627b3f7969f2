/* Database, tables and resolver in step: opening them, and loading what the database holds into the tables. */

#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend_names.h"
#include "backend_set.h"
#include "clock.h"
#include "config.h"
#include "err.h"
#include "firewall_writer.h"
#include "hostname.h"
#include "rate_limit.h"
#include "route_writer.h"
#include "shared_file.h"
#include "store.h"
#include "tables.h"

#define STATE_MAGIC   0x53544154u
#define RATE_SWEEP_MS (60ull * 60 * 1000)

struct listener_entry {
    struct listen_addr addr;
    char key[ADDRESS_TEXT_MAX]; /* canonical address: how the database names it */
    bool is_configured;         /* by the configuration in force */
};

struct state {
    uint32_t magic;
    struct store *store;
    struct tables *tables;
    struct backend_set *backends;
    struct backend_names *names;
    struct route_writer *routes;
    struct firewall_writer *firewall;
    struct rate_table *rates; /* shared with the workers */
    int rate_fd;
    uint64_t swept_ms; /* monotonic: when the rate table was last rid of what has passed */
    unsigned listener_count;
    struct listener_entry listeners[SHM_LISTENERS_MAX]; /* by id */
};

/* ---- opening and closing ---- */

static int make_rate_table(struct state *s)
{
    uint64_t seed[2];
    void *mapping;
    int rc;

    if (getentropy(seed, sizeof seed) != 0)
        return ERR_SYSTEM;
    if ((rc = shared_file_make("mc-proxy-rates", sizeof *s->rates, &s->rate_fd, &mapping)) != 0)
        return rc;
    s->rates = mapping;
    rate_table_init(s->rates, seed);
    return 0;
}

static int open_tables(struct state *s, const struct state_options *options, struct strbuf *why)
{
    struct tables_options tables = {.stats = options->stats, .worker_slots = options->worker_slots};
    int rc;

    if ((rc = tables_new(&tables, &s->tables)) != 0) {
        strbuf_addf(why, "cannot make the shared tables: %s", rc == ERR_SYSTEM ? strerror(errno) : err_text(rc));
        return rc;
    }
    if ((rc = backend_set_new(s->tables, &s->backends)) != 0 ||
        (rc = route_writer_new(s->tables, s->backends, &s->routes)) != 0 ||
        (rc = firewall_writer_new(s->tables, &s->firewall)) != 0 || (rc = make_rate_table(s)) != 0) {
        strbuf_addf(why, "cannot make the shared tables: %s", err_text(rc));
        return rc;
    }
    if ((rc = backend_names_new(options->loop, s->backends, NULL, &s->names)) != 0)
        strbuf_addf(why, "cannot begin to resolve names: %s; look at /etc/resolv.conf", err_text(rc));
    return rc;
}

int state_open(const char *database_path, const struct state_options *options, struct state **out, struct strbuf *why)
{
    struct state *s = calloc(1, sizeof *s);
    int rc;

    if (s == NULL) {
        strbuf_add(why, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    s->magic = STATE_MAGIC;
    s->rate_fd = -1;
    if ((rc = store_open(database_path, &s->store, why)) != 0 || (rc = open_tables(s, options, why)) != 0) {
        state_close(&s);
        return rc;
    }
    *out = s;
    return 0;
}

void state_close(struct state **state)
{
    struct state *s = *state;

    if (s == NULL)
        return;
    CHECK_MAGIC(s, STATE_MAGIC);
    backend_names_free(&s->names); /* first: it hears from the set, and the set from the writer */
    route_writer_free(&s->routes);
    firewall_writer_free(&s->firewall);
    backend_set_free(&s->backends);
    tables_free(&s->tables);
    store_close(&s->store);
    if (s->rates != NULL)
        munmap(s->rates, sizeof *s->rates);
    if (s->rate_fd >= 0)
        close(s->rate_fd);
    s->magic = 0;
    free(s);
    *state = NULL;
}

/* ---- listeners and their ids ---- */

static struct listener_entry *find_by_addr(struct state *s, const struct listen_addr *addr)
{
    for (unsigned id = 0; id < s->listener_count; id++) {
        if (listen_addr_equal(&s->listeners[id].addr, addr))
            return &s->listeners[id];
    }
    return NULL;
}

static struct listener_entry *find_by_key(struct state *s, const char *key)
{
    for (unsigned id = 0; id < s->listener_count; id++) {
        if (s->listeners[id].is_configured && strcmp(s->listeners[id].key, key) == 0)
            return &s->listeners[id];
    }
    return NULL;
}

static uint16_t id_of(const struct state *s, const struct listener_entry *entry)
{
    return (uint16_t)(entry - s->listeners);
}

/** Give an address an id, unless it has one. NULL: none is left. */
static struct listener_entry *use_listener(struct state *s, const struct listen_addr *addr)
{
    struct listener_entry *entry = find_by_addr(s, addr);

    if (entry == NULL) {
        if (s->listener_count == SHM_LISTENERS_MAX)
            return NULL;
        entry = &s->listeners[s->listener_count++];
        struct strbuf key = STRBUF_OF(entry->key);
        entry->addr = *addr;
        listen_addr_format(addr, &key);
        CHECK(!key.overflowed);
    }
    entry->is_configured = true;
    return entry;
}

static int use_listeners(struct state *s, const struct config *config, struct strbuf *why)
{
    for (unsigned id = 0; id < s->listener_count; id++)
        s->listeners[id].is_configured = false;
    for (unsigned i = 0; i < config->listener_count; i++) {
        if (use_listener(s, &config->listeners[i].addr) == NULL) {
            strbuf_addf(why, "more than %d different listener addresses since the start: restart the server",
                        SHM_LISTENERS_MAX);
            return ERR_TOO_LARGE;
        }
    }
    return 0;
}

uint16_t state_listener_id(const struct state *state, const struct listen_addr *addr)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    for (unsigned id = 0; id < state->listener_count; id++) {
        if (listen_addr_equal(&state->listeners[id].addr, addr))
            return (uint16_t)id;
    }
    CHECK(false && "a listener that was never loaded");
    return 0;
}

/* ---- loading ---- */

struct loading {
    struct state *state;
    const struct config *config;
    struct route_bulk *bulk;
    struct firewall_bulk *rules;
    uint64_t expected4, expected6; /* prefixes, when counting rules */
    struct state_loaded *loaded;
    struct strbuf *why;
};

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
    const struct listener_entry *listener = find_by_key(l->state, route->listener);
    struct host_pattern pattern;
    struct backend_addr backend;
    char text[256];
    struct strbuf reason = STRBUF_OF(text);

    if (listener == NULL) {
        l->loaded->unused_routes++;
        return 0;
    }
    if (host_pattern_parse(bytes_of_str(route->hostname), &pattern, &reason) != 0)
        return refuse_route(l, route, "hostname", &reason);
    if (backend_addr_parse(bytes_of_str(route->backend), &backend, &reason) != 0)
        return refuse_route(l, route, "backend", &reason);
    int rc = route_bulk_add(l->bulk, id_of(l->state, listener), &pattern, &backend, route->send_proxy_protocol);
    if (rc != 0)
        strbuf_addf(l->why, "cannot load the routes: %s", err_text(rc));
    l->loaded->routes++;
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

static int load_listener(const struct store_listener *listener, void *context)
{
    struct loading *l = context;
    const struct listener_entry *entry = find_by_key(l->state, listener->addr);

    if (entry == NULL) {
        l->loaded->unused_listeners += listener->route_count > 0;
        return 0;
    }
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
    if ((rc = store_each_route(s->store, load_route, l, l->why)) != 0 ||
        (rc = store_each_listener(s->store, load_listener, l, l->why)) != 0) {
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
    l->loaded->rules++;
    if (parsed.kind == FIREWALL_RULE_COUNTRY)
        l->loaded->country_rules++;
    else if (parsed.prefix.addr.family == 4)
        l->expected4++;
    else
        l->expected6++;
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

void state_set_rate(struct state *state, uint32_t limit, uint32_t window_ms)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    firewall_writer_set_rate(state->firewall, (struct rate_rule){.limit = limit, .window_ms = window_ms}, state->rates,
                             clock_monotonic_ns());
}

int state_load(struct state *state, const struct config *config, struct state_loaded *out, struct strbuf *why)
{
    struct loading loading = {.state = state, .config = config, .loaded = out, .why = why};
    struct store_seeded seeded;
    int rc;

    CHECK_MAGIC(state, STATE_MAGIC);
    memset(out, 0, sizeof *out);
    if ((rc = use_listeners(state, config, why)) != 0 || (rc = store_seed(state->store, config, &seeded, why)) != 0 ||
        (rc = load_rules(&loading)) != 0 || (rc = load_routes(&loading)) != 0)
        return rc;
    state_set_rate(state, config->rate_limit, config->rate_window_ms);
    out->routes_seeded = seeded.routes_seeded;
    return 0;
}

bool state_is_settled(const struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    return backend_names_are_settled(state->names);
}

void state_housekeeping(struct state *state, uint64_t now_ms)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    (void)tables_reclaim(state->tables); /* a bounded part; the rest the next time */
    if (now_ms - state->swept_ms >= RATE_SWEEP_MS) {
        state->swept_ms = now_ms;
        rate_table_sweep(state->rates, &state->tables->shm->rate, now_ms * 1000000);
    }
}

int state_rate_fd(const struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    return state->rate_fd;
}

struct tables *state_tables(struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    return state->tables;
}
