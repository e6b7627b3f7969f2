/* The server's listening sockets: those that were open before it began go to the listeners they fit, and the service manager keeps
 * copies of all of them for the next start. */

#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "config.h"
#include "err.h"
#include "log_event.h"
#include "server_internal.h"
#include "state.h"
#include "supervisor.h"
#include "worker_settings.h"

#define ADDRESS_WAIT_MS \
    3000 /* workers of a master that has just died may still hold the addresses, the longer the busier the machine */

/* ---- what was passed to us ---- */

int server_inherit(struct server *s, struct strbuf *why)
{
    int rc = inherited_sockets_init(&s->inherited, why);

    fd_store_init(&s->fd_store, &s->notify.notify);
    if (rc == ERR_NO_MEMORY)
        strbuf_add(why, err_text(rc));
    server_greet_predecessor(s);
    return rc;
}

unsigned server_slots_to_start(const struct server *s)
{
    unsigned slots = s->config->workers;

    for (unsigned i = 0; i < s->config->listener_count; i++) {
        unsigned own = inherited_sockets_slots(&s->inherited, &s->config->listeners[i].addr);
        if (own > slots)
            slots = own;
    }
    return slots < SHM_WORKERS_MAX ? slots : SHM_WORKERS_MAX;
}

void server_drop_surplus_slots(struct server *s)
{
    char text[256];
    struct strbuf why = STRBUF_OF(text);

    if (supervisor_worker_count(s->supervisor) <= s->config->workers)
        return;
    log_text(LOG_INFO, "more sockets were passed to us than workers are wanted: what waits in them is served first");
    if (supervisor_set_worker_count(s->supervisor, s->config->workers, &why) != 0)
        server_log_failure("cannot change the number of workers", text);
}

static void log_inherited(const struct supervisor_listener *spec)
{
    struct log_event e;

    if (spec->inherited_fd < 0 && spec->slot_fd_count == 0)
        return;
    log_event_begin(&e, LOG_INFO,
                    spec->inherited_fd >= 0 ? "a listener uses the socket that was passed to us, for all its workers"
                                            : "a listener uses the sockets that were passed to us");
    log_event_cstr(&e, LOG_KEY_LISTENER, spec->ctl->addr);
    if (spec->inherited_fd < 0)
        log_event_u64(&e, LOG_KEY_COUNT, spec->slot_fd_count);
    log_event_end(&e);
}

/** Sockets beside somebody else's can only be opened by the same user, and on a low port not by everyone. */
static void log_shared(const struct supervisor_listener *spec, const char *reason)
{
    struct log_event e;

    log_event_begin(&e, LOG_INFO, "no sockets can be added to the one that was passed to us: all workers share it");
    log_event_cstr(&e, LOG_KEY_LISTENER, spec->ctl->addr);
    log_event_cstr(&e, LOG_KEY_ERROR, reason);
    log_event_end(&e);
}

static int open_listener(struct server *s, const struct config_listener *listener, const struct ctl_listener *ctl,
                         struct inherited_choice *choice, struct strbuf *why)
{
    unsigned workers = supervisor_worker_count(s->supervisor);
    struct supervisor_listener spec = {
        .name = listener->name,
        .ctl = ctl,
        .addr = listener->addr,
        .inherited_fd = choice->shared_fd,
        .slot_fds = choice->fds,
        .slot_fd_count = choice->count < workers ? choice->count : workers,
    };
    int rc = supervisor_add_listener(s->supervisor, &spec, ADDRESS_WAIT_MS, why);

    if (rc != 0 && choice->is_foreign) {
        log_shared(&spec, why->data);
        strbuf_reset(why);
        spec.inherited_fd = choice->fds[0];
        spec.slot_fd_count = 0;
        rc = supervisor_add_listener(s->supervisor, &spec, ADDRESS_WAIT_MS, why);
    }
    if (rc == 0)
        log_inherited(&spec);
    return rc;
}

static int add_listener(struct server *s, const struct config_listener *listener, struct strbuf *why)
{
    struct inherited_choice choice;
    uint16_t id;
    int rc;

    CHECK(state_assign_id(s->state, &listener->addr, &id) ==
          0); /* a configuration has no more listeners than there are ids */
    strbuf_addf(why, "listener %s (%s): ", listener->name, listener->addr_text);
    if ((rc = inherited_sockets_choose(&s->inherited, &listener->addr, &choice, why)) != 0)
        return rc;
    strbuf_reset(why);
    struct ctl_listener *ctl = ctl_listener_of(listener, id);
    if (ctl != NULL)
        rc = open_listener(s, listener, ctl, &choice, why);
    else
        strbuf_add(why, err_text(rc = ERR_NO_MEMORY));
    free(ctl);
    free(choice.fds);
    return rc;
}

/** What fits no listener any more: connections that wait there are lost, and the store must not bring it back. */
static void drop_unused(struct server *s)
{
    for (unsigned i = 0; i < s->inherited.count; i++) {
        const struct inherited_socket *socket = &s->inherited.items[i];
        char text[ADDRESS_TEXT_MAX];
        struct strbuf addr = STRBUF_OF(text);
        struct log_event e;

        if (fd_store_expect(&s->fd_store, socket->name) != 0 || socket->is_taken)
            continue;
        log_event_begin(&e, LOG_WARN,
                        "a socket that was passed to us fits no listener of the configuration; it is closed");
        log_event_cstr(&e, LOG_KEY_DETAIL, socket->name);
        if (socket->is_listener) {
            listen_addr_format(&socket->addr, &addr);
            log_event_cstr(&e, LOG_KEY_LISTENER, text);
        }
        log_event_end(&e);
    }
    inherited_sockets_fini(&s->inherited);
}

int server_add_listeners(struct server *s)
{
    char text[512];
    struct strbuf why = STRBUF_OF(text);
    int rc = 0;

    for (unsigned i = 0; i < s->config->listener_count && rc == 0; i++)
        rc = add_listener(s, &s->config->listeners[i], &why);
    if (rc == 0) {
        drop_unused(s);
        return CLI_DONE;
    }
    server_log_failure("cannot listen", text);
    return CLI_FAILED;
}

/* ---- what the service manager keeps ---- */

struct wanted {
    struct fd_store_item *items;
    unsigned count;
};

static void count_socket(void *context, const struct supervisor_socket *socket)
{
    ((struct wanted *)context)->count += !socket->is_shared;
}

/** A shared socket is somebody else's, who keeps it himself. */
static void want_socket(void *context, const struct supervisor_socket *socket)
{
    struct wanted *wanted = context;

    if (socket->is_shared)
        return;
    struct fd_store_item *item = &wanted->items[wanted->count++];
    struct strbuf name = STRBUF_OF(item->name);
    inherited_socket_name(socket->addr, socket->slot, &name);
    item->fd = socket->fd;
}

void server_store_sockets(struct server *s)
{
    struct wanted wanted = {0};
    unsigned version = supervisor_sockets_version(s->supervisor);

    if (!notify_is_wanted(&s->notify.notify) || (s->is_stored && s->stored_version == version))
        return;
    s->is_stored = false;
    supervisor_each_socket(s->supervisor, count_socket, &wanted);
    wanted.items = calloc(wanted.count + 1, sizeof *wanted.items);
    wanted.count = 0;
    if (wanted.items == NULL)
        return;
    supervisor_each_socket(s->supervisor, want_socket, &wanted);
    s->is_stored = fd_store_sync(&s->fd_store, wanted.items, wanted.count) == 0;
    s->stored_version = version;
    free(wanted.items);
}
