/* GetStatus: the server at this moment, from the configuration, the tables, the supervisor and the workers' counters. */

#include <stdlib.h>
#include <unistd.h>

#include "admin_internal.h"
#include "admin_status.h"
#include "clock.h"
#include "config.h"
#include "err.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "process_fds.h"
#include "state.h"
#include "state_change.h"
#include "stats.h"
#include "stats_segment.h"
#include "supervisor.h"
#include "traffic.h"
#include "version.h"

static const char *const proxy_words[] = {
    [PROXY_MODE_OFF] = "off",
    [PROXY_MODE_REQUIRED] = "required",
    [PROXY_MODE_MIXED] = "mixed",
};

/** How a listener's connections ended. */
struct status_closed {
    McProxy__V1__CloseCount counts[CLOSE_REASON_COUNT];
    McProxy__V1__CloseCount *list[CLOSE_REASON_COUNT];
};

/** The message and what it points to, in one piece of memory. */
struct status {
    McProxy__V1__GetStatusResponse message;
    Google__Protobuf__Timestamp started_at;
    McProxy__V1__WorkerStatus workers[SHM_WORKERS_MAX];
    McProxy__V1__WorkerStatus *worker_list[SHM_WORKERS_MAX];
    McProxy__V1__ListenerStatus listeners[SHM_LISTENERS_MAX];
    McProxy__V1__ListenerStatus *listener_list[SHM_LISTENERS_MAX];
    McProxy__V1__ReloadStatus reloads;
    Google__Protobuf__Timestamp reloaded_at;
    struct status_closed *closed; /* of listeners that have been in use */
    struct status_routes *routes; /* NULL: not asked for */
};

static void fill_worker(const struct admin *a, unsigned slot, pid_t pid, const char *state,
                        McProxy__V1__WorkerStatus *out)
{
    const struct stats_segment *stats = a->parts.stats;

    mc_proxy__v1__worker_status__init(out);
    out->pid = (uint32_t)pid;
    out->slot = slot;
    out->state = admin_text(state);
    out->active_connections = stats_segment_slot_active(stats, slot);
    out->total_connections = stats_segment_slot_accepted(stats, slot) - stats_segment_accepted_before(stats, slot);
    out->max_connections = stat_get(&stats->stats->workers[slot].conn_cap);
    if (process_fds_count(pid, &out->descriptors) != 0)
        out->descriptors = 0;
}

/** Slots that were never used are not looked at: reading them would take memory. */
static void fill_workers(const struct admin *a, struct status *status)
{
    McProxy__V1__GetStatusResponse *m = &status->message;

    m->workers = status->worker_list;
    for (unsigned slot = 0; slot < a->parts.stats->slot_end; slot++) {
        const char *state;
        pid_t pid = supervisor_worker_pid(a->parts.supervisor, slot, &state);
        m->total_connections += stats_segment_slot_accepted(a->parts.stats, slot);
        if (pid == 0)
            continue;
        McProxy__V1__WorkerStatus *worker = &status->workers[m->n_workers];
        fill_worker(a, slot, pid, state, worker);
        m->active_connections += worker->active_connections;
        m->workers[m->n_workers++] = worker;
    }
}

static void fill_traffic(const struct listener_traffic *traffic, struct status_closed *closed,
                         McProxy__V1__ListenerStatus *out)
{
    out->total_connections = traffic->accepted;
    out->rejected_connections = traffic->classes[CLOSE_CLASS_REJECTED];
    out->blocked_connections = traffic->classes[CLOSE_CLASS_BLOCKED];
    out->failed_connections = traffic->classes[CLOSE_CLASS_FAILED];
    out->bytes_in = traffic->bytes_in;
    out->bytes_out = traffic->bytes_out;
    out->closed = closed->list;
    for (unsigned reason = 0; reason < CLOSE_REASON_COUNT; reason++) {
        McProxy__V1__CloseCount *count = &closed->counts[out->n_closed];
        if (traffic->closed[reason] == 0)
            continue;
        mc_proxy__v1__close_count__init(count);
        count->reason = admin_text(close_reason_word(reason));
        count->connections = traffic->closed[reason];
        out->closed[out->n_closed++] = count;
    }
}

static void fill_listener(const struct admin *a, struct config_listener *listener, struct status_closed *closed,
                          McProxy__V1__ListenerStatus *out)
{
    struct listener_traffic traffic;
    uint16_t id;

    mc_proxy__v1__listener_status__init(out);
    out->addr = listener->addr_text;
    out->name = listener->name;
    out->proxy_protocol = admin_text(proxy_words[listener->proxy_mode]);
    out->no_route = admin_text(listener->no_route_mode == NO_ROUTE_ALERT ? "alert" : "reset");
    if (state_find_listener(a->parts.state, &listener->addr, &id) != 0)
        return;
    out->route_count = state_route_count(a->parts.state, id);
    out->max_connections = state_max_connections(a->parts.state, id);
    out->active_connections = stats_segment_listener_active(a->parts.stats, id);
    traffic_of_listener(a->parts.stats, id, &traffic);
    fill_traffic(&traffic, closed, out);
}

