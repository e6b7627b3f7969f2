/* Between the messages of admin.proto and the changes of state_change.h. */

#include "admin_change.h"

#include "admin_internal.h"
#include "err.h"
#include "grpc_server.h"
#include "log_event.h"
#include "mc_proxy/v1/admin.pb-c.h"

static const McProxy__V1__FirewallRuleType rule_types[] = {
    [STORE_RULE_IP] = MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_IP,
    [STORE_RULE_CIDR] = MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_CIDR,
    [STORE_RULE_COUNTRY] = MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_COUNTRY,
};

static const char *const fields[] = {
    [STATE_PUT_ROUTE] = "put_route",
    [STATE_REMOVE_ROUTE] = "remove_route",
    [STATE_ADD_RULE] = "add_rule",
    [STATE_REMOVE_RULE] = "remove_rule",
};

static int fail_missing(const char *field, struct strbuf *why)
{
    strbuf_addf(why, "%s: is missing", field);
    return ERR_INVALID;
}

int admin_change_of_put(const McProxy__V1__AddRouteRequest *request, struct state_change *out, struct strbuf *why)
{
    const McProxy__V1__Route *route = request->route;

    if (route == NULL)
        return fail_missing("route", why);
    *out = (struct state_change){.kind = STATE_PUT_ROUTE,
                                 .listener = bytes_of_str(request->listener_addr),
                                 .hostname = bytes_of_str(route->hostname),
                                 .backend = bytes_of_str(route->backend),
                                 .send_proxy_protocol = route->send_proxy_protocol};
    return 0;
}

struct state_change admin_change_of_remove(const McProxy__V1__RemoveRouteRequest *request)
{
    return (struct state_change){.kind = STATE_REMOVE_ROUTE,
                                 .listener = bytes_of_str(request->listener_addr),
                                 .hostname = bytes_of_str(request->hostname)};
}

int admin_change_of_rule(const McProxy__V1__FirewallRule *rule, enum state_change_kind kind, struct state_change *out,
                         struct strbuf *why)
{
    if (rule == NULL)
        return fail_missing("rule", why);
    for (unsigned type = 0; type < sizeof rule_types / sizeof rule_types[0]; type++) {
        if (rule_types[type] != rule->type)
            continue;
        *out = (struct state_change){
            .kind = kind, .rule_type = (enum store_rule_type)type, .value = bytes_of_str(rule->value)};
        return 0;
    }
    if (rule->type == MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_UNSPECIFIED)
        strbuf_add(why, "rule.type: is not set");
    else
        strbuf_addf(why, "rule.type: %d is no type; FIREWALL_RULE_TYPE_IP, _CIDR and _COUNTRY are", (int)rule->type);
    return ERR_INVALID;
}

int admin_rule_type(enum store_rule_type type)
{
    return (int)rule_types[type];
}

const char *admin_change_field(enum state_change_kind kind)
{
    return fields[kind];
}

static int change_within(const McProxy__V1__Change *change, enum state_change_kind *kind_out, struct state_change *out,
                         struct strbuf *why)
{
    switch (change->change_case) {
    case MC_PROXY__V1__CHANGE__CHANGE_PUT_ROUTE:
        *kind_out = STATE_PUT_ROUTE;
        return admin_change_of_put(change->put_route, out, why);
    case MC_PROXY__V1__CHANGE__CHANGE_REMOVE_ROUTE:
        *kind_out = STATE_REMOVE_ROUTE;
        *out = admin_change_of_remove(change->remove_route);
        return 0;
    case MC_PROXY__V1__CHANGE__CHANGE_ADD_RULE:
        *kind_out = STATE_ADD_RULE;
        return admin_change_of_rule(change->add_rule->rule, STATE_ADD_RULE, out, why);
    case MC_PROXY__V1__CHANGE__CHANGE_REMOVE_RULE:
        *kind_out = STATE_REMOVE_RULE;
        return admin_change_of_rule(change->remove_rule->rule, STATE_REMOVE_RULE, out, why);
    default: return fail_missing("change", why);
    }
}

int admin_change_of(const McProxy__V1__Change *change, struct state_change *out, struct strbuf *why)
{
    char text[256];
    struct strbuf reason = STRBUF_OF(text);
    enum state_change_kind kind = STATE_PUT_ROUTE;
    int rc = change_within(change, &kind, out, &reason);

    if (rc == 0) {
        out->allow_unchanged = change->allow_unchanged;
        return 0;
    }
    if (change->change_case != MC_PROXY__V1__CHANGE__CHANGE__NOT_SET)
        strbuf_addf(why, "%s.", admin_change_field(kind));
    strbuf_add(why, text);
    return rc;
}

/* ---- the log ---- */

static const char *log_message(enum state_change_kind kind, const struct state_applied *applied)
{
    switch (kind) {
    case STATE_PUT_ROUTE:
        return applied == NULL ? "route set" : applied->routes_added > 0 ? "route added" : "route replaced";
    case STATE_REMOVE_ROUTE: return "route removed";
    case STATE_ADD_RULE: return "firewall rule added";
    case STATE_REMOVE_RULE: return "firewall rule removed";
    }
    return NULL;
}

void admin_change_log(const struct grpc_call *call, const struct state_change *change,
                      const struct state_applied *applied)
{
    struct log_event e;

    if (applied != NULL && applied->unchanged > 0)
        return;
    log_event_begin(&e, LOG_INFO, log_message(change->kind, applied));
    log_event_cstr(&e, LOG_KEY_PEER, grpc_call_peer(call));
    if (change->kind == STATE_PUT_ROUTE || change->kind == STATE_REMOVE_ROUTE) {
        log_event_str(&e, LOG_KEY_LISTENER, change->listener);
        log_event_str(&e, LOG_KEY_ROUTE, change->hostname);
    } else {
        log_event_cstr(&e, LOG_KEY_RULE, store_rule_type_text(change->rule_type));
        log_event_str(&e, LOG_KEY_VALUE, change->value);
    }
    if (change->kind == STATE_PUT_ROUTE) {
        log_event_str(&e, LOG_KEY_BACKEND, change->backend);
        log_event_bool(&e, LOG_KEY_PROXY_PROTOCOL, change->send_proxy_protocol);
    }
    log_event_end(&e);
}

bool admin_change_apply(struct grpc_call *call, const struct state_change *change, struct state_applied *out)
{
    char text[ADMIN_WHY_MAX];
    struct strbuf why = STRBUF_OF(text);
    size_t failed;
    int rc = state_apply(admin_of(call)->parts.state, change, 1, false, out, &failed, &why);

    if (rc != 0) {
        admin_fail(call, rc, &why);
        return false;
    }
    admin_change_log(call, change, out);
    return true;
}
