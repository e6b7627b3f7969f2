/* What the steps of a connection share: how one hands over to the next, and what they do with its sockets. */

#include "conn_step.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backlog.h"
#include "conn_firewall.h"
#include "stats.h"
#include "worker.h"

void conn_touch(struct conn *c)
{
    if (!c->is_hurried)
        c->active_tick = conn_worker(c)->wheel.now;
}

enum conn_next conn_enter(struct conn *c, enum conn_step step)
{
    c->step = (uint8_t)step;
    conn_touch(c);
    return CONN_NEXT;
}

enum conn_next conn_end(struct conn *c, enum close_reason reason)
{
    conn_close(c, reason);
    return CONN_DONE;
}

enum conn_next conn_enter_hello(struct conn *c)
{
    enum close_reason reason;

    return conn_may_enter(c, &reason) ? conn_enter(c, CONN_STEP_HELLO) : conn_end(c, reason);
}

ssize_t conn_recv(struct conn_side *side, void *at, size_t room)
{
    ssize_t n;

    do
        n = recv(side->fd, at, room, 0);
    while (n < 0 && errno == EINTR);
    if ((n < 0 && errno == EAGAIN) || (n > 0 && (size_t)n < room && !side->must_read_dry))
        side->is_readable = false;
    return n;
}

ssize_t conn_send(struct conn_side *side, const void *at, size_t len)
{
    ssize_t n;

    do
        n = send(side->fd, at, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0 ? (size_t)n < len : errno == EAGAIN)
        side->is_writable = false;
    return n;
}

void conn_side_close(struct conn_side *side)
{
    static const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    bool is_cut = side->backlog != NULL;

    backlog_free(&side->backlog);
    if (side->fd < 0)
        return;
    if (side->is_reset_on_close || is_cut)
        (void)setsockopt(side->fd, SOL_SOCKET, SO_LINGER, &reset,
                         sizeof reset); /* fails only for a peer that is gone */
    close(side->fd);                    /* and with that out of the epoll set */
    side->fd = -1;
    side->is_watched = side->is_watched_for_write = false;
    side->is_readable = side->is_writable = side->must_read_dry = side->is_reset_announced = false;
}

void conn_count_in(struct conn *c, size_t n)
{
    c->bytes_in += n;
    stat_add(&c->listener->stats->bytes_in, n);
}

void conn_count_out(struct conn *c, size_t n)
{
    c->bytes_out += n;
    stat_add(&c->listener->stats->bytes_out, n);
}
