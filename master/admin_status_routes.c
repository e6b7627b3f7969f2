/* The routes of GetStatus: the busiest of those that are counted, with their backends. */

#include <stdlib.h>
#include <string.h>

#include "admin_internal.h"
#include "admin_status.h"
#include "err.h"
#include "route_series.h"
#include "route_table.h"
#include "state.h"
#include "state_sizes.h"
#include "tables.h"
#include "traffic.h"

/** A route's message, and what it points to. */
struct route_entry {
    McProxy__V1__RouteStatus message;
    char backend[BACKEND_TEXT_MAX];
};

struct status_routes {
    struct route_traffic *traffic;
    struct route_entry *entries;
    McProxy__V1__RouteStatus **list;
};

int status_routes_limit(const McProxy__V1__GetStatusRequest *request, unsigned *out, struct strbuf *why)
{
    *out = request->max_routes > 0 ? request->max_routes : STATUS_ROUTES_DEFAULT;
    if (*out < SHM_ROUTE_SERIES_MAX)
        return 0;
    strbuf_addf(why, "max_routes: must be 0 (%u) to %u", STATUS_ROUTES_DEFAULT, SHM_ROUTE_SERIES_MAX - 1);
    return ERR_INVALID;
}

/** The backend of a pattern, copied; empty if the route is just going. */
static void copy_backend(const struct tables *tables, const struct route_series_info *info, struct strbuf *out)
{
    const char *name = info->pattern;
    bool is_wildcard = name[0] == '*';
    struct route_match match;

    if (is_wildcard)
        name += name[1] == '.' ? 2 : 1;
    const struct shm_root *root = table_pin(&tables->view);
    if (route_find_pattern(tables->shm, root, info->listener, is_wildcard, bytes_of_str(name), &match))
        strbuf_add_bytes(out, shm_backend_text(match.backend));
    table_release(&tables->view);
}

static void fill_entry(const struct admin *a, const char *const addrs[SHM_LISTENERS_MAX],
                       const struct route_traffic *traffic, struct route_entry *out)
{
    McProxy__V1__RouteStatus *m = &out->message;
    struct strbuf backend = STRBUF_OF(out->backend);
    struct route_series_info info;

    mc_proxy__v1__route_status__init(m);
    CHECK(route_series_get(state_route_series(a->parts.state), traffic->number, &info));
    copy_backend(state_tables(a->parts.state), &info, &backend);
    m->listener_addr = admin_text(addrs[info.listener]);
    m->hostname = admin_text(info.pattern);
    m->backend = out->backend;
    m->total_connections = traffic->connections;
    m->failed_connections = traffic->failed;
    m->unanswered_connections = traffic->unanswered;
    m->bytes_in = traffic->bytes_in;
    m->bytes_out = traffic->bytes_out;
}

static int fill_entries(const struct admin *a, const char *const addrs[SHM_LISTENERS_MAX], unsigned count,
                        struct status_routes *routes)
{
    routes->entries = calloc(count + 1, sizeof *routes->entries); /* one more: calloc(0) may be NULL */
    routes->list = calloc(count + 1, sizeof(McProxy__V1__RouteStatus *));
    if (routes->entries == NULL || routes->list == NULL)
        return ERR_NO_MEMORY;
    for (unsigned i = 0; i < count; i++) {
        fill_entry(a, addrs, &routes->traffic[i], &routes->entries[i]);
        routes->list[i] = &routes->entries[i].message;
    }
    return 0;
}

int status_routes_fill(const struct admin *a, const char *const addrs[SHM_LISTENERS_MAX], unsigned limit,
                       struct status_routes **out, McProxy__V1__GetStatusResponse *m)
{
    struct status_routes *routes = calloc(1, sizeof *routes);
    bool wanted[SHM_LISTENERS_MAX];
    unsigned count = 0;
    int rc;

    *out = routes;
    if (routes == NULL)
        return ERR_NO_MEMORY;
    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++)
        wanted[id] = addrs[id] != NULL;
    rc = traffic_of_routes(a->parts.stats, state_route_series(a->parts.state), wanted, &routes->traffic, &count);
    if (rc != 0)
        return rc;
    m->counted_routes = count;
    count = count < limit ? count : limit;
    if ((rc = fill_entries(a, addrs, count, routes)) != 0)
        return rc;
    m->routes = routes->list;
    m->n_routes = count;
    return 0;
}

void status_routes_free(struct status_routes **routes)
{
    if (*routes == NULL)
        return;
    free((*routes)->traffic);
    free((*routes)->entries);
    free((*routes)->list);
    free(*routes);
    *routes = NULL;
}
