/* A connection's frame: how it begins and ends, how its steps run, when it times out, and what it wants to hear from the loop. What
 * the steps do is in conn_hello.c, conn_connect.c and conn_relay.c. */

#include "conn.h"

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "conn_answer.h"
#include "conn_io.h"
#include "conn_log.h"
#include "conn_route_stats.h"
#include "conn_setup.h"
#include "conn_step.h"
#include "conn_wait.h"
#include "listener.h"
#include "proxy_duty.h"
#include "stats.h"
#include "strbuf.h"
#include "worker.h"

#define READ_SHIFT_START  14
#define LINGER_TIMEOUT_MS 2000
/* For each failed try another worker gave the same place back: to fail so often, they must meet as many times in a row. */
#define PLACE_TRIES 64

/* ---- when each step has waited too long; a tick ---- */

static uint32_t deadline_hello(const struct conn *c)
{
    /* From accept, not from the last byte: bytes that trickle in do not extend it. */
    return wheel_tick_after(c->setup->accept_tick, conn_worker(c)->settings.hello_timeout_ms);
}

static uint32_t deadline_relay(const struct conn *c)
{
    const struct ctl_settings *settings = &conn_worker(c)->settings;
    bool is_half_closed = c->front.is_read_done || c->back.is_read_done;

    if (c->is_hurried)
        return wheel_tick_after(c->active_tick, CONN_CUT_TIMEOUT_MS);
    return wheel_tick_after(c->active_tick,
                            is_half_closed ? settings->half_close_timeout_ms : settings->idle_timeout_ms);
}

static uint32_t deadline_flush(const struct conn *c)
{
    return c->active_tick + 1; /* the step looks at each tick whether everything was delivered, and at its limit */
}

static uint32_t deadline_linger(const struct conn *c)
{
    return wheel_tick_after(c->active_tick, LINGER_TIMEOUT_MS);
}

/* ---- what then happens ---- */

static void close_proxy_late(struct conn *c)
{
    conn_close(c, CLOSE_PROXY_TIMEOUT);
}

static void close_hello_late(struct conn *c)
{
    conn_hello_count_unread(c);
    conn_close(c, CLOSE_HELLO_TIMEOUT);
}

static void close_relay(struct conn *c)
{
    if (c->is_hurried)
        conn_close_cut(c);
    else
        conn_close(c, c->front.is_read_done || c->back.is_read_done ? CLOSE_HALF_CLOSE_TIMEOUT : CLOSE_IDLE_TIMEOUT);
}

static void close_no_route(struct conn *c)
{
    conn_close(c, CLOSE_NO_ROUTE);
}

struct step_row {
    const char *name;
    enum conn_next (*run)(struct conn *c);
    uint32_t (*deadline)(const struct conn *c);
    void (*late)(struct conn *c); /* conn_run: the step finds out itself */
};

static const struct step_row steps[CONN_STEP_COUNT] = {
    [CONN_STEP_PROXY] = {"proxy", conn_step_proxy, deadline_hello, close_proxy_late},
    [CONN_STEP_HELLO] = {"hello", conn_step_hello, deadline_hello, close_hello_late},
    [CONN_STEP_CONNECT] = {"connect", conn_step_connect, conn_connect_deadline, conn_run},
    [CONN_STEP_RELAY] = {"relay", conn_step_relay, deadline_relay, close_relay},
    [CONN_STEP_FLUSH] = {"flush", conn_step_flush, deadline_flush, conn_run},
    [CONN_STEP_LINGER] = {"linger", conn_step_linger, deadline_linger, close_no_route},
};

const char *conn_step_name(enum conn_step step)
{
    CHECK((unsigned)step < CONN_STEP_COUNT);
    return steps[step].name;
}

/** Does a side have to tell when it takes bytes again? Asked when everything that could be done now was done. */
static bool waits_for_write(const struct conn *c, const struct conn_side *side)
{
    bool is_connecting = c->step == CONN_STEP_CONNECT && side == &c->back;

    return (side->backlog != NULL || is_connecting) && !side->is_writable;
}

