/*
 * The load of the comparison: one process plays all clients and all backends of a proxy, over loopback, in one epoll loop.
 *
 *     load SCENARIO proxy=PORT backend=PORT [count=N] [open=N] [warm=N] [hello=BYTES] [answer=BYTES] [size=BYTES] [rate=N]
 *          [names=N] [sources=N] [backends=N] [name=HOSTNAME] [from=ADDRESS]
 *
 *     short    count connections, `open` at a time: hello, answer, the client closes
 *     rate     the same, begun `rate` times a second whether earlier ones have ended or not; times count from the intended start
 *     turns    `open` connections; count turns in all: the client sends `size` bytes, the backend sends them back
 *     upload   `open` connections; count MiB in all from the clients
 *     download the same from the backends
 *     idle     `open` connections that have had their answer, nothing more; `warm` of them before anything is measured
 *     blocked  count connections from the address `from`, each of which must end without a byte
 *
 * What needs connections opens them first. Then "ready" is printed, a line on standard input begins what is to be measured, and one
 * line of JSON is the result; another line of input, or its end, ends the program. `idle` says "open" when all are, and with the next
 * line sends a byte over each of them, so that none is counted that has died meanwhile.
 */

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load_ends.h"
#include "load_options.h"

#define EVENTS  256
#define BURST   32
#define STUCK_S 30 /* nothing moved for so long: something is wrong, give up */

/** A client, or the backend's end of one. */
struct peer {
    struct peer *next, **link; /* of all that are open */
    int fd;
    bool is_client;
    bool is_greeted;   /* client: has the whole answer; backend: has the whole hello */
    uint64_t received; /* of the hello, the answer, the turn */
    uint64_t begun_ns;
    uint64_t unsent; /* of the turn, or of the bulk */
};

static struct {
    int epoll;
    struct peer listening[1 + LOAD_BACKENDS_MAX];
    uint64_t begun, finished, failed, greeted, moved;
    uint64_t start_ns, end_ns, progress_ns;
    bool is_measuring;
    uint32_t *latency_ns_64; /* units of 64 ns */
    struct peer **clients;
    struct peer *peers;
} run;

static uint8_t buffer[LOAD_BUFFER_BYTES];

/* ---- sockets ---- */

static void watch(struct peer *p, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = p};

    if (epoll_ctl(run.epoll, EPOLL_CTL_ADD, p->fd, &e) != 0)
        load_die("epoll_ctl");
}

static void start_listening(void)
{
    for (unsigned i = 0; i <= opt.backends; i++) {
        run.listening[i].fd = load_listen(i);
        watch(&run.listening[i], EPOLLIN);
    }
}

static struct peer *peer_new(int fd, bool is_client)
{
    struct peer *p = calloc(1, sizeof *p);

    if (p == NULL)
        load_die("memory");
    p->fd = fd;
    p->is_client = is_client;
    p->next = run.peers;
    p->link = &run.peers;
    if (p->next != NULL)
        p->next->link = &p->next;
    run.peers = p;
    watch(p, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    return p;
}

static void peer_end(struct peer *p)
{
    close(p->fd);
    *p->link = p->next;
    if (p->next != NULL)
        p->next->link = p->link;
    free(p);
}

static struct peer *begin_client(uint64_t intended_ns)
{
    bool is_sent;
    int fd = load_connect(run.begun, opt.scenario == BLOCKED, &is_sent);
    struct peer *p = peer_new(fd, true);

