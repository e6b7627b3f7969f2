/* The admin API within the server: when it begins to listen, what a reload does to it, and how it ends. */

#include "admin.h"
#include "clock.h"
#include "config.h"
#include "grpc_server.h"
#include "log_event.h"
#include "server_internal.h"
#include "server_metrics.h"

#define GOODBYE_LOOK_S 0.005
#define GOODBYE_MS     250 /* for clients to take the last answers and to hear that this was it */

int server_admin_open(struct server *s, struct strbuf *why)
{
    struct server_admin *a = &s->admin;
    struct admin_parts parts = {.state = s->state,
                                .supervisor = s->supervisor,
                                .stats = &s->stats,
                                .facts = server_metrics_tell,
                                .facts_context = s};
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
