#ifndef STORE_H
#define STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "strbuf.h"

struct config;

/*
 * The database: the source of truth for routes, firewall rules and stored connection limits. One process has it open at a time,
 * over one handle, from one thread. Nothing may be forked without exec while it is open, and nothing in that process may open and
 * close the file by other means (that would drop SQLite's locks).
 *
 * Words: every function that can fail takes `why` (may not be NULL) and, unless it returns 0, adds to it one line for people that
 * names the file and says what to do. Text handed in is borrowed for the call; text handed to a callback is borrowed until it
 * returns.
 *
 * Listeners are named by their canonical address (listen_addr_format() of address.h), so that one address in two spellings
 * is one listener; turning the configuration's spelling into that is the caller's part (store_seed() does it itself).
 * Hostnames, backends and rule values are taken as canonical too: the store compares bytes.
 */
struct store;

enum store_rule_type { STORE_RULE_IP, STORE_RULE_CIDR, STORE_RULE_COUNTRY };

/** "ip", "cidr" or "country": the database's word and the command line's. */
const char *store_rule_type_text(enum store_rule_type type);

struct store_rule {
    enum store_rule_type type;
    const char *value; /* canonical: "192.0.2.7", "198.51.100.0/24", "KP" */
};

struct store_route {
    const char *listener; /* canonical address */
    const char *hostname; /* canonical pattern, 1..255 bytes */
    const char *backend;  /* canonical, 1..511 bytes */
    bool send_proxy_protocol;
};

#define STORE_MAX_CONNECTIONS_UNSET (-1) /* nothing stored: the configuration decides */

struct store_listener {
    const char *addr;        /* canonical */
    int64_t max_connections; /* 0 (no limit)..UINT32_MAX, or STORE_MAX_CONNECTIONS_UNSET */
    uint64_t route_count;
};

/* ---- opening ---- */

/**
 * Open the database, or make it (mode 0600, whatever the umask) if there is none; an empty file counts as none. Takes the lock
 * that keeps a second server away, recovers what a crashed server left in its -wal, checks the file, and brings an older schema
 * up to date. Waits up to 1 s for another server's lock, up to 10 s for a `check` to finish.
 *
 * A refused file, and its folder, stay as they were, byte for byte.
 *
 * @return 0; ERR_IN_USE: another server has it, or another program has it locked; ERR_FOREIGN: no SQLite file, or another program's; ERR_NEWER: a later version's
 *         schema; ERR_CORRUPT: damaged; ERR_SYSTEM: cannot be reached, read or written (why has the system's words; also for a
 *         symbolic link, a folder or a device at path); ERR_UNAVAILABLE: disk full, I/O error; ERR_NO_MEMORY
 */
int store_open(const char *path, struct store **out, struct strbuf *why) MUST_CHECK;

/** Fold the -wal into the file, close, let go of the lock. An open transaction is rolled back. Accepts NULL. */
void store_close(struct store **store);

struct store_check_result {
    bool is_missing; /* there is no file yet; a server would make it */
    bool is_in_use;  /* a server has it open */
    bool
        is_unread; /* only the header was looked at: it is in use, by a server or another program, or the next start has to roll
                        an unfinished change back first */
    uint64_t country_rules; /* 0 also if the contents were not looked at */
};

/**
 * Is this a database that a server could open? Writes nothing and leaves nothing behind, so it is safe beside a running server.
 * Not for a process that has the store open.
 *
 * @param out  set on 0 only
 * @return 0, or ERR_FOREIGN, ERR_NEWER, ERR_CORRUPT, ERR_SYSTEM, ERR_NO_MEMORY as store_open()
 */
int store_check(const char *path, struct store_check_result *out, struct strbuf *why) MUST_CHECK;

/** The SQLite library at run time: "3.40.1". */
const char *store_version_text(void);

/* ---- seeding ---- */

struct store_seeded {
    bool has_seeded_rules;     /* this was the first run of the database */
    unsigned listeners_seeded; /* addresses seen for the first time */
    uint64_t routes_seeded;
    uint64_t rules_seeded;
};

/**
 * Take from the configuration what the database has never seen, in one transaction: the firewall rules on the very first run,
 * the routes of each listener whose address is new. Everything else in the database stays as it is. To be called at every start
 * and reload, before the listeners of that configuration are used here.
 *
 * @return 0, or as the changes below (nothing has changed then)
 */
int store_seed(struct store *store, const struct config *config, struct store_seeded *out,
               struct strbuf *why) MUST_CHECK;

