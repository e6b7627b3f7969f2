/* The master: brings the parts up in order, serves signals, takes the parts down in the opposite order. */

#include "server.h"

#include <errno.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "cli.h"
#include "clock.h"
#include "config.h"
#include "config_check.h"
#include "err.h"
#include "geoip.h"
#include "log_drain.h"
#include "log_event.h"
#include "log_output.h"
#include "loop_memory.h"
#include "rate_limit.h"
#include "server_internal.h"
#include "server_metrics.h"
#include "server_privileges.h"
#include "shared_file.h"
#include "state.h"
#include "supervisor.h"
#include "tables.h"
#include "version.h"
#include "worker_settings.h"
#include "worker_spawn.h"
#include "worker_user.h"

#define LOG_RING_BYTES  (1u << 20) /* one second of the access lines of 5,000 connections */
#define HOUSEKEEPING_S  0.1
#define RESOLVE_WAIT_MS 2000 /* names of backends get this long before the first connection is accepted */
#define LOG_FLUSH_MS    1000

/* ---- errors before there is a log: plain lines, as `check` prints them ---- */

static int fail(const char *reason)
{
    server_note_failure("", reason);
    fprintf(stderr, "mc-proxy server: %s\n", reason);
    return CLI_FAILED;
}

static int load_config(struct server *s)
{
    struct config_errors errors = {0};
    int rc = config_load(s->config_path, environ, &s->config, &errors);

    if (rc == 0)
        rc = config_check_files(s->config, &errors);
    for (unsigned i = 0; i < errors.warning_count; i++)
        fprintf(stderr, "warning: %s\n", errors.warnings[i]);
    for (unsigned i = 0; i < errors.count; i++)
        fprintf(stderr, "%s\n", errors.lines[i]);
    if (errors.count > 0)
        server_note_failure("the configuration is wrong", errors.lines[0]);
    config_errors_fini(&errors);
    if (rc == ERR_NO_MEMORY)
        return fail(err_text(rc));
    return rc == 0 ? CLI_DONE : CLI_CONFIG;
}

/* ---- the parts, in the order in which they come up; each returns an exit status ---- */

static int start_log(struct server *s)
{
    s->log = log_output_new(STDERR_FILENO);
    s->log_drain = s->log != NULL ? log_drain_new(s->log) : NULL;
    if (s->log_drain == NULL)
        return fail(err_text(ERR_NO_MEMORY));
    log_output_find_journal(s->log);
    log_set_sink(log_output_sink, s->log);
    server_tap_log(s);
    server_apply_log_settings(s);
    return CLI_DONE;
}

