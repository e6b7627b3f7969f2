/* The process that carries traffic: its birth from a handover, its loop, its drain and its end. */

#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "conn.h"
#include "conn_io.h"
#include "conn_log.h"
#include "conn_setup.h"
#include "control.h"
#include "err.h"
#include "listener.h"
#include "log_event.h"
#include "log_ring.h"
#include "loop_memory.h"
#include "rate_limit.h"
#include "sandbox.h"

#define ACCEPT_PAUSE_MS       100
#define PAUSE_LOG_INTERVAL_MS 10000
#define REJECTED_TOLD_MS      1000

/* ---- accepting: on, off, paused ---- */

/** Done between turns: a worker at its limit may pause and resume many times in one, and has a call to make for each listener. */
static void watch_listeners(struct worker *w)
{
    bool on = w->state == WORKER_RUNNING && !w->is_accept_paused;

    if (on == w->is_accepting)
        return;
    w->is_accepting = on;
    for (struct listener *l = w->listeners; l != NULL; l = l->next)
        listener_watch(l, on);
}

void worker_pause_accept(struct worker *w)
{
    if (w->is_accept_paused)
        return;
    w->is_accept_paused = true; /* a listener that stays readable would spin the loop */
    w->accept_pause_end = wheel_tick_after(w->wheel.now, ACCEPT_PAUSE_MS);
    uint64_t now = clock_monotonic_ms();
    if (now - w->pause_logged_ms >= PAUSE_LOG_INTERVAL_MS) {
        w->pause_logged_ms = now;
        log_text(LOG_WARN, "accepting is paused: connections, descriptors or memory are at their limit");
    }
}

/* ---- life and end ---- */

void worker_start(struct worker *w)
{
    if (w->state != WORKER_STARTING)
        return;
    w->state = WORKER_RUNNING;
    atomic_store_explicit(&w->mine->conn_cap, w->conn_cap, memory_order_relaxed);
    atomic_store_explicit(&w->mine->pid, (uint64_t)getpid(), memory_order_release);
    if (!control_tell_ready()) /* it would wait for that, and in the end kill us with all connections that we have by then */
        worker_give_up(w, "the master cannot be told that the worker is ready; the worker ends");
}

static bool has_open_listener(const struct worker *w)
{
    for (const struct listener *l = w->listeners; l != NULL; l = l->next) {
        if (l->fd >= 0)
            return true;
    }
    return false;
}

/** The last connection of a drain is the last one only when no queue is left to be served. */
static void leave_when_drained(struct worker *w)
{
    if (w->state == WORKER_DRAINING && w->conn_count == 0 && !has_open_listener(w))
        w->is_over = true;
}

void worker_drain(struct worker *w)
{
    if (w->state == WORKER_DRAINING)
        return;
    w->state = WORKER_DRAINING;
    w->drain_deadline_ms = clock_monotonic_ms() + w->settings.shutdown_timeout_ms;
    for (struct listener *l = w->listeners, *next; l != NULL; l = next) {
        next = l->next;
        if (l->fd >= 0) {
            uint16_t id = l->id;
            listener_close(l); /* may free l */
            control_tell_listener_removed(w, id);
        }
    }
    leave_when_drained(w);
}

void worker_stop(struct worker *w)
{
    w->state = WORKER_DRAINING;
    conn_close_all(w, CLOSE_SHUTDOWN);
    w->is_over = true;
}

void worker_give_up(struct worker *w, const char *why)
{
    log_text(LOG_ERROR, why);
    worker_stop(w);
}

void worker_conn_ended(struct worker *w)
{
    if (w->conn_count < w->conn_cap)
        w->is_accept_paused = false;
    leave_when_drained(w);
}

static void on_tick(EV_P_ ev_io *io, int revents)
{
    struct worker *w = io->data;
    uint64_t now = clock_monotonic_ms(), expirations;

    (void)loop;
    CHECK_MAGIC(w, WORKER_MAGIC);
    if (revents &
        EV_ERROR) { /* at the start only; without ticks no timeout comes, nor a heartbeat, for which the master kills us */
        worker_give_up(w, "the clock cannot be watched; the worker ends");
        return;
    }
    if (read(io->fd, &expirations, sizeof expirations) < 0)
        return;
    atomic_store_explicit(&w->mine->heartbeat, atomic_load_explicit(&w->mine->heartbeat, memory_order_relaxed) + 1,
                          memory_order_release);
    wheel_advance(&w->wheel, now, conn_on_tick, w);
    if ((int32_t)(w->wheel.now - w->accept_pause_end) >= 0)
        w->is_accept_paused = false;
    control_send_rest(w);
    if (now - w->rejected_told_ms >= REJECTED_TOLD_MS) {
        w->rejected_told_ms = now;
        conn_log_held_back(w);
    }
    if (!loop_memory_refill())
        log_text(LOG_WARN, "memory is short: the event loop has used its reserve");
    if (w->state == WORKER_DRAINING && now >= w->drain_deadline_ms)
        worker_stop(w);
}

/* ---- birth ---- */

static void *map_segment(int fd, uint64_t bytes, int protection)
{
    void *at = mmap(NULL, bytes, protection, MAP_SHARED, fd, 0);

    close(fd); /* the mapping stays; no descriptor of shared memory does */
    return at != MAP_FAILED ? at : NULL;
}

