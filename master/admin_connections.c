/* ListConnections and CloseConnections: questions to the workers, and their answers as they come. */

#include <stdlib.h>

#include "admin_internal.h"
#include "config.h"
#include "connection_filter.h"
#include "connection_message.h"
#include "connection_queries.h"
#include "ctl_codec.h"
#include "err.h"
#include "log_event.h"

#define LIST_QUEUE_MAX (1u << 20) /* bytes that a client has not taken yet; workers are asked on when it is less */

/** A list or close under way; in the list of its admin. */
struct connection_call {
    uint32_t magic;
    struct grpc_call *call;
    struct connection_call **link; /* what points to us */
    struct connection_call *next;
    struct connection_query *query;
    uint64_t limit;   /* ListConnections: how many may still come */
    uint64_t matched; /* CloseConnections: so far */
    uint64_t conn;    /* CloseConnections: that one; 0: not by number */
    bool is_dry_run;
    char route[CTL_ROUTE_MAX]; /* for the log, as the next: what was named */
    char client[ADDRESS_TEXT_MAX];
};
#define CONNECTION_CALL_MAGIC 0x4c434343u

static struct connection_call *call_check(void *object)
{
    struct connection_call *c = object;

    CHECK_MAGIC(c, CONNECTION_CALL_MAGIC);
    return c;
}

/* ---- beginning and end ---- */

/** Put the question; the call is finished with the reason if that cannot be. Takes what is in `spec` over. */
static void begin(struct admin *a, struct grpc_call *call, const struct ctl_query *message,
                  const struct connection_query_events *events, const struct connection_call *spec)
{
    struct connection_call *c = calloc(1, sizeof *c);
    int rc = ERR_NO_MEMORY;

    if (c != NULL) {
        *c = *spec;
        c->magic = CONNECTION_CALL_MAGIC;
        c->call = call;
        rc = connection_query_begin(a->queries, message, events, c, &c->query);
    }
    if (rc != 0) {
        free(c);
        admin_fail_text(call, rc, rc == ERR_FULL ? "too many questions about connections at once" : "");
        return;
    }
    c->link = &a->connection_calls;
    c->next = a->connection_calls;
    if (c->next != NULL)
        c->next->link = &c->next;
    a->connection_calls = c;
    grpc_call_set_state(call, c);
    connection_query_run(c->query);
}

/** What was closed is told, whether or not the client was there to the end. */
static void log_closed(const struct connection_call *c)
{
    struct log_event e;

    if (c->matched == 0 || c->is_dry_run)
        return;
    log_event_begin(&e, LOG_INFO, "connections closed by an operator");
    log_event_cstr(&e, LOG_KEY_PEER, grpc_call_peer(c->call));
    if (c->conn != 0)
        log_event_u64(&e, LOG_KEY_CONN, c->conn);
    log_event_cstr(&e, LOG_KEY_CLIENT, c->client[0] != '\0' ? c->client : NULL);
    log_event_cstr(&e, LOG_KEY_ROUTE, c->route[0] != '\0' ? c->route : NULL);
    log_event_u64(&e, LOG_KEY_CONNECTIONS, c->matched);
    log_event_end(&e);
}

void admin_on_connections_gone(struct grpc_call *call)
{
    struct connection_call *c = grpc_call_state(call);

    if (c == NULL)
        return;
    c = call_check(c);
    log_closed(c);
    connection_query_end(&c->query);
    *c->link = c->next;
    if (c->next != NULL)
        c->next->link = c->link;
    grpc_call_set_state(call, NULL);
    c->magic = 0;
    free(c);
}

void admin_connections_end(struct admin *admin)
{
    for (struct connection_call *c = admin->connection_calls; c != NULL; c = c->next) {
        if (grpc_call_is_open(c->call))
            grpc_call_finish(c->call, GRPC_UNAVAILABLE, "the server is stopping");
    }
}

static bool has_room(void *context)
{
    const struct connection_call *c = call_check(context);

    return grpc_call_queued_bytes(c->call) < LIST_QUEUE_MAX;
}

/* ---- what is meant ---- */

static int set_listener(const struct admin *a, const char *addr, struct ctl_query *out, struct strbuf *why)
{
    const struct config_listener *listener;

    out->has_listener = 1;
    return admin_find_listener(a, addr, &out->listener, &listener, why);
}

static int set_route(const char *route, struct ctl_query *out, struct strbuf *why)
{
    struct strbuf text = STRBUF_OF(out->route);

    return connection_filter_parse_route(route, &text, why);
}

/** Texts that are empty mean all. */
static int read_query(const struct admin *a, const char *listener, const char *client, const char *route,
                      struct ctl_query *out, struct strbuf *why)
{
    int rc = 0;

    if (listener[0] != '\0')
        rc = set_listener(a, listener, out, why);
    if (rc == 0 && client[0] != '\0')
        rc = connection_filter_parse_client(client, &out->client, why);
    if (rc == 0 && route[0] != '\0')
        rc = set_route(route, out, why);
    return rc;
}

/* ---- listing ---- */

static void finish_list(struct connection_call *c)
{
    connection_query_end(&c->query);
    if (grpc_call_is_open(c->call))
        grpc_call_finish(c->call, GRPC_OK, NULL);
}

