/*
 * The yardstick of the comparison: the least that a relay with one fixed backend can do. One process, one edge-triggered epoll set,
 * one buffer; no parsing, no tables, no timers, no limits, no log. What a real proxy costs more than this is the price of its work.
 *
 *     yardstick PORT BACKEND_PORT
 */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256

/** One of the two sockets of a connection. */
struct side {
    struct side *other;
    int fd;
    bool is_read_done;
    bool is_gone;
    size_t start, end; /* of rest */
    uint8_t *rest;     /* what this side has not taken yet; NULL: nothing */
};

static int set;
static uint8_t buffer[256 * 1024];
static struct sockaddr_in backend = {.sin_family = AF_INET};
static struct side *dead; /* events of this turn may still point at them */

static struct side *side_new(int fd)
{
    struct side *s = calloc(1, sizeof *s);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};

    s->fd = fd;
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
    return s;
}

static void end(struct side *s)
{
    close(s->fd);
    close(s->other->fd);
    s->is_gone = s->other->is_gone = true;
    free(s->rest);
    free(s->other->rest);
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

static bool flush(struct side *s)
{
    ssize_t n = send(s->fd, s->rest + s->start, s->end - s->start, MSG_NOSIGNAL);

    if (n > 0)
        s->start += (size_t)n;
    if (s->start < s->end)
        return false;
    free(s->rest);
    s->rest = NULL;
    return true;
}

/** Move what there is from one side to the other; false when the connection is over. */
static bool pump(struct side *from)
{
    struct side *to = from->other;

    while (!from->is_read_done && (to->rest == NULL || flush(to))) {
        ssize_t n = recv(from->fd, buffer, sizeof buffer, 0);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0) {
            from->is_read_done = true;
            if (n < 0 || to->is_read_done)
                return false;
            shutdown(to->fd, SHUT_WR);
            return true;
        }
        ssize_t sent = send(to->fd, buffer, (size_t)n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return false;
        if (sent < n) {
            to->start = 0;
            to->end = (size_t)(n - (sent > 0 ? sent : 0));
            to->rest = malloc(to->end);
            memcpy(to->rest, buffer + n - to->end, to->end);
        }
        if ((size_t)n < sizeof buffer)
            return true;
    }
    return true;
}

static void accept_all(int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        const int on = 1;
        int back = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (back < 0 || (connect(back, (struct sockaddr *)&backend, sizeof backend) != 0 && errno != EINPROGRESS)) {
            close(fd);
            close(back);
            continue;
        }
        setsockopt(back, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct side *client = side_new(fd), *server = side_new(back);
        client->other = server;
        server->other = client;
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct epoll_event events[EVENTS], e = {.events = EPOLLIN, .data.ptr = NULL};
    struct rlimit limit;
    const int on = 1;

    if (argc != 3) {
        fprintf(stderr, "usage: yardstick PORT BACKEND_PORT\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    addr.sin_port = htons((uint16_t)atoi(argv[1]));
    backend.sin_addr = addr.sin_addr;
    backend.sin_port = htons((uint16_t)atoi(argv[2]));
    set = epoll_create1(0);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&addr, sizeof addr) != 0 || listen(listener, 4096) != 0) {
        perror("yardstick");
        return 1;
    }
    epoll_ctl(set, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int n = epoll_wait(set, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct side *s = events[i].data.ptr;
            if (s == NULL)
                accept_all(listener);
            else if (!s->is_gone && (!pump(s) || !pump(s->other)))
                end(s);
        }
        bury();
    }
}
