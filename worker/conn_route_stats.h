#ifndef CONN_ROUTE_STATS_H
#define CONN_ROUTE_STATS_H

#include "close_reason.h"

struct conn;

/** Count a connection of its route: when that was found, and when it ends. */
void conn_count_routed(const struct conn *c);
void conn_count_route_end(const struct conn *c, enum close_reason reason);

/** Its backend's outcome is known: the same for its route. */
void conn_count_route_answer(const struct conn *c);

#endif
