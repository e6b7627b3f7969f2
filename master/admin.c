/* The admin API's table of methods, and what all of them share: the way in, the way out, and which error is which status. */

#include "admin.h"

#include <stdlib.h>

#include "admin_internal.h"
#include "clock.h"
#include "connection_queries.h"
#include "descriptor_set.h"
#include "err.h"
#include "log_event.h"
#include "proto_files.h"
#include "proto_scan.h"
#include "supervisor.h"
#include "utf8.h"

#define PROXY_ADMIN "/mc_proxy.v1.ProxyAdminService/"
#define HEALTH      "/grpc.health.v1.Health/"

/* clang-format off */
static const struct grpc_method methods[] = {
    {.path = PROXY_ADMIN "ListRoutes",                .on_message = admin_on_list_routes},
    {.path = PROXY_ADMIN "AddRoute",                  .on_message = admin_on_add_route},
    {.path = PROXY_ADMIN "RemoveRoute",               .on_message = admin_on_remove_route},
    {.path = PROXY_ADMIN "GetFirewallRules",          .on_message = admin_on_get_firewall_rules},
    {.path = PROXY_ADMIN "AddFirewallRule",           .on_message = admin_on_add_firewall_rule},
    {.path = PROXY_ADMIN "RemoveFirewallRule",        .on_message = admin_on_remove_firewall_rule},
    {.path = PROXY_ADMIN "ApplyChanges",              .on_message = admin_on_apply_changes, .is_client_streaming = true,
     .on_end = admin_on_apply_changes_end,            .on_gone = admin_on_apply_changes_gone},
    {.path = PROXY_ADMIN "SetListenerMaxConnections", .on_message = admin_on_set_max_connections},
    {.path = PROXY_ADMIN "WatchConnections",          .on_message = admin_on_watch_connections, .on_gone = admin_on_watch_connections_gone},
    {.path = PROXY_ADMIN "ListConnections",           .on_message = admin_on_list_connections,  .on_gone = admin_on_connections_gone},
    {.path = PROXY_ADMIN "CloseConnections",          .on_message = admin_on_close_connections, .on_gone = admin_on_connections_gone},
    {.path = PROXY_ADMIN "GetStatus",                 .on_message = admin_on_get_status},
    {.path = PROXY_ADMIN "Explain",                   .on_message = admin_on_explain},
    {.path = PROXY_ADMIN "Snapshot",                  .on_message = admin_on_snapshot},
    {.path = HEALTH "Check",                          .on_message = admin_on_health_check},
    {.path = HEALTH "Watch",                          .on_message = admin_on_health_watch, .on_gone = admin_on_health_watch_gone},
    /* One protocol under two names. */
    {.path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
     .on_message = admin_on_reflection, .is_client_streaming = true, .on_end = admin_on_reflection_end, .on_gone = admin_on_reflection_gone},
    {.path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
     .on_message = admin_on_reflection, .is_client_streaming = true, .on_end = admin_on_reflection_end, .on_gone = admin_on_reflection_gone},
    {0},
};

static const struct {
    int code;
    enum grpc_status status;
} statuses[] = {
    {ERR_INVALID,      GRPC_INVALID_ARGUMENT},
    {ERR_PROTOCOL,     GRPC_INVALID_ARGUMENT},
    {ERR_NOT_FOUND,    GRPC_NOT_FOUND},
    {ERR_EXISTS,       GRPC_ALREADY_EXISTS},
    {ERR_PRECONDITION, GRPC_FAILED_PRECONDITION},
    {ERR_RANGE,        GRPC_PERMISSION_DENIED},   /* a snapshot outside of its folder, over TCP */
    {ERR_SYSTEM,       GRPC_FAILED_PRECONDITION}, /* a snapshot that cannot be created there */
    {ERR_UNAVAILABLE,  GRPC_UNAVAILABLE},
    {ERR_CORRUPT,      GRPC_UNAVAILABLE},
    {ERR_NO_MEMORY,    GRPC_RESOURCE_EXHAUSTED},
    {ERR_NO_SPACE,     GRPC_RESOURCE_EXHAUSTED}, /* of shared memory */
    {ERR_FULL,         GRPC_RESOURCE_EXHAUSTED},
    {ERR_TOO_LARGE,    GRPC_RESOURCE_EXHAUSTED},
};
/* clang-format on */

