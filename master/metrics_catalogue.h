#ifndef METRICS_CATALOGUE_H
#define METRICS_CATALOGUE_H

#include "strbuf.h"

/*
 * Every metric there is, in one table: name, type, labels, and one sentence of help. The endpoint renders in this order, and the
 * catalogue of docs/metrics.md is this table as Markdown (a test compares the two). Names and labels are an interface: never change
 * one, only add. A label's values come from the configuration or from our own tables, never from the wire.
 */
enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* clang-format off */
/*    id                         type       name                                       labels              help */
#define METRICS_TABLE(X) \
    X(METRIC_CONNECTIONS,        COUNTER,   "mcproxy_connections_total",               "listener",         "Connections accepted.") \
    X(METRIC_ACTIVE,             GAUGE,     "mcproxy_connections_active",              "listener",         "Connections open now.") \
    X(METRIC_CLOSED,             COUNTER,   "mcproxy_connections_closed_total",        "listener, reason", "Connections ended, by the reason that their access line has. Accepted are those ended and those open.") \
    X(METRIC_RECEIVED,           COUNTER,   "mcproxy_received_bytes_total",            "listener",         "Bytes received from clients, without PROXY headers.") \
    X(METRIC_SENT,               COUNTER,   "mcproxy_sent_bytes_total",                "listener",         "Bytes sent to clients.") \
    X(METRIC_CONNECT,            HISTOGRAM, "mcproxy_backend_connect_duration_seconds", "listener",        "Time from the complete ClientHello until the backend was connected, of connections that reached their backend.") \
    X(METRIC_FIRST_BYTE,         HISTOGRAM, "mcproxy_backend_first_byte_duration_seconds", "listener",     "Time from the connected backend until its first byte.") \
    X(METRIC_HANDSHAKES,         COUNTER,   "mcproxy_handshakes_total",                "listener, outcome", "Connections that reached their backend, by what its first record was. Counted when that is there, or when the connection ends without it.") \
    X(METRIC_DURATION,           HISTOGRAM, "mcproxy_connection_duration_seconds",     "listener",         "Time from accept to the end, of connections that had reached their backend.") \
    X(METRIC_LISTENER_MAX,       GAUGE,     "mcproxy_listener_max_connections",        "listener",         "Limit of open connections in force; 0: none.") \
    X(METRIC_ROUTES,             GAUGE,     "mcproxy_routes",                          "listener",         "Routes in force.") \
    X(METRIC_ROUTE_CONNECTIONS,  COUNTER,   "mcproxy_route_connections_total",         "listener, route",  "Connections that took a route. This and the next five only with [metrics] routes = true.") \
    X(METRIC_ROUTE_FAILED,       COUNTER,   "mcproxy_route_backend_failures_total",    "listener, route",  "Connections of a route whose backend could not be reached.") \
    X(METRIC_ROUTE_UNANSWERED,   COUNTER,   "mcproxy_route_unanswered_total",          "listener, route",  "Connections of a route that ended without one byte from the backend, though it was reached.") \
    X(METRIC_ROUTE_HANDSHAKES,   COUNTER,   "mcproxy_route_handshakes_total",          "listener, route, outcome", "The same as mcproxy_handshakes_total, of a route.") \
    X(METRIC_ROUTE_RECEIVED,     COUNTER,   "mcproxy_route_received_bytes_total",      "listener, route",  "Bytes received from clients of a route, counted when the connection ends.") \
    X(METRIC_ROUTE_SENT,         COUNTER,   "mcproxy_route_sent_bytes_total",          "listener, route",  "Bytes sent to clients of a route, counted when the connection ends.") \
    X(METRIC_ROUTES_LEFT_OUT,    GAUGE,     "mcproxy_routes_left_out",                 "",                 "Routes in force that have no series of their own.") \
    X(METRIC_BLOCKED,            COUNTER,   "mcproxy_firewall_blocked_total",          "rule",             "Connections that the firewall or the rate limit reset.") \
    X(METRIC_RULES,              GAUGE,     "mcproxy_firewall_rules",                  "rule",             "Firewall rules in force.") \
    X(METRIC_COUNTRY_UNKNOWN,    COUNTER,   "mcproxy_geoip_unknown_total",             "",                 "Clients asked for their country, of which the GeoIP database has none.") \
    X(METRIC_HELLO,              COUNTER,   "mcproxy_hello_total",                     "verdict",          "ClientHellos by verdict: one with a name, one without, or rejected (no valid hello, too large, late).") \
    X(METRIC_PROXY_HEADER,       COUNTER,   "mcproxy_proxy_header_total",              "outcome",          "PROXY headers expected, by outcome: with an address, without one (it stands for the peer), or refused.") \
    X(METRIC_CONNECTIONS_MAX,    GAUGE,     "mcproxy_connections_max",                 "",                 "Connections that the workers can hold with the file descriptors they have.") \
    X(METRIC_WORKERS,            GAUGE,     "mcproxy_workers",                         "",                 "Workers that serve connections.") \
    X(METRIC_WORKERS_CONFIGURED, GAUGE,     "mcproxy_workers_configured",              "",                 "Workers that there should be.") \
    X(METRIC_RESTARTS,           COUNTER,   "mcproxy_worker_restarts_total",           "",                 "Workers that died and were replaced.") \
    X(METRIC_BACKENDS,           GAUGE,     "mcproxy_backends",                        "",                 "Different backends of the routes in force.") \
    X(METRIC_GENERATION,         GAUGE,     "mcproxy_table_generation",                "",                 "Goes up with every change of routes or firewall rules.") \
    X(METRIC_TABLE_BYTES,        GAUGE,     "mcproxy_table_bytes",                     "",                 "Shared memory that routes, backends and rules take.") \
    X(METRIC_RELOADS,            COUNTER,   "mcproxy_reloads_total",                   "result",           "Reloads of the configuration.") \
    X(METRIC_RELOAD_OK,          GAUGE,     "mcproxy_last_reload_successful",          "",                 "1: the last reload, or the start, put its configuration in force; 0: it was refused.") \
    X(METRIC_RELOAD_TIME,        GAUGE,     "mcproxy_last_reload_success_timestamp_seconds", "",           "When a configuration was last put in force, Unix time.") \
    X(METRIC_OPEN_FDS,           GAUGE,     "mcproxy_open_fds",                        "process",          "Open file descriptors, of the master and of each worker.") \
    X(METRIC_MAX_FDS,            GAUGE,     "mcproxy_max_fds",                         "",                 "File descriptors that each process may have open.") \
    X(METRIC_LOG_DROPPED,        COUNTER,   "mcproxy_log_dropped_total",               "stage",            "Log lines lost: in a worker, whose ring was full, or at the output, which took none.") \
    X(METRIC_ADMIN_CONNECTIONS,  COUNTER,   "mcproxy_admin_connections_total",         "",                 "Connections to the admin API.") \
    X(METRIC_ADMIN_ACTIVE,       GAUGE,     "mcproxy_admin_connections_active",        "",                 "Connections to the admin API open now.") \
    X(METRIC_ADMIN_REFUSED,      COUNTER,   "mcproxy_admin_connections_refused_total", "",                 "Connections to the admin API closed because there were too many.") \
    X(METRIC_ADMIN_ABUSED,       COUNTER,   "mcproxy_admin_connections_abused_total",  "",                 "Connections to the admin API ended for exceeding a budget.") \
    X(METRIC_ADMIN_CALLS,        COUNTER,   "mcproxy_admin_calls_total",               "",                 "Calls of the admin API's methods.") \
    X(METRIC_ADMIN_BYTES,        GAUGE,     "mcproxy_admin_buffered_bytes",            "",                 "Memory held for clients of the admin API.") \
    X(METRIC_STOPPING,           GAUGE,     "mcproxy_stopping",                        "",                 "1: no new connections, running ones drain.") \
    X(METRIC_START_TIME,         GAUGE,     "mcproxy_start_time_seconds",              "",                 "When the server was started, Unix time.") \
    X(METRIC_BUILD_INFO,         GAUGE,     "mcproxy_build_info",                      "version",          "Always 1.")
