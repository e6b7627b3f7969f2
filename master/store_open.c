/*
 * Opening, checking and closing. A file is first looked at in a way that changes nothing (the probe); only one that passes is opened
 * for work.
 *
 *     beside the file         how the probe looks
 *     nothing, empty -wal     immutable: no locks, no other files
 *     a -wal (server killed)  exclusive locking: the -wal is replayed in memory, no -shm is made, and nothing is folded in at the end
 *     a -journal (the same,   not at all: only SQLite can tell what the file would be without the unfinished change. The header has
 *     while it was made)      been judged; the rest is looked at in the open file
 */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aside.h"
#include "err.h"
#include "folder_sync.h"
#include "log_event.h"
#include "store_internal.h"

#define BUSY_TIMEOUT_OPEN_MS 1000
#define CHECKPOINT_PAGES     1000 /* SQLite's own default: some 4 MiB */
#define PROGRESS_STEPS       1000 /* of SQLite's machine: some 50 us */
#define BUSY_TIMEOUT_MS      250 /* the master does nothing else meanwhile; a change by hand takes a few milliseconds */

enum handle_kind { HANDLE_WORK, HANDLE_IMMUTABLE, HANDLE_EXCLUSIVE };

struct handle_row {
    int flags;
    const char *uri_suffix;
    const char *sql;
};

static const struct handle_row handles[] = {
    [HANDLE_WORK] = {SQLITE_OPEN_READWRITE, "",
                     "PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;"
                     "PRAGMA mmap_size = 0;" /* an I/O error stays an error, not a SIGBUS */
                     "PRAGMA cache_size = -16384;"
                     "PRAGMA journal_size_limit = 8388608;"}, /* a bulk load leaves no huge -wal */
    [HANDLE_IMMUTABLE] = {SQLITE_OPEN_READONLY, "?immutable=1", "PRAGMA cell_size_check = ON;"},
    [HANDLE_EXCLUSIVE] = {SQLITE_OPEN_READWRITE, "",
                          "PRAGMA locking_mode = EXCLUSIVE; PRAGMA query_only = ON; PRAGMA cell_size_check = ON;"},
};

struct config_row {
    int option;
    int value;
};

