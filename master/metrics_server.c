/* The metrics endpoint: where it listens, and which connections it keeps. What a connection does is in metrics_client.c. */

#include "metrics_server.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "accept_shortage.h"
#include "err.h"
#include "listen_sockets.h"
#include "metrics_client.h"

#define ACCEPT_BATCH_MAX METRICS_CLIENTS_MAX
#define ACCEPT_PAUSE_S   1. /* when there are no descriptors */

struct metrics_endpoint {
    bool is_somewhere;
    struct listen_addr addr;
    int fd; /* -1: nowhere, or (prepared) where the server listens already */
};

#define SERVER_MAGIC 0x4d535256u

struct metrics_server {
    uint32_t magic;
    struct ev_loop *loop;
    metrics_render_fn render;
    void *context;
    struct metrics_endpoint endpoint; /* in use */
    ev_io accept_io;
    ev_timer accept_timer; /* ends a pause */
    uint64_t shortage_told_ms;
    uint64_t serial;
    uint64_t accepted;
    uint64_t answered; /* with metrics */
    uint64_t evicted;
    struct metrics_client *clients[METRICS_CLIENTS_MAX];
};

static struct metrics_server *server_check(void *data)
{
    struct metrics_server *server = data;

    CHECK_MAGIC(server, SERVER_MAGIC);
    return server;
}

/* ---- for connections ---- */

void metrics_server_render(struct metrics_server *server, struct metrics_text *out)
{
    server_check(server)->answered++;
    server->render(server->context, out);
}

uint64_t metrics_server_tick(struct metrics_server *server)
{
    return ++server_check(server)->serial;
}

void metrics_server_forget(struct metrics_server *server, struct metrics_client *client)
{
    for (unsigned i = 0; i < METRICS_CLIENTS_MAX; i++) {
        if (server->clients[i] == client)
            server->clients[i] = NULL;
    }
}

/* ---- accepting ---- */

/** Is a to go before b? Who waits for nothing goes first, then who has waited longest for a request. */
static bool is_less_wanted(const struct metrics_client *a, const struct metrics_client *b)
{
    bool a_lingers = a->phase == METRICS_CLIENT_LINGERING, b_lingers = b->phase == METRICS_CLIENT_LINGERING;

    return a_lingers != b_lingers ? a_lingers : a->since < b->since;
}

/** A place for one more; NULL: all are being answered. */
static struct metrics_client **find_place(struct metrics_server *server)
{
    struct metrics_client **least = NULL;

    for (unsigned i = 0; i < METRICS_CLIENTS_MAX; i++) {
        struct metrics_client **at = &server->clients[i];
        if (*at == NULL)
            return at;
        if ((*at)->phase != METRICS_CLIENT_WRITING && (least == NULL || is_less_wanted(*at, *least)))
            least = at;
    }
    if (least != NULL) {
        server->evicted++;
        metrics_client_close(*least); /* which clears the place */
    }
    return least;
}

static void take_client(struct metrics_server *server, int fd)
{
    struct metrics_client **place = find_place(server);

    server->accepted++;
    if (place == NULL)
        close(fd);
    else
        *place = metrics_client_new(server, server->loop, fd);
}

static void on_accept_timer(EV_P_ ev_timer *timer, int revents)
{
    struct metrics_server *server = server_check(timer->data);

    (void)revents;
    if (server->endpoint.fd >= 0)
        ev_io_start(EV_A_ & server->accept_io);
}

static void pause_accepting(struct metrics_server *server)
{
    accept_shortage_tell(&server->shortage_told_ms,
                         "metrics connections wait: descriptors or memory are at their limit");
    ev_io_stop(server->loop, &server->accept_io); /* a socket that stays readable would spin the loop */
    ev_timer_set(&server->accept_timer, ACCEPT_PAUSE_S, 0.);
    ev_timer_start(server->loop, &server->accept_timer);
}

static void on_acceptable(EV_P_ ev_io *io, int revents)
{
    struct metrics_server *server = server_check(io->data);

    (void)loop;
    /* EV_ERROR: the kernel had no memory to watch it, and the loop has stopped to. */
    for (unsigned i = 0; i < ACCEPT_BATCH_MAX && !(revents & EV_ERROR); i++) {
        int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take_client(server, fd);
            continue;
        }
        if (accept_lacks(errno))
            pause_accepting(server);
        return;
    }
    if (revents & EV_ERROR)
        pause_accepting(server);
}

/* ---- where it listens ---- */

