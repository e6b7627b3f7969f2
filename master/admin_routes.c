/* The methods about routes. */

#include "admin_change.h"
#include "admin_internal.h"
#include "mc_proxy/v1/admin.pb-c.h"

static void add_route(struct admin *a, struct grpc_call *call, const void *request)
{
    McProxy__V1__AddRouteResponse response;
    char text[ADMIN_WHY_MAX];
    struct strbuf why = STRBUF_OF(text);
    struct state_change change;
    struct state_applied applied;
    int rc = admin_change_of_put(request, &change, &why);

    mc_proxy__v1__add_route_response__init(&response);
    (void)a;
    if (rc != 0) {
        admin_fail(call, rc, &why);
        return;
    }
    if (!admin_change_apply(call, &change, &applied))
        return;
    response.created = applied.routes_added > 0;
    admin_reply(call, &response.base);
}

static void remove_route(struct admin *a, struct grpc_call *call, const void *request)
{
    McProxy__V1__RemoveRouteResponse response;
    struct state_change change = admin_change_of_remove(request);
    struct state_applied applied;

    mc_proxy__v1__remove_route_response__init(&response);
    (void)a;
    if (admin_change_apply(call, &change, &applied))
        admin_reply(call, &response.base);
}

static int list_row(const struct store_route *row, void *context)
{
    McProxy__V1__Route route;

    mc_proxy__v1__route__init(&route);
    route.hostname = admin_text(row->hostname);
    route.backend = admin_text(row->backend);
    route.send_proxy_protocol = row->send_proxy_protocol;
    return proto_answer_add_element(context, 1, &route.base); /* 1: ListRoutesResponse.routes */
}

/** Read a page into the answer. */
static int list_page(struct admin *a, const void *message, struct proto_answer *answer, struct strbuf *why)
{
    const McProxy__V1__ListRoutesRequest *request = message;
    McProxy__V1__ListRoutesResponse rest;
    char token[ADMIN_TOKEN_MAX];
    struct state_page page;
    int rc;

    mc_proxy__v1__list_routes_response__init(&rest);
    if ((rc = admin_page_of(request->page_size, request->page_token, &page, why)) != 0 ||
        (rc = state_each_route(a->parts.state, bytes_of_str(request->listener_addr), &page, list_row, answer, why)) !=
            0)
        return rc;
    admin_page_token(&page, token);
    rest.next_page_token = token;
    return proto_answer_add_fields(answer, &rest.base);
}

static void list_routes(struct admin *a, struct grpc_call *call, const void *request)
{
    admin_reply_list(a, call, request, list_page);
}

void admin_on_add_route(struct grpc_call *call, struct bytes message)
{
    admin_serve(call, message, &mc_proxy__v1__add_route_request__descriptor, add_route);
}

void admin_on_remove_route(struct grpc_call *call, struct bytes message)
{
    admin_serve(call, message, &mc_proxy__v1__remove_route_request__descriptor, remove_route);
}

void admin_on_list_routes(struct grpc_call *call, struct bytes message)
{
    admin_serve(call, message, &mc_proxy__v1__list_routes_request__descriptor, list_routes);
}