/* ---- the object ---- */

static bool ask_worker(void *context, unsigned slot, const struct ctl_query *query)
{
    struct admin *a = context;

    CHECK_MAGIC(a, ADMIN_MAGIC);
    return supervisor_ask(a->parts.supervisor, slot, query);
}

int admin_new(const struct admin_parts *parts, struct admin **out)
{
    struct admin *a = calloc(1, sizeof *a);
    int rc;

    if (a == NULL)
        return ERR_NO_MEMORY;
    a->magic = ADMIN_MAGIC;
    a->parts = *parts;
    a->started_ms = clock_realtime_ms();
    a->started_mono_ms = clock_monotonic_ms();
    proto_arena_init(&a->arena, ADMIN_UNPACKED_MAX);
    a->queries = connection_queries_new(ask_worker, a);
    rc = a->queries == NULL ? ERR_NO_MEMORY
                            : proto_files_new(bytes_of(proto_descriptor_set, proto_descriptor_set_len), &a->files);
    if (rc != 0) {
        admin_free(&a);
        return rc;
    }
    *out = a;
    return 0;
}

void admin_free(struct admin **admin)
{
    struct admin *a = *admin;

    if (a == NULL)
        return;
    CHECK_MAGIC(a, ADMIN_MAGIC);
    CHECK(a->watches == NULL && a->collected_bytes == 0 && a->connection_watches == NULL);
    connection_queries_free(&a->queries);
    proto_arena_reset(&a->arena);
    proto_files_free(&a->files);
    a->magic = 0;
    free(a);
    *admin = NULL;
}

const struct grpc_method *admin_methods(void)
{
    return methods;
}

void admin_set_config(struct admin *admin, const struct config *config)
{
    CHECK_MAGIC(admin, ADMIN_MAGIC);
    admin->config = config;
}

void admin_set_phase(struct admin *admin, enum admin_phase phase)
{
    CHECK_MAGIC(admin, ADMIN_MAGIC);
    if (phase == admin->phase || admin->phase == ADMIN_DRAINING)
        return;
    admin->phase = phase;
    admin_health_changed(admin);
}

void admin_end_streams(struct admin *admin)
{
    CHECK_MAGIC(admin, ADMIN_MAGIC);
    admin_health_end(admin);
    admin_watches_end(admin);
    admin_connections_end(admin);
}

bool admin_take_answer(struct admin *admin, unsigned slot, struct bytes payload)
{
    CHECK_MAGIC(admin, ADMIN_MAGIC);
    return connection_queries_take(admin->queries, slot, payload);
}

void admin_worker_died(struct admin *admin, unsigned slot)
{
    CHECK_MAGIC(admin, ADMIN_MAGIC);
    connection_queries_worker_died(admin->queries, slot);
}

void admin_tick(struct admin *admin)
{
    CHECK_MAGIC(admin, ADMIN_MAGIC);
    admin_watches_tick(admin);
    connection_queries_resume(admin->queries);
}

struct admin *admin_of(const struct grpc_call *call)
{
    struct admin *a = grpc_call_service(call);

    CHECK_MAGIC(a, ADMIN_MAGIC);
    return a;
}

/* ---- the way in ---- */

const void *admin_unpack(struct grpc_call *call, struct bytes message, const ProtobufCMessageDescriptor *type)
{
    struct admin *a = admin_of(call);

    proto_arena_reset(&a->arena);
    const void *request = protobuf_c_message_unpack(type, &a->arena.allocator, message.len, message.ptr);
    if (request == NULL && a->arena.is_exhausted)
        admin_fail_text(call, ERR_NO_MEMORY, "the message would take too much memory");
    else if (request == NULL)
        admin_fail_text(call, ERR_INVALID, "the message cannot be unpacked");
    return request;
}

