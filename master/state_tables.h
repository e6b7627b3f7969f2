#ifndef STATE_TABLES_H
#define STATE_TABLES_H

#include "check.h"
#include "firewall_writer.h"
#include "route_writer.h"

struct state;
struct state_request;

/*
 * The half of a change that concerns the shared tables. One change is prepared by itself and costs the same however large the tables
 * are; several are put together in copies, so that workers see all of the routes' part or nothing, and the same of the firewall's.
 */
struct state_tables {
    struct state *state;
    bool is_single;
    bool has_any; /* something is there to be published */
    struct route_change route;
    struct firewall_change rule;
    struct route_batch *routes; /* from the first change of a route on */
    struct firewall_batch *rules;
};

/** @param is_single  one change at most will come */
void state_tables_begin(struct state_tables *t, struct state *state, bool is_single);

/* Each 0 or ERR_NO_MEMORY. What the tables have already, or have not any more, is fine: the database decides what there is. */
int state_tables_put_route(struct state_tables *t, uint16_t listener, const struct state_request *request,
                           bool send_proxy_protocol) MUST_CHECK;
int state_tables_remove_route(struct state_tables *t, uint16_t listener,
                              const struct state_request *request) MUST_CHECK;
int state_tables_add_rule(struct state_tables *t, const struct state_request *request) MUST_CHECK;
int state_tables_remove_rule(struct state_tables *t, const struct state_request *request) MUST_CHECK;

/** Show it all. Cannot fail. */
void state_tables_publish(struct state_tables *t);
void state_tables_abort(struct state_tables *t);

#endif
