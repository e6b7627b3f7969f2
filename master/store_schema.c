/* The tables, how a file comes to have them, and every statement that is run on them. */

#include <stdio.h>

#include "err.h"
#include "store_internal.h"

/*
 * A migration is never changed once released; the next one gets the next number. Order of first insertion is the order of ids: a new row
 * gets a higher id than any row there is, and replacing a route keeps its row.
 */
static const struct store_migration migrations[] = {
    {1, "listeners, routes and firewall rules",
     "CREATE TABLE listeners ("
     "  id INTEGER PRIMARY KEY,"
     "  addr TEXT NOT NULL UNIQUE CHECK (length(addr) BETWEEN 1 AND 63),"
     "  max_connections INTEGER CHECK (max_connections BETWEEN 0 AND 4294967295)," /* NULL: the configuration decides */
     "  seeded_at INTEGER NOT NULL" /* seconds since 1970, when the address was first seen */
     ") STRICT;"
     "CREATE TABLE routes ("
     "  id INTEGER PRIMARY KEY,"
     "  listener_id INTEGER NOT NULL REFERENCES listeners ON DELETE CASCADE,"
     "  hostname TEXT NOT NULL CHECK (length(hostname) BETWEEN 1 AND 255),"
     "  backend TEXT NOT NULL CHECK (length(backend) BETWEEN 1 AND 511),"
     "  send_proxy_protocol INTEGER NOT NULL DEFAULT 0 CHECK (send_proxy_protocol IN (0, 1)),"
     "  UNIQUE (listener_id, hostname)"
     ") STRICT;"
     "CREATE INDEX routes_by_listener ON routes (listener_id);" /* yields one listener's routes in the order of ids */
     "CREATE TABLE firewall_rules ("
     "  id INTEGER PRIMARY KEY,"
     "  type TEXT NOT NULL CHECK (type IN ('ip', 'cidr', 'country')),"
     "  value TEXT NOT NULL CHECK (length(value) BETWEEN 1 AND 63),"
     "  UNIQUE (type, value)"
     ") STRICT;"
     "CREATE TABLE seeding ("
     "  id INTEGER PRIMARY KEY CHECK (id = 1),"
     "  rules_seeded_at INTEGER" /* NULL: the configuration's rules have not been taken yet */
     ") STRICT;"
     "INSERT INTO seeding (id) VALUES (1);"},
};
#define MIGRATION_COUNT (sizeof migrations / sizeof migrations[0])

static const char *const statements[STMT_COUNT] = {
    [STMT_BEGIN] = "BEGIN IMMEDIATE",
    [STMT_COMMIT] = "COMMIT",
    [STMT_ROLLBACK] = "ROLLBACK",
    /* CROSS JOIN: SQLite then keeps the written order, one walk over routes by id. */
    [STMT_EACH_ROUTE] = "SELECT l.addr, r.hostname, r.backend, r.send_proxy_protocol"
                        " FROM routes r CROSS JOIN listeners l ON l.id = r.listener_id ORDER BY r.id",
    [STMT_PAGE_ROUTES_OF] = "SELECT ?3, hostname, backend, send_proxy_protocol, id FROM routes"
                            " INDEXED BY routes_by_listener"
                            " WHERE listener_id = (SELECT id FROM listeners WHERE addr = ?3) AND id >= ?1"
                            " ORDER BY id LIMIT ?2",
    [STMT_PAGE_RULES] = "SELECT type, value, id FROM firewall_rules WHERE id >= ?1 ORDER BY id LIMIT ?2",
    [STMT_EACH_LISTENER] =
        "SELECT addr, max_connections, (SELECT count(*) FROM routes WHERE listener_id = listeners.id)"
        " FROM listeners ORDER BY id",
    [STMT_FIND_LISTENER] = "SELECT id FROM listeners WHERE addr = ?1",
    [STMT_ADD_LISTENER] = "INSERT INTO listeners (addr, seeded_at) VALUES (?1, unixepoch())",
    [STMT_SET_MAX_CONNECTIONS] = "UPDATE listeners SET max_connections = ?2 WHERE addr = ?1",
    /* These two, in the opposite order, tell a new route, one that differs, and one that is there already. */
    [STMT_ADD_ROUTE] = "INSERT INTO routes (listener_id, hostname, backend, send_proxy_protocol)"
                       " VALUES (?1, ?2, ?3, ?4) ON CONFLICT (listener_id, hostname) DO NOTHING",
    [STMT_REPLACE_ROUTE] = "UPDATE routes SET backend = ?3, send_proxy_protocol = ?4"
                           " WHERE listener_id = ?1 AND hostname = ?2"
                           " AND (backend, send_proxy_protocol) IS NOT (?3, ?4)",
    [STMT_REMOVE_ROUTE] = "DELETE FROM routes WHERE listener_id = ?1 AND hostname = ?2",
    [STMT_ADD_RULE] = "INSERT INTO firewall_rules (type, value) VALUES (?1, ?2) ON CONFLICT (type, value) DO NOTHING",
    [STMT_REMOVE_RULE] = "DELETE FROM firewall_rules WHERE type = ?1 AND value = ?2",
    [STMT_MARK_RULES_SEEDED] = "UPDATE seeding SET rules_seeded_at = unixepoch() WHERE rules_seeded_at IS NULL",
};

