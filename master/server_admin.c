/* The admin API within the server: when it begins to listen, what a reload does to it, and how it ends. */

#include "access_record.h"
#include "admin.h"
#include "clock.h"
#include "config.h"
#include "grpc_server.h"
#include "log_event.h"
#include "server_internal.h"
#include "server_metrics.h"
#include "supervisor.h"
#include "worker_settings.h"

#define GOODBYE_LOOK_S 0.005
#define GOODBYE_MS     250 /* for clients to take the last answers and to hear that this was it */

/* ---- live views of connections ---- */

/** Records of connections are lines only if the configuration wants them, and made also if somebody watches. */
void server_apply_settings(struct server *s, const struct config *config)
{
    struct ctl_settings settings = ctl_settings_of(config);

    s->has_access_lines = settings.log_access != 0;
    settings.log_access = s->has_access_lines || (s->admin.admin != NULL && admin_is_watched(s->admin.admin));
    supervisor_set_settings(s->supervisor, &settings);
}

static void on_watching(void *context, bool is_anybody)
{
    struct server *s = context;

    CHECK_MAGIC(s, SERVER_MAGIC);
    server_apply_settings(s, s->config);
    log_drain_read_on(s->log_drain, is_anybody);
}

static bool is_access_record(struct bytes record)
{
    struct log_record_reader reader;

    return log_record_open(&reader, record) == 0 && (bytes_equal_str(reader.message, ACCESS_RECORD_MESSAGE) ||
                                                     bytes_equal_str(reader.message, ACCESS_HELD_BACK_MESSAGE));
}

static bool on_record(void *context, struct bytes record)
{
    struct server *s = context;

    CHECK_MAGIC(s, SERVER_MAGIC);
    if (s->admin.admin != NULL)
        admin_take_record(s->admin.admin, record);
    return s->has_access_lines || !is_access_record(record);
}

static void on_dropped(void *context, uint64_t count)
{
    struct server *s = context;

    CHECK_MAGIC(s, SERVER_MAGIC);
    if (s->admin.admin != NULL)
        admin_note_dropped(s->admin.admin, count);
}

void server_tap_log(struct server *s)
{
    s->log_tap = (struct log_drain_tap){.on_record = on_record, .on_dropped = on_dropped, .context = s};
    log_drain_set_tap(s->log_drain, &s->log_tap);
}

/** Without an admin API nobody asks: its answer comes too late, and is no fault of the worker. */
bool server_take_answer(struct server *s, unsigned slot, struct bytes payload)
{
    return s->admin.admin == NULL || admin_take_answer(s->admin.admin, slot, payload);
}

void server_note_worker_died(struct server *s, unsigned slot)
{
    if (s->admin.admin != NULL)
        admin_worker_died(s->admin.admin, slot);
}

void server_admin_tick(struct server *s)
{
    if (s->admin.admin != NULL)
        admin_tick(s->admin.admin);
}

/* ---- beginning, reload ---- */

int server_admin_open(struct server *s, struct strbuf *why)
{
    struct server_admin *a = &s->admin;
    struct admin_parts parts = {.state = s->state,
                                .supervisor = s->supervisor,
                                .stats = &s->stats,
                                .facts = server_metrics_tell,
                                .on_watching = on_watching,
                                .context = s};
    int rc;

    if ((rc = admin_new(&parts, &a->admin)) != 0 ||
        (rc = grpc_server_new(s->loop, admin_methods(), a->admin, &a->grpc)) != 0) {
        strbuf_add(why, "out of memory");
        return rc;
    }
    return grpc_server_prepare(a->grpc, s->config, &a->prepared, why);
}

static void log_addresses(const struct config *config)
{
    for (unsigned i = 0; i < config->grpc_addr_count; i++) {
        struct log_event e;
        log_event_begin(&e, LOG_INFO, "admin API serves");
        log_event_cstr(&e, LOG_KEY_ADDRESSES, config->grpc_addrs[i].text);
        log_event_end(&e);
    }
}

void server_admin_serve(struct server *s)
{
    admin_set_config(s->admin.admin, s->config);
    grpc_server_commit(s->admin.grpc, &s->admin.prepared);
    log_addresses(s->config);
}

int server_admin_prepare(struct server *s, const struct config *config, struct grpc_endpoints **out, struct strbuf *why)
{
    return grpc_server_prepare(s->admin.grpc, config, out, why);
}

void server_admin_switch(struct server *s, struct grpc_endpoints **prepared)
{
    admin_set_config(s->admin.admin, s->config);
    grpc_server_commit(s->admin.grpc, prepared);
}

void server_admin_ready(struct server *s)
{
    admin_set_phase(s->admin.admin, ADMIN_SERVING);
}

void server_admin_draining(struct server *s)
{
    if (s->admin.admin != NULL) /* a successor may have it already */
        admin_set_phase(s->admin.admin, ADMIN_DRAINING);
}

void server_admin_say_goodbye(struct server *s)
{
    admin_end_streams(s->admin.admin);
    grpc_server_say_goodbye(s->admin.grpc);
}

bool server_admin_is_quiet(const struct server *s)
{
    return s->admin.grpc == NULL || grpc_server_counts(s->admin.grpc).open_connections == 0;
}

/* ---- the end ---- */

static void on_goodbye(EV_P_ ev_timer *timer, int revents)
{
    struct server *s = timer->data;

    (void)revents;
    CHECK_MAGIC(s, SERVER_MAGIC);
    if (server_admin_is_quiet(s) || clock_monotonic_ms() >= s->admin.goodbye_until_ms)
        ev_break(EV_A_ EVBREAK_ALL);
}

void server_admin_end(struct server *s)
{
    struct server_admin *a = &s->admin;

    if (a->goodbye_until_ms != 0)
        return;
    a->goodbye_until_ms = clock_monotonic_ms() + GOODBYE_MS;
    if (a->grpc != NULL)
        server_admin_say_goodbye(s);
    ev_timer_init(&a->goodbye, on_goodbye, 0., GOODBYE_LOOK_S);
    a->goodbye.data = s;
    ev_timer_start(s->loop, &a->goodbye);
}

void server_admin_close(struct server *s)
{
    if (s->admin.goodbye_until_ms != 0)
        ev_timer_stop(s->loop, &s->admin.goodbye);
    grpc_server_abort(&s->admin.prepared);
    grpc_server_free(&s->admin.grpc); /* its calls go first: they hold on to the admin */
    admin_free(&s->admin.admin);
}
