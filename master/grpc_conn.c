/* A connection's life: when it reads and writes, every time limit, and every way to end. */

#include "grpc_conn.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "admin_tls.h"
#include "clock.h"
#include "err.h"
#include "grpc_conn_internal.h"
#include "strbuf.h"

#define READS_PER_RUN  4  /* then it is the others' turn */
#define WRITES_PER_RUN 16 /* of up to GRPC_CONN_OUT_BYTES */

static void conn_run(struct grpc_conn *c, int ready);

static struct grpc_conn *conn_check(void *object)
{
    struct grpc_conn *c = object;

    CHECK_MAGIC(c, GRPC_CONN_MAGIC);
    return c;
}

static const struct grpc_limits *limits_of(const struct grpc_conn *c)
{
    return &c->options.shared->limits;
}

/* ---- the end ---- */

void grpc_conn_begin_end(struct grpc_conn *c, enum grpc_conn_end end, const char *detail)
{
    if (c->is_ending)
        return;
    c->is_ending = true;
    c->end = end;
    c->detail = detail;
    uint64_t by = clock_monotonic_ms() + limits_of(c)->linger_ms;
    c->end_by_ms = by < c->end_by_ms ? by : c->end_by_ms;
}

/** Nothing follows: the connection is gone. */
static void conn_end(struct grpc_conn *c, enum grpc_conn_end end, const char *detail)
{
    if (c->is_ending) {
        end = c->end; /* the first reason counts */
        detail = c->detail;
    }
    c->options.on_end(c->options.context, c, end, detail);
}

/* ---- time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

struct conn_limit {
    uint64_t due_ms;
    const char *detail;
};

/** What would end the connection next, if nothing happens. */
static struct conn_limit conn_limit(const struct grpc_conn *c)
{
    const struct grpc_limits *limits = limits_of(c);
    struct conn_limit limit = {c->end_by_ms, "the client does not close"};

    if (!c->is_ending && !grpc_session_is_established(c->session) && c->opened_ms + limits->handshake_ms < limit.due_ms)
        limit = (struct conn_limit){c->opened_ms + limits->handshake_ms, "the handshake does not come to an end"};
    if (c->headers_ms != 0 && c->headers_ms + limits->request_ms < limit.due_ms)
        limit = (struct conn_limit){c->headers_ms + limits->request_ms, "a header block does not come to an end"};
    if (c->is_blocked && c->progress_ms + limits->stall_ms < limit.due_ms)
        limit = (struct conn_limit){c->progress_ms + limits->stall_ms, "the client does not read"};
    return limit;
}

/** libev's clock is monotonic too, but it is that of the turn's beginning. */
static void conn_arm_timer(struct grpc_conn *c)
{
    uint64_t now = clock_monotonic_ms();
    uint64_t due = earlier(conn_limit(c).due_ms, grpc_session_due_ms(c->session));

    ev_timer_stop(c->options.loop, &c->timer);
    if (due == GRPC_NEVER)
        return;
    ev_now_update(c->options.loop);
    ev_timer_set(&c->timer, due > now ? (double)(due - now) / 1000. : 0., 0.);
    ev_timer_start(c->options.loop, &c->timer);
}

static void on_timer(EV_P_ ev_timer *timer, int revents)
{
    struct grpc_conn *c = conn_check(timer->data);
    uint64_t now = clock_monotonic_ms();
    struct conn_limit limit = conn_limit(c);

    (void)loop;
    (void)revents;
    if (limit.due_ms <= now) {
        conn_end(c, GRPC_END_TIMEOUT, limit.detail);
        return;
    }
    c->is_running = true;
    grpc_session_tick(c->session, now);
    c->is_running = false;
    conn_run(c, 0);
}

/* ---- running ---- */

static void conn_arm_io(struct ev_loop *loop, struct ev_io *watcher, bool is_wanted)
{
    if (is_wanted)
        ev_io_start(loop, watcher);
    else
        ev_io_stop(loop, watcher);
}

/**
 * While the socket takes nothing, nothing is read either: so no answer (to PING, SETTINGS, bad streams) can pile up behind a client
 * that does not read them.
 */
static void conn_arm(struct grpc_conn *c)
{
    bool wants_write = grpc_conn_wants_write(c);

    conn_arm_io(c->options.loop, &c->reads, c->state == CONN_LINGERS || !c->is_blocked);
    conn_arm_io(c->options.loop, &c->writes, wants_write);
    conn_arm_timer(c);
}

/** Everything is said. Closing at once might destroy it (RFC 1122 4.2.2.13: unread bytes turn a close into a reset). */
static void conn_linger(struct grpc_conn *c)
{
    grpc_conn_begin_end(c, GRPC_END_DONE, NULL);
    c->state = CONN_LINGERS;
    if (shutdown(c->fd, SHUT_WR) != 0)
        c->end_by_ms = 0;
}

static bool conn_has_said_all(const struct grpc_conn *c)
{
    return !grpc_conn_wants_write(c) && (c->is_ending || grpc_session_is_over(c->session));
}

