/* Rows into the stream of ApplyChanges. Each change is packed as a request of its own: requests that follow each other in one
 * buffer are, as protobuf has it, one request with all their changes. */

#include "row_apply.h"

#include <stdlib.h>
#include <string.h>

#include "admin_client.h"
#include "err.h"
#include "grow_buf.h"
#include "mc_proxy/v1/admin.pb-c.h"

#define MESSAGE_BYTES (1u << 20) /* a message is sent once it has so much; the limit of the API is 4 MiB */

struct change_stream {
    const struct row_changes *changes;
    size_t at; /* of removals and wanted rows together */
    bool is_begun;
    struct grow_buf message;
};

static void pack(struct change_stream *s, McProxy__V1__Change *change)
{
    McProxy__V1__ApplyChangesRequest request;

    mc_proxy__v1__apply_changes_request__init(&request);
    request.n_changes = change != NULL ? 1 : 0;
    request.changes = &change;
    request.validate_only = s->changes->validate_only;
    uint8_t *room = grow_buf_extend(&s->message, protobuf_c_message_get_packed_size(&request.base));
    if (room != NULL)
        protobuf_c_message_pack(&request.base, room);
}

static void fill_route(const struct row *row, McProxy__V1__Route *out)
{
    out->hostname = admin_client_text(row->hostname);
    out->backend = admin_client_text(row->backend);
    out->send_proxy_protocol = row->send_proxy_protocol;
}

static void pack_route(struct change_stream *s, const struct row *row, bool is_removal)
{
    McProxy__V1__Change change;
    McProxy__V1__AddRouteRequest put;
    McProxy__V1__RemoveRouteRequest removal;
    McProxy__V1__Route route;

    mc_proxy__v1__change__init(&change);
    mc_proxy__v1__add_route_request__init(&put);
    mc_proxy__v1__remove_route_request__init(&removal);
    mc_proxy__v1__route__init(&route);
    change.allow_unchanged = true;
    if (is_removal) {
        removal.listener_addr = admin_client_text(row->listener);
        removal.hostname = admin_client_text(row->hostname);
        change.change_case = MC_PROXY__V1__CHANGE__CHANGE_REMOVE_ROUTE;
        change.remove_route = &removal;
    } else {
        fill_route(row, &route);
        put.listener_addr = admin_client_text(row->listener);
        put.route = &route;
        change.change_case = MC_PROXY__V1__CHANGE__CHANGE_PUT_ROUTE;
        change.put_route = &put;
    }
    pack(s, &change);
}

static void pack_rule(struct change_stream *s, const struct row *row, bool is_removal)
{
    static const McProxy__V1__FirewallRuleType types[] = {
        [FIREWALL_RULE_IP] = MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_IP,
        [FIREWALL_RULE_CIDR] = MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_CIDR,
        [FIREWALL_RULE_COUNTRY] = MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_COUNTRY,
    };
    McProxy__V1__Change change;
    McProxy__V1__AddFirewallRuleRequest add;
    McProxy__V1__RemoveFirewallRuleRequest removal;
    McProxy__V1__FirewallRule rule;

    mc_proxy__v1__change__init(&change);
    mc_proxy__v1__add_firewall_rule_request__init(&add);
    mc_proxy__v1__remove_firewall_rule_request__init(&removal);
    mc_proxy__v1__firewall_rule__init(&rule);
    rule.type = types[row->rule_kind];
    rule.value = admin_client_text(row->value);
    change.allow_unchanged = true;
    if (is_removal) {
        removal.rule = &rule;
        change.change_case = MC_PROXY__V1__CHANGE__CHANGE_REMOVE_RULE;
        change.remove_rule = &removal;
    } else {
        add.rule = &rule;
        change.change_case = MC_PROXY__V1__CHANGE__CHANGE_ADD_RULE;
        change.add_rule = &add;
    }
    pack(s, &change);
}

static const struct row *row_at(const struct row_changes *changes, size_t index)
{
    if (index < changes->removed_count)
        return changes->removed[index];
    index -= changes->removed_count;
    return index < changes->wanted_count ? &changes->wanted[index] : NULL;
}

/** grpc_message_fn: the next megabyte of changes. An empty list is one message too, for the server to answer. */
static int next_message(void *context, struct bytes *message_out)
{
    struct change_stream *s = context;
    const struct row *row;

    grow_buf_reset(&s->message);
    while (s->message.len < MESSAGE_BYTES && !s->message.has_failed && (row = row_at(s->changes, s->at)) != NULL) {
        if (row->value != NULL)
            pack_rule(s, row, s->at < s->changes->removed_count);
        else
            pack_route(s, row, s->at < s->changes->removed_count);
        s->at++;
    }
    if (s->message.len == 0 && !s->is_begun)
        pack(s, NULL);
    else if (s->message.len == 0 && !s->message.has_failed)
        return 0;
    s->is_begun = true;
    *message_out = grow_buf_bytes(&s->message);
    return s->message.has_failed ? ERR_NO_MEMORY : 1;
}

bool row_apply_split_message(const char *message, size_t *index_out, const char **rest_out)
{
    static const char prefix[] = "changes[";
    char *end;

    if (strncmp(message, prefix, sizeof prefix - 1) != 0)
        return false;
    unsigned long long index = strtoull(message + sizeof prefix - 1, &end, 10);
    size_t path = strspn(end, "].abcdefghijklmnopqrstuvwxyz_");
    if (*end != ']' || end[path] != ':')
        return false;
    /* Of the path only its last name is of use to somebody who has never seen the proto file. */
    const char *rest = end + path;
    while (rest > end && rest[-1] != '.' && rest[-1] != ']')
        rest--;
    *index_out = index;
    *rest_out = *rest == ':' ? rest + 1 + strspn(rest + 1, " ") : rest;
    return true;
}

static void blame(const struct row_changes *changes, const char *message, const struct row **failed_out,
                  struct strbuf *why)
{
    const char *rest = message;
    size_t index;

    if (row_apply_split_message(message, &index, &rest))
        *failed_out = row_at(changes, index);
    strbuf_add(why, *failed_out != NULL ? rest : message);
}

int row_apply(struct admin_client *client, const struct row_changes *changes, struct row_applied *out,
              const struct row **failed_out, struct strbuf *why)
{
    char message_data[ADMIN_CLIENT_WHY_MAX];
    struct strbuf message = STRBUF_OF(message_data);
    struct change_stream stream = {.changes = changes};
    ProtobufCMessage *response;

    *failed_out = NULL;
    int rc = admin_client_stream(client, "ApplyChanges", next_message, &stream,
                                 &mc_proxy__v1__apply_changes_response__descriptor, &response, &message);
    grow_buf_fini(&stream.message);
    if (rc != 0) {
        blame(changes, message_data, failed_out, why);
        return rc;
    }
    const McProxy__V1__ApplyChangesResponse *r = (const McProxy__V1__ApplyChangesResponse *)response;
    *out = (struct row_applied){
        .added = r->routes_added + r->rules_added,
        .replaced = r->routes_replaced,
        .removed = r->routes_removed + r->rules_removed,
        .unchanged = r->unchanged,
    };
    protobuf_c_message_free_unpacked(response, NULL);
    return 0;
}
