/* The status of a server as tables and as JSON. */

#include "status_view.h"

#include <inttypes.h>
#include <time.h>

#include "client_text.h"
#include "json_out.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "text_table.h"

#define MINUTE UINT64_C(60)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

/* ---- times ---- */

/** RFC 3339, as protobuf writes timestamps in JSON. */
static void add_time(const Google__Protobuf__Timestamp *at, bool with_milliseconds, struct strbuf *out)
{
    char data[40];
    struct tm tm;
    time_t seconds = at != NULL ? (time_t)at->seconds : 0;
    unsigned milliseconds = at != NULL && at->nanos >= 0 ? (unsigned)at->nanos / 1000000 % 1000 : 0;

    if (gmtime_r(&seconds, &tm) != NULL && strftime(data, sizeof data, "%Y-%m-%dT%H:%M:%S", &tm) > 0)
        strbuf_add(out, data);
    if (with_milliseconds)
        strbuf_addf(out, ".%03u", milliseconds);
    strbuf_add(out, "Z");
}

/** The two largest units: "3d 4h", "12m 5s". */
static void add_uptime(uint64_t seconds, struct strbuf *out)
{
    if (seconds >= DAY)
        strbuf_addf(out, "%" PRIu64 "d %" PRIu64 "h", seconds / DAY, seconds % DAY / HOUR);
    else if (seconds >= HOUR)
        strbuf_addf(out, "%" PRIu64 "h %" PRIu64 "m", seconds / HOUR, seconds % HOUR / MINUTE);
    else if (seconds >= MINUTE)
        strbuf_addf(out, "%" PRIu64 "m %" PRIu64 "s", seconds / MINUTE, seconds % MINUTE);
    else
        strbuf_addf(out, "%" PRIu64 "s", seconds);
}

/* ---- for people ---- */

static void print_reloads(const McProxy__V1__ReloadStatus *reloads, FILE *to)
{
    char at_data[40], problem_data[1024];
    struct strbuf at = STRBUF_OF(at_data), problem = STRBUF_OF(problem_data);

    if (reloads == NULL || reloads->last_at == NULL)
        return;
    add_time(reloads->last_at, false, &at);
    client_text_add_printable(bytes_of_str(reloads->problem), &problem);
    fprintf(to, "reloads: %" PRIu64 ", %" PRIu64 " refused; the last one at %s%s%s\n", reloads->succeeded,
            reloads->failed, at_data, problem.len > 0 ? " was refused: " : "", problem_data);
}

static void print_head(const McProxy__V1__GetStatusResponse *s, FILE *to)
{
    char since_data[40], uptime_data[64], version_data[128];
    struct strbuf since = STRBUF_OF(since_data), uptime = STRBUF_OF(uptime_data), version = STRBUF_OF(version_data);

    add_time(s->started_at, false, &since);
    add_uptime(s->uptime_seconds, &uptime);
    client_text_add_printable(bytes_of_str(s->version), &version);
    fprintf(to, "mc-proxy %s, up %s since %s%s\n", version_data, uptime_data, since_data,
            s->is_draining ? ", draining" : "");
    fprintf(to,
            "connections: %" PRIu64 " active, %" PRIu64 " total; firewall rules: %" PRIu64 "; generation: %" PRIu64
            "\n",
            s->active_connections, s->total_connections, s->firewall_rules, s->generation);
    fprintf(to, "workers: %" PRIu32 ", %" PRIu64 " restarted; log records dropped: %" PRIu64 "\n",
            s->configured_workers, s->worker_restarts, s->log_records_dropped + s->log_lines_dropped);
    print_reloads(s->reloads, to);
}

int status_view_print_listeners(const McProxy__V1__GetStatusResponse *status, FILE *to)
{
    static const struct text_column columns[] = {
        {"LISTENER", false}, {"NAME", false}, {"ROUTES", true},          {"ACTIVE", true},
        {"TOTAL", true},     {"MAX", true},   {"PROXY PROTOCOL", false},
    };
    struct text_table table = text_table_of(columns, sizeof columns / sizeof columns[0]);

    for (size_t i = 0; i < status->n_listeners; i++) {
        const McProxy__V1__ListenerStatus *l = status->listeners[i];
        text_table_add(&table, l->addr);
        text_table_add(&table, l->name);
        text_table_add_number(&table, l->route_count);
        text_table_add_number(&table, l->active_connections);
        text_table_add_number(&table, l->total_connections);
        if (l->max_connections == 0)
            text_table_add(&table, "-");
        else
            text_table_add_number(&table, l->max_connections);
        text_table_add(&table, l->proxy_protocol);
    }
    int rc = text_table_print(&table, to);
    text_table_fini(&table);
    return rc;
}

