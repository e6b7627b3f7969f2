#ifndef SERVER_INTERNAL_H
#define SERVER_INTERNAL_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "stats_segment.h"

struct config;
struct log_drain;
struct log_output;
struct server_metrics;
struct state;
struct state_loaded;
struct supervisor;

/* Between server.c (start, signals, end) and server_reload.c. */

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
    struct server_metrics *metrics; /* NULL until the listeners are there */
    ev_signal on_term, on_int, on_hup;
    ev_timer housekeeping;
    uint64_t settle_deadline_ms; /* until then workers wait for the names of backends */
    bool is_started;             /* workers were started */
    bool is_stopping;
    int exit_status;
};
#define SERVER_MAGIC 0x53525652u

/**
 * SIGHUP: read the configuration again. Everything is read, checked and made ready first; with any error the old one stays in force,
 * untouched, and the log says what is wrong.
 */
void server_reload(struct server *s);

/** One ERROR line with the reason. */
void server_log_failure(const char *message, const char *error);

/** The log's level and format, from the configuration in force. */
void server_apply_log_settings(struct server *s);

/** WARN about what a configuration asks for and this version does not have: nothing is silently ignored. */
void server_warn_of_unserved(const struct config *config);

/** INFO: what a load has brought, and WARN about what the database keeps unused. */
void server_log_loaded(const struct server *s, const struct state_loaded *loaded);

#endif