/* clang-format on */

#define METRICS_ENUM(id, type, name, labels, help) id,
enum metric { METRICS_TABLE(METRICS_ENUM) METRIC_COUNT };
#undef METRICS_ENUM

/** A row; everything is static. */
struct metric_row {
    const char *name;
    const char *labels; /* comma-separated, "" : none */
    const char *help;
    enum metric_type type;
};

const struct metric_row *metric_row(enum metric metric);

/** "counter", "gauge", "histogram". */
const char *metric_type_word(enum metric_type type);

/* The values of labels that are ours. */
extern const char *const metric_rule_words[];    /* in the order of enum metric_rule */
extern const char *const metric_verdict_words[]; /* and so on */
extern const char *const metric_outcome_words[];
extern const char *const metric_result_words[];
extern const char *const metric_stage_words[];
extern const char *const metric_handshake_words[]; /* in the order of enum handshake_outcome */
enum metric_rule { RULE_IP, RULE_CIDR, RULE_COUNTRY, RULE_RATE_LIMIT, RULE_COUNT };
enum metric_verdict { VERDICT_NAME, VERDICT_NO_NAME, VERDICT_REJECTED, VERDICT_COUNT };
enum metric_outcome {
    OUTCOME_ADDRESS,
    OUTCOME_NO_ADDRESS,
    OUTCOME_MALFORMED,
    OUTCOME_TIMEOUT,
    OUTCOME_UNTRUSTED,
    OUTCOME_COUNT
};
enum metric_result { RESULT_SUCCESS, RESULT_FAILURE, RESULT_COUNT };
enum metric_stage { STAGE_WORKER, STAGE_OUTPUT, STAGE_COUNT };

/** The whole catalogue as Markdown: metrics, values of labels, close reasons. For docs/metrics.md. */
void metrics_catalogue_markdown(struct strbuf *out);

#endif
