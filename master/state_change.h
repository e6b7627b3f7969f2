#ifndef STATE_CHANGE_H
#define STATE_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"
#include "store.h"
#include "strbuf.h"

struct state;

/*
 * The one way by which a running proxy changes: validate, prepare, commit in the database, publish to the workers. Everything that
 * can fail comes before the commit; when a function here returns 0, the change is on disk and the next connection sees it; otherwise
 * nothing has changed anywhere.
 *
 * Every text is as the client sent it, any bytes, borrowed for the call. On an error `why` gets one line for people; for ERR_INVALID
 * it begins with the path of the field in the request of admin.proto ("route.hostname: ...", "listener_addr: ...").
 *
 * Errors: ERR_INVALID; ERR_NOT_FOUND (listener, route, rule); ERR_EXISTS (rule); ERR_PRECONDITION (a country rule without a GeoIP
 * database); ERR_UNAVAILABLE, ERR_CORRUPT (the database cannot be written); ERR_NO_MEMORY.
 */

enum state_change_kind { STATE_PUT_ROUTE, STATE_REMOVE_ROUTE, STATE_ADD_RULE, STATE_REMOVE_RULE };

struct state_change {
    enum state_change_kind kind;
    bool allow_unchanged; /* nothing to do is no error */
    bool send_proxy_protocol;
    enum store_rule_type rule_type;
    struct bytes listener; /* routes: any spelling of a configured listener's address */
    struct bytes hostname; /* routes */
    struct bytes backend;  /* STATE_PUT_ROUTE */
    struct bytes value;    /* rules */
};

/** What was changed, or with validate_only would be. */
struct state_applied {
    uint64_t routes_added;
    uint64_t routes_replaced;
    uint64_t routes_removed;
    uint64_t rules_added;
    uint64_t rules_removed;
    uint64_t unchanged;
};

/**
 * Make all these changes, in their order, or none; each sees the ones before it. Workers see all or none of the routes' part, and of
 * the firewall's.
 *
 * @param validate_only  find every error and count what would change, then change nothing
 * @param out            set on 0
 * @param failed_out     on an error that one change is to blame for: its index; else `count`
 */
int state_apply(struct state *state, const struct state_change *changes, size_t count, bool validate_only,
                struct state_applied *out, size_t *failed_out, struct strbuf *why) MUST_CHECK;

/** Store a listener's limit and put it in force; 0: none. Field: listener_addr. */
int state_set_max_connections(struct state *state, struct bytes listener, uint32_t max_connections,
                              struct strbuf *why) MUST_CHECK;

/* ---- reading, in the order of first insertion ---- */

/** Of a list longer than one answer. Start with position 0; where the next page begins is set by the call, 0: there is none. */
struct state_page {
    uint64_t position;
    uint32_t limit; /* rows, 1 and up; UINT32_MAX: all */
};

/** The routes of a configured listener. Fields: listener_addr. @return also what fn returned, if not 0 */
int state_each_route(struct state *state, struct bytes listener, struct state_page *page, store_route_fn fn, void *ctx,
                     struct strbuf *why) MUST_CHECK;
int state_each_rule(struct state *state, struct state_page *page, store_rule_fn fn, void *ctx,
                    struct strbuf *why) MUST_CHECK;

/* ---- what is in force, for GetStatus and the metrics ---- */

struct listen_addr;

/** 0, or ERR_NOT_FOUND. */
int state_find_listener(const struct state *state, const struct listen_addr *addr, uint16_t *id_out) MUST_CHECK;
/** Routes that workers find for a listener, the limit that they keep; id as of state_assign_id(). */
uint32_t state_route_count(const struct state *state, uint16_t id);
uint32_t state_max_connections(const struct state *state, uint16_t id);
uint64_t state_rule_count(const struct state *state);
/** Goes up with every change that the workers were shown. */
uint64_t state_generation(const struct state *state);

/* ---- snapshot ---- */

struct state_snapshot {
    struct bytes output_path; /* empty: a new name in `backups/` beside the database; relative: in that folder */
    bool is_anywhere_allowed; /* a path outside of that folder is taken too */
    uint32_t keep;            /* then remove all but the newest so many of the names we made in that folder; 0: none */
};

/**
 * A consistent copy of the database in a new file, on disk when this returns 0. Field: output_path.
 *
 * @param path_out  absolute
 * @return as above, and ERR_EXISTS: there is something; ERR_RANGE: the path is outside of the folder and may not be; ERR_SYSTEM: it
 *         cannot be created there
 */
int state_snapshot(struct state *state, const struct state_snapshot *snapshot, struct strbuf *path_out,
                   struct strbuf *why) MUST_CHECK;

#endif
