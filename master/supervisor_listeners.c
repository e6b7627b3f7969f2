/* The supervisor's listeners: one record each, with the sockets of all slots. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl_codec.h"
#include "err.h"
#include "listen_sockets.h"
#include "log_event.h"
#include "stats_segment.h"
#include "supervisor_state.h"

static struct bytes listener_payload(const struct ctl_listener *ctl)
{
    return bytes_of(ctl, ctl_listener_bytes(ctl));
}

static struct ctl_listener *listener_copy(const struct ctl_listener *ctl)
{
    struct ctl_listener *copy = malloc(ctl_listener_bytes(ctl));

    if (copy != NULL)
        memcpy(copy, ctl, ctl_listener_bytes(ctl));
    return copy;
}

/* ---- records ---- */

static void record_free(struct listener_record *record)
{
    listen_sockets_close(record->fds, SHM_WORKERS_MAX);
    if (record->shared_fd >= 0)
        close(record->shared_fd);
    free(record->ctl);
    free(record);
}

static struct listener_record *record_new(const struct supervisor_listener *listener)
{
    struct listener_record *record = calloc(1, sizeof *record);

    if (record == NULL)
        return NULL;
    for (unsigned i = 0; i < SHM_WORKERS_MAX; i++)
        record->fds[i] = -1;
    record->addr = listener->addr;
    record->shared_fd = listener->inherited_fd < 0 ? -1 : fcntl(listener->inherited_fd, F_DUPFD_CLOEXEC, 3);
    record->ctl = listener_copy(listener->ctl);
    if (record->ctl == NULL || (listener->inherited_fd >= 0 && record->shared_fd < 0)) {
        record_free(record);
        return NULL;
    }
    return record;
}

static int record_open(struct listener_record *record, unsigned first, unsigned end, struct strbuf *why)
{
    if (record->shared_fd >= 0)
        return listen_sockets_share(record->shared_fd, end - first, record->fds + first, why);
    return listen_sockets_open(&record->addr, end - first, record->fds + first, why);
}

/* What was opened for us first, so that our numbering is the kernel's. */
static int record_adopt(struct listener_record *record, const struct supervisor_listener *listener, unsigned end,
                        struct strbuf *why)
{
    unsigned count = listener->slot_fd_count;

    CHECK(count <= end);
    int rc = listen_sockets_adopt(listener->slot_fds, count, record->fds, why);
    if (rc != 0)
        return rc;
    return record_open(record, count, end, why);
}

static bool record_has_sockets(const struct listener_record *record)
{
    for (unsigned i = 0; i < SHM_WORKERS_MAX; i++) {
        if (record->fds[i] >= 0)
            return true;
    }
    return false;
}

void supervisor_forget_listeners(struct supervisor *sup)
{
    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++) {
        struct listener_record *record = sup->listeners[id];

        if (record == NULL || !record->is_removing || record_has_sockets(record))
            continue;
        sup->listeners[id] = NULL;
        record_free(record);
        if (sup->callbacks.on_listener_removed != NULL)
            sup->callbacks.on_listener_removed(sup->callbacks.context, id);
    }
}

void supervisor_free_listeners(struct supervisor *sup)
{
    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++) {
        if (sup->listeners[id] != NULL)
            record_free(sup->listeners[id]);
        sup->listeners[id] = NULL;
    }
}

/* ---- sockets of a slot ---- */

void supervisor_close_slot_sockets(struct supervisor *sup, unsigned slot)
{
    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++) {
        if (sup->listeners[id] != NULL)
            listen_sockets_close(&sup->listeners[id]->fds[slot], 1);
    }
    supervisor_forget_listeners(sup);
}

bool supervisor_slot_has_sockets(const struct supervisor *sup, unsigned slot)
{
    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++) {
        if (sup->listeners[id] != NULL && sup->listeners[id]->fds[slot] >= 0)
            return true;
    }
    return false;
}

int supervisor_open_slot_sockets(struct supervisor *sup, unsigned first, unsigned end, struct strbuf *why)
{
    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++) {
        struct listener_record *record = sup->listeners[id];
        int rc;

        if (record == NULL || record->is_removing || (rc = record_open(record, first, end, why)) == 0)
            continue;
        for (unsigned done = 0; done < id; done++) {
            if (sup->listeners[done] != NULL && !sup->listeners[done]->is_removing)
                listen_sockets_close(sup->listeners[done]->fds + first, end - first);
        }
        return rc;
    }
    return 0;
}

