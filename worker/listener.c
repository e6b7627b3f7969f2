/* Listening sockets: accepting in batches that fit the load, and closing without losing what waits in the queue. */

#include "listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "conn.h"
#include "conn_cap.h"
#include "conn_io.h"
#include "conn_wait.h"
#include "err.h"
#include "log_event.h"
#include "worker.h"

#define ACCEPT_BATCH_MAX   64
#define ACCEPT_BATCH_WAIT  32    /* after a batch came back short: wakeups before a larger one is tried */
#define ACCEPT_CLOSING_MAX 65536 /* a queue is never longer than its backlog; a bound all the same */

static bool is_worker_full(const struct worker *w)
{
    return w->conn_count >= w->conn_cap;
}

/** Accept one connection; false when there is none or none can be taken now. */
static bool accept_one(struct listener *l)
{
    struct worker *w = l->worker;
    struct sockaddr_storage peer;
    socklen_t peer_len = sizeof peer;
    bool try_read_now = l->early_wait == 0;

    peer.ss_family = AF_UNSPEC;
    int fd = accept4(l->fd, (struct sockaddr *)&peer, &peer_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        l->early_wait -= !try_read_now;
        conn_accept(l, fd, &peer, try_read_now);
        return true;
    }
    switch (errno) {
    case EAGAIN: return false;
    case EINTR:
    case ECONNABORTED: return true; /* that one is gone, the next may be there */
    default:
        /* accept(2): errors of the network belong to the connection at hand; what is left is a lack of something. */
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            worker_pause_accept(w);
            return false;
        }
        return true;
    }
}

/*
 * One accept per turn costs a wait per connection under load; accepting until EAGAIN costs a failed call per connection
 * otherwise. So the batch doubles while the queue fills it, and falls back to one as soon as it does not.
 */
void listener_accept(struct listener *l)
{
    CHECK_MAGIC(l, LISTENER_MAGIC);
    unsigned wanted = l->batch, accepted = 0;
    while (accepted < wanted && l->fd >= 0 && !l->worker->is_accept_paused && !is_worker_full(l->worker) &&
           accept_one(l))
        accepted++;
    if (accepted < wanted) {
        l->batch = 1;
        l->batch_wait = ACCEPT_BATCH_WAIT;
    } else if (l->batch_wait > 0) {
        l->batch_wait--;
    } else if (l->batch < ACCEPT_BATCH_MAX) {
        l->batch = (uint8_t)(l->batch * 2);
    }
    if (is_worker_full(l->worker))
        worker_pause_accept(l->worker);
}

static int copy_properties(struct listener *l, const struct ctl_listener *spec)
{
    struct ip_cidr *trusted = NULL;

    if (spec->trusted_count > 0) {
        trusted = calloc(spec->trusted_count, sizeof *trusted);
        if (trusted == NULL)
            return ERR_NO_MEMORY;
        memcpy(trusted, spec->trusted, spec->trusted_count * sizeof *trusted);
    }
    free(l->trusted);
    l->trusted = trusted;
    l->trusted_count = spec->trusted_count;
    l->proxy_mode = spec->proxy_mode;
    l->no_route_mode = spec->no_route_mode;
    memcpy(l->addr, spec->addr, sizeof l->addr);
    l->addr[sizeof l->addr - 1] = '\0';
    return 0;
}

static void count_listener(struct worker *w, int change)
{
    w->listener_count = (unsigned)((int)w->listener_count + change);
    w->conn_cap = conn_cap(w->descriptor_limit, w->listener_count);
    conn_wait_limit(w);
}

int listener_add(struct worker *w, const struct ctl_listener *spec, int fd)
{
    struct listener *l = calloc(1, sizeof *l);
    int rc = ERR_NO_MEMORY;

    if (l == NULL || (rc = copy_properties(l, spec)) != 0 ||
        (rc = listener_find(w, spec->id) != NULL ? ERR_EXISTS : 0) != 0) {
        if (l != NULL)
            free(l->trusted);
        free(l);
        close(fd);
        return rc;
    }
    CHECK(spec->id < SHM_LISTENERS_MAX);
    l->magic = LISTENER_MAGIC;
    l->id = spec->id;
    l->worker = w;
    l->batch = 1;
    l->stats = &w->mine->listeners[l->id];
    l->active = &w->stats->active[l->id][w->slot];
    l->active_row = w->stats->active[l->id];
    l->max_connections = &w->view.tables->listeners[l->id].max_connections;
    l->fd = fd;
    struct listener **end = &w->listeners;
    while (*end != NULL)
        end = &(*end)->next;
    *end = l;
    count_listener(w, 1);
    if (w->is_accepting)
        listener_watch(l, true);
    return 0;
}

int listener_update(struct worker *w, const struct ctl_listener *spec)
{
    struct listener *l = listener_find(w, spec->id);

    return l != NULL ? copy_properties(l, spec) : ERR_NOT_FOUND;
}

struct listener *listener_find(struct worker *w, uint16_t id)
{
    for (struct listener *l = w->listeners; l != NULL; l = l->next) {
        if (l->id == id && l->fd >= 0)
            return l;
    }
    return NULL;
}

void listener_watch(struct listener *l, bool on)
{
    if (l->fd < 0 || on == l->is_watched)
        return;
    l->is_watched = on;
    if (!conn_io_watch_listener(l, on)) {
        l->is_watched = false;
        worker_pause_accept(l->worker); /* and try again */
    }
}

static void free_unused(struct listener *l)
{
    if (l->conns > 0 || l->fd >= 0)
        return;
    for (struct listener **at = &l->worker->listeners; *at != NULL; at = &(*at)->next) {
        if (*at == l) {
            *at = l->next;
            break;
        }
    }
    l->magic = 0;
    free(l->trusted);
    free(l);
}

void listener_close(struct listener *l)
{
    if (l->fd < 0)
        return;
    l->conns++; /* holds the object while the queue is served */
    for (unsigned i = 0; i < ACCEPT_CLOSING_MAX && !is_worker_full(l->worker) && accept_one(l); i++)
        ;
    listener_watch(l, false); /* the master has a copy: closing ours would not take the socket out of the set */
    close(l->fd);
    l->fd = -1;
    count_listener(l->worker, -1);
    listener_conn_ended(l);
}

void listener_conn_ended(struct listener *l)
{
    CHECK(l->conns > 0);
    l->conns--;
    free_unused(l);
}
