#ifndef WORKER_H
#define WORKER_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "client_hello.h"
#include "control.h"
#include "ctl_msg.h"
#include "handover.h"
#include "hello_budget.h"
#include "host_facts.h"
#include "pool.h"
#include "reject_limit.h"
#include "shm_layout.h"
#include "table_view.h"
#include "wheel.h"

struct conn;
struct geoip_reader;
struct listener;
struct log_ring;
struct rate_table;

/* Bytes that a relay may read at once, and the room before them for a PROXY header that goes out in front. */
#define WORKER_IO_HEADROOM 64
#define WORKER_IO_BYTES    (1u << 20)

enum worker_state {
    WORKER_STARTING, /* listeners and settings arrive, nothing is accepted */
    WORKER_RUNNING,
    WORKER_DRAINING, /* listeners are closed, the last connections end */
};

/** The process: one per worker, made by worker_main() and never freed before the process ends. */
/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): there is one of it, and the buffer at its end is aligned */
struct worker {
    uint32_t magic;
    uint32_t slot;
    enum worker_state state;
    bool is_over; /* leaves the loop with the turn */
    struct ev_loop *loop;

    /* shared memory */
    struct table_view view;
    struct shm_stats *stats;
    struct shm_worker_stats *mine;
    struct log_ring *ring;
    struct rate_table *rates;
    struct geoip_reader *geoip; /* NULL: no database, no country is known */

    struct ctl_settings settings;
    struct listener *listeners; /* singly linked; a removed one stays until its last connection ended */

    int epoll_fd;          /* see conn_io.h */
    unsigned looks;        /* before the next sleep */
    bool has_answer_ahead; /* the last turn left a connection for which something may come at once */
    struct conn *dead_conns;

    struct wheel wheel;
    struct pool conns;
    struct pool setups;
    uint32_t conn_count; /* open connections */
    uint32_t conn_cap;   /* of them, that the descriptors suffice for: conn_cap.h */
    uint64_t descriptor_limit;
    struct host_facts host;
    unsigned listener_count; /* open ones */
    bool is_accepting;       /* the listeners are watched */
    bool is_accept_paused;
    uint32_t accept_pause_end; /* tick */
    uint64_t pause_logged_ms;  /* monotonic; a worker at its limit says so now and then, not at each connection */
    uint64_t hellos_logged_ms; /* the same for max_pending_hellos */
    uint64_t conn_serial;
    uint64_t drain_deadline_ms; /* monotonic; while draining */

    struct control control;
    ev_io tick_io; /* a timerfd, once per tick of the wheel */

    struct reject_limit rejected;
    uint64_t rejected_told_ms; /* monotonic; when conn_log_held_back() was last called */

    struct hello_scratch scratch;
    struct hello_budget hellos; /* connections that wait for PROXY header or hello */
    _Alignas(64)
        uint8_t io_buffer[WORKER_IO_HEADROOM + WORKER_IO_BYTES]; /* the one relay buffer; valid within one callback */
};
#define WORKER_MAGIC 0x574b5231u

/** Where reads of connections go. */
static inline uint8_t *worker_io(struct worker *w)
{
    return w->io_buffer + WORKER_IO_HEADROOM;
}

/** Begin to accept (CTL_START); tells the master READY. */
void worker_start(struct worker *w);

/** Stop accepting, serve what waits in the queues, end when the last connection has. A second call changes nothing. */
void worker_drain(struct worker *w);

/** Close every connection now and leave the loop. */
void worker_stop(struct worker *w);

/** The same for want of something that the process cannot do without; the master replaces it. why: for the log. */
void worker_give_up(struct worker *w, const char *why);

/** A connection has ended: resume accepting if the cap had stopped it, leave the loop if it was the last one of a drain. */
void worker_conn_ended(struct worker *w);

/** Stop accepting for a moment: descriptors or memory have run out. */
void worker_pause_accept(struct worker *w);

#endif