/** How it goes, beside what there is. */
static int print_traffic(const McProxy__V1__GetStatusResponse *status, FILE *to)
{
    static const struct text_column columns[] = {
        {"LISTENER", false}, {"TOTAL", true}, {"REJECTED", true}, {"BLOCKED", true},
        {"FAILED", true},    {"IN", true},    {"OUT", true},      {"NO ROUTE", false},
    };
    struct text_table table = text_table_of(columns, sizeof columns / sizeof columns[0]);

    for (size_t i = 0; i < status->n_listeners; i++) {
        const McProxy__V1__ListenerStatus *l = status->listeners[i];
        text_table_add(&table, l->addr);
        text_table_add_number(&table, l->total_connections);
        text_table_add_number(&table, l->rejected_connections);
        text_table_add_number(&table, l->blocked_connections);
        text_table_add_number(&table, l->failed_connections);
        text_table_add_amount(&table, l->bytes_in);
        text_table_add_amount(&table, l->bytes_out);
        text_table_add(&table, l->no_route);
    }
    int rc = text_table_print(&table, to);
    text_table_fini(&table);
    return rc;
}

static int print_routes(const McProxy__V1__GetStatusResponse *status, FILE *to)
{
    static const struct text_column columns[] = {
        {"LISTENER", false}, {"HOSTNAME", false},  {"BACKEND", false}, {"TOTAL", true},
        {"FAILED", true},    {"UNANSWERED", true}, {"IN", true},       {"OUT", true},
    };
    struct text_table table = text_table_of(columns, sizeof columns / sizeof columns[0]);

    for (size_t i = 0; i < status->n_routes; i++) {
        const McProxy__V1__RouteStatus *r = status->routes[i];
        text_table_add(&table, r->listener_addr);
        text_table_add(&table, r->hostname);
        text_table_add(&table, r->backend);
        text_table_add_number(&table, r->total_connections);
        text_table_add_number(&table, r->failed_connections);
        text_table_add_number(&table, r->unanswered_connections);
        text_table_add_amount(&table, r->bytes_in);
        text_table_add_amount(&table, r->bytes_out);
    }
    int rc = text_table_print(&table, to);
    text_table_fini(&table);
    if (status->counted_routes > status->n_routes)
        fprintf(to, "and %" PRIu64 " less busy ones\n", status->counted_routes - status->n_routes);
    if (status->uncounted_routes > 0)
        fprintf(to, "%" PRIu64 " routes are not counted one by one\n", status->uncounted_routes);
    return rc;
}

static int print_workers(const McProxy__V1__GetStatusResponse *status, FILE *to)
{
    static const struct text_column columns[] = {
        {"WORKER", true}, {"PID", true}, {"STATE", false}, {"ACTIVE", true},
        {"TOTAL", true},  {"MAX", true}, {"FILES", true},
    };
    struct text_table table = text_table_of(columns, sizeof columns / sizeof columns[0]);

    for (size_t i = 0; i < status->n_workers; i++) {
        const McProxy__V1__WorkerStatus *w = status->workers[i];
        text_table_add_number(&table, w->slot);
        text_table_add_number(&table, w->pid);
        text_table_add(&table, w->state);
        text_table_add_number(&table, w->active_connections);
        text_table_add_number(&table, w->total_connections);
        text_table_add_number(&table, w->max_connections);
        text_table_add_number(&table, w->descriptors);
    }
    int rc = text_table_print(&table, to);
    text_table_fini(&table);
    return rc;
}

int status_view_print(const McProxy__V1__GetStatusResponse *status, FILE *to)
{
    int rc;

    print_head(status, to);
    fputc('\n', to);
    if ((rc = status_view_print_listeners(status, to)) != 0)
        return rc;
    fputc('\n', to);
    if ((rc = print_traffic(status, to)) != 0)
        return rc;
    fputc('\n', to);
    if ((rc = print_workers(status, to)) != 0 || (status->n_routes == 0 && status->uncounted_routes == 0))
        return rc;
    fputc('\n', to);
    return print_routes(status, to);
}

/* ---- for programs ---- */

static void put_closed(struct json_out *json, const McProxy__V1__ListenerStatus *l)
{
    json_out_key(json, "closed");
    json_out_open(json, '{');
    for (size_t i = 0; i < l->n_closed; i++)
        json_out_number_of(json, l->closed[i]->reason, l->closed[i]->connections);
    json_out_close(json, '}');
}

static void put_listeners(struct json_out *json, const McProxy__V1__GetStatusResponse *s)
{
    json_out_open(json, '[');
    for (size_t i = 0; i < s->n_listeners; i++) {
        const McProxy__V1__ListenerStatus *l = s->listeners[i];
        json_out_open(json, '{');
        json_out_text_of(json, "addr", l->addr);
        json_out_text_of(json, "name", l->name);
        json_out_number_of(json, "route_count", l->route_count);
        json_out_number_of(json, "active_connections", l->active_connections);
        json_out_number_of(json, "total_connections", l->total_connections);
        json_out_number_of(json, "max_connections", l->max_connections);
        json_out_text_of(json, "proxy_protocol", l->proxy_protocol);
        json_out_text_of(json, "no_route", l->no_route);
        json_out_number_of(json, "rejected_connections", l->rejected_connections);
        json_out_number_of(json, "blocked_connections", l->blocked_connections);
        json_out_number_of(json, "failed_connections", l->failed_connections);
        json_out_number_of(json, "bytes_in", l->bytes_in);
        json_out_number_of(json, "bytes_out", l->bytes_out);
        put_closed(json, l);
        json_out_close(json, '}');
    }
    json_out_close(json, ']');
}

