/* What a configuration says and the database does not: seeds that came too late, or that have been changed since. */

#include "address.h"
#include "config.h"
#include "err.h"
#include "store_internal.h"

/** One look-up by a unique index. No row: missing; its first column tells whether it is the same. */
static int look_up(struct store *store, enum store_stmt which, struct store_difference *out, struct strbuf *why)
{
    sqlite3_stmt *stmt = store->stmts[which];
    int result = sqlite3_step(stmt);
    int rc = 0;

    if (result == SQLITE_DONE)
        out->missing++;
    else if (result == SQLITE_ROW)
        out->different += sqlite3_column_int(stmt, 0) == 0;
    else
        rc = store_fail(store, "cannot be read", why);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return rc;
}

static int compare_listener(struct store *store, const struct config_listener *listener, struct store_difference *out,
                            struct strbuf *why)
{
    char addr[ADDRESS_TEXT_MAX];
    struct strbuf key = STRBUF_OF(addr);
    int64_t id;
    int rc;

    listen_addr_format(&listener->addr, &key);
    if ((rc = store_find_listener(store, addr, &id, why)) != 0)
        return rc;
    for (unsigned i = 0; i < listener->route_count && rc == 0; i++) {
        sqlite3_stmt *stmt = store_stmt(store, STMT_COMPARE_ROUTE);
        sqlite3_bind_int64(stmt, 1, id);
        (void)sqlite3_bind_text(stmt, 2, listener->routes[i].hostname, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(stmt, 3, listener->routes[i].backend, -1, SQLITE_STATIC);
        sqlite3_bind_int(stmt, 4, listener->routes[i].send_proxy_protocol);
        rc = look_up(store, STMT_COMPARE_ROUTE, out, why);
    }
    return rc;
}

static int compare_rules(struct store *store, enum store_rule_type type, const struct config_list *list,
                         struct store_difference *out, struct strbuf *why)
{
    int rc = 0;

    for (unsigned i = 0; i < list->count && rc == 0; i++) {
        sqlite3_stmt *stmt = store_stmt(store, STMT_COMPARE_RULE);
        (void)sqlite3_bind_text(stmt, 1, store_rule_type_text(type), -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(stmt, 2, list->items[i], -1, SQLITE_STATIC);
        rc = look_up(store, STMT_COMPARE_RULE, out, why);
    }
    return rc;
}

static int compare_all(struct store *store, const struct config *config, store_difference_fn fn, void *ctx,
                       struct strbuf *why)
{
    struct store_difference d = {0};
    int rc;

    if ((rc = compare_rules(store, STORE_RULE_IP, &config->blocked_ips, &d, why)) != 0 ||
        (rc = compare_rules(store, STORE_RULE_CIDR, &config->blocked_cidrs, &d, why)) != 0 ||
        (rc = compare_rules(store, STORE_RULE_COUNTRY, &config->blocked_countries, &d, why)) != 0)
        return rc;
    if (d.missing > 0)
        fn(NULL, &d, ctx);
    for (unsigned i = 0; i < config->listener_count && rc == 0; i++) {
        d = (struct store_difference){0};
        rc = compare_listener(store, &config->listeners[i], &d, why);
        if (rc == 0 && (d.missing > 0 || d.different > 0))
            fn(&config->listeners[i], &d, ctx);
    }
    return rc;
}

/* In one transaction, so that the file is not locked anew for each row. It only reads: nothing is lost if it cannot be ended well. */
int store_compare(struct store *store, const struct config *config, store_difference_fn fn, void *ctx,
                  struct strbuf *why)
{
    CHECK_MAGIC(store, STORE_MAGIC);
    CHECK(!store->in_transaction);
    int rc = store_step(store, STMT_BEGIN_READING, "cannot be read", why);

    if (rc != 0)
        return rc;
    rc = compare_all(store, config, fn, ctx, why);
    int ended = store_step(store, STMT_ROLLBACK, "cannot be read", why);
    return rc != 0 ? rc : ended;
}
