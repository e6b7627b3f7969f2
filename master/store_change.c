/* Changes: each a durable transaction of its own, or a step of one that the caller has begun. */

#include "err.h"
#include "store_internal.h"

#define ASIDE_CHANGES 1000 /* rows: fewer are written within some milliseconds, and a thread costs 0.05 ms */

/* After a failed sync nobody knows what is on the disk: the kernel reports it once and may have dropped the pages. */
static void note_result(struct store *store, int result)
{
    if (result == SQLITE_IOERR_FSYNC || result == SQLITE_IOERR_DIR_FSYNC)
        store->is_poisoned = true;
    else if ((result & 0xff) == SQLITE_CORRUPT || (result & 0xff) == SQLITE_NOTADB)
        store->is_damaged = true;
}

int store_fail(struct store *store, const char *doing, struct strbuf *why)
{
    note_result(store, sqlite3_extended_errcode(store->db));
    int rc = store_sql_error(store->db, store->file.path, doing, why);
    return rc == ERR_IN_USE || rc == ERR_SYSTEM ? ERR_UNAVAILABLE : rc;
}

sqlite3_stmt *store_stmt(struct store *store, enum store_stmt which)
{
    CHECK(!sqlite3_stmt_busy(store->stmts[which])); /* a callback used the store */
    return store->stmts[which];
}

int store_step(struct store *store, enum store_stmt which, const char *doing, struct strbuf *why)
{
    sqlite3_stmt *stmt = store->stmts[which];
    int rc = sqlite3_step(stmt) == SQLITE_DONE ? 0 : store_fail(store, doing, why);

    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return rc;
}

/* Writing into files that have been removed or replaced would be a promise to nobody. */
static bool is_moved(struct store *store)
{
    int has_moved = 0;

    return (sqlite3_file_control(store->db, "main", SQLITE_FCNTL_HAS_MOVED, &has_moved) == SQLITE_OK &&
            has_moved != 0) ||
           !store_file_has_wal(&store->file);
}

static int refuse_if_unsafe(struct store *store, struct strbuf *why)
{
    if (is_moved(store))
        strbuf_addf(why, "database %s: the file or its -wal has been removed or replaced; restart mc-proxy",
                    store->file.path);
    else if (store->is_damaged)
        strbuf_addf(why,
                    "database %s: no changes, it is damaged; before a restart, save what is in force "
                    "(routes export, firewall export), then restore a snapshot",
                    store->file.path);
    else if (store->is_poisoned)
        strbuf_addf(why, "database %s: no changes after an earlier disk error; look at the disk, then restart mc-proxy",
                    store->file.path);
    else
        return 0;
    return ERR_UNAVAILABLE;
}

static int begin(struct store *store, struct strbuf *why)
{
    int rc = refuse_if_unsafe(store, why);

    store->changes_before = sqlite3_total_changes64(store->db);
    return rc != 0 ? rc : store_step(store, STMT_BEGIN, "cannot begin a change", why);
}

static void rollback(struct store *store)
{
    char ignored[256];
    struct strbuf why = STRBUF_OF(ignored);

    /* SQLite has rolled back by itself after most errors. A rollback that fails leaves the transaction to a later one or to the close;
     * it is not committed either way. */
    if (!sqlite3_get_autocommit(store->db) && store_step(store, STMT_ROLLBACK, "cannot roll back", &why) != 0)
        store->is_poisoned = true;
}

/* After a commit that grew the -wal. What was committed is safe there whatever comes of this; but a sync that failed is remembered. */
static int on_wal_grown(void *context, sqlite3 *db, const char *name, int pages)
{
    struct store *store = context;

    CHECK_MAGIC(store, STORE_MAGIC);
    if (pages >= store->checkpoint_pages)
        note_result(store, sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL));
    return SQLITE_OK;
}

void store_watch_wal(struct store *store)
{
    (void)sqlite3_wal_hook(store->db, on_wal_grown, store); /* returns what was set before: SQLite's own */
}

struct committing {
    struct store *store;
    struct strbuf *why;
    int rc;
};

