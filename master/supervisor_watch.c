/* The watch over workers: how a dead or hanging one is noticed and cleaned up behind. */

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "ctl_channel.h"
#include "exit_status.h"
#include "log_event.h"
#include "supervisor_state.h"

#define STATUS_UNKNOWN (255 << 8) /* as of waitpid(2): exited with 255 */

/* ---- death ---- */

static void log_death(const struct worker_slot *slot, pid_t pid, int status, bool was_expected)
{
    struct log_event e;

    log_event_begin(&e, was_expected ? LOG_INFO : LOG_ERROR, was_expected ? "worker exited" : "worker died");
    log_event_u64(&e, LOG_KEY_WORKER, slot->index);
    log_event_u64(&e, LOG_KEY_PID, (uint64_t)pid);
    exit_status_log(&e, status);
    log_event_end(&e);
}

static void slot_on_death(struct supervisor *sup, struct worker_slot *slot, int status)
{
    bool was_expected = slot->state == SLOT_DRAINING && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    bool is_wanted = supervisor_slot_is_wanted(sup, slot);
    pid_t pid = slot->pid;

    worker_slot_end(slot, is_wanted ? SLOT_DEAD : SLOT_EMPTY);
    if (sup->callbacks.on_log_drain != NULL)
        sup->callbacks.on_log_drain(sup->callbacks.context, slot->index);
    stats_segment_clear_slot(sup->options.stats, slot->index);
    log_death(slot, pid, status, was_expected);
    if (!was_expected)
        respawn_note_death(&sup->respawn, clock_monotonic_ms());
    sup->restart_count += !was_expected && is_wanted;
    if (is_wanted)
        supervisor_start_dead(sup);
    else
        supervisor_close_slot_sockets(sup, slot->index);
    if (sup->callbacks.on_worker_died != NULL)
        sup->callbacks.on_worker_died(sup->callbacks.context, slot->index, pid, status);
}

static void supervisor_note_gone(struct supervisor *sup)
{
    if (sup->phase != SUPERVISOR_STOPPING && sup->phase != SUPERVISOR_LEAVING)
        return;
    for (unsigned i = 0; i < SHM_WORKERS_MAX; i++) {
        if (worker_slot_has_process(&sup->slots[i]))
            return;
    }
    sup->phase = SUPERVISOR_GONE;
    supervisor_closing_end(sup);
    supervisor_watch_end(sup);
    if (sup->callbacks.on_all_gone != NULL)
        sup->callbacks.on_all_gone(sup->callbacks.context);
}

static bool is_worker(const struct supervisor *sup, pid_t pid)
{
    for (unsigned i = 0; i < SHM_WORKERS_MAX; i++) {
        if (worker_slot_has_process(&sup->slots[i]) && sup->slots[i].pid == pid)
            return true;
    }
    return false;
}

/* In a container we may be process 1, which inherits every orphan. Looks before it takes: a worker that died meanwhile has a signal
 * of its own coming, and its status is for its slot. */
static void reap_orphans(const struct supervisor *sup)
{
    siginfo_t info = {0};

    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0 &&
           !is_worker(sup, info.si_pid)) {
        (void)waitpid(info.si_pid, NULL, WNOHANG);
        info.si_pid = 0;
    }
}

/* Is the worker gone? One whose status somebody else has taken is no child any more (ECHILD), and gone all the same. */
static bool slot_try_reap(const struct worker_slot *slot, int *status_out)
{
    pid_t pid = waitpid(slot->pid, status_out, WNOHANG);

    if (pid != -1 || errno != ECHILD)
        return pid == slot->pid;
    *status_out = STATUS_UNKNOWN;
    struct log_event e;
    log_event_begin(&e, LOG_WARN, "somebody else has reaped a worker: how it ended is not known");
    log_event_u64(&e, LOG_KEY_WORKER, slot->index);
    log_event_u64(&e, LOG_KEY_PID, (uint64_t)slot->pid);
    log_event_end(&e);
    return true;
}

static void slot_reap(struct supervisor *sup, struct worker_slot *slot)
{
    int status;

    if (worker_slot_has_process(slot) && slot_try_reap(slot, &status))
        slot_on_death(sup, slot, status);
}

/* Only our own pids are asked for: other children are other people's, unless there are no other people. */
static void supervisor_reap(struct supervisor *sup)
{
    for (unsigned i = 0; i < SHM_WORKERS_MAX; i++)
        slot_reap(sup, &sup->slots[i]);
    if (getpid() == 1)
        reap_orphans(sup);
    supervisor_resize_advance(sup);
    supervisor_note_gone(sup);
}

