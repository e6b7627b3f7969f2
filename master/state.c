/* Database, tables and resolver in step: opening them, and loading what the database holds into the tables. */

#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend_names.h"
#include "backend_set.h"
#include "config.h"
#include "err.h"
#include "hostname.h"
#include "route_writer.h"
#include "store.h"
#include "tables.h"

#define STATE_MAGIC 0x53544154u

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
    unsigned listener_count;
    struct listener_entry listeners[SHM_LISTENERS_MAX]; /* by id */
};

/* ---- opening and closing ---- */

static int open_tables(struct state *s, const struct state_options *options, struct strbuf *why)
{
    struct tables_options tables = {.stats = options->stats, .worker_slots = options->worker_slots};
    int rc;

    if ((rc = tables_new(&tables, &s->tables)) != 0) {
        strbuf_addf(why, "cannot make the shared tables: %s", rc == ERR_SYSTEM ? strerror(errno) : err_text(rc));
        return rc;
    }
    if ((rc = backend_set_new(s->tables, &s->backends)) != 0 ||
        (rc = route_writer_new(s->tables, s->backends, &s->routes)) != 0) {
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
    backend_set_free(&s->backends);
    tables_free(&s->tables);
    store_close(&s->store);
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

int state_load(struct state *state, const struct config *config, struct state_loaded *out, struct strbuf *why)
{
    struct loading loading = {.state = state, .config = config, .loaded = out, .why = why};
    struct store_seeded seeded;
    int rc;

    CHECK_MAGIC(state, STATE_MAGIC);
    memset(out, 0, sizeof *out);
    if ((rc = use_listeners(state, config, why)) != 0 || (rc = store_seed(state->store, config, &seeded, why)) != 0 ||
        (rc = load_routes(&loading)) != 0)
        return rc;
    out->routes_seeded = seeded.routes_seeded;
    return 0;
}

bool state_is_settled(const struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    return backend_names_are_settled(state->names);
}

void state_reclaim(struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    (void)tables_reclaim(state->tables);
}

struct tables *state_tables(struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    return state->tables;
}
