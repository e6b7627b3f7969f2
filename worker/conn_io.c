/* The worker's epoll set. An event carries the address of what it is about, and in the lowest two bits what that is. */

#include "conn_io.h"

#include <errno.h>
#include <sys/epoll.h>

#include "conn.h"
#include "conn_wait.h"
#include "err.h"
#include "listener.h"
#include "worker.h"

#define EVENTS_PER_TURN 128
#define LOOKS_MIN       4
#define LOOKS_MAX       64

enum tag {
    TAG_FRONT,
    TAG_BACK,
    TAG_LISTENER,
    TAG_LOOP,
    TAG_MASK = 3,
};

static uint64_t tag_of(const void *object, enum tag tag)
{
    return (uintptr_t)object | tag;
}

static int control(struct conn *c, struct conn_side *side, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET,
                                .data.u64 = tag_of(c, side == &c->back ? TAG_BACK : TAG_FRONT)};

    if (side->is_watched_for_write)
        event.events |= EPOLLOUT;
    return epoll_ctl(conn_worker(c)->epoll_fd, operation, side->fd, &event);
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

/** False: the connection is over. */
static bool take_conn_event(struct conn *c, enum tag tag, uint32_t events)
{
    if (c->magic == CONN_MAGIC_DEAD)
        return false; /* an earlier event of this turn was its last */
    CHECK_MAGIC(c, CONN_MAGIC);
    struct conn_side *side = tag == TAG_BACK ? &c->back : &c->front;
    if (side->fd >= 0) {
        note(side, events);
        conn_run(c);
    }
    return c->magic != CONN_MAGIC_DEAD;
}

/*
 * To sleep and be woken takes a worker longer than to look some dozens of times, and what comes next for a connection is often only
 * microseconds away: the hello behind a connect, the answer of a near backend. So behind a turn that has left a connection waiting for
 * such, it looks before it sleeps: twice as often after a look that found something, a little less often after each sleep, so that at
 * rest it hardly looks at all. Strangers who were turned away leave nobody waiting. Never inlined, so that counts of instructions can
 * leave waiting out (test/bench/callgrind_worker.c).
 */
static __attribute__((noinline)) int wait_for_events(struct worker *w, struct epoll_event *events)
{
    for (unsigned i = 0; w->has_answer_ahead && i < w->looks; i++) {
        int n = epoll_wait(w->epoll_fd, events, EVENTS_PER_TURN, 0);
        if (n > 0) {
            if (w->looks < LOOKS_MAX)
                w->looks *= 2;
            return n;
        }
    }
    if (w->has_answer_ahead && w->looks > LOOKS_MIN)
        w->looks -= LOOKS_MIN;
    return epoll_wait(w->epoll_fd, events, EVENTS_PER_TURN, -1);
}

static enum tag tag_in(const struct epoll_event *event)
{
    return event->data.u64 & TAG_MASK;
}

static bool has_loop(const struct epoll_event *events, int n)
{
    for (int i = 0; i < n; i++) {
        if (tag_in(&events[i]) == TAG_LOOP)
            return true;
    }
    return false;
}

/*
 * What the master says holds for everybody who comes after it was said: with news in the loop nobody is accepted in this turn. The next
 * one, which does not wait, reports the listeners again.
 */
bool conn_io_turn(struct worker *w)
{
    struct epoll_event events[EVENTS_PER_TURN];
    int n = wait_for_events(w, events);
    bool is_loop_ready = has_loop(events, n);
    uint32_t conns_before = w->conn_count;

    w->has_answer_ahead = false;
    for (int i = 0; i < n; i++) {
        enum tag tag = tag_in(&events[i]);
        void *object = (void *)(uintptr_t)(events[i].data.u64 - tag); // NOLINT(performance-no-int-to-ptr)
        if (tag == TAG_LOOP || (tag == TAG_LISTENER && is_loop_ready))
            continue;
        if (tag == TAG_LISTENER)
            listener_accept(object);
        else
            w->has_answer_ahead |= take_conn_event(object, tag, events[i].events);
    }
    w->has_answer_ahead |= w->conn_count > conns_before;
    return is_loop_ready;
}

void conn_io_bury(struct worker *w, struct conn *c)
{
    c->magic = CONN_MAGIC_DEAD;
    c->next_dead = w->dead_conns;
    w->dead_conns = c;
}

void conn_io_end_turn(struct worker *w)
{
    if (hello_budget_is_over(&w->hellos))
        conn_wait_evict(w);
    while (w->dead_conns != NULL) {
        struct conn *c = w->dead_conns;
        w->dead_conns = c->next_dead;
        pool_free(&w->conns, c);
    }
}

bool conn_io_watch_listener(struct listener *l, bool on)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag_of(l, TAG_LISTENER)};

    return epoll_ctl(l->worker->epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, l->fd, &event) == 0;
}

int conn_io_join_loop(struct worker *w, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag_of(w, TAG_LOOP)};

    return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : ERR_SYSTEM;
}

void conn_io_leave_loop(struct worker *w, int fd)
{
    (void)epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

int conn_io_start(struct worker *w)
{
    w->looks = LOOKS_MIN;
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return w->epoll_fd >= 0 ? 0 : ERR_SYSTEM;
}
