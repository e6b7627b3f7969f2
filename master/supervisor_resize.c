/*
 * Another number of workers. More is easy. Fewer must not lose a connection: first the kernel is told to give surplus slots no new
 * ones, then handshakes under way may complete, then the queues are served and the sockets closed - always those of the last slots,
 * so that a listener's sockets stay numbered by slot, which the steering relies on. A look before that they refuse SYNs by themselves:
 * while the kernel takes a socket out of its group, a look-up on another CPU may still end at it, whatever the steering says.
 */

#include "err.h"
#include "listen_sockets.h"
#include "log_event.h"
#include "stats_segment.h"
#include "supervisor_state.h"

#define SETTLING_LOOKS (2000 / SLOT_LOOK_MS) /* a SYN-ACK is repeated after 1 s */
#define FDS_PER_WORKER 2                     /* besides its listening sockets: log ring, control socket */
#define FDS_PER_BIRTH  4                     /* the other end of that one, a pipe, and one to spare */

bool supervisor_slot_is_wanted(const struct supervisor *sup, const struct worker_slot *slot)
{
    if (sup->phase != SUPERVISOR_RUNNING)
        return false;
    return slot->index < sup->worker_count || (sup->resize == RESIZE_SETTLING && slot->state != SLOT_RETIRING &&
                                               supervisor_slot_has_sockets(sup, slot->index));
}

static void log_count(const struct supervisor *sup)
{
    struct log_event e;

    log_event_begin(&e, LOG_INFO, "number of workers changes");
    log_event_u64(&e, LOG_KEY_WORKERS, sup->worker_count);
    log_event_end(&e);
}

/* A worker that had given up its sockets gets new ones; a slot without process gets a worker; one that is leaving is replaced when it
 * has left. */
static void slot_come_back(struct supervisor *sup, struct worker_slot *slot)
{
    if (slot->state == SLOT_RETIRING) {
        worker_slot_set_state(slot, SLOT_RUNNING);
        supervisor_send_listeners(sup, slot);
    } else if (slot->state == SLOT_EMPTY) {
        slot->state = SLOT_DEAD;
    }
}

void supervisor_abort_worker_count(struct supervisor *sup)
{
    if (sup->prepared_count == 0)
        return;
    for (unsigned i = sup->worker_count; i < sup->prepared_count; i++)
        supervisor_close_slot_sockets(sup, i);
    sup->prepared_count = 0;
    supervisor_balance(sup, 0);
}

/* While sockets are added they get no connection, so that they can be closed again if one cannot be had. */
static int supervisor_open_more(struct supervisor *sup, unsigned count, struct strbuf *why)
{
    supervisor_balance(sup, sup->worker_count);
    int rc = supervisor_open_slot_sockets(sup, sup->worker_count, count, why);

    if (rc != 0) {
        supervisor_balance(sup, 0);
        return rc;
    }
    unsigned more = (count - sup->worker_count) * FDS_PER_WORKER + FDS_PER_BIRTH;
    sup->prepared_count = count;
    if ((rc = listen_sockets_spare(sup->options.stats->fd, more, why)) != 0)
        supervisor_abort_worker_count(sup);
    return rc;
}

static int supervisor_grow(struct supervisor *sup, unsigned count, struct strbuf *why)
{
    unsigned before = sup->worker_count;
    int rc = sup->prepared_count == count ? 0 : supervisor_open_more(sup, count, why);

    if (rc != 0)
        return rc;
    sup->worker_count = count;
    sup->sockets_version++;
    sup->prepared_count = 0;
    supervisor_balance(sup, 0);
    log_count(sup);
    if (sup->phase != SUPERVISOR_RUNNING)
        return 0;
    sup->is_ready_awaited = true;
    for (unsigned i = before; i < count; i++)
        slot_come_back(sup, &sup->slots[i]);
    supervisor_start_dead(sup);
    return 0;
}