    p->begun_ns = intended_ns;
    run.begun++;
    run.failed += !is_sent;
    return p;
}

/* ---- what the two ends do ---- */

static bool has_all_been_done(void)
{
    switch (opt.scenario) {
    case UPLOAD:
    case DOWNLOAD: return run.moved >= opt.count << 20;
    case IDLE: return run.moved >= opt.open;
    default: return run.finished >= opt.count;
    }
}

static void note_progress(uint64_t now)
{
    run.progress_ns = now;
    if (run.is_measuring && run.end_ns == 0 && has_all_been_done())
        run.end_ns = now;
}

static void record_latency(uint64_t begun_ns, uint64_t now)
{
    uint64_t units = (now - begun_ns) / 64;

    if (run.finished < opt.count)
        run.latency_ns_64[run.finished] = units < UINT32_MAX ? (uint32_t)units : UINT32_MAX;
    run.finished++;
}

static void send_bulk(struct peer *p)
{
    while (p->unsent > 0) {
        ssize_t n = send(p->fd, buffer, p->unsent < sizeof buffer ? p->unsent : sizeof buffer, MSG_NOSIGNAL);
        if (n < 0)
            return;
        p->unsent -= (uint64_t)n;
    }
}

static void begin_turn(struct peer *p, uint64_t now)
{
    p->begun_ns = now;
    p->received = 0;
    p->unsent = opt.size;
    send_bulk(p);
}

static void end_short(struct peer *p, uint64_t now)
{
    record_latency(p->begun_ns, now);
    peer_end(p);
    if (opt.scenario == SHORT && run.begun < opt.count)
        (void)begin_client(now);
}

static void on_client_failure(struct peer *p, uint64_t now)
{
    run.failed++;
    if (opt.scenario == SHORT || opt.scenario == RATE)
        end_short(p, now);
    else
        load_die("a connection ended early");
}

/** Returns false when the peer is gone. */
static bool client_received(struct peer *p, uint64_t n, uint64_t now)
{
    p->received += n;
    if (!p->is_greeted) {
        if (p->received < opt.answer)
            return true;
        p->is_greeted = true;
        run.greeted++;
        if (opt.scenario == SHORT || opt.scenario == RATE) {
            end_short(p, now);
            return false;
        }
    } else if (opt.scenario == TURNS && p->received == opt.size) {
        record_latency(p->begun_ns, now);
        if (run.begun++ < opt.count)
            begin_turn(p, now);
    } else {
        run.moved += n;
    }
    return true;
}

static void backend_received(struct peer *p, uint64_t n)
{
    p->received += n;
    if (!p->is_greeted) {
        if (p->received < opt.hello)
            return;
        p->is_greeted = true;
        p->received = 0;
        if (send(p->fd, buffer, opt.answer, MSG_NOSIGNAL) != (ssize_t)opt.answer)
            run.failed++;
    } else if (opt.scenario == TURNS && p->received == opt.size) {
        p->received = 0;
        p->unsent = opt.size;
        send_bulk(p);
    } else if (opt.scenario == DOWNLOAD) { /* the byte that asks for it */
        p->unsent = (opt.count << 20) / opt.open;
    } else {
        run.moved += n;
    }
}

/** The blocked: not a byte may come. nginx does not reset but closes. */
static void on_blocked(struct peer *p, uint64_t now)
{
    ssize_t n = recv(p->fd, buffer, 1, 0);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0 || (n < 0 && errno != ECONNRESET && errno != ECONNREFUSED))
        run.failed++;
    record_latency(p->begun_ns, now);
    peer_end(p);
    if (run.begun < opt.count)
        (void)begin_client(now);
}

static void on_peer(struct peer *p, uint64_t now)
{
    /* Bulk is thrown away by the kernel: what is measured is the proxy. */
    const bool is_bulk = opt.scenario == UPLOAD || opt.scenario == DOWNLOAD;

    if (opt.scenario == BLOCKED && p->is_client) {
        on_blocked(p, now);
        return;
    }
    for (;;) {
        const bool discard = is_bulk && p->is_greeted;
        ssize_t n = recv(p->fd, buffer, sizeof buffer, discard ? MSG_TRUNC : 0);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            if (p->is_client)
                on_client_failure(p, now);
            else
                peer_end(p);
            return;
        }
        if (!p->is_client)
            backend_received(p, (uint64_t)n);
        else if (!client_received(p, (uint64_t)n, now))
            return;
    }
    send_bulk(p);
}

static bool is_listening(const struct peer *p)
{
    return p >= run.listening && p <= run.listening + LOAD_BACKENDS_MAX;
}

static void accept_all(int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
        (void)peer_new(fd, false);
}

/* ---- the loop ---- */

static void turn_loop(int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(run.epoll, events, EVENTS, timeout_ms);
    uint64_t now = load_now_ns();

    for (int i = 0; i < n; i++) {
        struct peer *p = events[i].data.ptr;
        if (is_listening(p))
            accept_all(p->fd);
        else
            on_peer(p, now);
    }
    if (n > 0)
        note_progress(now);
    else if (now - run.progress_ns > STUCK_S * 1000000000ull) {
        errno = ETIMEDOUT;
        load_die("nothing moves any more");
    }
}

static void open_connections(uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        run.clients[i] = begin_client(load_now_ns());
        while (run.greeted + 64 < run.begun)
            turn_loop(1000);
    }
    while (run.greeted < to)
        turn_loop(1000);
}