/* All writing that is left, its sync, and often a checkpoint with two more. */
static void step_commit(void *context)
{
    struct committing *c = context;

    c->rc = store_step(c->store, STMT_COMMIT, "cannot write the change", c->why);
}

static int commit(struct store *store, struct strbuf *why)
{
    struct committing c = {.store = store, .why = why};

    if (sqlite3_total_changes64(store->db) - store->changes_before >= ASIDE_CHANGES)
        store_run_aside(store, step_commit, &c);
    else
        step_commit(&c);
    int rc = c.rc;
    if (rc != 0)
        rollback(store);
    return rc;
}

/* The caller's mistakes, after which the transaction is as sound as before. */
static bool is_benign(int rc)
{
    return rc == ERR_NOT_FOUND || rc == ERR_EXISTS || rc == ERR_INVALID;
}

int store_change_begin(struct store *store, struct strbuf *why)
{
    CHECK_MAGIC(store, STORE_MAGIC);
    if (!store->in_transaction)
        return begin(store, why);
    if (!store->is_doomed)
        return 0;
    strbuf_addf(why, "database %s: an earlier change of the same transaction failed", store->file.path);
    return ERR_UNAVAILABLE;
}

int store_change_end(struct store *store, int rc, struct strbuf *why)
{
    if (store->in_transaction)
        store->is_doomed = store->is_doomed || (rc != 0 && !is_benign(rc));
    else if (rc == 0)
        rc = commit(store, why);
    else
        rollback(store);
    return rc;
}

int store_begin(struct store *store, struct strbuf *why)
{
    CHECK_MAGIC(store, STORE_MAGIC);
    CHECK(!store->in_transaction);
    int rc = begin(store, why);
    store->in_transaction = rc == 0;
    store->is_doomed = false;
    return rc;
}

int store_commit(struct store *store, struct strbuf *why)
{
    CHECK_MAGIC(store, STORE_MAGIC);
    CHECK(store->in_transaction);
    if (store->is_doomed) {
        strbuf_addf(why, "database %s: a change of the transaction failed, so none was made", store->file.path);
        store_rollback(store);
        return ERR_UNAVAILABLE;
    }
    store->in_transaction = false;
    return commit(store, why);
}

void store_rollback(struct store *store)
{
    CHECK_MAGIC(store, STORE_MAGIC);
    if (store->in_transaction)
        rollback(store);
    store->in_transaction = false;
    store->is_doomed = false;
}

/* ---- the changes ---- */

static void bind_text(sqlite3_stmt *stmt, int at, const char *text)
{
    /* Borrowed until store_step(), which clears it. The only failure is a text over SQLite's limit of a gigabyte: it is then bound as
     * NULL, which no column takes. */
    (void)sqlite3_bind_text(stmt, at, text, -1, SQLITE_STATIC);
}

static int missing(const struct store *store, const char *what, const char *which, struct strbuf *why)
{
    strbuf_addf(why, "%s %s is not in database %s", what, which, store->file.path);
    return ERR_NOT_FOUND;
}

int store_find_listener(struct store *store, const char *addr, int64_t *id_out, struct strbuf *why)
{
    sqlite3_stmt *stmt = store_stmt(store, STMT_FIND_LISTENER);

    bind_text(stmt, 1, addr);
    int result = sqlite3_step(stmt);
    int rc = 0;
    if (result == SQLITE_ROW)
        *id_out = sqlite3_column_int64(stmt, 0);
    else
        rc = result == SQLITE_DONE ? ERR_NOT_FOUND : store_fail(store, "cannot find the listener", why);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return rc;
}

static int need_listener(struct store *store, const char *addr, int64_t *id_out, struct strbuf *why)
{
    int rc = store_find_listener(store, addr, id_out, why);

    return rc == ERR_NOT_FOUND ? missing(store, "listener", addr, why) : rc;
}

static int step_route(struct store *store, enum store_stmt which, int64_t listener_id, const struct store_route *route,
                      const char *doing, struct strbuf *why)
{
    sqlite3_stmt *stmt = store_stmt(store, which);

    sqlite3_bind_int64(stmt, 1, listener_id);
    bind_text(stmt, 2, route->hostname);
    if (route->backend != NULL) {
        bind_text(stmt, 3, route->backend);
        sqlite3_bind_int(stmt, 4, route->send_proxy_protocol);
    }
    return store_step(store, which, doing, why);
}

