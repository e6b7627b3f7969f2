/* The rules between values of the configuration, each a function of its own; what is wrong is reported where it was written. */

#include "config_rules.h"

#include <stdlib.h>
#include <string.h>

static bool is_set(const struct config_place *place)
{
    return place->site.line != 0 || place->site.variable != NULL;
}

static bool key_is_set(const struct config_builder *b, enum config_section section, unsigned listener, const char *key)
{
    struct config_place place = config_builder_find(b, section, listener, key);
    return is_set(&place);
}

/* ---- required keys ---- */

static void require_key(struct config_builder *b, const struct config_key *key, unsigned listener)
{
    struct config_place place = config_builder_find(b, key->section, listener, key->name);
    char data[160];
    struct strbuf expected = STRBUF_OF(data);

    if (is_set(&place))
        return;
    place.site.line =
        key->section == CONFIG_LISTENER ? b->listeners[listener].section_line : b->section_lines[key->section];
    config_schema_expect(key, &expected);
    config_problem_error(&b->problems, &place, "is required and not set; expected %s", data);
}

static void check_required(struct config_builder *b)
{
    unsigned count;
    const struct config_key *keys = config_schema_keys(&count);

    for (unsigned i = 0; i < count; i++) {
        if (!keys[i].is_required)
            continue;
        unsigned times = keys[i].section == CONFIG_LISTENER ? b->config->listener_count : 1;
        for (unsigned l = 0; l < times; l++)
            require_key(b, &keys[i], l);
    }
}

/* ---- duplicates ---- */

static int compare_entries(const void *left, const void *right)
{
    const struct config_entry *a = left, *b = right;
    int by_text;

    if (a->scope != b->scope)
        return a->scope < b->scope ? -1 : 1;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    if ((by_text = strcmp(a->text, b->text)) != 0)
        return by_text;
    return a->line < b->line ? -1 : a->line > b->line;
}

/** Sorts the entries: nothing may rely on their order afterwards. */
static void check_duplicate_entries(struct config_builder *b)
{
    if (b->entry_count > 0)
        qsort(b->entries, b->entry_count, sizeof *b->entries, compare_entries);
    for (unsigned i = 1; i < b->entry_count; i++) {
        const struct config_entry *first = &b->entries[i - 1], *again = &b->entries[i];
        if (first->scope != again->scope || first->key != again->key || strcmp(first->text, again->text) != 0)
            continue;
        struct config_place place = {.site.line = again->line, .section = again->key->section, .key = again->key->name};
        if (again->scope > 0)
            place.listener = b->config->listeners[again->scope - 1].name;
        config_problem_error(&b->problems, &place, "%s is a duplicate, it is in line %u already; remove one of them",
                             again->text, first->line);
    }
}

static void check_duplicate_names(struct config_builder *b)
{
    const struct config_listener *listeners = b->config->listeners;

    for (unsigned i = 1; i < b->config->listener_count; i++) {
        for (unsigned j = 0; j < i; j++) {
            if (strcmp(listeners[i].name, listeners[j].name) != 0)
                continue;
            struct config_place place = {
                .site.line = b->listeners[i].section_line, .section = CONFIG_LISTENER, .listener = listeners[i].name};
            config_problem_error(&b->problems, &place,
                                 "is a duplicate, the section is in line %u already; expected another name",
                                 b->listeners[j].section_line);
            break;
        }
    }
}

/* ---- addresses to listen on ---- */

/** A TCP address of the configuration and where it stands. */
struct taken_addr {
    const struct listen_addr *addr;
    struct config_place place;
};

/** The sockets that an address means: ":443" is two. Returns how many. */
static unsigned expand_addr(const struct listen_addr *addr, struct ip_addr out[2])
{
    static const struct ip_addr any_v4 = {.family = 4}, any_v6 = {.family = 6};

    out[0] = addr->is_dual_stack ? any_v4 : addr->addr;
    out[1] = any_v6;
    return addr->is_dual_stack ? 2 : 1;
}

