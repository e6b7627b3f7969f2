/* Births of workers: what a new one is told, how soon a dead one is replaced, and what workers say. */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "ctl_channel.h"
#include "err.h"
#include "handover.h"
#include "log_event.h"
#include "supervisor_state.h"
#include "worker_spawn.h"

/* ---- what a worker says ---- */

void supervisor_note_ready(struct supervisor *sup)
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
    worker_slot_begin(slot, pid, channel,
                      atomic_load_explicit(&supervisor_slot_stats(slot)->heartbeat, memory_order_relaxed));
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
