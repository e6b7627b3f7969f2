#ifndef ADMIN_H
#define ADMIN_H

#include <stdint.h>

#include "check.h"
#include "grpc_server.h"

struct config;
struct state;
struct stats_segment;
struct supervisor;

/*
 * What the admin API does: the methods of proto/mc_proxy/v1/admin.proto, the health protocol and reflection, for grpc_server_new()
 * with a struct admin as the service. Everything runs in the master's loop.
 *
 *     message -> proto_scan -> protobuf-c -> state_change.h -> answer or status, and a line in the log for each change
 */
struct admin;

/** What only the rest of the server knows, for GetStatus. */
struct admin_facts {
    uint64_t log_records_dropped; /* by workers */
    uint64_t log_lines_dropped;   /* by the output */
    uint64_t reloads_succeeded;
    uint64_t reloads_failed;
    uint64_t last_reload_ms;    /* UTC; 0: there was none */
    const char *reload_problem; /* of the last one, "": it succeeded; borrowed until the next turn of the loop */
};
typedef void (*admin_facts_fn)(void *context, struct admin_facts *out);

/** All are borrowed and outlive the admin. */
struct admin_parts {
    struct state *state;
    const struct supervisor *supervisor;
    const struct stats_segment *stats;
    admin_facts_fn facts; /* NULL: nothing is known */
    void *facts_context;
};

/** Where the server is in its life. */
enum admin_phase {
    ADMIN_STARTING, /* health: NOT_SERVING */
    ADMIN_SERVING,  /* every worker has been ready: SERVING */
    ADMIN_DRAINING, /* NOT_SERVING, until the end */
};

/** @return 0; ERR_NO_MEMORY */
int admin_new(const struct admin_parts *parts, struct admin **out) MUST_CHECK;

/** Only when its server is gone. Accepts NULL; clears the caller's pointer. */
void admin_free(struct admin **admin);

/** For grpc_server_new(). */
const struct grpc_method *admin_methods(void);

/** The configuration in force, for GetStatus; borrowed until the next call. To be called before the first RPC. */
void admin_set_config(struct admin *admin, const struct config *config);

/** Tells everybody who watches the health. Nothing leads back out of ADMIN_DRAINING. */
void admin_set_phase(struct admin *admin, enum admin_phase phase);

/** Finish the calls that would go on for ever, because the server is about to be freed. */
void admin_end_streams(struct admin *admin);

#endif
