/* The methods about firewall rules. */

#include "admin_change.h"
#include "admin_internal.h"
#include "mc_proxy/v1/admin.pb-c.h"

/** Make the change of one rule. False: the call has been finished with the reason. */
static bool change_rule(struct grpc_call *call, const McProxy__V1__FirewallRule *rule, enum state_change_kind kind)
{
    char text[ADMIN_WHY_MAX];
    struct strbuf why = STRBUF_OF(text);
    struct state_change change;
    struct state_applied applied;
    int rc = admin_change_of_rule(rule, kind, &change, &why);

    if (rc != 0) {
        admin_fail(call, rc, &why);
        return false;
    }
    return admin_change_apply(call, &change, &applied);
}

static void add_rule(struct admin *a, struct grpc_call *call, const void *request)
{
    McProxy__V1__AddFirewallRuleResponse response;

    mc_proxy__v1__add_firewall_rule_response__init(&response);
    (void)a;
    if (change_rule(call, ((const McProxy__V1__AddFirewallRuleRequest *)request)->rule, STATE_ADD_RULE))
        admin_reply(call, &response.base);
}

static void remove_rule(struct admin *a, struct grpc_call *call, const void *request)
{
    McProxy__V1__RemoveFirewallRuleResponse response;

    mc_proxy__v1__remove_firewall_rule_response__init(&response);
    (void)a;
    if (change_rule(call, ((const McProxy__V1__RemoveFirewallRuleRequest *)request)->rule, STATE_REMOVE_RULE))
        admin_reply(call, &response.base);
}

static int list_row(const struct store_rule *row, void *context)
{
    McProxy__V1__FirewallRule rule;

    mc_proxy__v1__firewall_rule__init(&rule);
    rule.type = (McProxy__V1__FirewallRuleType)admin_rule_type(row->type);
    rule.value = admin_text(row->value);
    return proto_answer_add_element(context, 1, &rule.base); /* 1: GetFirewallRulesResponse.rules */
}

/** Read a page into the answer. */
static int list_page(struct admin *a, const void *message, struct proto_answer *answer, struct strbuf *why)
{
    const McProxy__V1__GetFirewallRulesRequest *request = message;
    McProxy__V1__GetFirewallRulesResponse rest;
    char token[ADMIN_TOKEN_MAX];
    struct state_page page;
    int rc;

    mc_proxy__v1__get_firewall_rules_response__init(&rest);
    if ((rc = admin_page_of(request->page_size, request->page_token, &page, why)) != 0 ||
        (rc = state_each_rule(a->parts.state, &page, list_row, answer, why)) != 0)
        return rc;
    admin_page_token(&page, token);
    rest.next_page_token = token;
    return proto_answer_add_fields(answer, &rest.base);
}

static void get_rules(struct admin *a, struct grpc_call *call, const void *request)
{
    admin_reply_list(a, call, request, list_page);
}

void admin_on_add_firewall_rule(struct grpc_call *call, struct bytes message)
{
    admin_serve(call, message, &mc_proxy__v1__add_firewall_rule_request__descriptor, add_rule);
}

void admin_on_remove_firewall_rule(struct grpc_call *call, struct bytes message)
{
    admin_serve(call, message, &mc_proxy__v1__remove_firewall_rule_request__descriptor, remove_rule);
}

void admin_on_get_firewall_rules(struct grpc_call *call, struct bytes message)
{
    admin_serve(call, message, &mc_proxy__v1__get_firewall_rules_request__descriptor, get_rules);
}