static void endpoint_free(struct metrics_endpoint **endpoint)
{
    if (*endpoint != NULL && (*endpoint)->fd >= 0)
        close((*endpoint)->fd);
    free(*endpoint);
    *endpoint = NULL;
}

static int endpoint_open(const struct metrics_server *server, struct metrics_endpoint *endpoint, struct strbuf *why)
{
    const struct metrics_endpoint *old = &server->endpoint;
    int rc = 0;

    if (old->is_somewhere && listen_addr_equal(&old->addr, &endpoint->addr))
        return 0;
    /* Our own socket would look like another program's. */
    if (!old->is_somewhere || !listen_addr_overlaps(&old->addr, &endpoint->addr))
        rc = listen_sockets_probe(&endpoint->addr, 0, why);
    return rc == 0 ? listen_sockets_open(&endpoint->addr, 1, &endpoint->fd, why) : rc;
}

int metrics_server_prepare(struct metrics_server *server, const struct listen_addr *addr, struct metrics_endpoint **out,
                           struct strbuf *why)
{
    struct metrics_endpoint *endpoint = calloc(1, sizeof *endpoint);
    int rc;

    server_check(server);
    if (endpoint == NULL) {
        strbuf_add(why, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    endpoint->fd = -1;
    endpoint->is_somewhere = addr != NULL;
    if (addr != NULL) {
        endpoint->addr = *addr;
        if ((rc = endpoint_open(server, endpoint, why)) != 0) {
            endpoint_free(&endpoint);
            return rc;
        }
    }
    *out = endpoint;
    return 0;
}

static void stop_listening(struct metrics_server *server)
{
    ev_io_stop(server->loop, &server->accept_io);
    ev_timer_stop(server->loop, &server->accept_timer);
    if (server->endpoint.fd >= 0)
        close(server->endpoint.fd);
    server->endpoint = (struct metrics_endpoint){.fd = -1};
}

bool metrics_server_commit(struct metrics_server *server, struct metrics_endpoint **prepared)
{
    struct metrics_endpoint *next = *prepared;

    server_check(server);
    if (next->is_somewhere && next->fd < 0) { /* where it is already */
        endpoint_free(prepared);
        return false;
    }
    stop_listening(server);
    server->endpoint = *next;
    next->fd = -1;
    endpoint_free(prepared);
    if (server->endpoint.fd < 0)
        return false;
    ev_io_set(&server->accept_io, server->endpoint.fd, EV_READ);
    ev_io_start(server->loop, &server->accept_io);
    return true;
}

void metrics_server_abort(struct metrics_endpoint **prepared)
{
    endpoint_free(prepared);
}

/* ---- life ---- */

int metrics_server_new(struct ev_loop *loop, metrics_render_fn render, void *context, struct metrics_server **out)
{
    struct metrics_server *server = calloc(1, sizeof *server);

    if (server == NULL)
        return ERR_NO_MEMORY;
    server->magic = SERVER_MAGIC;
    server->loop = loop;
    server->render = render;
    server->context = context;
    server->endpoint.fd = -1;
    ev_io_init(&server->accept_io, on_acceptable, -1, EV_READ);
    ev_timer_init(&server->accept_timer, on_accept_timer, ACCEPT_PAUSE_S, 0.);
    server->accept_io.data = server->accept_timer.data = server;
    *out = server;
    return 0;
}

void metrics_server_stop(struct metrics_server *server)
{
    server_check(server);
    for (unsigned i = 0; i < METRICS_CLIENTS_MAX; i++) {
        if (server->clients[i] != NULL)
            metrics_client_close(server->clients[i]);
    }
    stop_listening(server);
}

void metrics_server_free(struct metrics_server **server_pointer)
{
    struct metrics_server *server = *server_pointer;

    *server_pointer = NULL;
    if (server == NULL)
        return;
    metrics_server_stop(server);
    server->magic = 0;
    free(server);
}

void metrics_server_dump(const struct metrics_server *server, struct strbuf *out)
{
    unsigned open = 0;

    for (unsigned i = 0; i < METRICS_CLIENTS_MAX; i++)
        open += server->clients[i] != NULL;
    strbuf_add(out, "metrics addr=");
    if (server->endpoint.is_somewhere)
        listen_addr_format(&server->endpoint.addr, out);
    else
        strbuf_add(out, "none");
    strbuf_addf(out, " clients=%u accepted=%llu answered=%llu evicted=%llu", open, (unsigned long long)server->accepted,
                (unsigned long long)server->answered, (unsigned long long)server->evicted);
}