static void conn_flush(struct grpc_conn *c)
{
    unsigned i = 0;

    while (i++ < WRITES_PER_RUN && grpc_conn_wants_write(c) && grpc_conn_write(c))
        ;
    if (c->state == CONN_OPEN && conn_has_said_all(c))
        conn_linger(c);
}

static void conn_run(struct grpc_conn *c, int ready)
{
    c->is_running = true;
    if (ready != 0)
        c->is_blocked = c->is_blocked && (ready & EV_WRITE) == 0;
    for (unsigned i = 0; i < READS_PER_RUN && (ready & EV_READ) != 0 && !c->is_blocked; i++) {
        if (!grpc_conn_read(c))
            break;
        if (c->state == CONN_OPEN)
            conn_flush(c);
    }
    if (c->state == CONN_OPEN && !c->is_blocked)
        conn_flush(c);
    c->is_running = false;
    if (c->end_by_ms == 0)
        conn_end(c, GRPC_END_DONE, NULL);
    else
        conn_arm(c);
}

static void on_io(EV_P_ ev_io *watcher, int revents)
{
    (void)loop;
    conn_run(conn_check(watcher->data), revents);
}

/** A method has something to say out of turn: at the next opportunity, not from within it. */
static void on_wake(void *context)
{
    struct grpc_conn *c = conn_check(context);

    if (!c->is_running)
        ev_io_start(c->options.loop, &c->writes);
}

/* ---- life ---- */

static int conn_open(struct grpc_conn *c, bool is_local)
{
    if (c->options.tls != NULL && (c->tls = admin_tls_new(c->options.tls)) == NULL)
        return ERR_NO_MEMORY;
    c->options.tls = NULL;
    c->session = grpc_session_new(c->options.shared, is_local, c->peer, on_wake, c, c->opened_ms);
    return c->session != NULL ? 0 : ERR_NO_MEMORY;
}

struct grpc_conn *grpc_conn_new(int fd, const struct grpc_conn_options *options)
{
    struct grpc_conn *c = calloc(1, sizeof *c);

    if (c == NULL) {
        close(fd);
        return NULL;
    }
    c->magic = GRPC_CONN_MAGIC;
    c->fd = fd;
    c->options = *options;
    c->opened_ms = c->active_ms = clock_monotonic_ms();
    c->end_by_ms = GRPC_NEVER;
    struct strbuf peer = STRBUF_OF(c->peer);
    if (options->is_local)
        strbuf_add(&peer, "unix");
    else
        ip_endpoint_format(&options->peer, &peer);
    ev_io_init(&c->reads, on_io, fd, EV_READ);
    ev_io_init(&c->writes, on_io, fd, EV_WRITE);
    ev_timer_init(&c->timer, on_timer, 0., 0.);
    c->reads.data = c->writes.data = c->timer.data = c;
    if (conn_open(c, options->is_local) != 0)
        grpc_conn_free(&c);
    else
        conn_arm(c);
    return c;
}

void grpc_conn_free(struct grpc_conn **conn)
{
    struct grpc_conn *c = *conn;

    *conn = NULL;
    if (c == NULL)
        return;
    (void)conn_check(c);
    c->is_running = true; /* whatever methods still send */
    ev_io_stop(c->options.loop, &c->reads);
    ev_io_stop(c->options.loop, &c->writes);
    ev_timer_stop(c->options.loop, &c->timer);
    grpc_session_free(&c->session);
    admin_tls_free(&c->tls);
    close(c->fd);
    c->magic = 0;
    free(c);
}

void grpc_conn_say_goodbye(struct grpc_conn *c)
{
    (void)conn_check(c);
    c->end_by_ms = earlier(c->end_by_ms, clock_monotonic_ms() + limits_of(c)->farewell_ms);
    grpc_session_say_goodbye(c->session);
    if (!c->is_running)
        conn_run(c, 0);
}

void grpc_conn_give_way(struct grpc_conn *c)
{
    (void)conn_check(c);
    c->is_running = true;
    grpc_conn_begin_end(c, GRPC_END_REFUSED, NULL);
    grpc_session_say_goodbye(c->session);
    conn_flush(c);
    conn_end(c, GRPC_END_REFUSED, NULL);
}

/* ---- questions ---- */

uint64_t grpc_conn_owner_id(const struct grpc_conn *c)
{
    return c->options.owner_id;
}

bool grpc_conn_is_local(const struct grpc_conn *c)
{
    return c->options.is_local;
}

bool grpc_conn_is_established(const struct grpc_conn *c)
{
    return grpc_session_is_established(c->session);
}

unsigned grpc_conn_calls(const struct grpc_conn *c)
{
    return grpc_session_calls(c->session);
}

uint64_t grpc_conn_opened_ms(const struct grpc_conn *c)
{
    return c->opened_ms;
}

uint64_t grpc_conn_active_ms(const struct grpc_conn *c)
{
    return c->active_ms;
}

const char *grpc_conn_peer(const struct grpc_conn *c)
{
    return c->peer;
}

uint64_t grpc_conn_buffered_bytes(const struct grpc_conn *c)
{
    return c->out_len - c->out_sent;
}