void admin_serve(struct grpc_call *call, struct bytes message, const ProtobufCMessageDescriptor *type,
                 admin_serve_fn serve)
{
    char text[ADMIN_WHY_MAX];
    struct strbuf why = STRBUF_OF(text);
    size_t index;
    int rc = proto_scan(type, message, 0, &index, &why);

    if (rc == ERR_PROTOCOL) {
        admin_fail_no_message(call, type);
        return;
    }
    if (rc != 0) {
        admin_fail(call, rc, &why);
        return;
    }
    const void *request = admin_unpack(call, message, type);
    if (request == NULL)
        return;
    struct admin *a = admin_of(call);
    serve(a, call, request);
    proto_arena_reset(&a->arena);
}

/* ---- the way out ---- */

bool admin_send(struct grpc_call *call, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *room = grpc_call_make_message(call, len);

    if (room == NULL) {
        admin_fail_text(call, ERR_NO_MEMORY, "no memory for the answer now");
        return false;
    }
    CHECK(protobuf_c_message_pack(message, room) == len);
    grpc_call_send_message(call);
    return true;
}

void admin_reply(struct grpc_call *call, const ProtobufCMessage *message)
{
    if (admin_send(call, message))
        grpc_call_finish(call, GRPC_OK, NULL);
}

/** As admin_reply(), with a long answer; empties it. */
static void reply_long(struct grpc_call *call, struct proto_answer *answer)
{
    uint8_t *room = grpc_call_make_message(call, answer->len);

    if (room == NULL) {
        proto_answer_fini(answer);
        admin_fail_text(call, ERR_NO_MEMORY, "no memory for the answer now: ask for pages");
        return;
    }
    proto_answer_move(answer, room);
    grpc_call_send_message(call);
    grpc_call_finish(call, GRPC_OK, NULL);
}

static enum grpc_status status_of(int rc)
{
    for (unsigned i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (statuses[i].code == rc)
            return statuses[i].status;
    }
    return GRPC_INTERNAL;
}

/** The fault is not the client's: the operator should see it in the log too. */
static void log_own_failure(const struct grpc_call *call, const char *why)
{
    struct log_event e;

    log_event_begin(&e, LOG_WARN, "a call of the admin API failed");
    log_event_cstr(&e, LOG_KEY_PEER, grpc_call_peer(call));
    log_event_cstr(&e, LOG_KEY_ERROR, why);
    log_event_end(&e);
}

void admin_fail(struct grpc_call *call, int rc, const struct strbuf *why)
{
    enum grpc_status status = status_of(rc);

    if (why->overflowed) /* cut, perhaps within a character */
        why->data[utf8_valid_prefix(bytes_of(why->data, why->len))] = '\0';
    const char *text = why->len > 0 ? why->data : err_text(rc);
    if (status == GRPC_UNAVAILABLE || status == GRPC_INTERNAL)
        log_own_failure(call, text);
    grpc_call_finish(call, status, text);
}

void admin_reply_list(struct admin *a, struct grpc_call *call, const void *request, admin_list_fn list)
{
    struct proto_answer answer = proto_answer_of(ADMIN_ANSWER_MAX);
    char text[ADMIN_WHY_MAX];
    struct strbuf why = STRBUF_OF(text);
    int rc = list(a, request, &answer, &why);

    if (rc == 0) {
        reply_long(call, &answer);
        return;
    }
    proto_answer_fini(&answer);
    admin_fail(call, rc, &why);
}

void admin_fail_text(struct grpc_call *call, int rc, const char *why)
{
    char text[ADMIN_WHY_MAX];
    struct strbuf copy = STRBUF_OF(text);

    strbuf_add(&copy, why);
    admin_fail(call, rc, &copy);
}

void admin_fail_no_message(struct grpc_call *call, const ProtobufCMessageDescriptor *type)
{
    char text[128];
    struct strbuf why = STRBUF_OF(text);

    strbuf_addf(&why, "the message is no %s", type->name);
    admin_fail(call, ERR_PROTOCOL, &why);
}
