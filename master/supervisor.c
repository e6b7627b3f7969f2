/* The supervisor's life: made, started, told, drained. Births are in supervisor_birth.c, deaths in supervisor_watch.c. */

#include "supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "err.h"
#include "log_event.h"
#include "supervisor_state.h"

#define DRAIN_GRACE_MS 5000 /* beyond shutdown_timeout, before a draining worker is killed */

struct supervisor *supervisor_check(void *data)
{
    struct supervisor *sup = data;

    CHECK_MAGIC(sup, SUPERVISOR_MAGIC);
    return sup;
}

int supervisor_new(struct ev_loop *loop, const struct supervisor_options *options,
                   const struct supervisor_callbacks *callbacks, struct supervisor **out)
{
    struct supervisor *sup = calloc(1, sizeof *sup);

    CHECK(options->worker_count >= 1 && options->worker_count <= SHM_WORKERS_MAX);
    CHECK(!ev_is_default_loop(loop));
    if (sup == NULL)
        return ERR_NO_MEMORY;
    sup->magic = SUPERVISOR_MAGIC;
    sup->loop = loop;
    sup->options = *options;
    sup->callbacks = *callbacks;
    sup->worker_count = options->worker_count;
    sup->geoip_fd = -1;
    supervisor_closing_init(sup);
    for (unsigned i = 0; i < SHM_WORKERS_MAX; i++)
        worker_slot_init(&sup->slots[i], sup, i);
    *out = sup;
    return 0;
}

static void supervisor_kill_all(struct supervisor *sup)
{
    for (unsigned i = 0; i < SHM_WORKERS_MAX; i++) {
        struct worker_slot *slot = &sup->slots[i];

        if (!worker_slot_has_process(slot))
            continue;
        kill(slot->pid, SIGKILL);
        while (waitpid(slot->pid, NULL, 0) < 0 && errno == EINTR) {
        }
        worker_slot_end(slot, SLOT_EMPTY);
    }
}

void supervisor_free(struct supervisor **sup_pointer)
{
    struct supervisor *sup = *sup_pointer;

    *sup_pointer = NULL;
    if (sup == NULL)
        return;
    supervisor_check(sup);
    supervisor_closing_end(sup);
    supervisor_watch_end(sup);
    supervisor_kill_all(sup);
    supervisor_free_listeners(sup);
    for (unsigned i = 0; i < SHM_WORKERS_MAX; i++)
        worker_slot_fini(&sup->slots[i]);
    if (sup->geoip_fd >= 0)
        close(sup->geoip_fd);
    sup->magic = 0;
    free(sup);
}

int supervisor_start(struct supervisor *sup, struct strbuf *why)
{
    CHECK(sup->phase == SUPERVISOR_NEW);
    sup->phase = SUPERVISOR_RUNNING;
    sup->is_ready_awaited = true;
    supervisor_watch_begin(sup);
    for (unsigned i = 0; i < sup->worker_count; i++) {
        int rc = supervisor_start_slot(sup, &sup->slots[i]);
        if (rc != 0) {
            strbuf_addf(why, "%s", rc == ERR_SYSTEM ? strerror(errno) : err_text(rc));
            return rc;
        }
    }
    return 0;
}

/* ---- what all workers are told ---- */

static void send_to_all(struct supervisor *sup, uint16_t type, struct bytes payload, int passed_fd)
{
    for (unsigned i = 0; i < SHM_WORKERS_MAX; i++)
        worker_slot_send(&sup->slots[i], type, payload, passed_fd);
}

void supervisor_set_settings(struct supervisor *sup, const struct ctl_settings *settings)
{
    sup->options.settings = *settings;
    send_to_all(sup, CTL_SETTINGS, bytes_of(settings, sizeof *settings), -1);
}

void supervisor_set_geoip(struct supervisor *sup, int fd)
{
    if (sup->geoip_fd >= 0)
        close(sup->geoip_fd);
    sup->geoip_fd = fd;
    send_to_all(sup, CTL_GEOIP, bytes_of(NULL, 0), fd);
}

int supervisor_geoip(const struct supervisor *sup)
{
    CHECK_MAGIC(sup, SUPERVISOR_MAGIC);
    return sup->geoip_fd;
}

bool supervisor_ask(struct supervisor *sup, unsigned slot, const struct ctl_query *query)
{
    struct worker_slot *s = &supervisor_check(sup)->slots[slot];

    CHECK(slot < SHM_WORKERS_MAX);
    if (!worker_slot_is_reachable(s) || s->state == SLOT_STARTING)
        return false;
    s->asked_count++;
    worker_slot_send(s, CTL_QUERY, bytes_of(query, sizeof *query), -1);
    return true;
}

/* ---- the end ---- */

