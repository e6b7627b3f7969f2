#ifndef CONNECTION_FILTER_H
#define CONNECTION_FILTER_H

#include <stdbool.h>

#include "address.h"
#include "bytes.h"
#include "check.h"
#include "hostname.h"
#include "strbuf.h"

/* Which connections an operator means. Pure; the texts come from requests that were scanned: UTF-8 without NUL. */

/** What a filter looks at in a record; borrowed from it. */
struct connection_traits {
    struct bytes sni;
    struct bytes reason;
    struct bytes listener; /* as the configuration writes its addr */
    struct ip_addr client; /* family 0: unknown */
};

/** All zero: everything passes. */
struct connection_filter {
    bool has_sni;
    struct host_pattern sni;
    struct ip_cidr client; /* family 0: from anywhere */
    const char *reason;    /* static; NULL: any */
    char listener[ADDRESS_TEXT_MAX];
};

/** Read a record's traits. False: it is no record of a connection that has ended. */
bool connection_traits_of(struct bytes record, struct connection_traits *out);

bool connection_filter_passes(const struct connection_filter *filter, const struct connection_traits *traits);

/* Fields of requests. 0, or ERR_INVALID with a reason that begins with the field's name. */

/** sni_pattern. */
int connection_filter_set_sni(struct connection_filter *filter, const char *text, struct strbuf *why) MUST_CHECK;
/** reason. */
int connection_filter_set_reason(struct connection_filter *filter, const char *text, struct strbuf *why) MUST_CHECK;
/** client_cidr: an address or a network. */
int connection_filter_parse_client(const char *text, struct ip_cidr *out, struct strbuf *why) MUST_CHECK;
/** route: a route's hostname; out gets the canonical one. */
int connection_filter_parse_route(const char *text, struct strbuf *out, struct strbuf *why) MUST_CHECK;

#endif
