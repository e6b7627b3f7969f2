/* The server's metrics: collects what the workers have counted and what only the master knows, and has the endpoint render it. */

#include "server_metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin.h"
#include "clock.h"
#include "config.h"
#include "err.h"
#include "grpc_server.h"
#include "log_drain.h"
#include "log_event.h"
#include "log_output.h"
#include "metrics_render.h"
#include "metrics_server.h"
#include "process_fds.h"
#include "server_internal.h"
#include "state.h"
#include "state_change.h"
#include "state_sizes.h"
#include "supervisor.h"
#include "version.h"

/** A listener that was configured once; its counters stay as long as the process lives. */
struct known_listener {
    char addr[ADDRESS_TEXT_MAX]; /* as the configuration writes it, or wrote it last; "": never */
    bool is_configured;
};

struct server_metrics {
    struct metrics_server *endpoint;
    uint64_t started_ms; /* UTC, as the next */
    uint64_t reloaded_ms;
    uint64_t reloads[RESULT_COUNT];
    bool is_last_reload_ok;
    uint64_t last_reload_ms;                              /* UTC, done or refused; 0: none yet */
    char problem[512];                                    /* why that one was refused */
    struct known_listener known[SHM_LISTENERS_MAX];       /* by id */
    struct metrics_listener listeners[SHM_LISTENERS_MAX]; /* of one scrape, as the next */
    struct metrics_process processes[1 + SHM_WORKERS_MAX];
};

/* ---- collecting ---- */

static unsigned collect_listeners(struct server *s)
{
    struct server_metrics *m = s->metrics;
    unsigned count = 0;

    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++) {
        const struct known_listener *known = &m->known[id];
        if (known->addr[0] == '\0')
            continue;
        m->listeners[count++] = (struct metrics_listener){
            .addr = known->addr,
            .id = (uint16_t)id,
            .is_configured = known->is_configured,
            .routes = state_route_count(s->state, (uint16_t)id),
            .max_connections = state_max_connections(s->state, (uint16_t)id),
        };
    }
    return count;
}

static unsigned add_process(struct server_metrics *m, unsigned count, const char *name, pid_t pid)
{
    struct metrics_process *process = &m->processes[count];

    if (process_fds_count(pid, &process->open_fds) != 0)
        return count;
    snprintf(process->name, sizeof process->name, "%s", name);
    return count + 1;
}

static unsigned collect_processes(struct server *s)
{
    unsigned count = add_process(s->metrics, 0, "master", getpid());

    for (unsigned slot = 0; slot < SHM_WORKERS_MAX; slot++) {
        pid_t pid = supervisor_worker_pid(s->supervisor, slot, NULL);
        char name[METRICS_PROCESS_NAME_MAX];
        snprintf(name, sizeof name, "worker-%u", slot);
        if (pid != 0)
            count = add_process(s->metrics, count, name, pid);
    }
    return count;
}

static uint64_t serving_workers(const struct server *s)
{
    uint64_t count = 0;

    for (unsigned slot = 0; slot < SHM_WORKERS_MAX; slot++) {
        const char *state;
        count += supervisor_worker_pid(s->supervisor, slot, &state) != 0 && strcmp(state, "running") == 0;
    }
    return count;
}

static void collect_state(const struct server *s, struct metrics_input *in)
{
    struct state_sizes sizes = state_sizes(s->state);

    in->rules[RULE_IP] = sizes.ip_rules;
    in->rules[RULE_CIDR] = sizes.cidr_rules;
    in->rules[RULE_COUNTRY] = sizes.country_rules;
    in->values[METRIC_BACKENDS] = sizes.backends;
    in->values[METRIC_GENERATION] = state_generation(s->state);
    in->values[METRIC_TABLE_BYTES] = sizes.table_bytes;
}

static void collect_server(const struct server *s, struct metrics_input *in)
{
    const struct server_metrics *m = s->metrics;

    in->values[METRIC_WORKERS] = serving_workers(s);
    in->values[METRIC_WORKERS_CONFIGURED] = supervisor_worker_count(s->supervisor);
    in->values[METRIC_RESTARTS] = supervisor_restart_count(s->supervisor);
    in->values[METRIC_MAX_FDS] = process_fds_limit();
    in->values[METRIC_STOPPING] = s->is_stopping;
    in->values[METRIC_START_TIME] = m->started_ms / 1000;
    in->values[METRIC_RELOAD_OK] = m->is_last_reload_ok;
    in->values[METRIC_RELOAD_TIME] = m->reloaded_ms / 1000;
    memcpy(in->reloads, m->reloads, sizeof in->reloads);
    in->log_dropped[STAGE_WORKER] = log_drain_dropped(s->log_drain);
    in->log_dropped[STAGE_OUTPUT] = log_output_dropped(s->log);
}

static void collect_admin(const struct server *s, struct metrics_input *in)
{
    struct grpc_server_counts counts = {0};

    if (s->admin.grpc != NULL) /* none while an upgrade has it, or has failed and left it */
        counts = grpc_server_counts(s->admin.grpc);
    in->values[METRIC_ADMIN_CONNECTIONS] = counts.connections;
    in->values[METRIC_ADMIN_ACTIVE] = counts.open_connections;
    in->values[METRIC_ADMIN_REFUSED] = counts.connections_refused;
    in->values[METRIC_ADMIN_ABUSED] = counts.connections_abused;
    in->values[METRIC_ADMIN_CALLS] = counts.calls;
    in->values[METRIC_ADMIN_BYTES] = counts.buffered_bytes;
}