uint32_t store_schema_version(void)
{
    return migrations[MIGRATION_COUNT - 1].number;
}

static int read_version(sqlite3 *db, uint32_t *out)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &stmt, NULL);

    if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        *out = (uint32_t)sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int apply(sqlite3 *db, const struct store_migration *step)
{
    char numbers[128];
    int rc;

    snprintf(numbers, sizeof numbers, "PRAGMA application_id = %d; PRAGMA user_version = %u; COMMIT",
             STORE_APPLICATION_ID, step->number);
    if ((rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL)) != SQLITE_OK ||
        (rc = sqlite3_exec(db, step->sql, NULL, NULL, NULL)) != SQLITE_OK)
        return rc;
    return sqlite3_exec(db, numbers, NULL, NULL, NULL);
}

int store_migrate(sqlite3 *db, const char *path, const struct store_migration *list, unsigned count, struct strbuf *why)
{
    uint32_t version = 0;

    if (read_version(db, &version) != SQLITE_OK)
        return store_sql_error(db, path, "cannot read the schema's number", why);
    for (unsigned i = 0; i < count; i++) {
        char doing[128];
        if (list[i].number <= version)
            continue;
        snprintf(doing, sizeof doing, "cannot upgrade to schema %u (%s)", list[i].number, list[i].name);
        if (apply(db, &list[i]) == SQLITE_OK)
            continue;
        int rc = store_sql_error(db, path, doing, why); /* before the rollback, which has a result of its own */
        if (!sqlite3_get_autocommit(db))
            (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        return rc;
    }
    return 0;
}

int store_schema_upgrade(sqlite3 *db, const char *path, struct strbuf *why)
{
    return store_migrate(db, path, migrations, MIGRATION_COUNT, why);
}

static int compare_object(sqlite3_stmt *look_up, sqlite3_stmt *expected, bool *equal_out)
{
    int rc;

    if ((rc = sqlite3_bind_value(look_up, 1, sqlite3_column_value(expected, 0))) != SQLITE_OK ||
        (rc = sqlite3_bind_value(look_up, 2, sqlite3_column_value(expected, 1))) != SQLITE_OK)
        return rc;
    rc = sqlite3_step(look_up);
    *equal_out = rc == SQLITE_ROW;
    sqlite3_reset(look_up);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Every table and index that fresh has must be in db, made by the same text. */
static int compare_schema(sqlite3 *db, sqlite3 *fresh, const char *path, struct strbuf *why)
{
    sqlite3_stmt *expected = NULL, *look_up = NULL;
    int result, rc = 0;
    bool is_equal = true;

    if ((result = sqlite3_prepare_v2(fresh, "SELECT name, sql FROM sqlite_schema", -1, &expected, NULL)) == SQLITE_OK)
        result =
            sqlite3_prepare_v2(db, "SELECT 1 FROM sqlite_schema WHERE name = ?1 AND sql IS ?2", -1, &look_up, NULL);
    while (result == SQLITE_OK && is_equal && (result = sqlite3_step(expected)) == SQLITE_ROW)
        result = compare_object(look_up, expected, &is_equal);
    if (!is_equal) {
        strbuf_addf(why, "database %s: damaged (%s is not as this version makes it); restore a snapshot", path,
                    (const char *)sqlite3_column_text(expected, 0));
        rc = ERR_CORRUPT;
    } else if (result != SQLITE_DONE) {
        rc = store_sql_error(sqlite3_errcode(fresh) == result ? fresh : db, path, "cannot be checked", why);
    }
    sqlite3_finalize(expected);
    sqlite3_finalize(look_up);
    return rc;
}

int store_schema_compare(sqlite3 *db, const char *path, struct strbuf *why)
{
    sqlite3 *fresh = NULL;
    int rc;

    if (sqlite3_open_v2(":memory:", &fresh, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        rc = store_sql_error(fresh, path, "cannot be checked", why);
    else if ((rc = store_schema_upgrade(fresh, path, why)) == 0)
        rc = compare_schema(db, fresh, path, why);
    sqlite3_close(fresh);
    return rc;
}

int store_prepare(sqlite3 *db, sqlite3_stmt *stmts[STMT_COUNT])
{
    for (int i = 0; i < STMT_COUNT; i++) {
        int rc = sqlite3_prepare_v3(db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &stmts[i], NULL);
        if (rc != SQLITE_OK)
            return rc;
    }
    return SQLITE_OK;
}

void store_finalize(sqlite3_stmt *stmts[STMT_COUNT])
{
    for (int i = 0; i < STMT_COUNT; i++) {
        sqlite3_finalize(stmts[i]);
        stmts[i] = NULL;
    }
}