static bool is_wildcard(const struct ip_addr *addr)
{
    const struct ip_addr any = {.family = addr->family};
    return ip_addr_equal(addr, &any);
}

/** Can only one of two addresses be bound? Listeners share ports (SO_REUSEPORT), so there a wildcard beside a plain address is
 *  fine and the more specific one wins. */
static bool addrs_exclude(const struct taken_addr *a, const struct taken_addr *b)
{
    bool are_listeners = a->place.section == CONFIG_LISTENER && b->place.section == CONFIG_LISTENER;
    struct ip_addr left[2], right[2];
    unsigned left_count = expand_addr(a->addr, left), right_count = expand_addr(b->addr, right);

    if (a->addr->port != b->addr->port)
        return false;
    for (unsigned i = 0; i < left_count; i++) {
        for (unsigned j = 0; j < right_count; j++) {
            if (ip_addr_equal(&left[i], &right[j]))
                return true;
            if (!are_listeners && left[i].family == right[j].family &&
                (is_wildcard(&left[i]) || is_wildcard(&right[j])))
                return true;
        }
    }
    return false;
}

static void report_overlap(struct config_builder *b, const struct taken_addr *addr, const struct taken_addr *earlier)
{
    char mine_data[ADDRESS_TEXT_MAX], theirs_data[ADDRESS_TEXT_MAX];
    struct strbuf mine = STRBUF_OF(mine_data), theirs = STRBUF_OF(theirs_data);

    listen_addr_format(addr->addr, &mine);
    listen_addr_format(earlier->addr, &theirs);
    config_problem_error(&b->problems, &addr->place,
                         "%s overlaps with %s of [%s%s%s]; expected an address and port of its own", mine_data,
                         theirs_data, config_section_name(earlier->place.section), earlier->place.listener ? " " : "",
                         earlier->place.listener ? earlier->place.listener : "");
}

/** Where the i-th address of [grpc] stands: entries are in the order of the file. */
static struct config_place grpc_addr_place(const struct config_builder *b, unsigned i)
{
    struct config_place place = {.section = CONFIG_GRPC, .key = "addr"};
    const struct config_key *key = config_schema_find(place.section, place.key);

    for (unsigned e = 0, seen = 0; e < b->entry_count; e++) {
        if (b->entries[e].key == key && seen++ == i)
            place.site.line = b->entries[e].line;
    }
    return place;
}

/** All TCP addresses that were understood; out has room for all. Returns how many. */
static unsigned collect_addrs(const struct config_builder *b, struct taken_addr *out)
{
    const struct config *c = b->config;
    unsigned count = 0;

    for (unsigned i = 0; i < c->grpc_addr_count; i++) {
        if (!c->grpc_addrs[i].is_unix)
            out[count++] = (struct taken_addr){&c->grpc_addrs[i].addr, grpc_addr_place(b, i)};
    }
    if (c->has_metrics)
        out[count++] = (struct taken_addr){&c->metrics_addr, config_builder_find(b, CONFIG_METRICS, 0, "addr")};
    for (unsigned i = 0; i < c->listener_count; i++) {
        if (c->listeners[i].addr.port != 0)
            out[count++] =
                (struct taken_addr){&c->listeners[i].addr, config_builder_find(b, CONFIG_LISTENER, i, "addr")};
    }
    return count;
}

static void check_addrs(struct config_builder *b)
{
    size_t most = (size_t)b->config->listener_count + b->config->grpc_addr_count + 1;
    struct taken_addr *addrs = calloc(most, sizeof *addrs);

    if (addrs == NULL) {
        b->is_out_of_memory = true;
        return;
    }
    unsigned count = collect_addrs(b, addrs);
    for (unsigned i = 1; i < count; i++) {
        for (unsigned j = 0; j < i; j++) {
            bool are_both_grpc = addrs[i].place.section == CONFIG_GRPC; /* those come first */
            if (!addrs_exclude(&addrs[i], &addrs[j]))
                continue;
            if (!are_both_grpc || !listen_addr_equal(addrs[i].addr, addrs[j].addr)) /* else: a duplicate entry */
                report_overlap(b, &addrs[i], &addrs[j]);
            break;
        }
    }
    free(addrs);
}