void server_apply_log_settings(struct server *s)
{
    log_output_set_format(s->log, s->config->log_json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
    log_set_level(s->config->log_level);
}

void server_log_failure(const char *message, const char *error)
{
    struct log_event e;

    server_note_failure(message, error);
    log_event_begin(&e, LOG_ERROR, message);
    log_event_cstr(&e, LOG_KEY_ERROR, error);
    log_event_end(&e);
}

/** Say what is wrong in the log's own form: it is up. */
static int fail_logged(const char *message, const char *error)
{
    server_log_failure(message, error);
    return CLI_FAILED;
}

static int open_state(struct server *s)
{
    char text[512];
    struct strbuf why = STRBUF_OF(text);
    int rc = stats_segment_init(&s->stats);

    if (rc != 0)
        return fail_logged("cannot make shared memory", shared_file_why(rc));
    s->has_stats = true;
    struct state_options options = {.loop = s->loop,
                                    .stats = s->stats.stats,
                                    .worker_slots = server_slots_to_start(s),
                                    .on_busy = server_attend,
                                    .context = s};
    if (state_open(s->config->database_path, &options, &s->state, &why) != 0)
        return fail_logged("cannot open the database", text);
    return CLI_DONE;
}

/** A rule that cannot be kept is no rule: better not to start than to let a blocked country in. */
static int refuse_countries(uint64_t count)
{
    struct log_event e;

    log_event_begin(
        &e, LOG_ERROR,
        "the database has country rules, but [firewall] geoip_db names no database to look countries up in");
    log_event_u64(&e, LOG_KEY_RULES, count);
    log_event_end(&e);
    return CLI_CONFIG;
}

void server_log_loaded(const struct server *s, const struct state_loaded *loaded)
{
    struct log_event e;

    log_event_begin(&e, LOG_INFO, "routes and firewall rules loaded");
    log_event_u64(&e, LOG_KEY_ROUTES, loaded->routes);
    log_event_u64(&e, LOG_KEY_RULES, loaded->rules);
    log_event_u64(&e, LOG_KEY_LISTENERS, s->config->listener_count);
    log_event_cstr(&e, LOG_KEY_PATH, s->config->database_path);
    log_event_end(&e);
    if (loaded->unused_listeners == 0)
        return;
    log_event_begin(&e, LOG_WARN,
                    "the database keeps routes of listeners that the configuration no longer has; they are unused");
    log_event_u64(&e, LOG_KEY_LISTENERS, loaded->unused_listeners);
    log_event_u64(&e, LOG_KEY_ROUTES, loaded->unused_routes);
    log_event_end(&e);
}

static int load_state(struct server *s)
{
    char text[1024];
    struct strbuf why = STRBUF_OF(text);
    struct state_loaded loaded;

    if (state_load(s->state, s->config, &loaded, &why) != 0)
        return fail_logged("cannot load the database", text);
    state_set_rate(s->state, s->config->rate_limit, s->config->rate_window_ms);
    state_set_geoip_available(s->state, s->config->geoip_db != NULL);
    server_log_loaded(s, &loaded);
    state_log_differences(s->state, s->config);
    return loaded.country_rules == 0 || s->config->geoip_db != NULL ? CLI_DONE : refuse_countries(loaded.country_rules);
}

/** Hand the workers a copy of the GeoIP database that nobody can change or cut. */
static int load_geoip(struct server *s)
{
    char text[512];
    struct strbuf why = STRBUF_OF(text);
    int fd;

    if (s->config->geoip_db == NULL)
        return CLI_DONE;
    strbuf_addf(&why, "%s: ", s->config->geoip_db);
    if (geoip_load_copy(s->config->geoip_db, &fd, &why) != 0) {
        (void)fail_logged("cannot load the GeoIP database", text);
        return CLI_CONFIG;
    }
    supervisor_set_geoip(s->supervisor, fd);
    return CLI_DONE;
}

static void on_all_ready(void *context)
{
    struct server *s = context;
    struct log_event e;

    CHECK_MAGIC(s, SERVER_MAGIC);
    log_event_begin(&e, LOG_INFO, "server is ready");
    log_event_u64(&e, LOG_KEY_WORKERS, supervisor_worker_count(s->supervisor));
    log_event_u64(&e, LOG_KEY_LISTENERS, s->config->listener_count);
    log_event_end(&e);
    server_admin_ready(s);
    server_workers_ready(s);
}

static void on_all_gone(void *context)
{
    struct server *s = context;

    CHECK_MAGIC(s, SERVER_MAGIC);
    server_admin_end(s);
}

static void on_log_ring(void *context, unsigned slot, void *mapping, uint64_t bytes)
{
    struct server *s = context;

    CHECK_MAGIC(s, SERVER_MAGIC);
    stats_segment_use_slot(&s->stats, slot);
    log_drain_add(s->log_drain, slot, mapping, bytes);
}

static void on_log_drain(void *context, unsigned slot)
{
    struct server *s = context;

    CHECK_MAGIC(s, SERVER_MAGIC);
    log_drain_worker_died(s->log_drain, slot);
}

static bool on_query_answer(void *context, unsigned slot, struct bytes payload)
{
    struct server *s = context;

    CHECK_MAGIC(s, SERVER_MAGIC);
    return server_take_answer(s, slot, payload);
}

static void on_worker_died(void *context, unsigned slot, pid_t pid, int status)
{
    struct server *s = context;

    (void)pid;
    (void)status;
    CHECK_MAGIC(s, SERVER_MAGIC);
    server_note_worker_died(s, slot);
}

static void on_listener_removed(void *context, unsigned id)
{
    struct server *s = context;

    CHECK_MAGIC(s, SERVER_MAGIC);
    state_listener_gone(s->state, (uint16_t)id);
    server_note_listener_closed(s);
}

/** What workers are executed from, as it is now: an upgrade may replace the file. The first to find out that there is no /proc. */
static int open_binary(struct server *s)
{
    s->binary_fd = worker_binary_open();
    return s->binary_fd >= 0 ? CLI_DONE
                             : fail_logged("cannot open our own program; is /proc mounted?", strerror(errno));
}

static int make_supervisor(struct server *s)
{
    char text[256];
    struct strbuf why = STRBUF_OF(text);
    struct worker_user user;

    int rc = worker_user_find(s->config->user, &user, &why);
    if (rc != 0)
        return fail_logged("cannot start workers", text) + (rc != ERR_SYSTEM ? CLI_CONFIG - CLI_FAILED : 0);
    if (user.uid != UINT32_MAX && server_can_become_user(user.name, &why) != 0)
        return fail_logged("cannot start workers", text);
    struct supervisor_options options = {
        .binary_fd = s->binary_fd,
        .tables_fd = tables_worker_fd(state_tables(s->state)),
        .tables_bytes = tables_bytes(state_tables(s->state)),
        .rate_fd = state_rate_fd(s->state),
        .rate_bytes = sizeof(struct rate_table),
        .stats = &s->stats,
        .log_ring_bytes = LOG_RING_BYTES,
        .drop_uid = user.uid,
        .drop_gid = user.gid,
        .worker_count = server_slots_to_start(s),
        .settings = ctl_settings_of(s->config),
    };
    struct supervisor_callbacks callbacks = {
        .on_all_ready = on_all_ready,
        .on_all_gone = on_all_gone,
        .on_log_ring = on_log_ring,
        .on_log_drain = on_log_drain,
        .on_listener_removed = on_listener_removed,
        .on_query_answer = on_query_answer,
        .on_worker_died = on_worker_died,
        .context = s,
    };
    s->has_access_lines = options.settings.log_access != 0;
    rc = supervisor_new(s->loop, &options, &callbacks, &s->supervisor);
    return rc == 0 ? CLI_DONE : fail_logged("cannot start workers", err_text(rc));
}

static int open_admin(struct server *s)
{
    char text[1024];
    struct strbuf why = STRBUF_OF(text);

    return server_admin_open(s, &why) == 0 ? CLI_DONE : fail_logged("cannot start the admin API", text);
}

static int open_metrics(struct server *s)
{
    char text[512];
    struct strbuf why = STRBUF_OF(text);

    return server_metrics_open(s, &why) == 0 ? CLI_DONE : fail_logged("cannot serve metrics", text);
}

/* ---- running ---- */

/** Workers begin when every backend's name was asked for once, so that the first connections find their backends. */
static void start_workers_when_settled(struct server *s)
{
    char text[256];
    struct strbuf why = STRBUF_OF(text);

    if (s->is_started || s->is_stopping ||
        (!state_is_settled(s->state) && clock_monotonic_ms() < s->settle_deadline_ms))
        return;
    s->is_started = true;
    if (supervisor_start(s->supervisor, &why) != 0) {
        s->exit_status = fail_logged("cannot start the workers", text);
        ev_break(s->loop, EVBREAK_ALL);
    }
    server_continue_reload(s);
}

static void on_housekeeping(EV_P_ ev_timer *timer, int revents)
{
    struct server *s = timer->data;

    (void)loop;
    (void)revents;
    CHECK_MAGIC(s, SERVER_MAGIC);
    if (!loop_memory_refill())
        log_text(LOG_WARN, "memory is short: the event loop has used its reserve");
    start_workers_when_settled(s);
    state_housekeeping(s->state, clock_monotonic_ms());
    server_admin_tick(s);
    server_upgrade_turn(s);
}

static void start_watchers(struct server *s)
{
    ev_timer_init(&s->housekeeping, on_housekeeping, 0., HOUSEKEEPING_S);
    s->housekeeping.data = s;
    ev_timer_start(s->loop, &s->housekeeping);
    log_output_start(s->log, s->loop);
    log_drain_start(s->log_drain, s->loop);
}

static void log_start(const struct server *s)
{
    struct log_event e;

    log_event_begin(&e, LOG_INFO, "server starts");
    log_event_cstr(&e, LOG_KEY_VERSION, version_text());
    log_event_u64(&e, LOG_KEY_PID, (uint64_t)getpid());
    log_event_u64(&e, LOG_KEY_WORKERS, s->config->workers);
    log_event_cstr(&e, LOG_KEY_FILE, s->config_path);
    log_event_end(&e);
}

/** Bring everything up. */
static int start(struct server *s)
{
    char text[128];
    struct strbuf why = STRBUF_OF(text);
    int status;

    if (server_give_up_privileges(&why) != 0 || server_inherit(s, &why) != 0)
        return fail(text);
    if ((status = load_config(s)) != CLI_DONE || (status = start_log(s)) != CLI_DONE)
        return status;
    log_start(s);
    server_raise_descriptor_limit(s);
    ev_set_allocator(loop_memory_realloc);
    (void)loop_memory_refill();
    s->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (s->loop == NULL)
        return fail_logged("cannot make the event loop", strerror(errno));
    server_watch_signals(s); /* answered when the loop runs; until then none ends us halfway */
    server_hold_signals(false);
    if (!s->predecessor.is_successor) /* which is not the process that the service manager listens to yet */
        server_notify_start(s);
    /* The database is seeded last: a start that fails, for a port in use, leaves the file's routes to be seeded by the next. */
    if ((status = open_binary(s)) != CLI_DONE || (status = server_ask_for_database(s)) != CLI_DONE ||
        (status = open_state(s)) != CLI_DONE || (status = make_supervisor(s)) != CLI_DONE ||
        (status = load_geoip(s)) != CLI_DONE || (status = server_add_listeners(s)) != CLI_DONE ||
        (status = open_admin(s)) != CLI_DONE || (status = open_metrics(s)) != CLI_DONE ||
        (status = load_state(s)) != CLI_DONE)
        return status;
    if (!s->predecessor.is_successor)
        server_admin_serve(s);
    s->settle_deadline_ms = clock_monotonic_ms() + RESOLVE_WAIT_MS;
    start_watchers(s);
    return CLI_DONE;
}

/** Take everything down, as far as it came up. */
static void fini(struct server *s)
{
    server_upgrade_fini(s);
    inherited_sockets_fini(&s->inherited);
    fd_store_fini(&s->fd_store);
    server_metrics_close(s); /* it asks all others */
    server_admin_close(s);
    supervisor_free(&s->supervisor);
    state_close(&s->state);
    if (s->binary_fd >= 0)
        close(s->binary_fd);
    if (s->log_drain != NULL) {
        log_drain_stop(s->log_drain);
        log_drain_free(&s->log_drain);
    }
    if (s->has_stats)
        stats_segment_fini(&s->stats);
    if (s->log != NULL) {
        log_output_stop(s->log);
        log_output_flush(s->log, LOG_FLUSH_MS);
        log_set_sink(NULL, NULL);
        log_output_free(&s->log);
    }
    if (s->loop != NULL)
        ev_loop_destroy(s->loop);
    config_free(&s->config);
}

int server_run(const char *config_path)
{
    struct server server = {.magic = SERVER_MAGIC,
                            .config_path = config_path,
                            .binary_fd = -1,
                            .inherited = {.upgrade_fd = -1},
                            .predecessor = {.fd = -1}};
    struct server *s = &server;

    server_hold_signals(true);
    server_upgrade_init(s);
    server_dump_at_panic(s);
    int status = start(s);

    if (status == CLI_DONE) {
        ev_run(s->loop, 0);
        status = s->exit_status;
        log_drain_end(s->log_drain);
        log_text(LOG_INFO, "server stopped");
    }
    server_successor_fini(s, status);
    server_dump_at_panic(NULL);
    fini(s);
    return status;
}
