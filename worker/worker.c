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
#include <sys/resource.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "conn.h"
#include "conn_io.h"
#include "control.h"
#include "err.h"
#include "listener.h"
#include "log_event.h"
#include "log_ring.h"
#include "loop_memory.h"
#include "rate_limit.h"
#include "sandbox.h"

#define ACCEPT_PAUSE_S        0.1
#define PAUSE_LOG_INTERVAL_MS 10000

/* ---- accepting: on, off, paused ---- */

static void watch_listeners(struct worker *w, bool on)
{
    for (struct listener *l = w->listeners; l != NULL; l = l->next)
        listener_watch(l, on);
}

static void resume_accept(struct worker *w)
{
    ev_timer_stop(w->loop, &w->accept_timer);
    w->is_accept_paused = false;
    if (w->state == WORKER_RUNNING)
        watch_listeners(w, true);
}

static void on_accept_timer(EV_P_ ev_timer *timer, int revents)
{
    struct worker *w = timer->data;

    (void)loop;
    (void)revents;
    CHECK_MAGIC(w, WORKER_MAGIC);
    resume_accept(w);
}

void worker_pause_accept(struct worker *w)
{
    if (w->is_accept_paused)
        return;
    w->is_accept_paused = true;
    watch_listeners(w, false); /* a listener that stays readable would spin the loop */
    ev_timer_set(&w->accept_timer, ACCEPT_PAUSE_S, 0.);
    ev_timer_start(w->loop, &w->accept_timer);
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
    watch_listeners(w, true);
    atomic_store_explicit(&w->mine->conn_cap, w->conn_cap, memory_order_relaxed);
    atomic_store_explicit(&w->mine->pid, (uint64_t)getpid(), memory_order_release);
    if (!control_tell_ready()) /* it would wait for that, and in the end kill us with all connections that we have by then */
        worker_give_up(w, "the master cannot be told that the worker is ready; the worker ends");
}

static bool has_open_listener(const struct worker *w)
{
    for (const struct listener *l = w->listeners; l != NULL; l = l->next) {
        if (l->io.fd >= 0)
            return true;
    }
    return false;
}

/** The last connection of a drain is the last one only when no queue is left to be served. */
static void leave_when_drained(struct worker *w)
{
    if (w->state == WORKER_DRAINING && w->conn_count == 0 && !has_open_listener(w))
        ev_break(w->loop, EVBREAK_ALL);
}

void worker_drain(struct worker *w)
{
    if (w->state == WORKER_DRAINING)
        return;
    w->state = WORKER_DRAINING;
    w->drain_deadline_ms = clock_monotonic_ms() + w->settings.shutdown_timeout_ms;
    for (struct listener *l = w->listeners, *next; l != NULL; l = next) {
        next = l->next;
        if (l->io.fd >= 0) {
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
    ev_break(w->loop, EVBREAK_ALL);
}

void worker_give_up(struct worker *w, const char *why)
{
    log_text(LOG_ERROR, why);
    worker_stop(w);
}

void worker_conn_ended(struct worker *w)
{
    if (w->is_accept_paused && w->conn_count < w->conn_cap)
        resume_accept(w);
    leave_when_drained(w);
}

static void on_tick(EV_P_ ev_timer *timer, int revents)
{
    struct worker *w = timer->data;
    uint64_t now = clock_monotonic_ms();

    (void)loop;
    (void)revents;
    CHECK_MAGIC(w, WORKER_MAGIC);
    atomic_store_explicit(&w->mine->heartbeat, atomic_load_explicit(&w->mine->heartbeat, memory_order_relaxed) + 1,
                          memory_order_release);
    wheel_advance(&w->wheel, now, conn_on_tick, w);
    if (w->unsent_count > 0)
        control_send_rest(w);
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

static int start_loop(struct worker *w, struct strbuf *why)
{
    ev_set_allocator(loop_memory_realloc);
    w->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOTIMERFD);
    if (w->loop == NULL) {
        strbuf_addf(why, "cannot create the event loop: %s", strerror(errno));
        return ERR_SYSTEM;
    }
    (void)loop_memory_refill();
    ev_timer_init(&w->tick_timer, on_tick, WHEEL_TICK_MS / 1000., WHEEL_TICK_MS / 1000.);
    w->tick_timer.data = w;
    ev_timer_start(w->loop, &w->tick_timer);
    ev_timer_init(&w->accept_timer, on_accept_timer, ACCEPT_PAUSE_S, 0.);
    w->accept_timer.data = w;
    if (conn_io_start(w) != 0) {
        strbuf_addf(why, "cannot create the epoll set of the connections: %s", strerror(errno));
        return ERR_SYSTEM;
    }
    control_start(w);
    return 0;
}

static int be_born(struct worker *w, struct strbuf *why)
{
    struct handover h;
    int rc;

    w->descriptor_limit = descriptor_limit(); /* the sandbox does not let us ask any more */
    host_facts_read(&w->host);
    if ((rc = control_receive_handover(&h, why)) != 0 || (rc = map_shared_memory(w, &h, why)) != 0 ||
        (rc = start_loop(w, why)) != 0 || (rc = sandbox_enter(h.drop_uid, h.drop_gid, why)) != 0)
        return rc;
    w->slot = h.slot;
    log_set_sink(log_ring_sink, w->ring);
    return 0;
}

int worker_main(void)
{
    static struct worker worker = {.magic = WORKER_MAGIC};
    struct worker *w = &worker;
    char text[256];
    struct strbuf why = STRBUF_OF(text);

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
    ev_run(w->loop, 0);
    return EXIT_SUCCESS;
}