static void on_scrape(void *context, struct metrics_text *out)
{
    struct server *s = context;

    CHECK_MAGIC(s, SERVER_MAGIC);
    struct metrics_input in = {
        .stats = &s->stats,
        .listeners = s->metrics->listeners,
        .listener_count = collect_listeners(s),
        .processes = s->metrics->processes,
        .process_count = collect_processes(s),
        .routes = s->config->metrics_routes ? state_route_series(s->state) : NULL,
        .max_route_series = s->config->metrics_max_series,
        .version = version_text(),
    };
    collect_state(s, &in);
    collect_server(s, &in);
    collect_admin(s, &in);
    metrics_render(&in, out);
}

/* ---- where, and which listeners ---- */

static void know_listeners(struct server *s)
{
    const struct config *config = s->config;
    struct server_metrics *m = s->metrics;

    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++)
        m->known[id].is_configured = false;
    for (unsigned i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        uint16_t id;
        CHECK(state_assign_id(s->state, &listener->addr, &id) == 0); /* it has one already */
        memcpy(m->known[id].addr, listener->addr_text, sizeof m->known[id].addr);
        m->known[id].is_configured = true;
    }
}

int server_metrics_prepare(struct server *s, const struct config *next, struct metrics_endpoint **prepared,
                           struct strbuf *why)
{
    size_t len = why->len;

    if (next->has_metrics)
        strbuf_addf(why, "[metrics] addr %s: ", next->metrics_addr_text);
    int rc =
        metrics_server_prepare(s->metrics->endpoint, next->has_metrics ? &next->metrics_addr : NULL, prepared, why);
    if (rc == 0) {
        why->len = len;
        why->data[len] = '\0';
    }
    return rc;
}

static void log_where(const struct config *config)
{
    struct log_event e;

    log_event_begin(&e, LOG_INFO, "metrics are served");
    log_event_cstr(&e, LOG_KEY_LISTENER, config->metrics_addr_text);
    log_event_end(&e);
}

void server_metrics_switch(struct server *s, struct metrics_endpoint **prepared)
{
    know_listeners(s);
    if (metrics_server_commit(s->metrics->endpoint, prepared))
        log_where(s->config);
}

void server_metrics_abort(struct metrics_endpoint **prepared)
{
    metrics_server_abort(prepared);
}

void server_metrics_release(struct server *s)
{
    metrics_server_stop(s->metrics->endpoint);
}

void server_metrics_resume(struct server *s)
{
    char text[512];
    struct strbuf why = STRBUF_OF(text);
    struct metrics_endpoint *prepared;

    if (server_metrics_prepare(s, s->config, &prepared, &why) == 0)
        server_metrics_switch(s, &prepared);
    else
        server_log_failure("metrics are not served any more; a reload tries again", text);
}

void server_metrics_note_reload(struct server *s, const char *problem)
{
    struct server_metrics *m = s->metrics;
    struct strbuf text = STRBUF_OF(m->problem);

    m->reloads[problem == NULL ? RESULT_SUCCESS : RESULT_FAILURE]++;
    m->is_last_reload_ok = problem == NULL;
    m->last_reload_ms = clock_realtime_ms();
    if (problem == NULL)
        m->reloaded_ms = m->last_reload_ms;
    else
        notify_add_text(&text, problem);
}

void server_metrics_tell(void *server, struct admin_facts *out)
{
    const struct server *s = server;

    CHECK_MAGIC(s, SERVER_MAGIC);
    out->log_records_dropped = log_drain_dropped(s->log_drain);
    out->log_lines_dropped = log_output_dropped(s->log);
    if (s->metrics == NULL)
        return;
    out->reloads_succeeded = s->metrics->reloads[RESULT_SUCCESS];
    out->reloads_failed = s->metrics->reloads[RESULT_FAILURE];
    out->last_reload_ms = s->metrics->last_reload_ms;
    out->reload_problem = s->metrics->problem;
}

int server_metrics_open(struct server *s, struct strbuf *why)
{
    struct metrics_endpoint *prepared;
    int rc;

    s->metrics = calloc(1, sizeof *s->metrics);
    if (s->metrics == NULL || metrics_server_new(s->loop, on_scrape, s, &s->metrics->endpoint) != 0) {
        strbuf_add(why, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    s->metrics->started_ms = s->metrics->reloaded_ms = clock_realtime_ms();
    s->metrics->is_last_reload_ok = true;
    if ((rc = server_metrics_prepare(s, s->config, &prepared, why)) == 0)
        server_metrics_switch(s, &prepared);
    return rc;
}

void server_metrics_close(struct server *s)
{
    if (s->metrics == NULL)
        return;
    metrics_server_free(&s->metrics->endpoint);
    free(s->metrics);
    s->metrics = NULL;
}

void server_metrics_dump(const struct server *s, struct strbuf *out)
{
    if (s->metrics == NULL)
        return;
    metrics_server_dump(s->metrics->endpoint, out);
    strbuf_add_char(out, '\n');
}
