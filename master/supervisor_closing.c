/*
 * Closing listening sockets without resetting a client. The kernel resets what is in the queue of a socket that is closed, and lets
 * handshakes that it has answered run into nothing. So, in this order: no new handshakes; those under way complete into the
 * queues; then the workers are told to serve their queues and to close.
 *
 *     3 ms --> SYNs dropped --> look: a handshake under way? --no--> LISTENER_REMOVE, DRAIN: accept what is queued, close
 *                                 ^                  |yes
 *                                 +----- 10 ms ------+ at most 2 s: a lost SYN-ACK is repeated after one
 *
 * A client whose SYN is dropped hears neither yes nor no for a second. So that there are few, no time is lost behind that.
 */

#include <errno.h>
#include <time.h>

#include "clock.h"
#include "handshakes.h"
#include "listen_sockets.h"
#include "log_event.h"
#include "supervisor_state.h"

#define STILL_OPEN_S   0.003   /* who connects in the very moment of a signal is served, not left without an answer */
#define DEAF_PAUSE_NS  200000L /* a SYN that another CPU has taken just before is a handshake by then */
#define LOOK_S         0.010
#define CLOSING_MAX_MS 2000
#define BLIND_MS       300 /* where the kernel does not tell: most round trips are shorter */

/** A socket that somebody passed in is not ours to silence: it stays open where it came from. */
static bool is_ours_alone(const struct listener_record *record)
{
    return record->shared_fd < 0;
}

/** Those of the slots from `first` on take no new handshake any more. */
static void refuse_new(const struct listener_record *record, unsigned first)
{
    for (unsigned i = first; i < SHM_WORKERS_MAX; i++) {
        if (record->fds[i] < 0 || listen_sockets_refuse_new(record->fds[i]) == 0)
            continue;
        log_errno(LOG_WARN, "cannot hold new connections back from a listener that closes", errno, LOG_KEY_LISTENER,
                  record->ctl->addr);
        return;
    }
}

static void make_deaf(struct listener_record *record)
{
    record->is_deaf = true;
    record->deaf_since_ms = clock_monotonic_ms();
    refuse_new(record, 0);
}

void supervisor_make_slots_deaf(const struct supervisor *sup, unsigned first)
{
    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++) {
        if (sup->listeners[id] != NULL && is_ours_alone(sup->listeners[id]))
            refuse_new(sup->listeners[id], first);
    }
}

static bool is_awaited(const struct supervisor *sup, const struct listener_record *record)
{
    return record != NULL && (record->is_closing || (sup->closing.is_whole && is_ours_alone(record)));
}

/** The records that are being closed, and whether each has handshakes under way. */
struct closing_look {
    unsigned count;
    struct listener_record *records[SHM_LISTENERS_MAX];
    struct listen_addr addrs[SHM_LISTENERS_MAX];
    bool is_pending[SHM_LISTENERS_MAX];
};

static void collect(struct supervisor *sup, struct closing_look *look)
{
    static const struct timespec pause = {.tv_nsec = DEAF_PAUSE_NS};
    bool is_any_new = false;

    look->count = 0;
    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++) {
        struct listener_record *record = sup->listeners[id];
        if (!is_awaited(sup, record))
            continue;
        if (!record->is_deaf) {
            make_deaf(record);
            is_any_new = true;
        }
        look->records[look->count] = record;
        look->addrs[look->count++] = record->addr;
    }
    if (is_any_new)
        nanosleep(&pause, NULL); /* a timer of the loop would wait a whole millisecond at least */
}

static void look_at_all(struct closing_look *look)
{
    uint64_t now_ms = clock_monotonic_ms();
    bool is_blind = handshakes_look(look->addrs, look->count, look->is_pending) != 0;
    for (unsigned i = 0; i < look->count; i++) {
        uint64_t waited_ms = now_ms - look->records[i]->deaf_since_ms;
        look->is_pending[i] = (is_blind || look->is_pending[i]) && waited_ms < (is_blind ? BLIND_MS : CLOSING_MAX_MS);
    }
}

/** Tell workers what may be closed; true if something is still under way. */
static bool close_settled(struct supervisor *sup, const struct closing_look *look)
{
    bool is_any_pending = false;

    for (unsigned i = 0; i < look->count; i++) {
        struct listener_record *record = look->records[i];
        is_any_pending |= look->is_pending[i];
        if (look->is_pending[i] || !record->is_closing)
            continue;
        record->is_closing = false;
        supervisor_send_remove(sup, record);
    }
    return is_any_pending;
}

static void on_closing_look(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    static struct closing_look look; /* 70 KiB, too much for a stack */
    struct supervisor *sup = supervisor_check(timer->data);

    (void)revents;
    collect(sup, &look);
    look_at_all(&look);
    bool is_any_pending = close_settled(sup, &look);
    if (is_any_pending) {
        ev_timer_set(timer, LOOK_S, 0.);
        ev_timer_start(loop, timer);
    } else if (sup->closing.is_whole) {
        supervisor_end_slots(sup, CTL_DRAIN, supervisor_drain_looks(sup));
    }
}

/* What is added while others are looked at comes in with the next look. */
static void begin(struct supervisor *sup)
{
    if (ev_is_active(&sup->closing.timer))
        return;
    ev_timer_set(&sup->closing.timer, STILL_OPEN_S, 0.);
    ev_timer_start(sup->loop, &sup->closing.timer);
}

void supervisor_closing_init(struct supervisor *sup)
{
    ev_init(&sup->closing.timer, on_closing_look);
    sup->closing.timer.data = sup;
}

void supervisor_closing_end(struct supervisor *sup)
{
    ev_timer_stop(sup->loop, &sup->closing.timer);
    sup->closing.is_whole = false;
}

void supervisor_close_record(struct supervisor *sup, struct listener_record *record)
{
    if (!is_ours_alone(record)) {
        supervisor_send_remove(sup, record);
        return;
    }
    record->is_closing = true;
    begin(sup);
}

void supervisor_close(struct supervisor *sup)
{
    if (sup->phase != SUPERVISOR_RUNNING) {
        supervisor_drain(sup);
        return;
    }
    sup->phase = SUPERVISOR_STOPPING;
    sup->resize = RESIZE_NONE;
    ev_timer_stop(sup->loop, &sup->respawn_timer);
    sup->closing.is_whole = true;
    begin(sup);
}