/** Either side may have no socket: the backend's at first, and the one that was reset in FLUSH. */
static bool watch(struct conn *c, struct conn_side *side)
{
    return side->fd < 0 || conn_io_watch(c, side, waits_for_write(c, side));
}

/** The one place where sockets are watched. False: no memory. */
static bool arm(struct conn *c)
{
    if (!watch(c, &c->front) || !watch(c, &c->back))
        return false;
    if (c->timeout.link == NULL) { /* the first wait of this step */
        wheel_add(&conn_worker(c)->wheel, &c->timeout, steps[c->step].deadline(c));
        if (c->step <= CONN_STEP_HELLO)
            conn_wait_begin(c);
    }
    return true;
}

static const struct conn *current; /* only for the panic record */

void conn_dump_current(int fd)
{
    char text[128];
    struct strbuf s = STRBUF_OF(text);

    if (current == NULL)
        return;
    strbuf_addf(&s, "panic: conn=%llu step=%s\n", (unsigned long long)current->id, conn_step_name(current->step));
    if (write(fd, s.data, s.len) < 0)
        return; /* nothing left to try */
}

void conn_run(struct conn *c)
{
    enum conn_next next;

    current = c;
    do {
        uint8_t before = c->step;
        next = steps[before].run(c);
        if (next == CONN_DONE)
            return;
        if (c->step != before)
            wheel_remove(&c->timeout); /* another step, another deadline */
    } while (next == CONN_NEXT);
    if (!arm(c))
        conn_close(c, CLOSE_NO_MEMORY);
}

void conn_on_tick(struct wheel_node *node, void *context)
{
    struct conn *c = (struct conn *)((char *)node - offsetof(struct conn, timeout));
    const struct worker *w = context;

    CHECK_MAGIC(c, CONN_MAGIC);
    uint32_t deadline = steps[c->step].deadline(c);
    if ((int32_t)(deadline - w->wheel.now) > 0)
        wheel_add(&conn_worker(c)->wheel, &c->timeout, deadline);
    else
        steps[c->step].late(c);
}

/** Connections open on a listener, over all workers; counted no further than to more than `enough`. */
static uint64_t places_taken(const struct listener *l, uint64_t enough)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < SHM_WORKERS_MAX && sum <= enough; i++)
        sum += atomic_load_explicit(&l->active_row[i], memory_order_seq_cst);
    return sum;
}

/**
 * Take one of the places of max_connections. We count ourselves first and then all, in sequential consistency: two workers may both find
 * the last place taken, by each other, but never both take it. Then both give it back and look again, and whoever looks last finds it free.
 */
static bool take_place(const struct listener *l)
{
    for (unsigned tries = 0; tries < PLACE_TRIES; tries++) {
        uint32_t limit = atomic_load_explicit(l->max_connections, memory_order_relaxed);
        atomic_fetch_add_explicit(l->active, 1, memory_order_seq_cst);
        if (limit == 0 || places_taken(l, limit) <= limit)
            return true;
        atomic_fetch_sub_explicit(l->active, 1, memory_order_seq_cst);
        if (places_taken(l, limit) >= limit)
            break;
    }
    return false;
}

static struct conn *conn_new(struct listener *l, int fd, const struct sockaddr_storage *peer)
{
    struct worker *w = l->worker;
    struct conn *c = pool_alloc(&w->conns);
    struct conn_setup *setup = c != NULL ? pool_alloc(&w->setups) : NULL;

    if (setup == NULL) {
        if (c != NULL)
            pool_free(&w->conns, c);
        return NULL;
    }
    c->magic = CONN_MAGIC;
    c->listener = l;
    c->setup = setup;
    c->id = ++w->conn_serial;
    c->started_us = clock_monotonic_us();
    setup->accept_tick = wheel_tick_at(&w->wheel, c->started_us / 1000);
    c->client = ip_endpoint_of_sockaddr(peer);
    c->active_tick = w->wheel.now;
    c->front.read_shift = c->back.read_shift = READ_SHIFT_START;
    c->front.fd = fd;
    c->front.is_writable = true;
    c->back.fd = -1;
    w->conn_count++;
    l->conns++;
    stat_add(&l->stats->accepted, 1);
    return c;
}

