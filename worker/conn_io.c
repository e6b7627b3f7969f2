/* The epoll set of the connections. An event carries the connection's address, and in its lowest bit which side it is about. */

#include "conn_io.h"

#include <errno.h>
#include <ev.h>
#include <sys/epoll.h>

#include "conn.h"
#include "err.h"
#include "worker.h"

#define EVENTS_PER_TURN 128
#define BACK_BIT        ((uintptr_t)1)

static uint64_t tag_of(struct conn *c, const struct conn_side *side)
{
    return (uintptr_t)c | (side == &c->back ? BACK_BIT : 0);
}

static int control(struct conn *c, struct conn_side *side, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET, .data.u64 = tag_of(c, side)};

    if (side->is_watched_for_write)
        event.events |= EPOLLOUT;
    return epoll_ctl(conn_worker(c)->conn_epoll_fd, operation, side->fd, &event);
}

bool conn_io_watch(struct conn *c, struct conn_side *side, bool wants_write)
{
    bool was_watched = side->is_watched;

    if (was_watched && (side->is_watched_for_write || !wants_write))
        return true;
    side->is_watched = true;
    side->is_watched_for_write |= wants_write;
    return control(c, side, was_watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD) == 0;
}

bool conn_io_report_again(struct conn *c, struct conn_side *side)
{
    /* Changing an entry makes the kernel look again, and report what is there as if it had just come; so does adding one. */
    return !side->is_watched || control(c, side, EPOLL_CTL_MOD) == 0;
}

static void note(struct conn_side *side, uint32_t events)
{
    if (events & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        side->must_read_dry = true;
    if (events & EPOLLERR)
        side->is_reset_announced = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        side->is_readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        side->is_writable = true;
}

static void take_event(const struct epoll_event *event)
{
    struct conn *c =
        (struct conn *)(uintptr_t)(event->data.u64 & ~(uint64_t)BACK_BIT); // NOLINT(performance-no-int-to-ptr)

    if (c->magic == CONN_MAGIC_DEAD)
        return; /* an earlier event of this batch was its last */
    CHECK_MAGIC(c, CONN_MAGIC);
    struct conn_side *side = event->data.u64 & BACK_BIT ? &c->back : &c->front;
    if (side->fd < 0)
        return;
    note(side, event->events);
    conn_run(c);
}

static void on_conn_events(EV_P_ ev_io *io, int revents)
{
    struct worker *w = io->data;
    struct epoll_event events[EVENTS_PER_TURN];

    (void)loop;
    CHECK_MAGIC(w, WORKER_MAGIC);
    if (revents & EV_ERROR) {
        worker_give_up(w, "the connections cannot be watched; the worker ends");
        return;
    }
    int n = epoll_wait(w->conn_epoll_fd, events, EVENTS_PER_TURN, 0);
    for (int i = 0; i < n; i++)
        take_event(&events[i]);
}

void conn_io_bury(struct worker *w, struct conn *c)
{
    c->magic = CONN_MAGIC_DEAD;
    c->next_dead = w->dead_conns;
    w->dead_conns = c;
}

/** Before the loop waits, no event of an old batch is left, and nobody walks along connections or listeners. */
static void on_prepare(EV_P_ ev_prepare *prepare, int revents)
{
    struct worker *w = prepare->data;

    (void)loop;
    (void)revents;
    CHECK_MAGIC(w, WORKER_MAGIC);
    if (hello_budget_is_over(&w->hellos))
        conn_wait_evict(w);
    while (w->dead_conns != NULL) {
        struct conn *c = w->dead_conns;
        w->dead_conns = c->next_dead;
        pool_free(&w->conns, c);
    }
}

int conn_io_start(struct worker *w)
{
    w->conn_epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (w->conn_epoll_fd < 0)
        return ERR_SYSTEM;
    ev_io_init(&w->conn_events, on_conn_events, w->conn_epoll_fd, EV_READ);
    w->conn_events.data = w;
    ev_io_start(w->loop, &w->conn_events);
    ev_prepare_init(&w->bury_prepare, on_prepare);
    w->bury_prepare.data = w;
    ev_prepare_start(w->loop, &w->bury_prepare);
    return 0;
}
