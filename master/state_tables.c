/* What changes in the shared tables: one change on its own, or many put together aside. */

#include "state_tables.h"

#include "err.h"
#include "state_fields.h"
#include "state_internal.h"

void state_tables_begin(struct state_tables *t, struct state *state, bool is_single)
{
    *t = (struct state_tables){.state = state, .is_single = is_single};
}

/** The verdict on a change of the tables that may have been made there already. */
static int note(struct state_tables *t, int rc)
{
    t->has_any = t->has_any || rc == 0;
    return rc == ERR_EXISTS || rc == ERR_NOT_FOUND ? 0 : rc;
}

static int need_routes(struct state_tables *t)
{
    return t->routes != NULL ? 0 : route_batch_begin(t->state->routes, &t->routes);
}

static int need_rules(struct state_tables *t)
{
    return t->rules != NULL ? 0 : firewall_batch_begin(t->state->firewall, &t->rules);
}

int state_tables_put_route(struct state_tables *t, uint16_t listener, const struct state_request *request,
                           bool send_proxy_protocol)
{
    int rc;

    if (t->is_single)
        rc = route_change_prepare_put(t->state->routes, listener, &request->pattern, &request->backend,
                                      send_proxy_protocol, &t->route);
    else if ((rc = need_routes(t)) == 0)
        rc = route_batch_put(t->routes, listener, &request->pattern, &request->backend, send_proxy_protocol);
    return note(t, rc);
}

int state_tables_remove_route(struct state_tables *t, uint16_t listener, const struct state_request *request)
{
    int rc;

    if (t->is_single)
        rc = route_change_prepare_remove(t->state->routes, listener, &request->pattern, &t->route);
    else if ((rc = need_routes(t)) == 0)
        rc = route_batch_remove(t->routes, listener, &request->pattern);
    return note(t, rc);
}

int state_tables_add_rule(struct state_tables *t, const struct state_request *request)
{
    int rc;

    if (t->is_single)
        rc = firewall_change_prepare_add(t->state->firewall, &request->rule, &t->rule);
    else if ((rc = need_rules(t)) == 0)
        rc = firewall_batch_add(t->rules, &request->rule);
    return note(t, rc);
}

int state_tables_remove_rule(struct state_tables *t, const struct state_request *request)
{
    int rc;

    if (t->is_single)
        rc = firewall_change_prepare_remove(t->state->firewall, &request->rule, &t->rule);
    else if ((rc = need_rules(t)) == 0)
        rc = firewall_batch_remove(t->rules, &request->rule);
    return note(t, rc);
}

void state_tables_publish(struct state_tables *t)
{
    if (t->route.writer != NULL)
        (void)route_change_publish(&t->route);
    if (t->rule.writer != NULL)
        (void)firewall_change_publish(&t->rule);
    if (t->routes != NULL)
        route_batch_publish(&t->routes);
    if (t->rules != NULL)
        firewall_batch_publish(&t->rules);
    t->state->generation += t->has_any;
}

void state_tables_abort(struct state_tables *t)
{
    route_change_abort(&t->route);
    firewall_change_abort(&t->rule);
    route_batch_abort(&t->routes);
    firewall_batch_abort(&t->rules);
}
