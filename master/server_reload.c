/*
 * The reload. Two halves: everything that can fail (reading, checking, the GeoIP database, sockets, the database) and then what cannot
 * (publishing, telling the workers). Whatever the first half has made is dropped when it fails, and nothing has changed.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "config.h"
#include "config_check.h"
#include "err.h"
#include "geoip.h"
#include "grpc_server.h"
#include "log_event.h"
#include "server_internal.h"
#include "server_metrics.h"
#include "state.h"
#include "supervisor.h"
#include "worker_settings.h"

/** A configuration on its way into force. */
struct reload {
    struct server *server;
    struct config *config;
    int geoip_fd;                      /* -1: none */
    unsigned count;                    /* of the next two */
    struct ctl_listener **listeners;   /* one for each of the configuration, in its order */
    struct listener_record **prepared; /* the same; NULL for those that are there already */
    struct grpc_endpoints *endpoints;  /* of the admin API */
    struct metrics_endpoint *metrics;  /* where metrics are served */
    bool is_worker_count_prepared;
    struct state_loaded loaded;
    char text[1024];
    struct strbuf why; /* over text */
};

/* ---- the half that may fail: each step returns 0, or has said why in r->why or in the log ---- */

static void log_problems(const struct config_errors *errors)
{
    for (unsigned i = 0; i < errors->warning_count; i++) {
        struct log_event e;
        log_event_begin(&e, LOG_WARN, "configuration");
        log_event_cstr(&e, LOG_KEY_DETAIL, errors->warnings[i]);
        log_event_end(&e);
    }
    for (unsigned i = 0; i < errors->count; i++)
        server_log_failure("configuration error", errors->lines[i]);
}

static int read_config(struct reload *r)
{
    struct config_errors errors = {0};
    int rc = config_load(r->server->config_path, environ, &r->config, &errors);

    if (rc == 0)
        rc = config_check_files(r->config, &errors);
    log_problems(&errors);
    if (rc != 0)
        strbuf_addf(&r->why, "%s has %u error%s, see above", r->server->config_path, errors.count,
                    errors.count == 1 ? "" : "s");
    config_errors_fini(&errors);
    return rc;
}

static bool is_same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/** What is settled when the process starts. */
static int refuse_what_needs_a_restart(struct reload *r)
{
    const struct config *old = r->server->config;

    if (!is_same_text(old->database_path, r->config->database_path)) {
        strbuf_add(&r->why, "[database] path cannot be changed by a reload: restart the server");
        return ERR_INVALID;
    }
    if (!is_same_text(old->user, r->config->user)) {
        strbuf_add(&r->why, "[server] user cannot be changed by a reload: restart the server");
        return ERR_INVALID;
    }
    return 0;
}

static int load_geoip(struct reload *r)
{
    if (r->config->geoip_db == NULL)
        return 0;
    strbuf_addf(&r->why, "[firewall] geoip_db: %s: ", r->config->geoip_db);
    int rc = geoip_load_copy(r->config->geoip_db, &r->geoip_fd, &r->why);
    if (rc == 0)
        strbuf_reset(&r->why);
    return rc;
}

/** Before the listeners, which are then made for as many workers. */
static int prepare_workers(struct reload *r)
{
    strbuf_add(&r->why, "[server] workers: ");
    int rc = supervisor_prepare_worker_count(r->server->supervisor, r->config->workers, &r->why);

    if (rc != 0)
        return rc;
    r->is_worker_count_prepared = true;
    strbuf_reset(&r->why);
    return 0;
}

static bool is_listening_already(const struct reload *r, const struct listen_addr *addr)
{
    const struct config *old = r->server->config;

    for (unsigned i = 0; i < old->listener_count; i++) {
        if (listen_addr_equal(&old->listeners[i].addr, addr))
            return true;
    }
    return false;
}