/* ---- reading: in the order of first insertion ---- */

/* Called for each row. Returns 0 to go on; anything else ends the reading and is returned by it. May not use the store. */
typedef int (*store_route_fn)(const struct store_route *route, void *ctx);
typedef int (*store_rule_fn)(const struct store_rule *rule, void *ctx);
typedef int (*store_listener_fn)(const struct store_listener *listener, void *ctx);

/* Each returns 0, what the callback returned, ERR_UNAVAILABLE (I/O error, locked by another program), ERR_CORRUPT, ERR_NO_MEMORY. */
int store_each_route(struct store *store, store_route_fn fn, void *ctx, struct strbuf *why) MUST_CHECK;
int store_each_rule(struct store *store, store_rule_fn fn, void *ctx, struct strbuf *why) MUST_CHECK;

/** Of a list longer than one answer. */
struct store_page {
    uint64_t
        position;   /* where this page begins, 0 for the first; where the next one does is set on 0, 0: there is none */
    uint32_t limit; /* rows, 1 and up; UINT32_MAX: all */
};

/** A page of the routes of one listener (none for an unknown one), of store_each_rule(). A row that comes or goes between two pages moves no other. */
int store_page_routes_of(struct store *store, const char *listener, struct store_page *page, store_route_fn fn,
                         void *ctx, struct strbuf *why) MUST_CHECK;
int store_page_rules(struct store *store, struct store_page *page, store_rule_fn fn, void *ctx,
                     struct strbuf *why) MUST_CHECK;
/** Every listener ever seen, also those that the configuration no longer has. */
int store_each_listener(struct store *store, store_listener_fn fn, void *ctx, struct strbuf *why) MUST_CHECK;

/*
 * ---- changes ----
 *
 * Each is durable when it returns 0: it survives a power cut. Otherwise nothing has changed:
 *   ERR_NOT_FOUND, ERR_EXISTS   as said below; a transaction that was begun goes on
 *   ERR_INVALID                 a text that is empty or too long
 *   ERR_UNAVAILABLE             disk full, I/O error, file gone or locked by another program, or an earlier failure after which
 *                               nothing can be trusted to be on disk until a restart (reading still works)
 *   ERR_CORRUPT, ERR_NO_MEMORY
 */

enum store_put { STORE_PUT_ADDED, STORE_PUT_REPLACED, STORE_PUT_UNCHANGED /* it was there exactly so */ };

/** Add a route, or replace the one of that listener and hostname in its place. ERR_NOT_FOUND: no such listener. */
int store_put_route(struct store *store, const struct store_route *route, enum store_put *put_out,
                    struct strbuf *why) MUST_CHECK;
/** ERR_NOT_FOUND: no such listener or route. */
int store_remove_route(struct store *store, const char *listener, const char *hostname, struct strbuf *why) MUST_CHECK;
/** ERR_EXISTS: it is there already. */
int store_add_rule(struct store *store, const struct store_rule *rule, struct strbuf *why) MUST_CHECK;
/** ERR_NOT_FOUND: no such rule. */
int store_remove_rule(struct store *store, const struct store_rule *rule, struct strbuf *why) MUST_CHECK;
/** @param max_connections  0 (no limit)..UINT32_MAX, or STORE_MAX_CONNECTIONS_UNSET. ERR_NOT_FOUND: no such listener. */
int store_set_max_connections(struct store *store, const char *listener, int64_t max_connections,
                              struct strbuf *why) MUST_CHECK;

/*
 * Several changes as one: begin, changes, commit. Transactions do not nest. A change that fails with anything but ERR_NOT_FOUND,
 * ERR_EXISTS or ERR_INVALID dooms the transaction: commit then refuses with ERR_UNAVAILABLE and rolls back. After commit, whatever
 * it returned, there is no transaction any more.
 */
int store_begin(struct store *store, struct strbuf *why) MUST_CHECK;
int store_commit(struct store *store, struct strbuf *why) MUST_CHECK;
void store_rollback(struct store *store); /* without a transaction: nothing */

/**
 * Write a consistent copy of everything to a new file of mode 0600 (VACUUM INTO); on disk when it returns 0.
 *
 * @return 0; ERR_EXISTS: there is something at path already; ERR_SYSTEM: cannot be created; ERR_UNAVAILABLE: disk full, I/O
 *         error; what was written is then removed
 */
int store_snapshot(struct store *store, const char *path, struct strbuf *why) MUST_CHECK;

#endif
