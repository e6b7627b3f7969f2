/* What signals ask of the server. */

#include <signal.h>

#include "log_event.h"
#include "server_internal.h"
#include "supervisor.h"

uint64_t server_open_connections(const struct server *s)
{
    uint64_t sum = 0;

    for (unsigned slot = 0; slot < SHM_WORKERS_MAX; slot++)
        sum += supervisor_worker_pid(s->supervisor, slot, NULL) != 0 ? stats_segment_slot_active(&s->stats, slot) : 0;
    return sum;
}

static void on_stop_signal(EV_P_ ev_signal *signal_watcher, int revents)
{
    struct server *s = signal_watcher->data;
    struct log_event e;

    (void)loop;
    (void)revents;
    CHECK_MAGIC(s, SERVER_MAGIC);
    log_event_begin(&e, LOG_INFO,
                    s->is_stopping ? "stopping at once" : "stopping: no new connections, running ones drain");
    log_event_cstr(&e, LOG_KEY_SIGNAL, signal_watcher->signum == SIGTERM ? "SIGTERM" : "SIGINT");
    log_event_u64(&e, LOG_KEY_CONNECTIONS, server_open_connections(s));
    log_event_end(&e);
    server_admin_draining(s);
    server_upgrade_stop(s);
    if (!s->is_started)
        server_admin_end(s);
    else if (s->is_stopping)
        supervisor_stop_now(s->supervisor);
    else if (s->is_stored)
        supervisor_drain(
            s->supervisor); /* a client that comes now waits in a socket that is kept, for the next start */
    else
        supervisor_close(s->supervisor);
    if (!s->is_stopping)
        server_end_reload(s);
    s->is_stopping = true;
    server_notify_stopping(s);
}

static void on_reload_signal(EV_P_ ev_signal *signal_watcher, int revents)
{
    struct server *s = signal_watcher->data;

    (void)loop;
    (void)revents;
    CHECK_MAGIC(s, SERVER_MAGIC);
    if (s->is_stopping || s->upgrade.is_handed_over)
        log_text(LOG_WARN, "not reloading: the server is stopping");
    else
        server_ask_reload(s);
}

static void on_upgrade_signal(EV_P_ ev_signal *signal_watcher, int revents)
{
    struct server *s = signal_watcher->data;

    (void)loop;
    (void)revents;
    CHECK_MAGIC(s, SERVER_MAGIC);
    server_ask_upgrade(s);
}

/* By habit from servers that open their logs anew at it; unwatched it would end this one on the spot. */
static void on_useless_signal(EV_P_ ev_signal *signal_watcher, int revents)
{
    (void)loop;
    (void)signal_watcher;
    (void)revents;
    log_text(LOG_WARN, "SIGUSR1 does nothing: there is no log file to open anew");
}

static void watch_signal(struct server *s, ev_signal *watcher, void (*callback)(EV_P_ ev_signal *, int), int signum)
{
    ev_signal_init(watcher, callback, signum);
    watcher->data = s;
    ev_signal_start(s->loop, watcher);
}

void server_hold_signals(bool hold)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigprocmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

void server_watch_signals(struct server *s)
{
    watch_signal(s, &s->on_term, on_stop_signal, SIGTERM);
    watch_signal(s, &s->on_int, on_stop_signal, SIGINT);
    watch_signal(s, &s->on_hup, on_reload_signal, SIGHUP);
    watch_signal(s, &s->on_usr1, on_useless_signal, SIGUSR1);
    watch_signal(s, &s->on_usr2, on_upgrade_signal, SIGUSR2);
}
