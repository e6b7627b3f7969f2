/* What a configuration gives to a database that has not seen it yet. */

#include "address.h"
#include "config.h"
#include "err.h"
#include "store_internal.h"

static int seed_list(struct store *store, enum store_rule_type type, const struct config_list *list,
                     struct store_seeded *out, struct strbuf *why)
{
    for (unsigned i = 0; i < list->count; i++) {
        struct store_rule rule = {.type = type, .value = list->items[i]};
        size_t said = why->len;
        int rc = store_add_rule(store, &rule, why);
        if (rc == ERR_EXISTS) /* the list has it twice */
            strbuf_cut(why, said);
        else if (rc != 0)
            return rc;
        else
            out->rules_seeded++;
    }
    return 0;
}

static int seed_rules(struct store *store, const struct config *config, struct store_seeded *out, struct strbuf *why)
{
    int rc = store_step(store, STMT_MARK_RULES_SEEDED, "cannot seed the firewall rules", why);

    if (rc != 0 || sqlite3_changes(store->db) == 0)
        return rc;
    out->has_seeded_rules = true;
    if ((rc = seed_list(store, STORE_RULE_IP, &config->blocked_ips, out, why)) != 0 ||
        (rc = seed_list(store, STORE_RULE_CIDR, &config->blocked_cidrs, out, why)) != 0)
        return rc;
    return seed_list(store, STORE_RULE_COUNTRY, &config->blocked_countries, out, why);
}

static int add_listener(struct store *store, const char *addr, struct strbuf *why)
{
    (void)sqlite3_bind_text(store_stmt(store, STMT_ADD_LISTENER), 1, addr, -1, SQLITE_STATIC);
    return store_step(store, STMT_ADD_LISTENER, "cannot add the listener", why);
}

static int seed_routes(struct store *store, const char *addr, const struct config_listener *listener,
                       struct store_seeded *out, struct strbuf *why)
{
    for (unsigned i = 0; i < listener->route_count; i++) {
        const struct config_route *from = &listener->routes[i];
        struct store_route route = {.listener = addr,
                                    .hostname = from->hostname,
                                    .backend = from->backend,
                                    .send_proxy_protocol = from->send_proxy_protocol};
        enum store_put put;
        int rc = store_put_route(store, &route, &put, why);
        if (rc != 0)
            return rc;
        out->routes_seeded += put == STORE_PUT_ADDED;
    }
    return 0;
}

static int seed_listener(struct store *store, const struct config_listener *listener, struct store_seeded *out,
                         struct strbuf *why)
{
    char addr[ADDRESS_TEXT_MAX];
    struct strbuf key = STRBUF_OF(addr);
    int64_t id;

    listen_addr_format(&listener->addr, &key);
    int rc = store_find_listener(store, addr, &id, why);
    if (rc != ERR_NOT_FOUND)
        return rc;
    if ((rc = add_listener(store, addr, why)) != 0)
        return rc;
    out->listeners_seeded++;
    return seed_routes(store, addr, listener, out, why);
}

static int seed_all(struct store *store, const struct config *config, struct store_seeded *out, struct strbuf *why)
{
    int rc = seed_rules(store, config, out, why);

    for (unsigned i = 0; rc == 0 && i < config->listener_count; i++)
        rc = seed_listener(store, &config->listeners[i], out, why);
    return rc;
}

int store_seed(struct store *store, const struct config *config, struct store_seeded *out, struct strbuf *why)
{
    struct store_seeded seeded = {0};
    int rc = store_begin(store, why);

    if (rc != 0)
        return rc;
    if ((rc = seed_all(store, config, &seeded, why)) != 0)
        store_rollback(store);
    else
        rc = store_commit(store, why);
    if (rc == 0)
        *out = seeded;
    return rc;
}