static void on_child(struct ev_loop *loop, struct ev_signal *w, int revents)
{
    (void)loop;
    (void)revents;
    supervisor_reap(supervisor_check(w->data));
}

/* ---- the watch ---- */

/* A retiring worker that has nothing left to relay may go. */
static void slot_dismiss(struct supervisor *sup, struct worker_slot *slot)
{
    if (slot->state != SLOT_RETIRING || supervisor_slot_has_sockets(sup, slot->index) ||
        stats_segment_slot_active(sup->options.stats, slot->index) > 0)
        return;
    worker_slot_set_state(slot, SLOT_DRAINING);
    slot->closing_looks = SLOT_GOODBYE_LOOKS;
    worker_slot_send(slot, CTL_DRAIN, bytes_of(NULL, 0), -1);
}

static void slot_look(struct supervisor *sup, struct worker_slot *slot)
{
    uint64_t heartbeat = atomic_load_explicit(&supervisor_slot_stats(slot)->heartbeat, memory_order_relaxed);

    worker_slot_listen(slot, slot->index < sup->worker_count, heartbeat);
    if (!worker_slot_has_process(slot))
        return;
    const char *reason = worker_slot_look(slot, heartbeat);
    if (reason != NULL)
        worker_slot_kill(slot, reason);
}

/* Set anew at every look, so that a loop that was held up looks once and not several times in a row. */
static void on_look(struct ev_loop *loop, struct ev_timer *w, int revents)
{
    struct supervisor *sup = supervisor_check(w->data);
    uint64_t now_ms = clock_monotonic_ms();

    (void)revents;
    ev_timer_again(loop, w);
    if (now_ms - sup->looked_ms < SLOT_LOOK_MS / 2)
        return; /* supervisor_attend() was here */
    sup->looked_ms = now_ms;
    for (unsigned i = 0; i < SHM_WORKERS_MAX; i++) {
        struct worker_slot *slot = &sup->slots[i];

        /* Memory of slots that were never used is not touched: reading would allocate it. */
        if (!worker_slot_has_process(slot) && i >= sup->worker_count)
            continue;
        slot_look(sup, slot);
        if (worker_slot_has_process(slot))
            slot_dismiss(sup, slot);
    }
    supervisor_resize_look(sup);
    supervisor_note_ready(sup);
    supervisor_reap(sup);
}

/* Whose death makes no more of it than a replacement: closing sockets, or the end of all, have callbacks that are not for now. */
static bool is_simple(const struct supervisor *sup, const struct worker_slot *slot)
{
    return worker_slot_is_serving(slot) && slot->index < sup->worker_count;
}

void supervisor_attend(struct supervisor *sup)
{
    uint64_t now_ms = clock_monotonic_ms();
    bool is_look = now_ms - supervisor_check(sup)->looked_ms >= SLOT_LOOK_MS;

    if (sup->phase != SUPERVISOR_RUNNING)
        return;
    if (is_look)
        sup->looked_ms = now_ms;
    for (unsigned i = 0; i < sup->worker_count; i++) {
        struct worker_slot *slot = &sup->slots[i];

        if (is_look && slot->state == SLOT_RUNNING) /* the others would have to be heard */
            slot_look(sup, slot);
        if (is_simple(sup, slot))
            slot_reap(sup, slot);
    }
    supervisor_start_dead(sup);
}

static void on_respawn(struct ev_loop *loop, struct ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    supervisor_start_dead(supervisor_check(w->data));
}

void supervisor_watch_begin(struct supervisor *sup)
{
    ev_signal_init(&sup->child_watch, on_child, SIGCHLD);
    ev_init(&sup->look_timer, on_look);
    ev_init(&sup->respawn_timer, on_respawn);
    sup->look_timer.repeat = SLOT_LOOK_MS / 1000.;
    sup->child_watch.data = sup->look_timer.data = sup->respawn_timer.data = sup;
    ev_signal_start(sup->loop, &sup->child_watch);
    ev_timer_again(sup->loop, &sup->look_timer);
}

void supervisor_watch_end(struct supervisor *sup)
{
    ev_signal_stop(sup->loop, &sup->child_watch);
    ev_timer_stop(sup->loop, &sup->look_timer);
    ev_timer_stop(sup->loop, &sup->respawn_timer);
}