int store_put_route(struct store *store, const struct store_route *route, enum store_put *put_out, struct strbuf *why)
{
    enum store_put put = STORE_PUT_REPLACED;
    int64_t id = 0;
    int rc = store_change_begin(store, why);

    if (rc != 0)
        return rc;
    if ((rc = need_listener(store, route->listener, &id, why)) == 0 &&
        (rc = step_route(store, STMT_REPLACE_ROUTE, id, route, "cannot replace the route", why)) == 0 &&
        sqlite3_changes(store->db) == 0) {
        rc = step_route(store, STMT_ADD_ROUTE, id, route, "cannot add the route", why);
        put = sqlite3_changes(store->db) != 0 ? STORE_PUT_ADDED : STORE_PUT_UNCHANGED;
    }
    rc = store_change_end(store, rc, why);
    if (rc == 0)
        *put_out = put;
    return rc;
}

int store_remove_route(struct store *store, const char *listener, const char *hostname, struct strbuf *why)
{
    struct store_route route = {.listener = listener, .hostname = hostname};
    int64_t id = 0;
    int rc = store_change_begin(store, why);

    if (rc != 0)
        return rc;
    if ((rc = need_listener(store, listener, &id, why)) == 0 &&
        (rc = step_route(store, STMT_REMOVE_ROUTE, id, &route, "cannot remove the route", why)) == 0 &&
        sqlite3_changes(store->db) == 0)
        rc = missing(store, "route", hostname, why);
    return store_change_end(store, rc, why);
}

static int change_rule(struct store *store, enum store_stmt which, const struct store_rule *rule, const char *doing,
                       bool *changed_out, struct strbuf *why)
{
    sqlite3_stmt *stmt = store_stmt(store, which);

    bind_text(stmt, 1, store_rule_type_text(rule->type));
    bind_text(stmt, 2, rule->value);
    int rc = store_step(store, which, doing, why);
    *changed_out = rc == 0 && sqlite3_changes(store->db) > 0;
    return rc;
}

int store_add_rule(struct store *store, const struct store_rule *rule, struct strbuf *why)
{
    bool changed;
    int rc = store_change_begin(store, why);

    if (rc != 0)
        return rc;
    rc = change_rule(store, STMT_ADD_RULE, rule, "cannot add the firewall rule", &changed, why);
    if (rc == 0 && !changed) {
        strbuf_addf(why, "firewall rule %s %s is in database %s already", store_rule_type_text(rule->type), rule->value,
                    store->file.path);
        rc = ERR_EXISTS;
    }
    return store_change_end(store, rc, why);
}

int store_remove_rule(struct store *store, const struct store_rule *rule, struct strbuf *why)
{
    bool changed;
    int rc = store_change_begin(store, why);

    if (rc != 0)
        return rc;
    rc = change_rule(store, STMT_REMOVE_RULE, rule, "cannot remove the firewall rule", &changed, why);
    if (rc == 0 && !changed)
        rc = missing(store, "firewall rule", rule->value, why);
    return store_change_end(store, rc, why);
}

int store_set_max_connections(struct store *store, const char *listener, int64_t max_connections, struct strbuf *why)
{
    int rc = store_change_begin(store, why);

    if (rc != 0)
        return rc;
    sqlite3_stmt *stmt = store_stmt(store, STMT_SET_MAX_CONNECTIONS);
    bind_text(stmt, 1, listener);
    if (max_connections == STORE_MAX_CONNECTIONS_UNSET)
        sqlite3_bind_null(stmt, 2);
    else
        sqlite3_bind_int64(stmt, 2, max_connections);
    rc = store_step(store, STMT_SET_MAX_CONNECTIONS, "cannot store max_connections", why);
    if (rc == 0 && sqlite3_changes(store->db) == 0)
        rc = missing(store, "listener", listener, why);
    return store_change_end(store, rc, why);
}
