#ifndef STATE_FIELDS_H
#define STATE_FIELDS_H

#include "address.h"
#include "bytes.h"
#include "check.h"
#include "firewall_rule.h"
#include "hostname.h"
#include "state_change.h"
#include "strbuf.h"

/* What a client asks for, read field by field. On ERR_INVALID why begins with the field's path and is printable ASCII. */

/** A change in our own words. Which fields are set depends on the kind of change. */
struct state_request {
    struct listen_addr listener;
    struct host_pattern pattern;
    struct backend_addr backend;
    struct firewall_rule rule;
    char hostname[HOSTNAME_MAX + 1]; /* canonical texts, as the database has them */
    char backend_text[BACKEND_TEXT_MAX];
    char value[FIREWALL_RULE_TEXT_MAX];
};

/** Read and check a change, without looking at anything that exists. 0 or ERR_INVALID. */
int state_request_parse(const struct state_change *change, struct state_request *out, struct strbuf *why) MUST_CHECK;

/** Read the field listener_addr. 0 or ERR_INVALID. */
int state_parse_listener(struct bytes text, struct listen_addr *out, struct strbuf *why) MUST_CHECK;

/** Add any bytes as text between quotes: printable ASCII as it is, the rest as \xNN; cut where it becomes long. */
void state_add_quoted(struct bytes text, struct strbuf *out);

#endif