static void fill_listeners(const struct admin *a, struct status *status)
{
    McProxy__V1__GetStatusResponse *m = &status->message;

    CHECK(a->config->listener_count <= SHM_LISTENERS_MAX);
    m->listeners = status->listener_list;
    for (; m->n_listeners < a->config->listener_count; m->n_listeners++) {
        McProxy__V1__ListenerStatus *listener = &status->listeners[m->n_listeners];
        fill_listener(a, &a->config->listeners[m->n_listeners], &status->closed[m->n_listeners], listener);
        m->listeners[m->n_listeners] = listener;
    }
}

/* ---- the rest ---- */

static void set_time(Google__Protobuf__Timestamp *out, uint64_t ms)
{
    google__protobuf__timestamp__init(out);
    out->seconds = (int64_t)(ms / 1000);
    out->nanos = (int32_t)(ms % 1000 * 1000000);
}

static void fill_facts(const struct admin *a, struct status *status)
{
    McProxy__V1__GetStatusResponse *m = &status->message;
    McProxy__V1__ReloadStatus *reloads = &status->reloads;
    struct admin_facts facts = {.reload_problem = ""};

    if (a->parts.facts != NULL)
        a->parts.facts(a->parts.context, &facts);
    m->log_records_dropped = facts.log_records_dropped;
    m->log_lines_dropped = facts.log_lines_dropped;
    mc_proxy__v1__reload_status__init(reloads);
    reloads->succeeded = facts.reloads_succeeded;
    reloads->failed = facts.reloads_failed;
    reloads->problem = admin_text(facts.reload_problem);
    if (facts.last_reload_ms > 0) {
        set_time(&status->reloaded_at, facts.last_reload_ms);
        reloads->last_at = &status->reloaded_at;
    }
    m->reloads = reloads;
}

static void fill_server(const struct admin *a, struct status *status)
{
    McProxy__V1__GetStatusResponse *m = &status->message;

    set_time(&status->started_at, a->started_ms);
    m->started_at = &status->started_at;
    m->version = admin_text(version_text());
    m->uptime_seconds = (clock_monotonic_ms() - a->started_mono_ms) / 1000;
    m->generation = state_generation(a->parts.state);
    m->firewall_rules = state_rule_count(a->parts.state);
    m->is_draining = a->phase == ADMIN_DRAINING;
    m->worker_restarts = supervisor_restart_count(a->parts.supervisor);
    m->configured_workers = supervisor_worker_count(a->parts.supervisor);
    m->max_descriptors = process_fds_limit();
    if (process_fds_count(getpid(), &m->descriptors) != 0)
        m->descriptors = 0;
}

static int fill_routes(const struct admin *a, const McProxy__V1__GetStatusRequest *request, struct status *status,
                       struct strbuf *why)
{
    const char *addrs[SHM_LISTENERS_MAX] = {NULL};
    McProxy__V1__GetStatusResponse *m = &status->message;
    uint64_t routes = 0;
    unsigned limit;
    int rc = status_routes_limit(request, &limit, why);

    if (rc != 0 || !request->include_routes)
        return rc;
    for (unsigned i = 0; i < a->config->listener_count; i++) {
        uint16_t id;
        if (state_find_listener(a->parts.state, &a->config->listeners[i].addr, &id) != 0)
            continue;
        addrs[id] = a->config->listeners[i].addr_text;
        routes += state_route_count(a->parts.state, id);
    }
    rc = status_routes_fill(a, addrs, limit, &status->routes, m);
    m->uncounted_routes = routes > m->counted_routes ? routes - m->counted_routes : 0;
    return rc;
}

static int fill_status(const struct admin *a, const McProxy__V1__GetStatusRequest *request, struct status *status,
                       struct strbuf *why)
{
    mc_proxy__v1__get_status_response__init(&status->message);
    status->closed = calloc(a->config->listener_count + 1, sizeof *status->closed);
    if (status->closed == NULL)
        return ERR_NO_MEMORY;
    fill_server(a, status);
    fill_facts(a, status);
    fill_workers(a, status);
    fill_listeners(a, status);
    return fill_routes(a, request, status, why);
}

static void get_status(struct admin *a, struct grpc_call *call, const void *request)
{
    struct status *status = calloc(1, sizeof *status);
    char text[ADMIN_WHY_MAX];
    struct strbuf why = STRBUF_OF(text);
    int rc = status != NULL ? fill_status(a, request, status, &why) : ERR_NO_MEMORY;

    if (rc == 0)
        admin_reply(call, &status->message.base);
    else
        admin_fail(call, rc, &why);
    if (status != NULL) {
        status_routes_free(&status->routes);
        free(status->closed);
    }
    free(status);
}

void admin_on_get_status(struct grpc_call *call, struct bytes message)
{
    admin_serve(call, message, &mc_proxy__v1__get_status_request__descriptor, get_status);
}