void supervisor_balance(struct supervisor *sup, unsigned count)
{
    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++) {
        struct listener_record *record = sup->listeners[id];

        if (record == NULL || record->shared_fd >= 0 || record->is_removing || record->fds[0] < 0)
            continue;
        if (listen_sockets_balance(record->fds[0], count) != 0)
            log_errno(LOG_WARN, "cannot steer new connections away from workers that stop", errno, LOG_KEY_LISTENER,
                      record->ctl->addr);
    }
}

/* ---- what workers are told ---- */

static void send_remove(const struct listener_record *record, struct worker_slot *slot)
{
    const struct ctl_listener_id id = {.id = record->ctl->id};

    worker_slot_send(slot, CTL_LISTENER_REMOVE, bytes_of(&id, sizeof id), -1);
}

void supervisor_send_listener(const struct listener_record *record, struct worker_slot *slot)
{
    worker_slot_send(slot, CTL_LISTENER_ADD, listener_payload(record->ctl), record->fds[slot->index]);
}

/* A listener on its way out is told too: its queue is still to be served. */
void supervisor_send_listeners(struct supervisor *sup, struct worker_slot *slot)
{
    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++) {
        const struct listener_record *record = sup->listeners[id];

        if (record == NULL || record->fds[slot->index] < 0)
            continue;
        supervisor_send_listener(record, slot);
        if (record->is_removing && !record->is_closing)
            send_remove(record, slot);
    }
}

void supervisor_send_remove(struct supervisor *sup, struct listener_record *record)
{
    for (unsigned i = 0; i < SHM_WORKERS_MAX; i++) {
        if (record->fds[i] >= 0 && worker_slot_is_serving(&sup->slots[i]))
            send_remove(record, &sup->slots[i]);
    }
}

void supervisor_send_removes(struct supervisor *sup, struct worker_slot *slot)
{
    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++) {
        const struct listener_record *record = sup->listeners[id];

        if (record != NULL && record->fds[slot->index] >= 0 && (!record->is_removing || record->is_closing))
            send_remove(record, slot);
    }
}

/* A worker that gives up a listener unasked would leave its queue unserved for good: another one must take the slot. */
void supervisor_on_listener_removed(struct supervisor *sup, struct worker_slot *slot, unsigned id)
{
    struct listener_record *record = sup->listeners[id];
    bool was_asked = slot->state == SLOT_RETIRING || slot->state == SLOT_DRAINING;

    if (record == NULL || record->fds[slot->index] < 0 || (!was_asked && !record->is_removing)) {
        worker_slot_kill(slot, "it gave up a listener that it was not asked to");
        return;
    }
    listen_sockets_close(&record->fds[slot->index], 1);
    supervisor_forget_listeners(sup);
    supervisor_resize_advance(sup);
}

/* ---- the server's verbs ---- */

static bool supervisor_overlaps(const struct supervisor *sup, const struct listen_addr *addr)
{
    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++) {
        if (sup->listeners[id] != NULL && listen_addr_overlaps(&sup->listeners[id]->addr, addr))
            return true;
    }
    return false;
}

static bool supervisor_has_address(const struct supervisor *sup, const struct listen_addr *addr)
{
    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++) {
        if (sup->listeners[id] != NULL && listen_addr_equal(&sup->listeners[id]->addr, addr))
            return true;
    }
    return false;
}

/* Where one of our own already covers the port, nobody else can be there without SO_REUSEPORT, and the probe would only find us. */
static int record_make(struct supervisor *sup, const struct supervisor_listener *listener, unsigned wait_ms,
                       struct listener_record **out, struct strbuf *why)
{
    int rc = 0;

    if (listener->inherited_fd < 0 && listener->slot_fd_count == 0 && !supervisor_overlaps(sup, &listener->addr))
        rc = listen_sockets_probe(&listener->addr, wait_ms, why);
    if (rc != 0)
        return rc;
    struct listener_record *record = record_new(listener);
    if (record == NULL) {
        strbuf_add(why, "out of memory or descriptors");
        return ERR_NO_MEMORY;
    }
    rc = record_adopt(record, listener, sup->prepared_count != 0 ? sup->prepared_count : sup->worker_count, why);
    if (rc != 0)
        record_free(record);
    else
        *out = record;
    return rc;
}

int supervisor_prepare_listener(struct supervisor *sup, const struct supervisor_listener *listener, unsigned wait_ms,
                                struct listener_record **out, struct strbuf *why)
{
    unsigned id = listener->ctl->id;

