#ifndef STATE_H
#define STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "check.h"
#include "strbuf.h"

/*
 * The proxy's changeable state: database, shared tables and resolver, in step. Everything that changes routes comes through here
 * and takes the same way: validate, prepare, commit in the database, publish to the workers. Single changes: state_change.h.
 */
struct state;
struct config;
struct config_listener;
struct ev_loop;
struct rate_table;
struct shm_stats;
struct tables;

struct state_options {
    struct ev_loop *loop;    /* for the resolver; borrowed */
    struct shm_stats *stats; /* the readers' epoch pins; borrowed */
    unsigned worker_slots;   /* of these, the slots in use */

    /** Called again and again while a call takes long, from within it: see store_on_busy(). May not use the state. NULL: nobody. */
    void (*on_busy)(void *context);
    void *context;
};

/** What loading found, for the log. */
struct state_loaded {
    uint64_t routes;        /* in the tables */
    uint64_t routes_seeded; /* of these, taken from the configuration just now */
    uint64_t unused_routes; /* of listeners that the configuration no longer has */
    unsigned unused_listeners;
    uint64_t rules;         /* firewall rules in the tables */
    uint64_t country_rules; /* of these, countries: they need a GeoIP database */
};

/**
 * Open the database and make empty tables. See store_open() for the errors.
 *
 * @param why  on error gets one line for people
 */
int state_open(const char *database_path, const struct state_options *options, struct state **out,
               struct strbuf *why) MUST_CHECK;

/**
 * Close the database, so that another process may have it. Workers go on with what they have; whatever needs the database fails with
 * ERR_UNAVAILABLE until state_resume().
 */
void state_suspend(struct state *state);
bool state_is_suspended(const struct state *state);

/** Open it again. Nobody has changed a route or rule of ours meanwhile. @return as store_open(), and still suspended then */
int state_resume(struct state *state, struct strbuf *why) MUST_CHECK;

/** Close everything. The loop must still be there. Accepts NULL; clears the caller's pointer. */
void state_close(struct state **state);

/**
 * Make a configuration the one in force: give its listeners ids, seed the database with what it has never seen, and show the routes
 * of its listeners to the workers by one store; at the first call the firewall rules too. On an error the tables stay as they were.
 *
 * @param why  on error gets one line for people
 * @return 0, ERR_NO_MEMORY, ERR_TOO_LARGE (more listeners than ids), or as the store's changes
 */
int state_load(struct state *state, const struct config *config, struct state_loaded *out,
               struct strbuf *why) MUST_CHECK;

/** What of a configuration's seeds is not in force (missing), or otherwise (different). */
struct state_difference {
    uint64_t missing;
    uint64_t different;
};

/**
 * Routes of a listener's section that the database has not, or has otherwise, since it was seeded before or changed since. One look-up
 * in the tables for each.
 *
 * @param listener  of the configuration that was loaded last
 */
struct state_difference state_compare_routes(const struct state *state, const struct config_listener *listener);

/** The same for the firewall rules, which can only be missing. */
struct state_difference state_compare_rules(const struct state *state, const struct config *config);

/** Log both, one INFO line for each listener that differs: for people who expect that a change of the file takes effect. */
void state_log_differences(const struct state *state, const struct config *config);

/** The id of a listener's address; it keeps it as long as the process lives. 0, or ERR_TOO_LARGE if all ids have been given out. */
int state_assign_id(struct state *state, const struct listen_addr *addr, uint16_t *id_out) MUST_CHECK;

/** The workers have given up a listener that the configuration no longer has: its routes may go with the next load. */
void state_listener_gone(struct state *state, uint16_t id);

/** Is every backend's name asked for once? */
bool state_is_settled(const struct state *state);

/** Ask again now for names of backends that could not be resolved, after a reload: somebody may have mended what was wrong. */
void state_retry_names(struct state *state);

/** The limit of new connections per client address (0: off) and window, in force with the next connection. */
void state_set_rate(struct state *state, uint32_t limit, uint32_t window_ms);

/** Can countries be looked up, by the configuration in force? Otherwise no country rule is taken (state_change.h). At first: no. */
void state_set_geoip_available(struct state *state, bool is_available);

/** Country rules in force. */
uint64_t state_country_rules(const struct state *state);

/** More or fewer worker slots read the tables. More: before their workers start. */
void state_set_worker_slots(struct state *state, unsigned worker_slots);

/** Free what no worker can hold any more, forget what the rate limiter no longer needs; to be called several times a second. */
void state_housekeeping(struct state *state, uint64_t now_ms);

/** The memory of the rate limiter (struct rate_table), for handing it to workers; the descriptor stays ours. */
int state_rate_fd(const struct state *state);

/** The rate limiter's table, to look at. Borrowed. */
const struct rate_table *state_rates(const struct state *state);

/** The tables, for handing them to workers. */
struct tables *state_tables(struct state *state);

/** Several lines: the state and its tables. */
void state_dump(const struct state *state, struct strbuf *out);

#endif
