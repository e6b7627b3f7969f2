/*
 * What the service manager is told of the server's life: readiness, reloads, the stop, one line of status, and the watchdog's food,
 * which only a server whose workers all answer gives.
 */

#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "config.h"
#include "log_event.h"
#include "log_output.h"
#include "server_internal.h"
#include "supervisor.h"

#define TICK_S             1.
#define STATUS_TICKS       3         /* a status that changes all the time is told every so many seconds */
#define START_EXTEND_US    120000000 /* a database of a million routes is read and checked within it */
#define STOPPING_EXTEND_US 10000000  /* repeated at every tick: as long as we drain, we are alive */
#define WATCHDOG_SHARE     3         /* of the time that we have: one message may get lost */

/* ---- the line of status ---- */

static void add_count(struct strbuf *out, uint64_t count, const char *one, const char *many)
{
    strbuf_addf(out, "%llu %s", (unsigned long long)count, count == 1 ? one : many);
}

static void add_running(const struct server *s, struct strbuf *out)
{
    const struct server_notify *n = &s->notify;

    add_count(out, supervisor_worker_count(s->supervisor), "worker", "workers");
    strbuf_add(out, ", ");
    add_count(out, s->config->listener_count, "listener", "listeners");
    strbuf_add(out, ", ");
    add_count(out, server_open_connections(s), "connection", "connections");
    if (!supervisor_is_answering(s->supervisor))
        strbuf_add(out, "; a worker does not answer");
    if (n->problem[0] != '\0')
        strbuf_addf(out, "; %s", n->problem);
}

static void add_stopping(const struct server *s, struct strbuf *out)
{
    strbuf_add(out, "stopping, ");
    add_count(out, server_open_connections(s), "connection", "connections");
    strbuf_add(out, " left");
}

static void make_status(const struct server *s, struct strbuf *out)
{
    if (s->is_stopping)
        add_stopping(s, out);
    else
        add_running(s, out);
}

/** Send a state together with the status that goes with it. Whoever then looks into the log finds there what has led to it. */
static bool say(struct server *s, const char *state)
{
    struct server_notify *n = &s->notify;
    char text[SERVER_STATUS_MAX];
    struct strbuf status = STRBUF_OF(text);

    if (state[0] != '\0')
        (void)log_output_flush(s->log, 0);
    make_status(s, &status);
    if (!notify_sendf(&n->notify, "%s%sSTATUS=%s", state, state[0] != '\0' ? "\n" : "", text))
        return false;
    memcpy(n->said, text, sizeof n->said);
    n->ticks_since_said = 0;
    return true;
}

/* ---- events ---- */

static bool say_ready(struct server *s)
{
    char text[64];
    struct strbuf state = STRBUF_OF(text);

    strbuf_addf(&state, "READY=1\nMAINPID=%ld", (long)getpid());
    return say(s, text);
}

/** The sockets go first: who reads no further than READY=1 would keep them open in the messages that he has not read. */
static void store_and_say_ready(struct server *s)
{
    server_store_sockets(s);
    s->notify.is_ready_lost = !say_ready(s);
}

void server_notify_ready(struct server *s)
{
    if (s->notify.is_ready) /* workers that were added are ready, too */
        return;
    s->notify.is_ready = true;
    store_and_say_ready(s);
}

void server_notify_reloading(struct server *s)
{
    if (s->notify.is_ready)
        notify_reloading(&s->notify.notify);
}

void server_notify_reloaded(struct server *s, const char *problem)
{
    struct server_notify *n = &s->notify;
    struct strbuf out = STRBUF_OF(n->problem);

    if (problem != NULL) {
        strbuf_add(&out, "the last reload failed: ");
        notify_add_text(&out, problem);
    }
    if (!n->is_ready)
        return;
    store_and_say_ready(s);
}

void server_notify_upgrade_failed(struct server *s, const char *problem)
{
    struct strbuf out = STRBUF_OF(s->notify.problem);

    strbuf_add(&out, "the last upgrade failed: ");
    notify_add_text(&out, problem);
}

void server_notify_hand_over(struct server *s, pid_t pid)
{
    struct server_notify *n = &s->notify;

    notify_sendf(&n->notify, "MAINPID=%ld\nSTATUS=upgraded, process %ld takes over", (long)pid, (long)pid);
    ev_timer_stop(s->loop, &n->tick);
    ev_timer_stop(s->loop, &n->watchdog);
    n->notify.socket[0] = '\0'; /* from now on the successor speaks */
}

void server_notify_stopping(struct server *s)
{
    char text[96];
    struct strbuf state = STRBUF_OF(text);

    strbuf_addf(&state, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%d", STOPPING_EXTEND_US);
    say(s, text);
}

/* ---- time ---- */

static void say_what_is_new(struct server *s)
{
    struct server_notify *n = &s->notify;
    char text[SERVER_STATUS_MAX];
    struct strbuf status = STRBUF_OF(text);

    make_status(s, &status);
    if (++n->ticks_since_said >= STATUS_TICKS && strcmp(text, n->said) != 0)
        say(s, "");
}

static void on_tick(EV_P_ ev_timer *timer, int revents)
{
    struct server *s = timer->data;
    struct server_notify *n = &s->notify;

    (void)loop;
    (void)revents;
    CHECK_MAGIC(s, SERVER_MAGIC);
    if (s->is_stopping) {
        server_notify_stopping(s); /* a restart wants the sockets kept, so nothing is taken out of the store */
        return;
    }
    if (n->is_ready_lost)
        n->is_ready_lost = !say_ready(s);
    else if (n->is_ready)
        say_what_is_new(s);
    if (n->is_ready)
        server_store_sockets(s);
}

static void feed(struct server *s)
{
    struct server_notify *n = &s->notify;
    bool is_fed = s->is_stopping || supervisor_is_answering(s->supervisor);

    n->fed_ms = clock_monotonic_ms();
    if (is_fed)
        notify_send(&n->notify, "WATCHDOG=1");
    else if (!n->is_starving)
        log_text(LOG_ERROR, "a worker does not answer and cannot be replaced: the watchdog is not fed any more");
    n->is_starving = !is_fed;
}

static void on_watchdog(EV_P_ ev_timer *timer, int revents)
{
    struct server *s = timer->data;

    (void)loop;
    (void)revents;
    CHECK_MAGIC(s, SERVER_MAGIC);
    feed(s);
}

void server_notify_attend(struct server *s)
{
    struct server_notify *n = &s->notify; /* libev's macro casts */

    if (ev_is_active(&n->watchdog) && clock_monotonic_ms() - n->fed_ms >= n->notify.watchdog_us / WATCHDOG_SHARE / 1000)
        feed(s);
}

void server_notify_start(struct server *s)
{
    struct server_notify *n = &s->notify;

    notify_init(&n->notify);
    if (!notify_is_wanted(&n->notify))
        return;
    if (!s->is_started)
        notify_sendf(&n->notify, "STATUS=starting\nEXTEND_TIMEOUT_USEC=%d", START_EXTEND_US);
    ev_timer_init(&n->tick, on_tick, TICK_S, TICK_S);
    n->tick.data = s;
    ev_timer_start(s->loop, &n->tick);
    if (n->notify.watchdog_us == 0)
        return;
    double interval_s = (double)n->notify.watchdog_us / WATCHDOG_SHARE / 1e6;
    ev_timer_init(&n->watchdog, on_watchdog, interval_s, interval_s);
    n->watchdog.data = s;
    ev_timer_start(s->loop, &n->watchdog);
}