/** What is to be measured begins with connections that are open already. */
static void prepare(void)
{
    if (opt.scenario != TURNS && opt.scenario != UPLOAD && opt.scenario != DOWNLOAD && opt.scenario != IDLE)
        return;
    run.clients = calloc(opt.open, sizeof *run.clients);
    if (run.clients == NULL)
        load_die("memory");
    open_connections(0, opt.scenario == IDLE ? opt.warm : opt.open);
    if (opt.scenario != IDLE)
        run.begun = run.finished = run.moved = 0;
}

static void say(const char *word)
{
    puts(word);
    fflush(stdout);
}

static void wait_for_line(void)
{
    if (getchar() == EOF)
        exit(0);
}

/** The other side looks at its counters first, then says that the connections may end. */
static void linger(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

    while (poll(&input, 1, 0) == 0) {
        run.progress_ns = load_now_ns();
        turn_loop(5);
    }
}

/** A byte, over a connection that is open: it asks for a download, or shows that the connection still lives. */
static void send_byte(struct peer *client)
{
    if (send(client->fd, buffer, 1, MSG_NOSIGNAL) != 1)
        load_die("send");
}

static void start_bulk(void)
{
    for (uint64_t i = 0; i < opt.open; i++) {
        if (opt.scenario == UPLOAD) {
            run.clients[i]->unsent = (opt.count << 20) / opt.open;
            send_bulk(run.clients[i]);
        } else {
            send_byte(run.clients[i]);
        }
    }
}

static void hold_idle(void)
{
    open_connections(opt.warm, opt.open);
    say("open");
    wait_for_line();
    run.moved = 0;
    run.start_ns = run.progress_ns = load_now_ns();
    for (uint64_t i = 0; i < opt.open; i++)
        send_byte(run.clients[i]);
}

static void start(uint64_t now)
{
    if (opt.scenario == UPLOAD || opt.scenario == DOWNLOAD)
        start_bulk();
    if (opt.scenario == IDLE)
        hold_idle();
    for (uint64_t i = 0; i < opt.open && i < opt.count; i++) {
        if (opt.scenario == SHORT || opt.scenario == BLOCKED) {
            (void)begin_client(now);
        } else if (opt.scenario == TURNS) {
            run.begun++;
            begin_turn(run.clients[i], now);
        }
    }
}

/** Those that are late are begun a few at a time, so that others get on meanwhile; their time has been running all the while. */
static void keep_rate(void)
{
    uint64_t interval = 1000000000 / opt.rate, due = run.start_ns + run.begun * interval, now = load_now_ns();

    for (unsigned i = 0; i < BURST && run.begun < opt.count && due <= now; i++) {
        (void)begin_client(due);
        due += interval;
    }
    /* epoll_wait() counts in milliseconds: the last part of the wait is spent looking. */
    turn_loop(run.begun < opt.count ? (due > now + 1500000 ? 1 : 0) : 1000);
}

static int compare_latency(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static double percentile_us(double fraction)
{
    uint64_t n = run.finished < opt.count ? run.finished : opt.count;

    return n == 0 ? 0 : (double)run.latency_ns_64[(uint64_t)((double)(n - 1) * fraction)] * 64 / 1000;
}

static void report(void)
{
    qsort(run.latency_ns_64, run.finished < opt.count ? run.finished : opt.count, sizeof *run.latency_ns_64,
          compare_latency);
    printf(
        "{\"done\": %lu, \"bytes\": %lu, \"failed\": %lu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f}\n",
        run.finished, run.moved, run.failed, (double)(run.end_ns - run.start_ns) / 1e9, percentile_us(0.5),
        percentile_us(0.99), percentile_us(0.999));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    load_read_options(argc, argv);
    load_raise_descriptor_limit();
    load_make_hello();
    run.epoll = epoll_create1(0);
    run.latency_ns_64 = calloc(opt.count, sizeof *run.latency_ns_64);
    if (run.epoll < 0 || run.latency_ns_64 == NULL)
        load_die("start");
    run.progress_ns = load_now_ns();
    start_listening();
    prepare();
    say("ready");
    wait_for_line();
    run.is_measuring = true;
    run.start_ns = run.progress_ns = load_now_ns();
    start(run.start_ns);
    while (run.end_ns == 0) {
        if (opt.scenario == RATE)
            keep_rate();
        else
            turn_loop(1000);
    }
    report();
    linger();
    return run.failed == 0 ? 0 : 1;
}