static int prepare_listener(struct reload *r, unsigned i)
{
    const struct config_listener *listener = &r->config->listeners[i];
    uint16_t id;
    int rc = state_assign_id(r->server->state, &listener->addr, &id);

    if (rc != 0) {
        strbuf_addf(&r->why, "listener %s: more than %d different addresses since the start: restart the server",
                    listener->name, SHM_LISTENERS_MAX);
        return rc;
    }
    r->listeners[i] = ctl_listener_of(listener, id);
    if (r->listeners[i] == NULL) {
        strbuf_add(&r->why, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    if (is_listening_already(r, &listener->addr))
        return 0;
    struct supervisor_listener spec = {
        .name = listener->name, .ctl = r->listeners[i], .addr = listener->addr, .inherited_fd = -1};
    return supervisor_prepare_listener(r->server->supervisor, &spec, 0, &r->prepared[i], &r->why);
}

static int prepare_listeners(struct reload *r)
{
    int rc = 0;

    r->count = r->config->listener_count;
    /* One more: calloc(0) may be NULL. NOLINTBEGIN(bugprone-sizeof-expression): both are arrays of pointers. */
    r->listeners = calloc(r->count + 1, sizeof r->listeners[0]);
    r->prepared = calloc(r->count + 1, sizeof r->prepared[0]);
    /* NOLINTEND(bugprone-sizeof-expression) */
    if (r->listeners == NULL || r->prepared == NULL) {
        strbuf_add(&r->why, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    for (unsigned i = 0; i < r->count && rc == 0; i++)
        rc = prepare_listener(r, i);
    return rc;
}

static int load_state(struct reload *r)
{
    const struct config *old = r->server->config;

    if (r->config->geoip_db == NULL && old->geoip_db != NULL && state_country_rules(r->server->state) > 0) {
        strbuf_add(&r->why, "[firewall] geoip_db cannot go while there are country rules: remove them first");
        return ERR_INVALID;
    }
    return state_load(r->server->state, r->config, &r->loaded, &r->why);
}

/* ---- the half that cannot fail ---- */

static bool has_listener(const struct config *config, const struct listen_addr *addr)
{
    for (unsigned i = 0; i < config->listener_count; i++) {
        if (listen_addr_equal(&config->listeners[i].addr, addr))
            return true;
    }
    return false;
}

static void log_half_done(const char *what)
{
    server_log_failure("reloaded, but not everything took effect: reload again or restart", what);
}

static void switch_listeners(struct reload *r)
{
    struct server *s = r->server;

    for (unsigned i = 0; i < r->config->listener_count; i++) {
        if (r->prepared[i] != NULL)
            supervisor_commit_listener(s->supervisor, &r->prepared[i]);
        else if (supervisor_update_listener(s->supervisor, r->listeners[i]) != 0)
            log_half_done("out of memory: a listener keeps its old properties");
    }
    for (unsigned i = 0; i < s->config->listener_count; i++) {
        const struct listen_addr *addr = &s->config->listeners[i].addr;
        uint16_t id;
        if (!has_listener(r->config, addr) && state_assign_id(s->state, addr, &id) == 0 &&
            supervisor_remove_listener(s->supervisor, id) != 0)
            log_half_done("a listener that the configuration no longer has was not there");
    }
}

/** What was prepared cannot fail; a change that has to wait for an earlier one may, and says so itself. */
static void switch_worker_count(struct reload *r)
{
    struct server *s = r->server;
    char text[256];
    struct strbuf why = STRBUF_OF(text);

    r->is_worker_count_prepared = false;
    if (r->config->workers == supervisor_worker_count(s->supervisor))
        return;
    if (r->config->workers > s->config->workers)
        state_set_worker_slots(s->state, r->config->workers);
    if (supervisor_set_worker_count(s->supervisor, r->config->workers, &why) != 0)
        log_half_done(text);
}

static void switch_over(struct reload *r)
{
    struct server *s = r->server;

    state_set_rate(s->state, r->config->rate_limit, r->config->rate_window_ms);
    state_set_geoip_available(s->state, r->config->geoip_db != NULL);
    server_apply_settings(s, r->config);
    supervisor_set_geoip(s->supervisor, r->geoip_fd);
    r->geoip_fd = -1;
    switch_listeners(r);
    switch_worker_count(r);
    struct config *old = s->config;
    s->config = r->config;
    r->config = old;
    server_admin_switch(s, &r->endpoints);
    server_metrics_switch(s, &r->metrics);
    server_apply_log_settings(s);
    server_log_loaded(s, &r->loaded);
    state_log_differences(s->state, s->config);
    state_retry_names(s->state);
}

static void reload_fini(struct reload *r)
{
    if (r->is_worker_count_prepared)
        supervisor_abort_worker_count(r->server->supervisor);
    for (unsigned i = 0; r->prepared != NULL && i < r->count; i++)
        supervisor_abort_listener(&r->prepared[i]);
    for (unsigned i = 0; r->listeners != NULL && i < r->count; i++)
        free(r->listeners[i]);
    free(r->listeners);
    free(r->prepared);
    grpc_server_abort(&r->endpoints);
    server_metrics_abort(&r->metrics);
    if (r->geoip_fd >= 0)
        close(r->geoip_fd);
    config_free(&r->config);
}

/** A listener that comes back while its sockets are still being closed: the reload is done when they are. */
static bool must_wait(const struct reload *r)
{
    for (unsigned i = 0; i < r->config->listener_count; i++) {
        if (supervisor_is_removing(r->server->supervisor, &r->config->listeners[i].addr))
            return true;
    }
    return false;
}

static int make_ready(struct reload *r)
{
    int rc;

    if ((rc = refuse_what_needs_a_restart(r)) != 0 || (rc = load_geoip(r)) != 0 || (rc = prepare_workers(r)) != 0 ||
        (rc = prepare_listeners(r)) != 0 ||
        (rc = server_admin_prepare(r->server, r->config, &r->endpoints, &r->why)) != 0 ||
        (rc = server_metrics_prepare(r->server, r->config, &r->metrics, &r->why)) != 0)
        return rc;
    return load_state(r);
}

/** problem: why it was refused; NULL: it was not. */
static void tell_verdict(struct server *s, const char *problem)
{
    if (problem != NULL)
        server_log_failure("not reloaded: the old configuration stays in force", problem);
    else
        log_text(LOG_INFO, "configuration reloaded");
    server_metrics_note_reload(s, problem);
    server_notify_reloaded(s, problem);
}

/** False: to be done again when a listener is closed. */
static bool reload_once(struct server *s)
{
    struct reload reload = {.server = s, .geoip_fd = -1};
    struct reload *r = &reload;

    r->why = STRBUF_OF(r->text);
    log_text(LOG_INFO, "reloading the configuration");
    server_notify_reloading(s);
    int rc = read_config(r);
    bool is_waiting = rc == 0 && must_wait(r);
    bool is_ready = rc == 0 && !is_waiting && make_ready(r) == 0;
    if (is_ready)
        switch_over(r);
    reload_fini(r); /* addresses that were bound in vain are free before anybody hears of the end */
    if (is_waiting)
        log_text(LOG_INFO, "the reload waits for a removed listener to be closed");
    else
        tell_verdict(s, is_ready ? NULL : r->text);
    return !is_waiting;
}

/* ---- when ---- */

static void on_reload_timer(EV_P_ ev_timer *timer, int revents)
{
    struct server *s = timer->data;

    (void)loop;
    (void)revents;
    CHECK_MAGIC(s, SERVER_MAGIC);
    reload_gate_begin(&s->reload_gate);
    s->is_reload_waiting = !reload_once(s);
    reload_gate_end(&s->reload_gate, clock_monotonic_ms());
    server_continue_reload(s);
}

/* By a timer also when it is now: some callers are in the middle of the supervisor's work. */
void server_continue_reload(struct server *s)
{
    uint64_t wait_ms = reload_gate_wait_ms(&s->reload_gate, clock_monotonic_ms());

    if (wait_ms == RELOAD_GATE_CLOSED || !s->is_started || s->is_stopping || server_upgrade_is_busy(s) ||
        s->predecessor.is_successor || ev_is_active(&s->reload_timer))
        return;
    ev_timer_init(&s->reload_timer, on_reload_timer, (double)wait_ms / 1000., 0.);
    s->reload_timer.data = s;
    ev_timer_start(s->loop, &s->reload_timer);
}

bool server_take_reload(struct server *s)
{
    bool is_asked = reload_gate_wait_ms(&s->reload_gate, 0) != RELOAD_GATE_CLOSED || s->is_reload_waiting;

    s->is_reload_waiting = false;
    ev_timer_stop(s->loop, &s->reload_timer);
    return is_asked;
}

void server_ask_reload(struct server *s)
{
    if (server_upgrade_is_busy(s))
        log_text(LOG_INFO, "the reload waits for the end of the upgrade");
    reload_gate_ask(&s->reload_gate);
    server_continue_reload(s);
}

void server_note_listener_closed(struct server *s)
{
    if (s->is_reload_waiting)
        server_ask_reload(s);
    s->is_reload_waiting = false;
}

void server_end_reload(struct server *s)
{
    if (server_take_reload(s))
        log_text(LOG_WARN, "not reloading: the server is stopping");
}