/** Which step comes first: a PROXY header if this listener wants one from this peer. CONN_DONE: the peer may not enter. */
static enum conn_next choose_first_step(struct conn *c)
{
    const struct listener *l = c->listener;

    switch (proxy_duty(l->proxy_mode, l->trusted, l->trusted_count, &c->client.addr)) {
    case PROXY_DUTY_NONE: return conn_enter_hello(c);
    case PROXY_DUTY_HEADER: return conn_enter(c, CONN_STEP_PROXY);
    case PROXY_DUTY_REFUSED: break;
    }
    return conn_end(c, CLOSE_PROXY_UNTRUSTED);
}

void conn_accept(struct listener *listener, int fd, const struct sockaddr_storage *peer, bool try_read_now)
{
    struct conn *c = conn_new(listener, fd, peer);

    if (c == NULL) {
        close(fd);
        worker_pause_accept(listener->worker);
        return;
    }
    if (!take_place(listener)) {
        conn_close(c, CLOSE_MAX_CONNECTIONS);
        return;
    }
    if (choose_first_step(c) == CONN_DONE)
        return;
    c->front.is_readable = try_read_now;
    conn_run(c);
}

/** Before the sockets are closed: who sees the end and comes again finds a place, and whoever looks then finds it counted. */
static void count_end(struct conn *c, enum close_reason reason, uint64_t age_us)
{
    const struct listener *l = c->listener;

    if (reason != CLOSE_MAX_CONNECTIONS) /* all others had a place */
        atomic_fetch_sub_explicit(l->active, 1, memory_order_release);
    stat_add(&l->stats->closed[reason], 1);
    if (c->step == CONN_STEP_RELAY || c->step == CONN_STEP_FLUSH) {
        histogram_observe(&l->stats->duration, &histogram_duration, age_us);
        conn_end_answer(c);
    }
    if (c->series != 0)
        conn_count_route_end(c, reason);
}

void conn_close(struct conn *c, enum close_reason reason)
{
    struct listener *l = c->listener;
    struct worker *w = l->worker;
    uint64_t age_us = conn_age_us(c);

    CHECK_MAGIC(c, CONN_MAGIC);
    if (c->step == CONN_STEP_PROXY && c->setup != NULL)
        conn_count_in(c, c->setup->len); /* what is not (or no longer) a PROXY header */
    if (c->step != CONN_STEP_LINGER && close_reason_manner(reason) == CLOSE_RESETS) {
        c->front.is_reset_on_close = true;
        c->back.is_reset_on_close = true;
    }
    wheel_remove(&c->timeout);
    count_end(c, reason, age_us);
    conn_side_close(&c->front);
    conn_side_close(&c->back);
    conn_log(c, reason, age_us);
    conn_setup_free(c);
    free(c->facts);
    current = NULL;
    w->conn_count--;
    conn_io_bury(w, c);
    listener_conn_ended(l);
    worker_conn_ended(w);
}

static void close_for_shutdown(struct wheel_node *node, void *context)
{
    struct conn *c = (struct conn *)((char *)node - offsetof(struct conn, timeout));
    const enum close_reason *reason = context;

    CHECK_MAGIC(c, CONN_MAGIC);
    conn_close(c, *reason);
}

void conn_close_all(struct worker *w, enum close_reason reason)
{
    /* Every connection that waits is in the wheel, and outside of its own callback every connection waits. */
    wheel_visit_all(&w->wheel, close_for_shutdown, &reason);
}

uint64_t conn_age_us(const struct conn *c)
{
    return clock_monotonic_us() - c->started_us;
}
