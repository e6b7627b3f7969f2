/* Births and deaths of workers: what a new one is told, how a dead one is noticed, cleaned up behind and replaced. */

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "ctl_channel.h"
#include "err.h"
#include "exit_status.h"
#include "handover.h"
#include "log_event.h"
#include "stats_segment.h"
#include "supervisor_state.h"
#include "worker_spawn.h"

#define STATUS_UNKNOWN (255 << 8) /* as of waitpid(2): exited with 255 */

static struct shm_worker_stats *slot_stats(const struct worker_slot *slot)
{
    return &slot->supervisor->options.stats->stats->workers[slot->index];
}

/* ---- what a worker says ---- */

static void supervisor_note_ready(struct supervisor *sup)
{
    for (unsigned i = 0; i < sup->worker_count; i++) {
        if (sup->slots[i].state != SLOT_RUNNING)
            return;
    }
    if (!sup->is_ready_awaited)
        return;
    sup->is_ready_awaited = false;
    if (sup->callbacks.on_all_ready != NULL)
        sup->callbacks.on_all_ready(sup->callbacks.context);
}

static void slot_on_ready(struct worker_slot *slot)
{
    struct log_event e;

    if (slot->state != SLOT_STARTING) /* was told to stop before it came so far */
        return;
    worker_slot_set_state(slot, SLOT_RUNNING);
    log_event_begin(&e, LOG_INFO, "worker ready");
    log_event_u64(&e, LOG_KEY_WORKER, slot->index);
    log_event_u64(&e, LOG_KEY_PID, (uint64_t)slot->pid);
    log_event_end(&e);
    supervisor_note_ready(slot->supervisor);
}

/* Its grammar was checked by the channel; whether somebody has asked for it only the server knows. */
static void slot_on_answer(struct worker_slot *slot, struct bytes payload)
{
    const struct supervisor_callbacks *callbacks = &slot->supervisor->callbacks;

    if (slot->asked_count == 0 || callbacks->on_query_answer == NULL ||
        !callbacks->on_query_answer(callbacks->context, slot->index, payload))
        worker_slot_kill(slot, "it answered what it was not asked");
    else
        slot->asked_count--;
}

/* Lengths and ids were checked by the channel. */
static void on_message(void *context, uint16_t type, struct bytes payload)
{
    struct worker_slot *slot = context;
    const struct ctl_listener_id *listener = (const void *)payload.ptr;

    supervisor_check(slot->supervisor);
    if (type == CTL_READY)
        slot_on_ready(slot);
    else if (type == CTL_LISTENER_REMOVED)
        supervisor_on_listener_removed(slot->supervisor, slot, listener->id);
    else if (type == CTL_QUERY_ANSWER)
        slot_on_answer(slot, payload);
}

static void on_down(void *context, int rc)
{
    struct worker_slot *slot = context;

    supervisor_check(slot->supervisor);
    slot->is_down = true;
    if (rc != ERR_CLOSED)
        worker_slot_kill(slot, rc == ERR_PROTOCOL ? "it sent a message that is none" : "its control socket failed");
}

/* ---- birth ---- */

static void slot_send_handover(struct supervisor *sup, struct worker_slot *slot)
{
    const struct supervisor_options *o = &sup->options;
    const struct handover record = {
        .magic = HANDOVER_MAGIC,
        .layout_version = SHM_LAYOUT_VERSION,
        .slot = slot->index,
        .birth = ++sup->birth_count,
        .tables_bytes = o->tables_bytes,
        .stats_bytes = o->stats->bytes,
        .log_bytes = slot->log_bytes,
        .rate_bytes = o->rate_fd >= 0 ? o->rate_bytes : 0,
        .drop_uid = o->drop_uid,
        .drop_gid = o->drop_gid,
    };

    worker_slot_send(slot, CTL_HANDOVER, bytes_of(&record, sizeof record), -1);
    worker_slot_send(slot, CTL_SETTINGS, bytes_of(&o->settings, sizeof o->settings), -1);
    supervisor_send_listeners(sup, slot);
    if (sup->geoip_fd >= 0)
        worker_slot_send(slot, CTL_GEOIP, bytes_of(NULL, 0), sup->geoip_fd);
    worker_slot_send(slot, CTL_START, bytes_of(NULL, 0), -1);
}

