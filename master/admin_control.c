/* The methods that are neither about routes nor about rules: a listener's limit, and copies of the database. */

#include "admin_internal.h"
#include "log_event.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "state_change.h"

#define PATH_TEXT_MAX 4096 /* PATH_MAX: of a path, with NUL */

static void log_limit(const struct grpc_call *call, const McProxy__V1__SetListenerMaxConnectionsRequest *request)
{
    struct log_event e;

    log_event_begin(&e, LOG_INFO, "limit of connections set");
    log_event_cstr(&e, LOG_KEY_PEER, grpc_call_peer(call));
    log_event_cstr(&e, LOG_KEY_LISTENER, request->listener_addr);
    log_event_u64(&e, LOG_KEY_LIMIT, request->max_connections);
    log_event_end(&e);
}

static void set_max_connections(struct admin *a, struct grpc_call *call, const void *message)
{
    McProxy__V1__SetListenerMaxConnectionsResponse response;
    const McProxy__V1__SetListenerMaxConnectionsRequest *request = message;
    char text[ADMIN_WHY_MAX];
    struct strbuf why = STRBUF_OF(text);
    int rc =
        state_set_max_connections(a->parts.state, bytes_of_str(request->listener_addr), request->max_connections, &why);

    mc_proxy__v1__set_listener_max_connections_response__init(&response);
    if (rc != 0) {
        admin_fail(call, rc, &why);
        return;
    }
    log_limit(call, request);
    admin_reply(call, &response.base);
}

static void log_snapshot(const struct grpc_call *call, const char *path)
{
    struct log_event e;

    log_event_begin(&e, LOG_INFO, "snapshot written");
    log_event_cstr(&e, LOG_KEY_PEER, grpc_call_peer(call));
    log_event_cstr(&e, LOG_KEY_PATH, path);
    log_event_end(&e);
}

static void snapshot(struct admin *a, struct grpc_call *call, const void *message)
{
    McProxy__V1__SnapshotResponse response;
    const McProxy__V1__SnapshotRequest *request = message;
    char text[ADMIN_WHY_MAX], path_text[PATH_TEXT_MAX];
    struct strbuf why = STRBUF_OF(text), path = STRBUF_OF(path_text);
    struct state_snapshot wanted = {
        .output_path = bytes_of_str(request->output_path),
        .is_anywhere_allowed = grpc_call_is_local(call),
        .keep = request->keep,
    };
    int rc = state_snapshot(a->parts.state, &wanted, &path, &why);

    mc_proxy__v1__snapshot_response__init(&response);
    if (rc != 0) {
        admin_fail(call, rc, &why);
        return;
    }
    log_snapshot(call, path_text);
    response.path = path_text;
    admin_reply(call, &response.base);
}

void admin_on_set_max_connections(struct grpc_call *call, struct bytes message)
{
    admin_serve(call, message, &mc_proxy__v1__set_listener_max_connections_request__descriptor, set_max_connections);
}

void admin_on_snapshot(struct grpc_call *call, struct bytes message)
{
    admin_serve(call, message, &mc_proxy__v1__snapshot_request__descriptor, snapshot);
}
