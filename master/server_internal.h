#ifndef SERVER_INTERNAL_H
#define SERVER_INTERNAL_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "fd_store.h"
#include "inherited_sockets.h"
#include "notify.h"
#include "reload_gate.h"
#include "stats_segment.h"
#include "strbuf.h"

struct admin;
struct config;
struct grpc_endpoints;
struct grpc_server;
struct log_drain;
struct log_output;
struct state;
struct state_loaded;
struct supervisor;

/* Between the files of the server: server.c (start, end) and server_*.c. */

#define SERVER_STATUS_MAX 512

/** What the service manager was told, and what is to be told again. */
struct server_notify {
    struct notify notify;
    ev_timer tick, watchdog;
    bool is_ready;      /* every worker was there once */
    bool is_ready_lost; /* the manager did not take READY=1: once more */
    bool is_starving;   /* the watchdog gets nothing */
    unsigned ticks_since_said;
    char said[SERVER_STATUS_MAX]; /* the status it has */
    char problem[256];            /* of the last reload; "" : none */
};

/** The admin API. */
struct server_admin {
    struct admin *admin;
    struct grpc_server *grpc;
    struct grpc_endpoints *prepared; /* at the start, until there is something to serve */
    ev_timer goodbye;
    uint64_t goodbye_until_ms; /* monotonic; 0: not at the end yet */
};

struct server {
    uint32_t magic;
    const char *config_path;
    struct config *config; /* in force */
    struct ev_loop *loop;
    struct log_output *log;
    struct log_drain *log_drain;
    struct stats_segment stats;
    bool has_stats;
    struct state *state;
    int binary_fd;
    struct supervisor *supervisor;
    struct server_notify notify;
    struct inherited_sockets inherited; /* until the listeners have taken them */
    struct fd_store fd_store;           /* what the service manager keeps of our sockets */
    unsigned stored_version;            /* of supervisor_sockets_version(), if is_stored */
    bool is_stored;
    struct server_admin admin;
    ev_signal on_term, on_int, on_hup;
    ev_timer housekeeping;
    struct reload_gate reload_gate;
    ev_timer reload_timer;       /* opens the gate */
    bool is_reload_waiting;      /* for a removed listener to be closed */
    uint64_t settle_deadline_ms; /* until then workers wait for the names of backends */
    bool is_started;             /* workers were started */
    bool is_stopping;
    int exit_status;
};
#define SERVER_MAGIC 0x53525652u

/**
 * SIGHUP: read the configuration again, now or soon (reload_gate.h; not before the workers were started). Everything is read, checked
 * and made ready first; with any error the old one stays in force, untouched, and the log says what is wrong.
 */
void server_ask_reload(struct server *s);

/** The workers were started: a reload that was asked for meanwhile may begin. */
void server_continue_reload(struct server *s);

/** A removed listener was closed, which a reload may have waited for. */
void server_note_listener_closed(struct server *s);

/** No reload any more. */
void server_end_reload(struct server *s);

/** Connections that all workers have open now. */
uint64_t server_open_connections(const struct server *s);

/* server_sockets.c; functions of type int return an exit status */

/** Take the sockets that were passed to this process. */
int server_inherit(struct server *s) MUST_CHECK;

/** Workers to begin with: at least those of the configuration, and one for each socket of ours that was passed. */
unsigned server_slots_to_start(const struct server *s);

/** Back to the configuration's workers, when those that we began with are ready: what waits in surplus sockets is served first. */
void server_drop_surplus_slots(struct server *s);

/** The listeners of the configuration, with the sockets that were passed where they fit; the others are closed. */
int server_add_listeners(struct server *s) MUST_CHECK;

/** Give the service manager copies of the sockets that are new, and have it drop those that are not wanted any more. */
void server_store_sockets(struct server *s);

/* server_signals.c */

/** Keep the signals that are watched pending, or let them come. The loop is made late, and one that comes before must not be lost. */
void server_hold_signals(bool hold);

void server_watch_signals(struct server *s);

/* server_admin.c */

/** Make it, bind its addresses and read its certificates; nobody is served yet. `why` gets a full line. Errors: grpc_server_prepare(). */
int server_admin_open(struct server *s, struct strbuf *why) MUST_CHECK;

/** State and configuration are loaded: serve. */
void server_admin_serve(struct server *s);

/** The two halves of a reload; the second one when s->config is the new configuration. */
int server_admin_prepare(struct server *s, const struct config *config, struct grpc_endpoints **out,
                         struct strbuf *why) MUST_CHECK;
void server_admin_switch(struct server *s, struct grpc_endpoints **prepared);

/** What the health is: every worker accepts; the end has begun. */
void server_admin_ready(struct server *s);
void server_admin_draining(struct server *s);

/** The last worker is gone: answers under way reach their clients, then the loop ends. */
void server_admin_end(struct server *s);

/** Close everything and remove the sockets. Whatever came up of it. */
void server_admin_close(struct server *s);

/* server_notify.c: without a service manager all of this does nothing */

/** Read the environment and begin to tell; the loop must be there. */
void server_notify_start(struct server *s);

/** All workers are ready. */
void server_notify_ready(struct server *s);

/** A reload begins, has ended; problem: why it failed, or NULL. */
void server_notify_reloading(struct server *s);
void server_notify_reloaded(struct server *s, const char *problem);

/** Told anew at every tick. */
void server_notify_stopping(struct server *s);

/**
 * As many descriptors as the system allows: workers inherit the limit and derive from it how many connections they can hold. WARN if
 * those are few.
 */
void server_raise_descriptor_limit(const struct server *s);

/** One ERROR line with the reason. */
void server_log_failure(const char *message, const char *error);

/** The log's level and format, from the configuration in force. */
void server_apply_log_settings(struct server *s);

/** WARN about what a configuration asks for and this version does not have: nothing is silently ignored. */
void server_warn_of_unserved(const struct config *config);

/** INFO: what a load has brought, and WARN about what the database keeps unused. */
void server_log_loaded(const struct server *s, const struct state_loaded *loaded);

#endif