/* ---- [grpc] ---- */

static void check_tls_pair(struct config_builder *b, const char *key, const char *other)
{
    struct config_place place = config_builder_find(b, CONFIG_GRPC, 0, key);

    if (is_set(&place) && !key_is_set(b, CONFIG_GRPC, 0, other))
        config_problem_error(&b->problems, &place, "is set without %s; expected both or none", other);
}

static void check_grpc(struct config_builder *b)
{
    bool has_tls = key_is_set(b, CONFIG_GRPC, 0, "tls_cert") || key_is_set(b, CONFIG_GRPC, 0, "tls_key");
    struct config_place ca = config_builder_find(b, CONFIG_GRPC, 0, "client_ca");
    struct config_place cert = config_builder_find(b, CONFIG_GRPC, 0, "tls_cert");
    bool has_tcp = false;

    check_tls_pair(b, "tls_cert", "tls_key");
    check_tls_pair(b, "tls_key", "tls_cert");
    if (is_set(&ca) && !has_tls)
        config_problem_error(&b->problems, &ca, "is set without TLS; expected tls_cert and tls_key beside it");
    for (unsigned i = 0; i < b->config->grpc_addr_count; i++) {
        if (b->config->grpc_addrs[i].is_unix)
            continue;
        struct config_place place = grpc_addr_place(b, i);
        has_tcp = true;
        if (!has_tls)
            config_problem_error(&b->problems, &place,
                                 "%s is a TCP address, which needs TLS; expected tls_cert and tls_key beside it",
                                 b->config->grpc_addrs[i].text);
    }
    if (is_set(&cert) && !has_tcp && b->config->grpc_addr_count > 0)
        config_problem_warn(&b->problems, &cert, "has no effect, because no addr is a TCP address");
}

/* ---- the rest ---- */

static void check_firewall(struct config_builder *b)
{
    struct config_place countries = config_builder_find(b, CONFIG_FIREWALL, 0, "blocked_countries");

    if (b->config->blocked_countries.count > 0 && !key_is_set(b, CONFIG_FIREWALL, 0, "geoip_db"))
        config_problem_error(&b->problems, &countries, "needs a GeoIP database; expected geoip_db beside it");
}

static void check_trusted(struct config_builder *b, unsigned listener)
{
    struct config_place mode = config_builder_find(b, CONFIG_LISTENER, listener, "proxy_protocol");
    struct config_place trusted = config_builder_find(b, CONFIG_LISTENER, listener, "proxy_trusted");
    const struct config_listener *l = &b->config->listeners[listener];

    if (l->proxy_mode == PROXY_MODE_MIXED && l->trusted_count == 0)
        config_problem_error(&b->problems, &mode,
                             "mixed needs to know who sends a header; expected proxy_trusted beside it");
    if (l->proxy_mode == PROXY_MODE_OFF && l->trusted_count > 0)
        config_problem_warn(&b->problems, &trusted, "has no effect, because proxy_protocol is off");
}

static void check_listeners(struct config_builder *b)
{
    struct config_place nowhere = {.section = CONFIG_LISTENER, .listener = "NAME"};

    for (unsigned i = 0; i < b->config->listener_count; i++)
        check_trusted(b, i);
    if (b->config->listener_count == 0)
        config_problem_warn(&b->problems, &nowhere,
                            "there is no such section, so the server will not accept a single connection");
}

void config_rules_check(struct config_builder *b)
{
    check_required(b);
    check_grpc(b);
    check_addrs(b);
    check_firewall(b);
    check_listeners(b);
    check_duplicate_names(b);
    check_duplicate_entries(b);
}
