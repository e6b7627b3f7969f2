#ifndef ADMIN_CHANGE_H
#define ADMIN_CHANGE_H

#include <stddef.h>

#include "check.h"
#include "state_change.h"
#include "strbuf.h"

struct grpc_call;

/* Of the generated mc_proxy/v1/admin.pb-c.h. */
struct McProxy__V1__AddRouteRequest;
struct McProxy__V1__Change;
struct McProxy__V1__FirewallRule;
struct McProxy__V1__RemoveRouteRequest;

/*
 * Requests as changes of the state, the texts borrowed from them. What a request lacks as a whole (a submessage, the type of a rule)
 * is found here: ERR_INVALID, and `why` gets the field's path within the request. The values are state_apply()'s to check.
 */
int admin_change_of_put(const struct McProxy__V1__AddRouteRequest *request, struct state_change *out,
                        struct strbuf *why) MUST_CHECK;
struct state_change admin_change_of_remove(const struct McProxy__V1__RemoveRouteRequest *request);
/** @param kind  STATE_ADD_RULE or STATE_REMOVE_RULE */
int admin_change_of_rule(const struct McProxy__V1__FirewallRule *rule, enum state_change_kind kind,
                         struct state_change *out, struct strbuf *why) MUST_CHECK;

/** A row of ApplyChanges; the path in `why` begins with the field of Change: "put_route.route: is missing". */
int admin_change_of(const struct McProxy__V1__Change *change, struct state_change *out, struct strbuf *why) MUST_CHECK;

/** The field of Change that is of this kind: "put_route". */
const char *admin_change_field(enum state_change_kind kind);

/** Make one change and log it. False: it cannot be made, and the call has been finished with the reason. */
bool admin_change_apply(struct grpc_call *call, const struct state_change *change,
                        struct state_applied *out) MUST_CHECK;

/** The type of a rule as the protocol has it: a McProxy__V1__FirewallRuleType. */
int admin_rule_type(enum store_rule_type type);

/** INFO: who has changed what. @param applied  what has become of it; NULL: it was one of many. Nothing is logged if unchanged. */
void admin_change_log(const struct grpc_call *call, const struct state_change *change,
                      const struct state_applied *applied);

#endif