static int map_shared_memory(struct worker *w, const struct handover *h, struct strbuf *why)
{
    const struct shm_tables *tables = map_segment(HANDOVER_FD_TABLES, h->tables_bytes, PROT_READ);
    struct shm_stats *stats = map_segment(HANDOVER_FD_STATS, h->stats_bytes, PROT_READ | PROT_WRITE);
    void *log = map_segment(HANDOVER_FD_LOG, h->log_bytes, PROT_READ | PROT_WRITE);

    struct rate_table *rates = map_segment(HANDOVER_FD_RATE, h->rate_bytes, PROT_READ | PROT_WRITE);

    if (tables == NULL || stats == NULL || log == NULL || rates == NULL) {
        strbuf_addf(why, "cannot map shared memory: %s", strerror(errno));
        return ERR_SYSTEM;
    }
    w->ring = log_ring_attach(log, h->log_bytes);
    if (w->ring == NULL || tables->magic != SHM_TABLES_MAGIC || stats->magic != SHM_STATS_MAGIC ||
        h->rate_bytes < sizeof *rates || rates->magic != RATE_MAGIC) {
        strbuf_add(why, "shared memory is not of this version");
        return ERR_PROTOCOL;
    }
    w->rates = rates;
    w->stats = stats;
    w->mine = &stats->workers[h->slot];
    w->view = (struct table_view){.tables = tables, .bytes = h->tables_bytes, .pinned_epoch = &w->mine->pinned_epoch};
    return 0;
}

static uint64_t descriptor_limit(void)
{
    struct rlimit limit = {.rlim_cur = 1024};

    (void)getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

/** The master's signals are the master's: a terminal or a service manager that signals the whole group must not cut connections. */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGPIPE, SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2};

    for (unsigned i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        (void)signal(ignored[i], SIG_IGN);
}

/** A descriptor instead of a timer of the loop's: it can be waited for in the one set. */
static int start_tick(struct worker *w)
{
    const struct timespec tick = {.tv_nsec = WHEEL_TICK_MS * 1000000L};
    const struct itimerspec every_tick = {.it_interval = tick, .it_value = tick};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

    if (fd < 0 || timerfd_settime(fd, 0, &every_tick, NULL) != 0)
        return ERR_SYSTEM;
    ev_io_init(&w->tick_io, on_tick, fd, EV_READ);
    w->tick_io.data = w;
    ev_io_start(w->loop, &w->tick_io);
    return conn_io_join_loop(w, fd);
}

static int start_loop(struct worker *w, struct strbuf *why)
{
    ev_set_allocator(loop_memory_realloc);
    w->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOTIMERFD);
    if (w->loop == NULL) {
        strbuf_addf(why, "cannot create the event loop: %s", strerror(errno));
        return ERR_SYSTEM;
    }
    (void)loop_memory_refill();
    if (conn_io_start(w) == 0 && start_tick(w) == 0 && control_start(w) == 0)
        return 0;
    strbuf_addf(why, "cannot create the epoll set: %s", strerror(errno));
    return ERR_SYSTEM;
}

static int draw_seed(uint64_t seed_out[2], struct strbuf *why)
{
    size_t wanted = 2 * sizeof seed_out[0];

    if (getrandom(seed_out, wanted, 0) == (ssize_t)wanted)
        return 0;
    strbuf_addf(why, "cannot draw random numbers: %s", strerror(errno));
    return ERR_SYSTEM;
}

static int be_born(struct worker *w, struct strbuf *why)
{
    struct handover h;
    uint64_t seed[2];
    int rc;

    w->descriptor_limit = descriptor_limit(); /* the sandbox does not let us ask any more */
    host_facts_read(&w->host);
    if ((rc = control_receive_handover(&h, why)) != 0 || (rc = map_shared_memory(w, &h, why)) != 0 ||
        (rc = start_loop(w, why)) != 0 || (rc = draw_seed(seed, why)) != 0 ||
        (rc = sandbox_enter(h.drop_uid, h.drop_gid, why)) != 0)
        return rc;
    w->slot = h.slot;
    hello_budget_seed(&w->hellos, seed);
    w->conn_serial = h.birth * HANDOVER_BIRTH_CONNS;
    log_set_sink(log_ring_sink, w->ring);
    return 0;
}

/**
 * Waiting is conn_io_turn()'s, the loop is only asked when there is something for it. A watcher that a callback starts or stops is so
 * by the loop's next turn, a tick later at most.
 */
static void run(struct worker *w)
{
    do {
        if (conn_io_turn(w))
            ev_run(w->loop, EVRUN_NOWAIT);
        conn_io_end_turn(w);
        watch_listeners(w);
    } while (!w->is_over);
}

int worker_main(void)
{
    static struct worker worker; /* all zero at first, so that its buffer is not in the program's file */
    struct worker *w = &worker;
    char text[256];
    struct strbuf why = STRBUF_OF(text);

    w->magic = WORKER_MAGIC;
    ignore_signals();
    (void)prctl(PR_SET_NAME, "mc-proxy-worker", 0, 0, 0);
    wheel_init(&w->wheel, clock_monotonic_ms());
    pool_init(&w->conns, "connections", sizeof(struct conn));
    pool_init(&w->setups, "set-ups", sizeof(struct conn_setup));
    check_set_dump(conn_dump_current);
    if (be_born(w, &why) != 0) {
        strbuf_add_char(&why, '\n');
        if (write(STDERR_FILENO, "mc-proxy worker: ", 17) < 0 || write(STDERR_FILENO, why.data, why.len) < 0)
            return EXIT_FAILURE; /* nobody reads it: the status alone must tell */
        return EXIT_FAILURE;
    }
    run(w);
    conn_log_held_back(w);
    return EXIT_SUCCESS;
}