/* Slots without process have nobody to serve their queue any more. */
void supervisor_end_slots(struct supervisor *sup, uint16_t type, unsigned closing_looks)
{
    if (sup->phase == SUPERVISOR_NEW)
        supervisor_watch_begin(sup); /* it tells when all are gone, also when nobody ever came */
    supervisor_closing_end(sup);
    sup->phase = SUPERVISOR_STOPPING;
    sup->resize = RESIZE_NONE;
    ev_timer_stop(sup->loop, &sup->respawn_timer);
    for (unsigned i = 0; i < SHM_WORKERS_MAX; i++) {
        struct worker_slot *slot = &sup->slots[i];

        if (!worker_slot_has_process(slot)) {
            supervisor_close_slot_sockets(sup, i);
            worker_slot_set_state(slot, SLOT_EMPTY);
            continue;
        }
        worker_slot_set_state(slot, SLOT_DRAINING);
        slot->closing_looks = closing_looks;
        worker_slot_send(slot, type, bytes_of(NULL, 0), -1);
    }
}

unsigned supervisor_drain_looks(const struct supervisor *sup)
{
    return (sup->options.settings.shutdown_timeout_ms + DRAIN_GRACE_MS) / SLOT_LOOK_MS;
}

void supervisor_drain(struct supervisor *sup)
{
    if (sup->phase != SUPERVISOR_STOPPING && sup->phase != SUPERVISOR_GONE)
        supervisor_end_slots(sup, CTL_DRAIN, supervisor_drain_looks(sup));
}

void supervisor_leave(struct supervisor *sup)
{
    CHECK(sup->phase == SUPERVISOR_RUNNING);
    sup->phase = SUPERVISOR_LEAVING;
    ev_timer_stop(sup->loop, &sup->respawn_timer);
    for (unsigned i = 0; i < SHM_WORKERS_MAX; i++) {
        struct worker_slot *slot = &sup->slots[i];

        if (worker_slot_is_serving(slot)) {
            worker_slot_set_state(slot, SLOT_RETIRING);
            supervisor_send_removes(sup, slot);
        } else if (!worker_slot_has_process(slot)) {
            worker_slot_set_state(slot, SLOT_EMPTY);
            supervisor_close_slot_sockets(sup, i);
        }
    }
}

bool supervisor_is_settled(const struct supervisor *sup)
{
    if (sup->phase != SUPERVISOR_RUNNING || sup->resize != RESIZE_NONE || sup->pending_count != 0)
        return false;
    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++) {
        if (sup->listeners[id] != NULL && sup->listeners[id]->is_removing)
            return false;
    }
    return true;
}

void supervisor_stop_now(struct supervisor *sup)
{
    if (sup->phase != SUPERVISOR_GONE)
        supervisor_end_slots(sup, CTL_STOP, SLOT_GOODBYE_LOOKS);
}

/* ---- what can be seen ---- */

unsigned supervisor_worker_count(const struct supervisor *sup)
{
    return sup->pending_count != 0 ? sup->pending_count : sup->worker_count;
}

bool supervisor_is_answering(const struct supervisor *sup)
{
    for (unsigned i = 0; i < sup->worker_count; i++) {
        if (sup->slots[i].mute_looks >= SLOT_MUTE_LOOKS)
            return false;
    }
    return true;
}

pid_t supervisor_worker_pid(const struct supervisor *sup, unsigned slot, const char **state_out)
{
    CHECK(slot < SHM_WORKERS_MAX);
    if (state_out != NULL)
        *state_out = slot_state_word(sup->slots[slot].state);
    return sup->slots[slot].pid;
}

uint64_t supervisor_restart_count(const struct supervisor *sup)
{
    return sup->restart_count;
}

static void supervisor_dump_listener(const struct listener_record *record, struct strbuf *out)
{
    unsigned sockets = 0;

    for (unsigned i = 0; i < SHM_WORKERS_MAX; i++)
        sockets += record->fds[i] >= 0;
    strbuf_addf(out, "listener=%s id=%u sockets=%u shared=%s removing=%s\n", record->ctl->addr, record->ctl->id,
                sockets, record->shared_fd >= 0 ? "yes" : "no", record->is_removing ? "yes" : "no");
}

void supervisor_dump(const struct supervisor *sup, struct strbuf *out)
{
    static const char *const phases[] = {"new", "running", "leaving", "stopping", "gone"};
    static const char *const resizes[] = {"none", "settling", "removing"};

    strbuf_addf(out, "supervisor phase=%s workers=%u resize=%s pending=%u deaths=%llu\n", phases[sup->phase],
                sup->worker_count, resizes[sup->resize], sup->pending_count,
                (unsigned long long)sup->respawn.death_count);
    for (unsigned i = 0; i < SHM_WORKERS_MAX; i++) {
        if (sup->slots[i].state == SLOT_EMPTY)
            continue;
        worker_slot_dump(&sup->slots[i], out);
        strbuf_add(out, "\n");
    }
    for (unsigned id = 0; id < SHM_LISTENERS_MAX; id++) {
        if (sup->listeners[id] != NULL)
            supervisor_dump_listener(sup->listeners[id], out);
    }
}
