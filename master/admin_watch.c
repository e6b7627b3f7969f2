/* WatchConnections: records of connections that have ended, to whoever watches. A client that does not keep up loses records and is told
 * how many; it costs no more memory than WATCH_QUEUE_MAX, and nobody waits for it. */

#include <stdlib.h>

#include "admin_internal.h"
#include "config.h"
#include "connection_filter.h"
#include "connection_message.h"
#include "err.h"

#define WATCHES_MAX     16
#define WATCH_QUEUE_MAX (256u << 10) /* bytes that a client has not taken yet; what would come on top is lost */

/** A watch that goes on; in the list of its admin. */
struct connection_watch {
    uint32_t magic;
    struct grpc_call *call;
    struct connection_watch **link; /* what points to us */
    struct connection_watch *next;
    struct connection_filter filter;
    uint64_t lost; /* and not told yet */
};
#define CONNECTION_WATCH_MAGIC 0x48435743u

/* ---- what is watched ---- */

static int set_listener(const struct admin *a, const char *addr, struct connection_filter *filter, struct strbuf *why)
{
    struct strbuf text = STRBUF_OF(filter->listener);
    const struct config_listener *listener;
    uint16_t id;
    int rc = admin_find_listener(a, addr, &id, &listener, why);

    if (rc == 0)
        strbuf_add(&text, listener->addr_text); /* as records have it */
    return rc;
}

static int read_filter(const struct admin *a, const McProxy__V1__WatchConnectionsRequest *request,
                       struct connection_filter *out, struct strbuf *why)
{
    int rc = 0;

    *out = (struct connection_filter){0};
    if (request->sni_pattern[0] != '\0')
        rc = connection_filter_set_sni(out, request->sni_pattern, why);
    if (rc == 0 && request->client_cidr[0] != '\0')
        rc = connection_filter_parse_client(request->client_cidr, &out->client, why);
    if (rc == 0 && request->reason[0] != '\0')
        rc = connection_filter_set_reason(out, request->reason, why);
    if (rc == 0 && request->listener_addr[0] != '\0')
        rc = set_listener(a, request->listener_addr, out, why);
    return rc;
}

/* ---- who watches ---- */

static void tell_watching(const struct admin *a, bool is_anybody)
{
    if (a->parts.on_watching != NULL)
        a->parts.on_watching(a->parts.context, is_anybody);
}

static void add_watch(struct admin *a, struct connection_watch *watch)
{
    watch->link = &a->connection_watches;
    watch->next = a->connection_watches;
    if (watch->next != NULL)
        watch->next->link = &watch->next;
    a->connection_watches = watch;
    if (a->connection_watch_count++ == 0)
        tell_watching(a, true);
}

static void watch_connections(struct admin *a, struct grpc_call *call, const void *request)
{
    char text[ADMIN_WHY_MAX];
    struct strbuf why = STRBUF_OF(text);
    struct connection_filter filter;
    int rc = read_filter(a, request, &filter, &why);

    if (rc != 0) {
        admin_fail(call, rc, &why);
        return;
    }
    if (a->connection_watch_count >= WATCHES_MAX) {
        strbuf_addf(&why, "there are %d watchers already", WATCHES_MAX);
        admin_fail(call, ERR_FULL, &why);
        return;
    }
    struct connection_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        admin_fail_text(call, ERR_NO_MEMORY, "");
        return;
    }
    *watch = (struct connection_watch){.magic = CONNECTION_WATCH_MAGIC, .call = call, .filter = filter};
    grpc_call_set_state(call, watch);
    add_watch(a, watch);
}

void admin_on_watch_connections(struct grpc_call *call, struct bytes message)
{
    admin_serve(call, message, &mc_proxy__v1__watch_connections_request__descriptor, watch_connections);
}

void admin_on_watch_connections_gone(struct grpc_call *call)
{
    struct connection_watch *watch = grpc_call_state(call);
    struct admin *a = admin_of(call);

    if (watch == NULL)
        return;
    CHECK_MAGIC(watch, CONNECTION_WATCH_MAGIC);
    *watch->link = watch->next;
    if (watch->next != NULL)
        watch->next->link = watch->link;
    grpc_call_set_state(call, NULL);
    watch->magic = 0;
    free(watch);
    if (--a->connection_watch_count == 0)
        tell_watching(a, false);
}

bool admin_is_watched(const struct admin *admin)
{
    CHECK_MAGIC(admin, ADMIN_MAGIC);
    return admin->connection_watch_count > 0;
}

/* ---- what they get ---- */

/** connection: NULL to tell only of what was lost. */
static void watch_send(struct connection_watch *watch, McProxy__V1__Connection *connection)
{
    McProxy__V1__WatchConnectionsResponse response;

    mc_proxy__v1__watch_connections_response__init(&response);
    response.connection = connection;
    response.lost = watch->lost;
    if (admin_send(watch->call, &response.base)) /* without memory the call has been finished */
        watch->lost = 0;
}

static bool has_room(const struct connection_watch *watch)
{
    return grpc_call_queued_bytes(watch->call) < WATCH_QUEUE_MAX;
}

static bool wants(const struct connection_watch *watch, const struct connection_traits *traits)
{
    return grpc_call_is_open(watch->call) && connection_filter_passes(&watch->filter, traits);
}

void admin_take_record(struct admin *admin, struct bytes record)
{
    struct connection_traits traits;
    struct connection_message message;
    bool is_made = false;

    CHECK_MAGIC(admin, ADMIN_MAGIC);
    if (admin->connection_watches == NULL || !connection_traits_of(record, &traits))
        return;
    for (struct connection_watch *watch = admin->connection_watches; watch != NULL; watch = watch->next) {
        if (!wants(watch, &traits))
            continue;
        if (!has_room(watch)) {
            watch->lost++;
            continue;
        }
        if (!is_made && connection_message_of(record, &message) != 0)
            return;
        is_made = true;
        watch_send(watch, &message.proto);
    }
}

void admin_note_dropped(struct admin *admin, uint64_t count)
{
    CHECK_MAGIC(admin, ADMIN_MAGIC);
    for (struct connection_watch *watch = admin->connection_watches; watch != NULL; watch = watch->next)
        watch->lost += count;
}

void admin_watches_tick(struct admin *admin)
{
    for (struct connection_watch *watch = admin->connection_watches; watch != NULL; watch = watch->next) {
        if (watch->lost > 0 && grpc_call_is_open(watch->call) && has_room(watch))
            watch_send(watch, NULL);
    }
}

void admin_watches_end(struct admin *admin)
{
    for (struct connection_watch *watch = admin->connection_watches; watch != NULL; watch = watch->next) {
        if (!grpc_call_is_open(watch->call))
            continue;
        if (watch->lost > 0)
            watch_send(watch, NULL);
        if (grpc_call_is_open(watch->call))
            grpc_call_finish(watch->call, GRPC_UNAVAILABLE, "the server is stopping");
    }
}
