/* Reading the tables, row by row, in the order of first insertion. */

#include <string.h>

#include "err.h"
#include "store_internal.h"

static const char *const rule_types[] = {
    [STORE_RULE_IP] = "ip",
    [STORE_RULE_CIDR] = "cidr",
    [STORE_RULE_COUNTRY] = "country",
};
#define RULE_TYPE_COUNT (sizeof rule_types / sizeof rule_types[0])

const char *store_rule_type_text(enum store_rule_type type)
{
    CHECK((size_t)type < RULE_TYPE_COUNT);
    return rule_types[type];
}

/* What is done with one row: 0, what the caller's function returned, or ERR_NO_MEMORY where a text could not be had. */
typedef int (*on_row_fn)(sqlite3_stmt *stmt, const void *fn, void *ctx);

/* The caller's function, whose type the row's function knows; a pointer to it, as C has no generic pointer to functions. */
static int each_row(struct store *store, enum store_stmt which, on_row_fn on_row, const void *fn, void *ctx,
                    struct strbuf *why)
{
    sqlite3_stmt *stmt = store->stmts[which];
    int result, rc = 0;

    while ((result = sqlite3_step(stmt)) == SQLITE_ROW && rc == 0)
        rc = on_row(stmt, fn, ctx);
    if (result != SQLITE_ROW && result != SQLITE_DONE && rc == 0)
        rc = store_fail(store, "cannot be read", why);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return rc;
}

static const char *text_of(sqlite3_stmt *stmt, int column)
{
    return (const char *)sqlite3_column_text(stmt, column);
}

static int on_route(sqlite3_stmt *stmt, const void *fn, void *ctx)
{
    struct store_route route = {.listener = text_of(stmt, 0),
                                .hostname = text_of(stmt, 1),
                                .backend = text_of(stmt, 2),
                                .send_proxy_protocol = sqlite3_column_int(stmt, 3) != 0};

    if (route.listener == NULL || route.hostname == NULL || route.backend == NULL)
        return ERR_NO_MEMORY;
    return (*(const store_route_fn *)fn)(&route, ctx);
}

static int on_rule(sqlite3_stmt *stmt, const void *fn, void *ctx)
{
    const char *type = text_of(stmt, 0);
    struct store_rule rule = {.value = text_of(stmt, 1)};

    if (type == NULL || rule.value == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < RULE_TYPE_COUNT; i++) {
        rule.type = (enum store_rule_type)i;
        if (strcmp(rule_types[i], type) == 0)
            return (*(const store_rule_fn *)fn)(&rule, ctx);
    }
    return ERR_CORRUPT; /* the table's own CHECK forbids it */
}

static int on_listener(sqlite3_stmt *stmt, const void *fn, void *ctx)
{
    bool is_set = sqlite3_column_type(stmt, 1) != SQLITE_NULL;
    struct store_listener listener = {.addr = text_of(stmt, 0),
                                      .max_connections =
                                          is_set ? sqlite3_column_int64(stmt, 1) : STORE_MAX_CONNECTIONS_UNSET,
                                      .route_count = (uint64_t)sqlite3_column_int64(stmt, 2)};

    if (listener.addr == NULL)
        return ERR_NO_MEMORY;
    return (*(const store_listener_fn *)fn)(&listener, ctx);
}

int store_each_route(struct store *store, store_route_fn fn, void *ctx, struct strbuf *why)
{
    CHECK_MAGIC(store, STORE_MAGIC);
    (void)store_stmt(store, STMT_EACH_ROUTE);
    return each_row(store, STMT_EACH_ROUTE, on_route, &fn, ctx, why);
}

/* A page: its rows and one more, which only tells where the next page begins. */
struct paging {
    on_row_fn on_row;
    const void *fn;
    void *ctx;
    uint32_t left;
    uint64_t next;
};

static int on_page_row(sqlite3_stmt *stmt, const void *fn, void *ctx)
{
    struct paging *paging = ctx;

    (void)fn;
    if (paging->left == 0) {
        paging->next = (uint64_t)sqlite3_column_int64(stmt, sqlite3_column_count(stmt) - 1);
        return 0;
    }
    if (paging->left != UINT32_MAX)
        paging->left--;
    return paging->on_row(stmt, paging->fn, paging->ctx);
}

static int read_page(struct store *store, enum store_stmt which, struct store_page *page, struct paging *paging,
                     struct strbuf *why)
{
    sqlite3_stmt *stmt = store->stmts[which];
    uint64_t position = page->position <= INT64_MAX ? page->position : INT64_MAX; /* of no row */

    CHECK(page->limit > 0);
    paging->left = page->limit;
    sqlite3_bind_int64(stmt, 1, (int64_t)position);
    sqlite3_bind_int64(stmt, 2, page->limit == UINT32_MAX ? -1 : (int64_t)page->limit + 1);
    int rc = each_row(store, which, on_page_row, NULL, paging, why);
    if (rc == 0)
        page->position = paging->next;
    return rc;
}

int store_page_routes_of(struct store *store, const char *listener, struct store_page *page, store_route_fn fn,
                         void *ctx, struct strbuf *why)
{
    struct paging paging = {.on_row = on_route, .fn = &fn, .ctx = ctx};

    CHECK_MAGIC(store, STORE_MAGIC);
    /* Borrowed for the call. A text that cannot be bound is no listener's. */
    (void)sqlite3_bind_text(store_stmt(store, STMT_PAGE_ROUTES_OF), 3, listener, -1, SQLITE_STATIC);
    return read_page(store, STMT_PAGE_ROUTES_OF, page, &paging, why);
}

int store_page_rules(struct store *store, struct store_page *page, store_rule_fn fn, void *ctx, struct strbuf *why)
{
    struct paging paging = {.on_row = on_rule, .fn = &fn, .ctx = ctx};

    CHECK_MAGIC(store, STORE_MAGIC);
    (void)store_stmt(store, STMT_PAGE_RULES);
    return read_page(store, STMT_PAGE_RULES, page, &paging, why);
}

int store_each_rule(struct store *store, store_rule_fn fn, void *ctx, struct strbuf *why)
{
    struct store_page all = {.limit = UINT32_MAX};

    return store_page_rules(store, &all, fn, ctx, why);
}

int store_each_listener(struct store *store, store_listener_fn fn, void *ctx, struct strbuf *why)
{
    CHECK_MAGIC(store, STORE_MAGIC);
    (void)store_stmt(store, STMT_EACH_LISTENER);
    return each_row(store, STMT_EACH_LISTENER, on_listener, &fn, ctx, why);
}