static const struct config_row handle_config[] = {
    {SQLITE_DBCONFIG_DEFENSIVE, 1},   {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
    {SQLITE_DBCONFIG_ENABLE_FKEY, 1}, {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0}, /* we have none, so any is somebody else's */
    {SQLITE_DBCONFIG_ENABLE_VIEW, 0}, {SQLITE_DBCONFIG_DQS_DDL, 0},
    {SQLITE_DBCONFIG_DQS_DML, 0},     {SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1}, /* until the file has been accepted */
};

const char *store_version_text(void)
{
    return sqlite3_libversion();
}

/* A path as an URI (sqlite.org/uri.html): '?', '#' and '%' mean something there. */
static void add_uri(const char *path, const char *suffix, struct strbuf *out)
{
    strbuf_add(out, "file:");
    for (const char *p = path; *p != '\0'; p++) {
        if (isalnum((unsigned char)*p) || strchr("/-_.~", *p) != NULL)
            strbuf_add_char(out, *p);
        else
            strbuf_addf(out, "%%%02X", (unsigned char)*p);
    }
    strbuf_add(out, suffix);
}

static int handle_open(const char *path, enum handle_kind kind, sqlite3 **out, struct strbuf *why)
{
    char uri[3 * STORE_PATH_MAX + 32];
    struct strbuf uri_buf = STRBUF_OF(uri);
    const struct handle_row *row = &handles[kind];
    int flags = row->flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    sqlite3 *db = NULL;

    add_uri(path, row->uri_suffix, &uri_buf);
    CHECK(!uri_buf.overflowed);
    int result = sqlite3_open_v2(uri, &db, flags, NULL);
    for (size_t i = 0; result == SQLITE_OK && i < sizeof handle_config / sizeof handle_config[0]; i++)
        result = sqlite3_db_config(db, handle_config[i].option, handle_config[i].value, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_busy_timeout(db, kind == HANDLE_EXCLUSIVE ? 0 : BUSY_TIMEOUT_OPEN_MS);
    if (result == SQLITE_OK)
        result = sqlite3_exec(db, row->sql, NULL, NULL, NULL);
    if (result == SQLITE_OK) {
        *out = db;
        return 0;
    }
    int rc = store_sql_error(db, path, "cannot be opened", why);
    sqlite3_close(db);
    return rc;
}

static int query_int(sqlite3 *db, const char *path, const char *sql, int64_t *out, struct strbuf *why)
{
    sqlite3_stmt *stmt = NULL;
    int result = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    int rc = 0;

    if (result == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    else
        rc = store_sql_error(db, path, "cannot be read", why);
    sqlite3_finalize(stmt);
    return rc;
}

/* What is wrong, without SQLite's heading above it ("*** in database main ***"), and one thing of it. */
static void add_damage(const char *verdict, struct strbuf *why)
{
    const char *end_of_heading = strncmp(verdict, "***", 3) == 0 ? strchr(verdict, '\n') : NULL;
    const char *line = end_of_heading != NULL ? end_of_heading + 1 : verdict;

    strbuf_addf(why, "damaged (%.*s); restore a snapshot", (int)strcspn(line, "\n"), line);
}

static int quick_check(sqlite3 *db, const char *path, struct strbuf *why)
{
    sqlite3_stmt *stmt = NULL;
    int rc = 0;

    if (sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW) {
        rc = store_sql_error(db, path, "cannot be checked", why);
    } else {
        const char *verdict = (const char *)sqlite3_column_text(stmt, 0);
        if (verdict == NULL) {
            rc = store_sql_error(db, path, "cannot be checked", why);
        } else if (strcmp(verdict, "ok") != 0) {
            strbuf_addf(why, "database %s: ", path);
            add_damage(verdict, why);
            rc = ERR_CORRUPT;
        }
    }
    sqlite3_finalize(stmt);
    return rc;
}

static int verify(sqlite3 *db, const char *path, struct strbuf *why)
{
    int64_t application_id = 0, version = 0, objects = 0;
    int rc;

    if ((rc = query_int(db, path, "PRAGMA application_id", &application_id, why)) != 0 ||
        (rc = query_int(db, path, "PRAGMA user_version", &version, why)) != 0 ||
        (rc = query_int(db, path, "SELECT count(*) FROM sqlite_schema", &objects, why)) != 0 ||
        (rc = store_file_judge(path, (uint32_t)application_id, (uint32_t)version, objects, why)) != 0 ||
        (rc = quick_check(db, path, why)) != 0)
        return rc;
    return version == store_schema_version() ? store_schema_compare(db, path, why) : 0;
}

struct probe {
    bool has_looked;
    int64_t country_rules;
};

/* In a file that has passed: one without our tables gets them when it is opened for work. */
static int count_countries(sqlite3 *db, const char *path, int64_t *out, struct strbuf *why)
{
    int64_t tables = 0;
    int rc = query_int(db, path, "SELECT count(*) FROM sqlite_schema WHERE name = 'firewall_rules'", &tables, why);

    if (rc != 0 || tables == 0)
        return rc;
    return query_int(db, path, "SELECT count(*) FROM firewall_rules WHERE type = 'country'", out, why);
}

/* Look at the contents without changing anything. ERR_IN_USE: another program has the file open together with its -wal. */
static int probe_file(const struct store_file *file, struct probe *out, struct strbuf *why)
{
    sqlite3 *db = NULL;
    int rc = handle_open(file->path, file->has_wal ? HANDLE_EXCLUSIVE : HANDLE_IMMUTABLE, &db, why);

    if (rc == 0 && (rc = verify(db, file->path, why)) == 0)
        rc = count_countries(db, file->path, &out->country_rules, why);
    sqlite3_close(db);
    out->has_looked = rc == 0;
    return rc;
}

/* Whether the probe could look; what it refuses is an error. */
static int try_probe(const struct store_file *file, struct probe *out, struct strbuf *why)
{
    *out = (struct probe){0};
    if (file->is_empty || file->has_journal)
        return 0;
    size_t said = why->len;
    int rc = probe_file(file, out, why);
    if (rc != ERR_IN_USE)
        return rc;
    strbuf_cut(why, said);
    return 0;
}

int store_check(const char *path, struct store_check_result *out, struct strbuf *why)
{
    struct store_file file;
    struct probe probe = {0};
    int rc = store_file_inspect(path, &file, why);

    if (rc != 0)
        return rc;
    bool is_missing = file.fd < 0;
    if (!is_missing && !file.is_in_use)
        rc = try_probe(&file, &probe, why);
    if (rc == 0)
        *out = (struct store_check_result){.is_missing = is_missing,
                                           .is_unread = !is_missing && !file.is_empty && !probe.has_looked,
                                           .is_in_use = file.is_in_use,
                                           .country_rules = (uint64_t)probe.country_rules};
    store_file_close(&file, true);
    return rc;
}

static int enter_wal(sqlite3 *db, const char *path, struct strbuf *why)
{
    sqlite3_stmt *stmt = NULL;
    const char *mode = NULL;
    int rc = 0;

    if (sqlite3_prepare_v2(db, "PRAGMA journal_mode = WAL", -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW)
        mode = (const char *)sqlite3_column_text(stmt, 0);
    if (mode == NULL) {
        rc = store_sql_error(db, path, "cannot enter WAL mode", why);
    } else if (strcmp(mode, "wal") != 0) {
        strbuf_addf(why, "database %s: its file system does not allow a write-ahead log; use a local one", path);
        rc = ERR_SYSTEM;
    }
    sqlite3_finalize(stmt);
    return rc;
}

/* SQLite syncs the folder of a new -wal, but does not tell when that fails: the file, and changes in it, could then be lost with the power. */
static void sync_names(const char *path)
{
    if (folder_sync_of(path) != 0)
        log_errno(LOG_WARN, "the database's folder cannot be synced: a power cut could lose changes", errno,
                  LOG_KEY_PATH, path);
}

/* The steps from a locked file to a store. A new file gets its tables in one transaction with a rollback journal and enters WAL mode
 * after that, so that its header tells whose it is from the first moment on. */
static int open_for_work(struct store *store, struct strbuf *why)
{
    const char *path = store->file.path;
    struct probe probe;
    int rc;

    if ((rc = try_probe(&store->file, &probe, why)) != 0 ||
        (rc = handle_open(path, HANDLE_WORK, &store->db, why)) != 0 ||
        (rc = probe.has_looked ? 0 : verify(store->db, path, why)) != 0 ||
        (rc = store_schema_upgrade(store->db, path, why)) != 0 || (rc = enter_wal(store->db, path, why)) != 0)
        return rc;
    if (store_prepare(store->db, store->stmts) != SQLITE_OK ||
        sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL) != SQLITE_OK ||
        sqlite3_exec(store->db, "SELECT 1 FROM seeding", NULL, NULL, NULL) !=
            SQLITE_OK) /* makes the -wal and -shm now */
        return store_sql_error(store->db, path, "cannot be used", why);
    sync_names(path);
    sqlite3_busy_timeout(store->db, BUSY_TIMEOUT_MS);
    store->checkpoint_pages = CHECKPOINT_PAGES;
    store_watch_wal(store);
    return 0;
}

/** Nothing is lost, unless somebody copies or moves the one file alone. */
static void log_unfolded(const char *path)
{
    struct log_event e;

    log_event_begin(&e, LOG_WARN, "the last changes stay in the -wal beside the database until the next start");
    log_event_cstr(&e, LOG_KEY_PATH, path);
    log_event_end(&e);
}

static void close_handles(struct store *store, bool keep)
{
    store_finalize(store->stmts);
    int result = sqlite3_close(store->db);
    CHECK(result == SQLITE_OK); /* else a statement is still open, and the lock must not go before the handle */
    if (keep && store_file_has_full_wal(&store->file))
        log_unfolded(store->file.path);
    store_file_close(&store->file, keep);
    store->magic = 0;
    free(store);
}

static int on_progress(void *context)
{
    struct store *store = context;

    CHECK_MAGIC(store, STORE_MAGIC);
    if (!store->is_aside)
        store->on_busy(store->busy_context);
    return 0; /* anything else would end the statement */
}

void store_on_busy(struct store *store, store_busy_fn fn, void *context)
{
    CHECK_MAGIC(store, STORE_MAGIC);
    store->on_busy = fn;
    store->busy_context = context;
    sqlite3_progress_handler(store->db, PROGRESS_STEPS, fn != NULL ? on_progress : NULL, store);
}

void store_run_aside(struct store *store, void (*fn)(void *context), void *context)
{
    if (store->on_busy == NULL) {
        fn(context);
        return;
    }
    store->is_aside = true;
    aside_run(fn, context, store->on_busy, store->busy_context);
    store->is_aside = false;
}

int store_open(const char *path, struct store **out, struct strbuf *why)
{
    struct store *store = calloc(1, sizeof *store);

    if (store == NULL) {
        strbuf_addf(why, "database %s: out of memory", path);
        return ERR_NO_MEMORY;
    }
    store->magic = STORE_MAGIC;
    int rc = store_file_open(path, &store->file, why);
    if (rc == 0 && (rc = open_for_work(store, why)) == 0) {
        *out = store;
        return 0;
    }
    close_handles(store, false);
    return rc;
}

void store_close(struct store **store)
{
    if (*store == NULL)
        return;
    CHECK_MAGIC(*store, STORE_MAGIC);
    store_rollback(*store);
    /* Closing folds the -wal in as well, but only where no other program has the file open. A failure leaves it for the next start.
     * Also after a failed sync: what was answered as failed is not in the index of the -wal, and goes away with it. */
    (void)sqlite3_wal_checkpoint_v2((*store)->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    close_handles(*store, true);
    *store = NULL;
}
