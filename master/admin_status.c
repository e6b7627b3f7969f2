/* GetStatus: the server at this moment, from the configuration, the tables, the supervisor and the workers' counters. */

#include <stdatomic.h>
#include <stdlib.h>

#include "admin_internal.h"
#include "clock.h"
#include "config.h"
#include "err.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "state_change.h"
#include "stats_segment.h"
#include "supervisor.h"
#include "version.h"

static const char *const proxy_words[] = {
    [PROXY_MODE_OFF] = "off",
    [PROXY_MODE_REQUIRED] = "required",
    [PROXY_MODE_MIXED] = "mixed",
};

/** The message and what it points to, in one piece of memory. */
struct status {
    McProxy__V1__GetStatusResponse message;
    Google__Protobuf__Timestamp started_at;
    McProxy__V1__WorkerStatus workers[SHM_WORKERS_MAX];
    McProxy__V1__WorkerStatus *worker_list[SHM_WORKERS_MAX];
    McProxy__V1__ListenerStatus listeners[SHM_LISTENERS_MAX];
    McProxy__V1__ListenerStatus *listener_list[SHM_LISTENERS_MAX];
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

static void fill_listener(const struct admin *a, struct config_listener *listener, McProxy__V1__ListenerStatus *out)
{
    uint16_t id;

    mc_proxy__v1__listener_status__init(out);
    out->addr = listener->addr_text;
    out->name = listener->name;
    out->proxy_protocol = admin_text(proxy_words[listener->proxy_mode]);
    if (state_find_listener(a->parts.state, &listener->addr, &id) != 0)
        return;
    out->route_count = state_route_count(a->parts.state, id);
    out->max_connections = state_max_connections(a->parts.state, id);
    out->active_connections = stats_segment_listener_active(a->parts.stats, id);
    out->total_connections = stats_segment_listener_accepted(a->parts.stats, id);
}

static void fill_listeners(const struct admin *a, struct status *status)
{
    McProxy__V1__GetStatusResponse *m = &status->message;

    CHECK(a->config->listener_count <= SHM_LISTENERS_MAX);
    m->listeners = status->listener_list;
    for (; m->n_listeners < a->config->listener_count; m->n_listeners++) {
        McProxy__V1__ListenerStatus *listener = &status->listeners[m->n_listeners];
        fill_listener(a, &a->config->listeners[m->n_listeners], listener);
        m->listeners[m->n_listeners] = listener;
    }
}

static void get_status(struct admin *a, struct grpc_call *call, const void *request)
{
    struct status *status = calloc(1, sizeof *status);

    (void)request;
    if (status == NULL) {
        admin_fail_text(call, ERR_NO_MEMORY, "");
        return;
    }
    McProxy__V1__GetStatusResponse *m = &status->message;
    mc_proxy__v1__get_status_response__init(m);
    google__protobuf__timestamp__init(&status->started_at);
    status->started_at.seconds = (int64_t)(a->started_ms / 1000);
    status->started_at.nanos = (int32_t)(a->started_ms % 1000 * 1000000);
    m->started_at = &status->started_at;
    m->version = admin_text(version_text());
    m->uptime_seconds = (clock_monotonic_ms() - a->started_mono_ms) / 1000;
    m->generation = state_generation(a->parts.state);
    m->firewall_rules = state_rule_count(a->parts.state);
    m->is_draining = a->phase == ADMIN_DRAINING;
    fill_workers(a, status);
    fill_listeners(a, status);
    admin_reply(call, &m->base);
    free(status);
}

void admin_on_get_status(struct grpc_call *call, struct bytes message)
{
    admin_serve(call, message, &mc_proxy__v1__get_status_request__descriptor, get_status);
}
