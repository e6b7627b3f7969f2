#ifndef EXPLAIN_H
#define EXPLAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "bytes.h"
#include "close_reason.h"
#include "firewall.h"
#include "hostname.h"
#include "rate_limit.h"

struct config_listener;
struct geoip_reader;
struct shm_stats;
struct tables;

/*
 * What would become of a connection, and why: the steps that it would take in a worker, in their order, up to the one that ends it. Asked
 * of the tables that workers read, by the functions that workers call. Nothing is used up and nothing is counted.
 */

#define EXPLAIN_STEPS_MAX 8
#define EXPLAIN_TEXT_MAX  768 /* of a step: a hostname, a backend and its addresses */

enum explain_step_kind {
    EXPLAIN_ACCEPT,
    EXPLAIN_PROXY,
    EXPLAIN_FIREWALL,
    EXPLAIN_RATE_LIMIT,
    EXPLAIN_HELLO,
    EXPLAIN_ROUTE,
    EXPLAIN_BACKEND,
};

/** The word of a step, static: "accept", "proxy", ... */
const char *explain_step_word(enum explain_step_kind kind);

struct explain_step {
    enum explain_step_kind kind;
    char text[EXPLAIN_TEXT_MAX];
};

/** What is asked of; all borrowed. */
struct explain_parts {
    const struct tables *tables;
    const struct rate_table *rates;
    const struct shm_stats *stats;
    const struct geoip_reader *geoip; /* NULL: no database */
};

struct explain_question {
    const struct config_listener *listener;
    uint16_t listener_id;
    struct ip_addr client; /* the address that counts */
    struct ip_addr peer;   /* who connects, if somebody else does in its name (PROXY header); family 0: not said */
    struct bytes sni;      /* any bytes; empty: a hello without server name */
    uint64_t now_ns;       /* monotonic */
};

struct explanation {
    bool is_routed;
    enum close_reason reason; /* !is_routed: what its access line would say */
    uint32_t active_connections;
    uint32_t max_connections;
    bool has_rule; /* CLOSE_BLOCKED_IP and _CIDR */
    struct ip_cidr rule;
    char country[3]; /* of the client; "": not known, or not reached */
    bool was_rated;  /* rate is set */
    struct rate_usage rate;
    char sni[HOSTNAME_MAX + 1]; /* normalised */
    bool has_route;
    enum host_pattern_kind match; /* has_route, as the rest */
    char pattern[HOSTNAME_MAX + 3];
    char backend[BACKEND_TEXT_MAX];
    bool send_proxy_protocol;
    bool is_counted; /* has counters of its own */
    unsigned addr_count;
    struct ip_endpoint addrs[SHM_BACKEND_ADDRS_MAX]; /* in the order in which they are tried */
    unsigned step_count;
    struct explain_step steps[EXPLAIN_STEPS_MAX];
};

/** Never fails; the question is already checked. Master only: pins the tables by the master's own view. */
void explain_connection(const struct explain_parts *parts, const struct explain_question *question,
                        struct explanation *out);

#endif
