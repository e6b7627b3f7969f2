#ifndef SERVER_INTERNAL_H
#define SERVER_INTERNAL_H

#include <ev.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "check.h"
#include "fd_store.h"
#include "inherited_sockets.h"
#include "log_drain.h"
#include "notify.h"
#include "reload_gate.h"
#include "stats_segment.h"
#include "strbuf.h"

struct admin;
struct config;
struct grpc_endpoints;
struct grpc_server;
struct log_output;
struct server_metrics;
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
    uint64_t fed_ms;              /* monotonic: when it last had anything, or should have */
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

/** An upgrade, as the server sees it that is to be replaced. */
struct server_upgrade {
    char program[PATH_MAX]; /* which file we were executed from; "" : not known */
    bool is_wanted;         /* begins when the supervisor has settled */
    pid_t pid;              /* the successor; 0: none */
    int fd;                 /* the link to it; -1: none */
    ev_io io;
    uint64_t deadline_ms; /* until then it must serve, or be gone after it has failed (monotonic, as the next two) */
    uint64_t
        give_at_ms; /* then the admin API is over and the database is given away; 0: was not asked for, or is done */
    uint64_t resume_at_ms; /* the database could not be opened again: next try; 0: all is well */
    bool has_asked;        /* for the database */
    bool is_ready;         /* it serves */
    bool is_killed;
    bool is_handed_over; /* it is the main process; we serve our connections to their end */
    char reason[512];    /* why it failed */
};

/** The server that this one replaces. */
struct server_predecessor {
    bool is_successor; /* there is, or was, one, and we are not the main process yet */
    int fd;            /* the link to it; -1: none, or gone */
    ev_io io;
    bool is_told; /* that we serve; io is active */
};

struct server {
    uint32_t magic;
    const char *config_path;
    struct config *config; /* in force */
    struct ev_loop *loop;
    struct log_output *log;
    struct log_drain *log_drain;
    struct log_drain_tap log_tap;
    struct stats_segment stats;
    bool has_stats;
    bool has_access_lines; /* in the log; else there are records of connections only for those who watch */
    struct state *state;
    int binary_fd;
    struct supervisor *supervisor;
    struct server_notify notify;
    struct inherited_sockets inherited; /* until the listeners have taken them */
    struct fd_store fd_store;           /* what the service manager keeps of our sockets */
    unsigned stored_version;            /* of supervisor_sockets_version(), if is_stored */
    bool is_stored;
    struct server_admin admin;
    struct server_metrics *metrics; /* NULL until the listeners are there */
    struct server_upgrade upgrade;
    struct server_predecessor predecessor;
    ev_signal on_term, on_int, on_hup, on_usr1, on_usr2;
    ev_timer housekeeping;
    struct reload_gate reload_gate;
    ev_timer reload_timer;       /* opens the gate */
    bool is_reload_waiting;      /* for a removed listener to be closed */
    uint64_t attended_ms;        /* monotonic: by server_attend() */
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

/** Was a reload asked for that has not begun? Forgets it. */
bool server_take_reload(struct server *s);

/** No reload any more. */
void server_end_reload(struct server *s);

/** Connections that all workers have open now. */
uint64_t server_open_connections(const struct server *s);

/* server_attend.c */

/** To be called again and again, as often as one likes, by whatever holds the loop up; context is the server. Does what cannot wait. */
void server_attend(void *context);

/* server_sockets.c */

/** Take the sockets that were passed to this process, and the link to a predecessor. 0, or as inherited_sockets_init(). */
int server_inherit(struct server *s, struct strbuf *why) MUST_CHECK;

/** Workers to begin with: at least those of the configuration, and one for each socket of ours that was passed. */
unsigned server_slots_to_start(const struct server *s);

/** Back to the configuration's workers, when those that we began with are ready: what waits in surplus sockets is served first. */
void server_drop_surplus_slots(struct server *s);

/** The listeners of the configuration, with the sockets that were passed where they fit; the others are closed. An exit status. */
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

/** Tell the workers what the configuration says; who watches connections counts too. */
void server_apply_settings(struct server *s, const struct config *config);

/** Let the admin API see the workers' records. */
void server_tap_log(struct server *s);

/** A worker's answer to a question of the admin API; false: it was not asked that. One that is gone. */
bool server_take_answer(struct server *s, unsigned slot, struct bytes payload) MUST_CHECK;
void server_note_worker_died(struct server *s, unsigned slot);

/** Several times a second: what had to wait for slow clients. */
void server_admin_tick(struct server *s);

/** What the health is: every worker accepts; the end has begun. */
void server_admin_ready(struct server *s);
void server_admin_draining(struct server *s);

/** Before server_admin_close(): clients hear that this was it. Quiet: all have gone. */
void server_admin_say_goodbye(struct server *s);
bool server_admin_is_quiet(const struct server *s);

/** The last worker is gone: answers under way reach their clients, then the loop ends. */
void server_admin_end(struct server *s);

/** Close everything and remove the sockets. Whatever came up of it. server_admin_open() may follow. */
void server_admin_close(struct server *s);

/* server_notify.c: without a service manager all of this does nothing */

/** Read the environment and begin to tell; the loop must be there. */
void server_notify_start(struct server *s);

/** While the loop is held up: the watchdog gets what is due. */
void server_notify_attend(struct server *s);

/** All workers are ready. */
void server_notify_ready(struct server *s);

/** A reload begins, has ended; problem: why it failed, or NULL. */
void server_notify_reloading(struct server *s);
void server_notify_reloaded(struct server *s, const char *problem);

/** Told anew at every tick. */
void server_notify_stopping(struct server *s);

/** For the status. */
void server_notify_upgrade_failed(struct server *s, const char *problem);

/** Another process is the main one: the last thing that is told. */
void server_notify_hand_over(struct server *s, pid_t pid);

/* server_upgrade.c */

/** Find out what we were executed from; at the very start. */
void server_upgrade_init(struct server *s);

/** SIGUSR2. Refused, in words, where it cannot be. */
void server_ask_upgrade(struct server *s);

/** Several times a second: go on with what is under way. */
void server_upgrade_turn(struct server *s);

/** Is one under way, or has one left the database closed? No reload then. */
bool server_upgrade_is_busy(const struct server *s);

/** The server stops: call it off. */
void server_upgrade_stop(struct server *s);
void server_upgrade_fini(struct server *s);

/* server_successor.c */

/** Take the link to a predecessor from what was inherited. */
void server_greet_predecessor(struct server *s);

/** What failed last; the predecessor is told. */
void server_note_failure(const char *message, const char *error);

/** Wait until the predecessor has closed the database; without one, nothing. Returns an exit status. */
int server_ask_for_database(struct server *s) MUST_CHECK;

/** All workers serve: with a predecessor, tell it and take over when it says so. May be called again. */
void server_workers_ready(struct server *s);

/** The end, also of a start that failed. */
void server_successor_fini(struct server *s, int exit_status);

/**
 * As many descriptors as the system allows: workers inherit the limit and derive from it how many connections they can hold. WARN if
 * those are few.
 */
void server_raise_descriptor_limit(const struct server *s);

/** One ERROR line with the reason. */
void server_log_failure(const char *message, const char *error);

/** The log's level and format, from the configuration in force. */
void server_apply_log_settings(struct server *s);

/** INFO: what a load has brought, and WARN about what the database keeps unused. */
void server_log_loaded(const struct server *s, const struct state_loaded *loaded);

/* server_dump.c */

/** From now on a failed CHECK adds what the server was doing to its panic record; NULL: no longer. */
void server_dump_at_panic(const struct server *s);

#endif
