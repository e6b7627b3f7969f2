/* What the file says and the database does not: telling people who edit the file that the database decides. */

#include "config.h"
#include "firewall_writer.h"
#include "hostname.h"
#include "log_event.h"
#include "route_table.h"
#include "state_internal.h"
#include "tables.h"

/* ---- comparing: with what is in force, which is what the database has ---- */

static const struct listener_entry *find_entry(const struct state *s, const struct listen_addr *addr)
{
    for (unsigned id = 0; id < s->listener_count; id++) {
        if (listen_addr_equal(&s->listeners[id].addr, addr))
            return &s->listeners[id];
    }
    return NULL;
}

static void compare_route(const struct state *s, uint16_t id, const struct config_route *route,
                          struct state_difference *d)
{
    char text[256];
    struct strbuf why = STRBUF_OF(text);
    struct host_pattern pattern;
    struct route_match found;

    if (host_pattern_parse(bytes_of_str(route->hostname), &pattern, &why) != 0 ||
        !route_find_pattern(s->tables->shm, tables_root(s->tables), id, pattern.kind != HOST_PATTERN_EXACT,
                            bytes_of(pattern.name, pattern.len), &found))
        d->missing++;
    else if (!bytes_equal_str(shm_backend_text(found.backend), route->backend) ||
             ((found.route->flags & SHM_ROUTE_SEND_PROXY_PROTOCOL) != 0) != route->send_proxy_protocol)
        d->different++;
}

struct state_difference state_compare_routes(const struct state *state, const struct config_listener *listener)
{
    struct state_difference d = {0};
    const struct listener_entry *entry = find_entry(state, &listener->addr);

    CHECK_MAGIC(state, STATE_MAGIC);
    CHECK(entry != NULL);
    for (unsigned i = 0; i < listener->route_count; i++)
        compare_route(state, (uint16_t)(entry - state->listeners), &listener->routes[i], &d);
    return d;
}

static uint64_t count_missing(const struct state *s, enum firewall_rule_kind kind, const struct config_list *list)
{
    uint64_t missing = 0;

    for (unsigned i = 0; i < list->count; i++) {
        char text[256];
        struct strbuf why = STRBUF_OF(text);
        struct firewall_rule rule;
        missing += firewall_rule_parse(kind, bytes_of_str(list->items[i]), &rule, &why) != 0 ||
                   !firewall_writer_has(s->firewall, &rule);
    }
    return missing;
}

struct state_difference state_compare_rules(const struct state *state, const struct config *config)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    return (struct state_difference){.missing =
                                         count_missing(state, FIREWALL_RULE_IP, &config->blocked_ips) +
                                         count_missing(state, FIREWALL_RULE_CIDR, &config->blocked_cidrs) +
                                         count_missing(state, FIREWALL_RULE_COUNTRY, &config->blocked_countries)};
}

/* ---- telling ---- */

static void log_routes(const struct config_listener *listener, const struct state_difference *d)
{
    struct log_event e;

    if (d->missing == 0 && d->different == 0)
        return;
    log_event_begin(&e, LOG_INFO,
                    "the file has routes that the database has not or has otherwise; the database decides: "
                    "mc-proxy routes import changes it");
    log_event_cstr(&e, LOG_KEY_LISTENER, listener->addr_text);
    log_event_u64(&e, LOG_KEY_MISSING, d->missing);
    log_event_u64(&e, LOG_KEY_DIFFERENT, d->different);
    log_event_end(&e);
}

static void log_rules(const struct state_difference *d)
{
    struct log_event e;

    if (d->missing == 0)
        return;
    log_event_begin(&e, LOG_INFO,
                    "the file has firewall rules that the database has not; the database decides: "
                    "mc-proxy firewall import changes it");
    log_event_u64(&e, LOG_KEY_MISSING, d->missing);
    log_event_end(&e);
}

void state_log_differences(const struct state *state, const struct config *config)
{
    if (!log_is_enabled(LOG_INFO))
        return;
    struct state_difference rules = state_compare_rules(state, config);
    log_rules(&rules);
    for (unsigned i = 0; i < config->listener_count; i++) {
        struct state_difference routes = state_compare_routes(state, &config->listeners[i]);
        log_routes(&config->listeners[i], &routes);
    }
}