/** Pack what a worker has sent. 0; an error: it cannot be. */
static int pack_part(struct connection_call *c, struct bytes records, struct proto_answer *out)
{
    struct connection_message message;
    struct bytes record;
    int rc = 0;

    while (rc == 0 && c->limit > 0 && ctl_answer_next(&records, &record)) {
        rc = connection_message_of(record, &message);
        if (rc == 0)
            rc = proto_answer_add_element(out, 1, &message.proto.base);
        c->limit--;
    }
    return rc;
}

static void on_list_part(void *context, const struct ctl_query_answer *answer, struct bytes records)
{
    struct connection_call *c = call_check(context);
    struct proto_answer part = proto_answer_of(ADMIN_ANSWER_MAX);

    if (!grpc_call_is_open(c->call)) { /* finished, and not gone yet */
        connection_query_end(&c->query);
        return;
    }
    int rc = pack_part(c, records, &part);
    uint8_t *room = rc == 0 && part.len > 0 ? grpc_call_make_message(c->call, part.len) : NULL;
    if (room != NULL) {
        proto_answer_move(&part, room);
        grpc_call_send_message(c->call);
    } else if (rc != 0 || answer->record_count > 0) {
        proto_answer_fini(&part);
        connection_query_end(&c->query);
        admin_fail_text(c->call, ERR_NO_MEMORY, "no memory for the answer now");
        return;
    }
    if (c->limit == 0)
        finish_list(c);
}

static void on_list_done(void *context)
{
    finish_list(call_check(context));
}

static void list(struct admin *a, struct grpc_call *call, const void *message)
{
    static const struct connection_query_events events = {on_list_part, on_list_done, has_room};
    const McProxy__V1__ListConnectionsRequest *request = message;
    struct ctl_query query = {.action = CTL_QUERY_LIST};
    struct connection_call spec = {.limit = request->limit != 0 ? request->limit : UINT64_MAX};
    char text[ADMIN_WHY_MAX];
    struct strbuf why = STRBUF_OF(text);
    int rc = read_query(a, request->listener_addr, request->client_cidr, request->route, &query, &why);

    if (rc != 0)
        admin_fail(call, rc, &why);
    else
        begin(a, call, &query, &events, &spec);
}

void admin_on_list_connections(struct grpc_call *call, struct bytes message)
{
    admin_serve(call, message, &mc_proxy__v1__list_connections_request__descriptor, list);
}

/* ---- closing ---- */

static void on_close_part(void *context, const struct ctl_query_answer *answer, struct bytes records)
{
    struct connection_call *c = call_check(context);

    (void)records;
    c->matched += answer->matched;
    if (!grpc_call_is_open(c->call)) /* past its deadline: enough was done in its name */
        connection_query_end(&c->query);
}

static void on_close_done(void *context)
{
    struct connection_call *c = call_check(context);
    McProxy__V1__CloseConnectionsResponse response;

    connection_query_end(&c->query);
    if (!grpc_call_is_open(c->call))
        return;
    if (c->conn != 0 && c->matched == 0) {
        admin_fail_text(c->call, ERR_NOT_FOUND, "conn: no open connection has this number");
        return;
    }
    mc_proxy__v1__close_connections_response__init(&response);
    response.matched = c->matched;
    response.closed = c->is_dry_run ? 0 : c->matched;
    admin_reply(c->call, &response.base);
}

/** The selector, which must be there and say something: nobody closes everything by leaving a field empty. */
static int read_selector(const struct admin *a, const McProxy__V1__CloseConnectionsRequest *r, struct ctl_query *out,
                         struct strbuf *why)
{
    const char *client = "", *route = "";

    switch (r->selector_case) {
    case MC_PROXY__V1__CLOSE_CONNECTIONS_REQUEST__SELECTOR_CONN: out->conn = r->conn; break;
    case MC_PROXY__V1__CLOSE_CONNECTIONS_REQUEST__SELECTOR_CLIENT_CIDR: client = r->client_cidr; break;
    case MC_PROXY__V1__CLOSE_CONNECTIONS_REQUEST__SELECTOR_ROUTE: route = r->route; break;
    default: break;
    }
    if (out->conn == 0 && client[0] == '\0' && route[0] == '\0') {
        strbuf_add(why, "selector: one of conn, client_cidr and route must be set, and not be empty");
        return ERR_INVALID;
    }
    return read_query(a, r->listener_addr, client, route, out, why);
}

static void close_connections(struct admin *a, struct grpc_call *call, const void *message)
{
    static const struct connection_query_events events = {on_close_part, on_close_done, has_room};
    const McProxy__V1__CloseConnectionsRequest *request = message;
    struct ctl_query query = {.action = request->dry_run ? CTL_QUERY_COUNT : CTL_QUERY_CLOSE};
    struct connection_call spec = {.is_dry_run = request->dry_run};
    struct strbuf client = STRBUF_OF(spec.client);
    char text[ADMIN_WHY_MAX];
    struct strbuf why = STRBUF_OF(text);
    int rc = read_selector(a, request, &query, &why);

    if (rc != 0) {
        admin_fail(call, rc, &why);
        return;
    }
    spec.conn = query.conn;
    memcpy(spec.route, query.route, sizeof spec.route);
    if (query.client.addr.family != 0)
        ip_cidr_format(&query.client, &client);
    begin(a, call, &query, &events, &spec);
}

void admin_on_close_connections(struct grpc_call *call, struct bytes message)
{
    admin_serve(call, message, &mc_proxy__v1__close_connections_request__descriptor, close_connections);
}
