#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "check.h"
#include "ctl_msg.h"
#include "log_event.h"

/* The configuration as the rest of the master sees it: checked, complete, with defaults filled in. Immutable after loading. */

#define CONFIG_NAME_MAX       40 /* a listener's name: what fits into inih's 49-byte section names behind "listener " */
#define CONFIG_GRPC_ADDRS_MAX 16

struct config_route {
    char *hostname; /* canonical pattern: "www.example.com", "*.example.com", "*" */
    char *backend;  /* canonical: "10.0.0.5:8443" */
    bool send_proxy_protocol;
};

struct config_listener {
    char name[CONFIG_NAME_MAX + 1];
    char addr_text[ADDRESS_TEXT_MAX]; /* as the file writes it: the listener's name in the admin API and in logs */
    struct listen_addr addr;
    enum proxy_mode proxy_mode;
    enum no_route_mode no_route_mode;
    uint32_t max_connections; /* 0: no limit */
    struct ip_cidr *trusted;
    unsigned trusted_count;
    struct config_route *routes; /* in the order of the file */
    unsigned route_count;
};

struct config_origin;

/** An address of the admin API. */
struct config_grpc_addr {
    char *text; /* as the file writes it */
    bool is_unix;
    char *path;              /* is_unix: absolute */
    struct listen_addr addr; /* otherwise */
    unsigned line;           /* of the file */
};

/** A list of strings in the order of the file; each canonical. */
struct config_list {
    char **items;
    unsigned count;
};

struct config {
    /* [server] */
    unsigned workers; /* 1..SHM_WORKERS_MAX; "auto" is resolved at loading */
    bool workers_auto;
    char *user; /* NULL: unset */
    /* [database] */
    char *database_path;
    /* [log] */
    enum log_level log_level;
    bool log_json;
    bool log_access;
    uint32_t log_rejected_per_second; /* 0: no limit */
    /* [proxy], milliseconds */
    uint32_t hello_timeout_ms;
    uint32_t connect_timeout_ms;
    uint32_t idle_timeout_ms;
    uint32_t half_close_timeout_ms;
    uint32_t shutdown_timeout_ms;
    uint32_t max_pending_hellos; /* per worker; 0: no limit; CTL_PENDING_HELLOS_AUTO */
    /* [grpc] */
    struct config_grpc_addr *grpc_addrs;
    unsigned grpc_addr_count;
    char *grpc_tls_cert; /* NULL: unset, as the next two */
    char *grpc_tls_key;
    char *grpc_client_ca;
    /* [metrics] */
    bool has_metrics;
    struct listen_addr metrics_addr;
    char metrics_addr_text[ADDRESS_TEXT_MAX];
    bool metrics_routes;         /* routes have series of their own */
    uint32_t metrics_max_series; /* of all routes together */
    /* [firewall] */
    char *geoip_db; /* NULL: unset */
    struct config_list blocked_ips;
    struct config_list blocked_cidrs;
    struct config_list blocked_countries;
    uint32_t rate_limit; /* 0: off */
    uint32_t rate_window_ms;
    /* [listener NAME], in the order of the file */
    struct config_listener *listeners;
    unsigned listener_count;

    struct config_origin *origin; /* where all this was written; private to master/config_*.c */
};

/**
 * Everything that is wrong with a configuration, one ready line each: "FILE:LINE: [section] key: what is wrong; what would be
 * right". What comes from the environment has the variable's name in place of FILE:LINE.
 */
struct config_errors {
    char **lines;
    unsigned count;
    char **warnings; /* the same, for what is no error: a MCPROXY_ variable that names no section of ours */
    unsigned warning_count;
    bool is_incomplete; /* memory ran out while a line was added: there is at least one more error than lines */
};

/**
 * Read the file, apply MCPROXY_<SECTION>_<KEY> from the environment, check everything that can be checked from the text alone and
 * collect every error, not only the first. Opens no other file than `path` (see config_check.h for what the files named in it hold).
 * Relative paths in it begin at the folder of `path`; in the result every path is absolute.
 *
 * @param environment  NULL-terminated "NAME=value" strings (environ)
 * @param out          on 0: a new configuration, config_free() it
 * @param errors       zeroed by the caller; lines and warnings are added; config_errors_fini() it, on 0 too (warnings)
 * @return 0; ERR_INVALID if something is wrong (an unreadable file too); ERR_NO_MEMORY. Except for an exhausted memory there is
 *         at least one error line then
 */
int config_load(const char *path, char *const *environment, struct config **out,
                struct config_errors *errors) MUST_CHECK;

/**
 * For `check`, which goes on to what the configuration names even if some of its lines are wrong: as config_load(), but with
 * ERR_INVALID too *out is a configuration, in which the wrong values are missing, or NULL if the file cannot be read.
 */
int config_load_anyway(const char *path, char *const *environment, struct config **out,
                       struct config_errors *errors) MUST_CHECK;

/**
 * For client commands, which need to know how to reach the server and nothing else: as config_load(), but only what concerns
 * [grpc] is an error, so that a file with nothing but [grpc] is enough. Only the grpc_ fields of the result may be relied on.
 */
int config_load_grpc(const char *path, char *const *environment, struct config **out,
                     struct config_errors *errors) MUST_CHECK;

/** Accepts NULL; clears the caller's pointer. */
void config_free(struct config **config);

/** Add a ready line, without line end. Never fails visibly: see is_incomplete. */
void config_errors_add(struct config_errors *errors, const char *format, ...) PRINTF_LIKE(2, 3);
void config_errors_warn(struct config_errors *errors, const char *format, ...) PRINTF_LIKE(2, 3);

/** Is there any error (warnings are none)? */
static inline bool config_errors_any(const struct config_errors *errors)
{
    return errors->count > 0 || errors->is_incomplete;
}

void config_errors_fini(struct config_errors *errors);

#endif