static void supervisor_shrink(struct supervisor *sup, unsigned count)
{
    unsigned before = sup->worker_count;

    sup->worker_count = count;
    sup->sockets_version++;
    log_count(sup);
    if (sup->phase != SUPERVISOR_RUNNING) {
        for (unsigned i = count; i < before; i++)
            supervisor_close_slot_sockets(sup, i);
        return;
    }
    supervisor_balance(sup, count);
    sup->resize = RESIZE_SETTLING;
    sup->settling_looks = 0;
}

static int supervisor_resize(struct supervisor *sup, unsigned count, struct strbuf *why)
{
    if (count > sup->worker_count)
        return supervisor_grow(sup, count, why);
    if (count < sup->worker_count)
        supervisor_shrink(sup, count);
    return 0;
}

static int check_count(unsigned count, struct strbuf *why)
{
    if (count >= 1 && count <= SHM_WORKERS_MAX)
        return 0;
    strbuf_addf(why, "must be 1 to %d", SHM_WORKERS_MAX);
    return ERR_RANGE;
}

int supervisor_prepare_worker_count(struct supervisor *sup, unsigned count, struct strbuf *why)
{
    int rc = check_count(count, why);

    if (rc != 0 || sup->resize != RESIZE_NONE || count <= sup->worker_count)
        return rc;
    CHECK(sup->prepared_count == 0);
    return supervisor_open_more(sup, count, why);
}

int supervisor_set_worker_count(struct supervisor *sup, unsigned count, struct strbuf *why)
{
    int rc = check_count(count, why);

    if (rc != 0)
        return rc;
    if (sup->resize == RESIZE_NONE)
        return supervisor_resize(sup, count, why);
    sup->pending_count = count;
    return 0;
}

/* ---- fewer, step by step ---- */

/* A slot without process has nobody to serve its queue, and gets nobody any more. */
static void slot_retire(struct supervisor *sup, struct worker_slot *slot)
{
    if (worker_slot_is_serving(slot)) {
        worker_slot_set_state(slot, SLOT_RETIRING);
        supervisor_send_removes(sup, slot);
    } else if (slot->state == SLOT_DEAD) {
        worker_slot_set_state(slot, SLOT_EMPTY);
        supervisor_close_slot_sockets(sup, slot->index);
    }
}

void supervisor_resize_look(struct supervisor *sup)
{
    if (sup->resize != RESIZE_SETTLING)
        return;
    if (++sup->settling_looks == SETTLING_LOOKS - 1)
        supervisor_make_slots_deaf(sup, sup->worker_count);
    if (sup->settling_looks < SETTLING_LOOKS)
        return;
    sup->resize = RESIZE_REMOVING;
    for (unsigned i = sup->worker_count; i < SHM_WORKERS_MAX; i++)
        slot_retire(sup, &sup->slots[i]);
    supervisor_resize_advance(sup);
}

static void supervisor_apply_pending(struct supervisor *sup)
{
    char text[256];
    struct strbuf why = STRBUF_OF(text);
    unsigned count = sup->pending_count;

    sup->pending_count = 0;
    if (count == 0 || supervisor_resize(sup, count, &why) == 0)
        return;
    struct log_event e;
    log_event_begin(&e, LOG_ERROR, "cannot change the number of workers");
    log_event_u64(&e, LOG_KEY_WORKERS, count);
    log_event_cstr(&e, LOG_KEY_ERROR, text);
    log_event_end(&e);
}

void supervisor_resize_advance(struct supervisor *sup)
{
    if (sup->resize != RESIZE_REMOVING)
        return;
    for (unsigned i = sup->worker_count; i < SHM_WORKERS_MAX; i++) {
        if (supervisor_slot_has_sockets(sup, i))
            return;
    }
    sup->resize = RESIZE_NONE;
    supervisor_balance(sup, 0);
    supervisor_apply_pending(sup);
}
