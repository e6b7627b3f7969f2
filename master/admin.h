#ifndef ADMIN_H
#define ADMIN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bytes.h"
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
    struct supervisor *supervisor; /* asked about connections, and looked at */
    const struct stats_segment *stats;
    admin_facts_fn facts; /* NULL: nothing is known */
    /* Somebody begins to watch connections, or nobody does any more: whether records are wanted of each. May be NULL. */
    void (*on_watching)(void *context, bool is_anybody);
    void *context;
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

/** Is somebody watching connections? */
bool admin_is_watched(const struct admin *admin);

/** A worker's record: those who watch get it, if it is of a connection that has ended. */
void admin_take_record(struct admin *admin, struct bytes record);

/** Workers have dropped so many records. */
void admin_note_dropped(struct admin *admin, uint64_t count);

/** A worker's answer to a question about its connections, a valid CTL_QUERY_ANSWER. False: it was not asked that. */
bool admin_take_answer(struct admin *admin, unsigned slot, struct bytes payload) MUST_CHECK;

/** The worker of a slot is gone. */
void admin_worker_died(struct admin *admin, unsigned slot);

/** Several times a second: go on with answers that had to wait for their clients. */
void admin_tick(struct admin *admin);

/** Finish the calls that would go on for ever, because the server is about to be freed. */
void admin_end_streams(struct admin *admin);

#endif
