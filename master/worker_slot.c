/* One worker slot: its process, its state, and the watch over both. */

#include "worker_slot.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ctl_channel.h"
#include "ctl_codec.h"
#include "err.h"
#include "log_event.h"
#include "shared_file.h"

static const char *const state_words[] = {
    [SLOT_EMPTY] = "empty",     [SLOT_DEAD] = "dead",         [SLOT_STARTING] = "starting",
    [SLOT_RUNNING] = "running", [SLOT_RETIRING] = "retiring", [SLOT_DRAINING] = "draining",
};

void worker_slot_init(struct worker_slot *slot, struct supervisor *supervisor, unsigned index)
{
    *slot = (struct worker_slot){.supervisor = supervisor, .index = index, .log_fd = -1};
}

void worker_slot_fini(struct worker_slot *slot)
{
    CHECK(!worker_slot_has_process(slot));
    if (slot->log_fd < 0)
        return;
    munmap(slot->log_mapping, slot->log_bytes);
    close(slot->log_fd);
    slot->log_fd = -1;
    slot->log_mapping = NULL;
}

int worker_slot_make_log_ring(struct worker_slot *slot, uint64_t ring_bytes)
{
    void *mapping;
    int fd;

    if (slot->log_fd >= 0)
        return 0;
    uint64_t bytes = log_ring_segment_bytes(ring_bytes);
    int rc = shared_file_make("mc-proxy-log", bytes, &fd, &mapping);
    if (rc != 0)
        return rc;
    slot->log_fd = fd;
    slot->log_bytes = bytes;
    slot->log_mapping = mapping;
    return 0;
}

void worker_slot_begin(struct worker_slot *slot, pid_t pid, struct ctl_channel *channel, uint64_t heartbeat)
{
    CHECK(!worker_slot_has_process(slot) && slot->channel == NULL);
    slot->pid = pid;
    slot->channel = channel;
    slot->heartbeat = heartbeat;
    slot->is_down = false;
    slot->is_killed = false;
    slot->asked_count = 0;
    slot->down_looks = 0;
    worker_slot_set_state(slot, SLOT_STARTING);
}

void worker_slot_end(struct worker_slot *slot, enum slot_state state)
{
    CHECK(state == SLOT_EMPTY || state == SLOT_DEAD);
    ctl_channel_free(&slot->channel);
    slot->pid = 0;
    worker_slot_set_state(slot, state);
}

void worker_slot_set_state(struct worker_slot *slot, enum slot_state state)
{
    slot->state = state;
    slot->state_looks = 0;
    slot->silent_looks = 0;
}

bool worker_slot_is_reachable(const struct worker_slot *slot)
{
    return slot->channel != NULL && !slot->is_down && !slot->is_killed;
}

void worker_slot_send(struct worker_slot *slot, uint16_t type, struct bytes payload, int passed_fd)
{
    if (!worker_slot_is_reachable(slot))
        return;
    int rc = ctl_channel_send(slot->channel, type, payload, passed_fd);
    if (rc == 0 || rc == ERR_CLOSED) /* closed: it is about to be seen and dealt with */
        return;
    struct log_event e;
    log_event_begin(&e, LOG_ERROR, "cannot send to a worker");
    log_event_u64(&e, LOG_KEY_WORKER, slot->index);
    log_event_cstr(&e, LOG_KEY_DETAIL, ctl_type_word(type));
    log_event_cstr(&e, LOG_KEY_ERROR, err_text(rc));
    log_event_end(&e);
    worker_slot_kill(slot, "it could not be told a change");
}

void worker_slot_kill(struct worker_slot *slot, const char *reason)
{
    struct log_event e;

    if (!worker_slot_has_process(slot) || slot->is_killed)
        return;
    slot->is_killed = true;
    kill(slot->pid, SIGKILL); /* cannot fail: an own child that is not reaped yet */
    log_event_begin(&e, LOG_ERROR, "worker killed");
    log_event_u64(&e, LOG_KEY_WORKER, slot->index);
    log_event_u64(&e, LOG_KEY_PID, (uint64_t)slot->pid);
    log_event_cstr(&e, LOG_KEY_REASON, reason);
    log_event_end(&e);
}

const char *worker_slot_look(struct worker_slot *slot, uint64_t heartbeat)
{
    slot->state_looks++;
    slot->silent_looks = heartbeat == slot->heartbeat ? slot->silent_looks + 1 : 0;
    slot->heartbeat = heartbeat;
    slot->down_looks = slot->is_down ? slot->down_looks + 1 : 0;

    if (slot->is_killed)
        return NULL;
    if (slot->down_looks >= SLOT_GOODBYE_LOOKS)
        return "it closed its control socket and did not exit";
    if (slot->state == SLOT_STARTING)
        return slot->state_looks >= SLOT_START_LOOKS ? "it was not ready 10 s after its start" : NULL;
    if (slot->state == SLOT_DRAINING && slot->state_looks >= slot->closing_looks)
        return "it did not exit in time";
    return slot->silent_looks >= SLOT_SILENT_LOOKS ? "its heartbeat has stood still for 2 s" : NULL;
}

void worker_slot_listen(struct worker_slot *slot, bool is_wanted, uint64_t heartbeat)
{
    bool is_heard = slot->state == SLOT_RUNNING && heartbeat != slot->heartbeat;

    slot->mute_looks = !is_wanted || is_heard ? 0 : slot->mute_looks + 1;
}

const char *slot_state_word(enum slot_state state)
{
    CHECK((unsigned)state < sizeof state_words / sizeof state_words[0]);
    return state_words[state];
}

void worker_slot_dump(const struct worker_slot *slot, struct strbuf *out)
{
    strbuf_addf(out, "slot=%u state=%s pid=%d", slot->index, slot_state_word(slot->state), (int)slot->pid);
    if (slot->channel != NULL) {
        strbuf_add(out, " ");
        ctl_channel_dump(slot->channel, out);
    }
}
