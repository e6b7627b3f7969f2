#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "store.h"

/* What the files of the store share, and nobody else includes: sqlite3.h ends here. */

#define STORE_APPLICATION_ID 0x4d435058 /* "MCPX", in the file's header (sqlite.org/fileformat.html 1.3) */
#define STORE_PATH_MAX       480        /* SQLite's own limit is 512, its "-journal" included */
#define STORE_MAGIC          0x53544f52u

/* ---- the file, without SQLite (store_file.c) ---- */

/** path as SQLite is to get it: beginning with '/' or "./", or it might take it for something else (":memory:", "file:"). */
int store_path_set(const char *path, char out[STORE_PATH_MAX + 1], struct strbuf *why) MUST_CHECK;

/** A database file that has been looked at and locked, but not changed. */
struct store_file {
    char path[STORE_PATH_MAX + 1]; /* by store_path_set() */
    int fd;                        /* holds the flock; -1: missing or in use (store_file_inspect() only) */
    bool is_made;                  /* by this very call: to be removed again if nothing comes of it */
    bool is_empty;                 /* or what is in it was never finished, and SQLite will take it back to nothing */
    bool is_in_use;
    bool has_wal;     /* not empty */
    bool has_journal; /* not empty: a rollback journal, perhaps of an unfinished change */
};

/**
 * Make or open the file, lock it against other servers, and read its header.
 * The descriptor is opened before and must be closed after SQLite's handles: closing any descriptor of a file drops all POSIX locks
 * that the process has on it, SQLite's too. The lock itself is a flock(), which POSIX locks do not meet.
 */
int store_file_open(const char *path, struct store_file *out, struct strbuf *why) MUST_CHECK;

/** The same for looking only: makes nothing, shares the lock. out->fd is -1 if there is no file or a server has it. */
int store_file_inspect(const char *path, struct store_file *out, struct strbuf *why) MUST_CHECK;

/** Is there a -wal beside the file, be it empty? An open store always has one. */
bool store_file_has_wal(const struct store_file *file);

/** Is there something in it? */
bool store_file_has_full_wal(const struct store_file *file);

/** Let go of the lock. If nothing came of the opening (!keep), what it made is removed. */
void store_file_close(struct store_file *file, bool keep);

/**
 * Whose file is it, by header and number of tables?
 *
 * @param objects  rows of sqlite_schema; -1: not known
 * @return 0 for ours and for an empty one; ERR_FOREIGN, ERR_NEWER, ERR_CORRUPT
 */
int store_file_judge(const char *path, uint32_t application_id, uint32_t version, int64_t objects,
                     struct strbuf *why) MUST_CHECK;

/* ---- schema and statements (store_schema.c) ---- */

struct store_migration {
    uint32_t number; /* the user_version it leads to */
    const char *name;
    const char *sql;
};

/** The schema that this program works with; a file with a higher one is refused. */
uint32_t store_schema_version(void);

/** Apply what the file has not yet seen of list, each step in one transaction together with its number. */
int store_migrate(sqlite3 *db, const char *path, const struct store_migration *list, unsigned count,
                  struct strbuf *why) MUST_CHECK;

/** store_migrate() with the program's own list. */
int store_schema_upgrade(sqlite3 *db, const char *path, struct strbuf *why) MUST_CHECK;

/** ERR_CORRUPT unless every table and index of a fresh database is in db, made by the same text. Others there may be. */
int store_schema_compare(sqlite3 *db, const char *path, struct strbuf *why) MUST_CHECK;

enum store_stmt {
    STMT_BEGIN,
    STMT_COMMIT,
    STMT_ROLLBACK,
    STMT_EACH_ROUTE,
    STMT_PAGE_ROUTES_OF,
    STMT_PAGE_RULES,
    STMT_EACH_LISTENER,
    STMT_FIND_LISTENER,
    STMT_ADD_LISTENER,
    STMT_SET_MAX_CONNECTIONS,
    STMT_ADD_ROUTE,
    STMT_REPLACE_ROUTE,
    STMT_REMOVE_ROUTE,
    STMT_ADD_RULE,
    STMT_REMOVE_RULE,
    STMT_MARK_RULES_SEEDED,
    STMT_COUNT
};

/** Compile all statements; a result code of SQLite. */
int store_prepare(sqlite3 *db, sqlite3_stmt *stmts[STMT_COUNT]) MUST_CHECK;
void store_finalize(sqlite3_stmt *stmts[STMT_COUNT]);

/* ---- errors (store_error.c) ---- */

/** Say what went wrong last on db and turn it into a code. doing: "cannot add the route". */
int store_sql_error(sqlite3 *db, const char *path, const char *doing, struct strbuf *why);

/* ---- the open store ---- */

struct store {
    uint32_t magic;
    sqlite3 *db;
    sqlite3_stmt *stmts[STMT_COUNT];
    struct store_file file;
    bool in_transaction;  /* between store_begin() and store_commit() or store_rollback() */
    bool is_doomed;       /* a change in it failed: it can only be rolled back */
    bool is_poisoned;     /* what reached the disk is not known: no more changes */
    bool is_damaged;      /* what is there is no database of ours any more: the same, and a restart would not mend it */
    int checkpoint_pages; /* a -wal of so many pages is folded in behind a commit */
    store_busy_fn on_busy;
    void *busy_context;
    bool is_aside;          /* a thread of its own has the handle: nobody is called from within SQLite */
    int64_t changes_before; /* sqlite3_total_changes64() when the transaction began */
};

/** Call fn in a way that may wait for the disk without holding up who waits for us (store_on_busy()). It may use the handle. */
void store_run_aside(struct store *store, void (*fn)(void *context), void *context);

/** Fold the -wal in whenever it has grown to store->checkpoint_pages, in place of SQLite's own way, which forgets what failed. */
void store_watch_wal(struct store *store);

/* The frame of every change (store_change.c): a transaction of its own, unless the caller has begun one. */
int store_change_begin(struct store *store, struct strbuf *why) MUST_CHECK;
/** rc: what the steps of the change came to. Commits or rolls back; returns what the change has come to. */
int store_change_end(struct store *store, int rc, struct strbuf *why) MUST_CHECK;

/** A statement to bind values to. It must have been left by store_step() or sqlite3_reset(). */
sqlite3_stmt *store_stmt(struct store *store, enum store_stmt which);
/** Run a statement that yields no row, and reset it. Returns 0 or a code; sqlite3_changes() tells what it did. */
int store_step(struct store *store, enum store_stmt which, const char *doing, struct strbuf *why) MUST_CHECK;
/** What the last failure of SQLite means for the store: remembers an unsafe disk, returns a code for the caller. */
int store_fail(struct store *store, const char *doing, struct strbuf *why);

/** The row of a listener. ERR_NOT_FOUND: never seen; this alone is not said in why, as it may be no error. */
int store_find_listener(struct store *store, const char *addr, int64_t *id_out, struct strbuf *why) MUST_CHECK;

#endif