static int slot_spawn(struct supervisor *sup, struct worker_slot *slot, int control_fd, pid_t *pid_out)
{
    const struct worker_spawn spec = {
        .binary_fd = sup->options.binary_fd,
        .slot = slot->index,
        .control_fd = control_fd,
        .tables_fd = sup->options.tables_fd,
        .stats_fd = sup->options.stats->fd,
        .log_fd = slot->log_fd,
        .rate_fd = sup->options.rate_fd,
    };

    return worker_spawn(&spec, pid_out);
}

static int slot_make_log_ring(struct supervisor *sup, struct worker_slot *slot)
{
    int rc;

    if (slot->log_fd >= 0)
        return 0;
    if ((rc = worker_slot_make_log_ring(slot, sup->options.log_ring_bytes)) != 0)
        return rc;
    if (sup->callbacks.on_log_ring != NULL)
        sup->callbacks.on_log_ring(sup->callbacks.context, slot->index, slot->log_mapping, slot->log_bytes);
    return 0;
}

/* A process and a channel to it, or neither. */
static int slot_make_worker(struct supervisor *sup, struct worker_slot *slot)
{
    int pair[2];
    pid_t pid;
    int rc = slot_make_log_ring(sup, slot);

    if (rc != 0)
        return rc;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return ERR_SYSTEM;
    struct ctl_channel *channel = ctl_channel_new(sup->loop, pair[0], on_message, on_down, slot);
    rc = channel == NULL ? ERR_NO_MEMORY : slot_spawn(sup, slot, pair[1], &pid);
    int error_number = errno;
    close(pair[1]);
    if (rc != 0) {
        ctl_channel_free(&channel);
        errno = error_number;
        return rc;
    }
    worker_slot_begin(slot, pid, channel, atomic_load_explicit(&slot_stats(slot)->heartbeat, memory_order_relaxed));
    return 0;
}

int supervisor_start_slot(struct supervisor *sup, struct worker_slot *slot)
{
    int rc = slot_make_worker(sup, slot);
    int error_number = errno;
    struct log_event e;

    log_event_begin(&e, rc == 0 ? LOG_INFO : LOG_ERROR, rc == 0 ? "worker started" : "cannot start a worker");
    log_event_u64(&e, LOG_KEY_WORKER, slot->index);
    if (rc == 0) {
        log_event_u64(&e, LOG_KEY_PID, (uint64_t)slot->pid);
    } else {
        worker_slot_set_state(slot, SLOT_DEAD);
        log_event_cstr(&e, LOG_KEY_ERROR, rc == ERR_SYSTEM ? strerror(error_number) : err_text(rc));
    }
    log_event_end(&e);
    if (rc == 0)
        slot_send_handover(sup, slot);
    errno = error_number;
    return rc;
}

/* The next dead slot behind the one started last; NULL if none is dead. */
static struct worker_slot *next_dead_slot(struct supervisor *sup)
{
    for (unsigned i = 0; i < SHM_WORKERS_MAX; i++) {
        struct worker_slot *slot = &sup->slots[(sup->respawn_cursor + i) % SHM_WORKERS_MAX];
        if (slot->state == SLOT_DEAD)
            return slot;
    }
    return NULL;
}

void supervisor_start_dead(struct supervisor *sup)
{
    struct worker_slot *slot;

    while ((slot = next_dead_slot(sup)) != NULL) {
        uint64_t now_ms = clock_monotonic_ms();
        uint64_t wait_ms = respawn_wait_ms(&sup->respawn, now_ms);
        if (wait_ms > 0) {
            ev_timer_stop(sup->loop, &sup->respawn_timer);
            ev_timer_set(&sup->respawn_timer, (double)wait_ms / 1000., 0.);
            ev_timer_start(sup->loop, &sup->respawn_timer);
            return;
        }
        sup->respawn_cursor = slot->index + 1;
        respawn_note_start(&sup->respawn, now_ms);
        if (supervisor_start_slot(sup, slot) != 0)
            respawn_note_death(&sup->respawn, now_ms); /* so that a lack of descriptors is no busy loop */
    }
}

static void on_respawn(struct ev_loop *loop, struct ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    supervisor_start_dead(supervisor_check(w->data));
}

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
    uint64_t heartbeat = atomic_load_explicit(&slot_stats(slot)->heartbeat, memory_order_relaxed);

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