static void put_workers(struct json_out *json, const McProxy__V1__GetStatusResponse *s)
{
    json_out_open(json, '[');
    for (size_t i = 0; i < s->n_workers; i++) {
        const McProxy__V1__WorkerStatus *w = s->workers[i];
        json_out_open(json, '{');
        json_out_number_of(json, "slot", w->slot);
        json_out_number_of(json, "pid", w->pid);
        json_out_text_of(json, "state", w->state);
        json_out_number_of(json, "active_connections", w->active_connections);
        json_out_number_of(json, "total_connections", w->total_connections);
        json_out_number_of(json, "max_connections", w->max_connections);
        json_out_number_of(json, "descriptors", w->descriptors);
        json_out_close(json, '}');
    }
    json_out_close(json, ']');
}

static void put_routes(struct json_out *json, const McProxy__V1__GetStatusResponse *s)
{
    json_out_open(json, '[');
    for (size_t i = 0; i < s->n_routes; i++) {
        const McProxy__V1__RouteStatus *r = s->routes[i];
        json_out_open(json, '{');
        json_out_text_of(json, "listener_addr", r->listener_addr);
        json_out_text_of(json, "hostname", r->hostname);
        json_out_text_of(json, "backend", r->backend);
        json_out_number_of(json, "total_connections", r->total_connections);
        json_out_number_of(json, "failed_connections", r->failed_connections);
        json_out_number_of(json, "unanswered_connections", r->unanswered_connections);
        json_out_number_of(json, "bytes_in", r->bytes_in);
        json_out_number_of(json, "bytes_out", r->bytes_out);
        json_out_close(json, '}');
    }
    json_out_close(json, ']');
}

static void put_reloads(struct json_out *json, const McProxy__V1__ReloadStatus *reloads)
{
    char at_data[48];
    struct strbuf at = STRBUF_OF(at_data);

    json_out_key(json, "reloads");
    json_out_open(json, '{');
    json_out_number_of(json, "succeeded", reloads->succeeded);
    json_out_number_of(json, "failed", reloads->failed);
    if (reloads->last_at != NULL) {
        add_time(reloads->last_at, true, &at);
        json_out_text_of(json, "last_at", at_data);
        json_out_text_of(json, "problem", reloads->problem);
    }
    json_out_close(json, '}');
}

/** What concerns no listener, worker or route in particular. */
static void put_server(struct json_out *json, const McProxy__V1__GetStatusResponse *s)
{
    json_out_number_of(json, "configured_workers", s->configured_workers);
    json_out_number_of(json, "worker_restarts", s->worker_restarts);
    json_out_number_of(json, "log_records_dropped", s->log_records_dropped);
    json_out_number_of(json, "log_lines_dropped", s->log_lines_dropped);
    json_out_number_of(json, "descriptors", s->descriptors);
    json_out_number_of(json, "max_descriptors", s->max_descriptors);
    if (s->reloads != NULL)
        put_reloads(json, s->reloads);
}

void status_view_print_json(const McProxy__V1__GetStatusResponse *status, FILE *to)
{
    struct json_out json = json_out_to(to);
    char started_data[48];
    struct strbuf started = STRBUF_OF(started_data);

    add_time(status->started_at, true, &started);
    json_out_open(&json, '{');
    json_out_text_of(&json, "version", status->version);
    json_out_text_of(&json, "started_at", started_data);
    json_out_number_of(&json, "uptime_seconds", status->uptime_seconds);
    json_out_bool_of(&json, "is_draining", status->is_draining != 0);
    json_out_number_of(&json, "total_connections", status->total_connections);
    json_out_number_of(&json, "active_connections", status->active_connections);
    json_out_number_of(&json, "firewall_rules", status->firewall_rules);
    json_out_number_of(&json, "generation", status->generation);
    put_server(&json, status);
    json_out_key(&json, "listeners");
    put_listeners(&json, status);
    json_out_key(&json, "workers");
    put_workers(&json, status);
    if (status->n_routes > 0 || status->counted_routes > 0 || status->uncounted_routes > 0) {
        json_out_key(&json, "routes");
        put_routes(&json, status);
        json_out_number_of(&json, "counted_routes", status->counted_routes);
        json_out_number_of(&json, "uncounted_routes", status->uncounted_routes);
    }
    json_out_close(&json, '}');
    fputc('\n', to);
}

void status_view_print_listeners_json(const McProxy__V1__GetStatusResponse *status, FILE *to)
{
    struct json_out json = json_out_to(to);

    put_listeners(&json, status);
    fputc('\n', to);
}
