/*
 * The yardstick of the comparison: the least that a relay with one fixed backend can do. One process, one edge-triggered epoll set;
 * no parsing, no tables, no timers, no limits, no log. What a real proxy costs more than this is the price of its work.
 *
 *     yardstick PORT BACKEND_PORT [copy|splice]
 */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "yardstick.h"

#define EVENTS 256

static int set;
static yardstick_pump_fn *pump = yardstick_copy;
static struct sockaddr_in backend = {.sin_family = AF_INET};
static struct side *dead; /* events of this turn may still point at them */

static struct side *side_new(int fd)
{
    struct side *s = calloc(1, sizeof *s);

    if (s == NULL)
        abort();
    s->fd = fd;
    s->pipe[0] = s->pipe[1] = -1;
    return s;
}

static void watch(struct side *s)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};

    epoll_ctl(set, EPOLL_CTL_ADD, s->fd, &e);
}

static void side_end(struct side *s)
{
    close(s->fd);
    if (s->pipe[0] >= 0) {
        close(s->pipe[0]);
        close(s->pipe[1]);
    }
    free(s->rest);
    s->is_gone = true;
}

static void end(struct side *s)
{
    side_end(s);
    side_end(s->other);
    s->other->other = dead; /* a list of pairs */
    dead = s;
}

static void bury(void)
{
    while (dead != NULL) {
        struct side *s = dead;
        dead = s->other->other;
        free(s->other);
        free(s);
    }
}

static int connect_backend(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&backend, sizeof backend) != 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

/** A hello that is there already is passed on before anything is waited for. */
static void begin(int fd)
{
    const int on = 1;
    int back = connect_backend();

    if (back < 0) {
        close(fd);
        return;
    }
    setsockopt(back, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* that of clients is inherited */
    struct side *client = side_new(fd), *server = side_new(back);
    client->other = server;
    server->other = client;
    if (pump(client)) {
        watch(client);
        watch(server);
    } else {
        end(client);
    }
}

static void accept_all(int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
        begin(fd);
}

/** Something can be read from this side, or written to it. */
static void on_event(struct side *s, uint32_t events)
{
    const bool was_waited_for = s->rest != NULL || s->other->in_pipe > 0;

    if (s->is_gone)
        return;
    s->is_ending |= (events & EPOLLRDHUP) != 0;
    if (((events & EPOLLOUT) != 0 && was_waited_for && !pump(s->other)) ||
        ((events & ~(uint32_t)EPOLLOUT) != 0 && !pump(s)))
        end(s);
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    const int on = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&addr, sizeof addr) != 0 || listen(listener, 4096) != 0) {
        perror("yardstick");
        exit(1);
    }
    epoll_ctl(set, EPOLL_CTL_ADD, listener, &e);
    return listener;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    struct rlimit limit;

    if (argc < 3) {
        fprintf(stderr, "usage: yardstick PORT BACKEND_PORT [copy|splice]\n");
        return 2;
    }
    if (argc > 3 && strcmp(argv[3], "splice") == 0)
        pump = yardstick_splice;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    backend.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    backend.sin_port = htons((uint16_t)atoi(argv[2]));
    set = epoll_create1(0);
    int listener = listen_on((uint16_t)atoi(argv[1]));
    for (;;) {
        int n = epoll_wait(set, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                accept_all(listener);
            else
                on_event(events[i].data.ptr, events[i].events);
        }
        bury();
    }
}