    CHECK(id < SHM_LISTENERS_MAX && listener->ctl->trusted_count <= CTL_TRUSTED_MAX);
    strbuf_addf(why, "listener %s (%s): ", listener->name, listener->ctl->addr);
    if (sup->listeners[id] != NULL || supervisor_has_address(sup, &listener->addr)) {
        strbuf_add(why, "there is one already, or it is still being removed; try again");
        return ERR_EXISTS;
    }
    int rc = record_make(sup, listener, wait_ms, out, why);
    if (rc == 0)
        strbuf_reset(why);
    return rc;
}

void supervisor_commit_listener(struct supervisor *sup, struct listener_record **prepared)
{
    struct listener_record *record = *prepared;
    unsigned id = record->ctl->id;

    CHECK(sup->listeners[id] == NULL);
    stats_segment_use_listener(sup->options.stats, id);
    sup->listeners[id] = record;
    sup->sockets_version++;
    for (unsigned i = 0; i < sup->worker_count; i++) {
        if (worker_slot_is_serving(&sup->slots[i]))
            supervisor_send_listener(record, &sup->slots[i]);
    }
    *prepared = NULL;
}

void supervisor_abort_listener(struct listener_record **prepared)
{
    if (*prepared != NULL)
        record_free(*prepared);
    *prepared = NULL;
}

int supervisor_add_listener(struct supervisor *sup, const struct supervisor_listener *listener, unsigned wait_ms,
                            struct strbuf *why)
{
    struct listener_record *record;
    int rc = supervisor_prepare_listener(sup, listener, wait_ms, &record, why);

    if (rc == 0)
        supervisor_commit_listener(sup, &record);
    return rc;
}

int supervisor_update_listener(struct supervisor *sup, const struct ctl_listener *ctl)
{
    CHECK(ctl->id < SHM_LISTENERS_MAX && ctl->trusted_count <= CTL_TRUSTED_MAX);
    struct listener_record *record = sup->listeners[ctl->id];
    if (record == NULL || record->is_removing)
        return ERR_NOT_FOUND;
    struct ctl_listener *copy = listener_copy(ctl);
    if (copy == NULL)
        return ERR_NO_MEMORY;
    free(record->ctl);
    record->ctl = copy;
    for (unsigned i = 0; i < SHM_WORKERS_MAX; i++) {
        if (record->fds[i] >= 0 && worker_slot_is_serving(&sup->slots[i]))
            worker_slot_send(&sup->slots[i], CTL_LISTENER_UPDATE, listener_payload(copy), -1);
    }
    return 0;
}

bool supervisor_is_removing(const struct supervisor *sup, const struct listen_addr *addr)
{
    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++) {
        const struct listener_record *record = sup->listeners[id];
        if (record != NULL && record->is_removing && listen_addr_equal(&record->addr, addr))
            return true;
    }
    return false;
}

int supervisor_remove_listener(struct supervisor *sup, unsigned id)
{
    struct listener_record *record = id < SHM_LISTENERS_MAX ? sup->listeners[id] : NULL;

    if (record == NULL || record->is_removing)
        return ERR_NOT_FOUND;
    record->is_removing = true;
    sup->sockets_version++;
    if (sup->phase == SUPERVISOR_NEW)
        listen_sockets_close(record->fds, SHM_WORKERS_MAX);
    else if (sup->phase == SUPERVISOR_RUNNING)
        supervisor_close_record(sup, record);
    supervisor_forget_listeners(sup);
    return 0;
}

/* ---- what others keep of our sockets ---- */

static void record_each_socket(const struct supervisor *sup, const struct listener_record *record,
                               supervisor_socket_fn fn, void *context)
{
    struct supervisor_socket socket = {.addr = &record->addr, .is_shared = true, .fd = record->shared_fd};

    if (record->shared_fd >= 0) {
        fn(context, &socket);
        return;
    }
    socket.is_shared = false;
    for (socket.slot = 0; socket.slot < sup->worker_count; socket.slot++) {
        socket.fd = record->fds[socket.slot];
        if (socket.fd >= 0)
            fn(context, &socket);
    }
}

void supervisor_each_socket(const struct supervisor *sup, supervisor_socket_fn fn, void *context)
{
    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++) {
        if (sup->listeners[id] != NULL && !sup->listeners[id]->is_removing)
            record_each_socket(sup, sup->listeners[id], fn, context);
    }
}

unsigned supervisor_sockets_version(const struct supervisor *sup)
{
    return sup->sockets_version;
}
