#ifndef CONN_FIREWALL_H
#define CONN_FIREWALL_H

#include <stdbool.h>

#include "close_reason.h"

struct conn;

/** Is the client let in by firewall and rate limit? If not, why (and nothing was counted). */
bool conn_may_enter(struct conn *c, enum close_reason *reason_out);

/** Ask for the client's country, if there is a database and nobody has asked yet. Not from RELAY on. */
void conn_find_country(const struct conn *c);

#endif
