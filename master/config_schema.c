/* The table of sections and keys, and what can be told from it alone. */

#include "config_schema.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

#include "config.h"
#include "config_lists.h"
#include "config_values.h"
#include "duration.h"
#include "shm_layout.h"

static const char *const section_names[CONFIG_SECTION_COUNT] = {
    [CONFIG_SERVER] = "server",     [CONFIG_DATABASE] = "database", [CONFIG_LOG] = "log",
    [CONFIG_PROXY] = "proxy",       [CONFIG_GRPC] = "grpc",         [CONFIG_METRICS] = "metrics",
    [CONFIG_FIREWALL] = "firewall", [CONFIG_LISTENER] = "listener",
};

/* The index of a word is the value that is stored: enum log_level, bool, enum proxy_mode, enum no_route_mode. */
static const char *const level_words[] = {"debug", "info", "warn", "error", NULL};
static const char *const format_words[] = {"text", "json", NULL};
static const char *const bool_words[] = {"false", "true", NULL};
static const char *const proxy_words[] = {"off", "required", "mixed", NULL};
static const char *const no_route_words[] = {"reset", "alert", NULL};

#define TIMEOUT_MIN 10u
#define TIMEOUT_MAX (7u * 24 * 60 * 60 * 1000)
#define WINDOW_MIN  1000u
#define WINDOW_MAX  (24u * 60 * 60 * 1000)

#define IN(field)          offsetof(struct config, field)
#define IN_LISTENER(field) offsetof(struct config_listener, field)
#define TIMEOUT(key, low, value)                                                                               \
    {                                                                                                          \
        CONFIG_PROXY, #key, .is_reloadable = true, .is_duration = true, .store = config_store_duration,        \
                            .offset = IN(key##_ms), .min = (low), .max = TIMEOUT_MAX, .default_value = (value) \
    }

/* clang-format off */
static const struct config_key keys[] = {
    {CONFIG_SERVER, "workers", .is_reloadable = true, .store = config_store_workers, .offset = IN(workers),
     .min = 1, .max = SHM_WORKERS_MAX, .default_value = "auto", .expected = "auto or a number from 1 to 256"},
    {CONFIG_SERVER, "user", .store = config_store_text, .offset = IN(user), .expected = "a user name"},

    {CONFIG_DATABASE, "path", .is_required = true, .store = config_store_path, .offset = IN(database_path),
     .expected = "the path of the database file"},

    {CONFIG_LOG, "level", .is_reloadable = true, .store = config_store_choice, .offset = IN(log_level), .words = level_words,
     .default_value = "info"},
    {CONFIG_LOG, "format", .is_reloadable = true, .store = config_store_either, .offset = IN(log_json), .words = format_words,
     .default_value = "text"},
    {CONFIG_LOG, "access", .is_reloadable = true, .store = config_store_either, .offset = IN(log_access), .words = bool_words,
     .default_value = "true"},
    {CONFIG_LOG, "rejected_per_second", .is_reloadable = true, .store = config_store_number,
     .offset = IN(log_rejected_per_second), .min = 0, .max = 1000000, .default_value = "200"},

    TIMEOUT(hello_timeout, TIMEOUT_MIN, "10s"),
    TIMEOUT(connect_timeout, TIMEOUT_MIN, "5s"),
    TIMEOUT(idle_timeout, TIMEOUT_MIN, "5m"),
    TIMEOUT(half_close_timeout, TIMEOUT_MIN, "1m"),
    TIMEOUT(shutdown_timeout, 0, "30s"),
    {CONFIG_PROXY, "max_pending_hellos", .is_reloadable = true, .store = config_store_pending_hellos,
     .offset = IN(max_pending_hellos), .min = 0, .max = 1000000, .default_value = "auto",
     .expected = "auto or a number from 0 to 1000000"},

    {CONFIG_GRPC, "addr", CONFIG_REPEATED, .is_reloadable = true, .store = config_store_grpc_addr,
     .expected = "unix:/PATH, HOST-ADDRESS:PORT or :PORT"},
    {CONFIG_GRPC, "tls_cert", .is_reloadable = true, .store = config_store_path, .offset = IN(grpc_tls_cert),
     .expected = "the path of a PEM file"},
    {CONFIG_GRPC, "tls_key", .is_reloadable = true, .store = config_store_path, .offset = IN(grpc_tls_key),
     .expected = "the path of a PEM file"},
    {CONFIG_GRPC, "client_ca", .is_reloadable = true, .store = config_store_path, .offset = IN(grpc_client_ca),
     .expected = "the path of a PEM file"},

    {CONFIG_METRICS, "addr", .is_reloadable = true, .store = config_store_metrics_addr, .offset = IN(metrics_addr),
     .expected = "an address like 127.0.0.1:9100, [::1]:9100 or :9100"},
    {CONFIG_METRICS, "routes", .is_reloadable = true, .store = config_store_either, .offset = IN(metrics_routes),
     .words = bool_words, .default_value = "false"},
    {CONFIG_METRICS, "max_series", .is_reloadable = true, .store = config_store_number, .offset = IN(metrics_max_series),
     .min = 0, .max = 200000, .default_value = "100000"},

    {CONFIG_FIREWALL, "geoip_db", .is_reloadable = true, .store = config_store_path, .offset = IN(geoip_db),
     .expected = "the path of a MaxMind DB file"},
    {CONFIG_FIREWALL, "blocked_ips", CONFIG_COMMA_LIST, .store = config_store_blocked_ip, .offset = IN(blocked_ips),
     .expected = "plain addresses like 192.0.2.7 or 2001:db8::7"},
    {CONFIG_FIREWALL, "blocked_cidrs", CONFIG_COMMA_LIST, .store = config_store_blocked_cidr, .offset = IN(blocked_cidrs),
     .expected = "networks like 198.51.100.0/24 or 2001:db8::/32"},
    {CONFIG_FIREWALL, "blocked_countries", CONFIG_COMMA_LIST, .store = config_store_blocked_country,
     .offset = IN(blocked_countries), .expected = "country codes of two capital letters like KP"},
    {CONFIG_FIREWALL, "rate_limit", .is_reloadable = true, .store = config_store_number, .offset = IN(rate_limit),
     .min = 0, .max = 1000000, .default_value = "0"},
    {CONFIG_FIREWALL, "rate_window", .is_reloadable = true, .is_duration = true, .store = config_store_duration,
     .offset = IN(rate_window_ms), .min = WINDOW_MIN, .max = WINDOW_MAX, .default_value = "1m"},

    {CONFIG_LISTENER, "addr", .is_reloadable = true, .is_required = true, .store = config_store_listener_addr,
     .offset = IN_LISTENER(addr), .expected = "an address like :443, 0.0.0.0:443 or [::1]:443"},
    {CONFIG_LISTENER, "proxy_protocol", .is_reloadable = true, .store = config_store_choice, .offset = IN_LISTENER(proxy_mode),
     .words = proxy_words, .default_value = "off"},
    {CONFIG_LISTENER, "proxy_trusted", CONFIG_COMMA_LIST, .is_reloadable = true, .store = config_store_trusted,
     .offset = IN_LISTENER(trusted), .expected = "addresses or networks like 10.0.0.1 or 10.0.0.0/8"},
    {CONFIG_LISTENER, "max_connections", .is_reloadable = true, .store = config_store_number,
     .offset = IN_LISTENER(max_connections), .min = 0, .max = UINT32_MAX, .default_value = "0"},
    {CONFIG_LISTENER, "no_route", .is_reloadable = true, .store = config_store_choice, .offset = IN_LISTENER(no_route_mode),
     .words = no_route_words, .default_value = "reset"},
    {CONFIG_LISTENER, "route", CONFIG_REPEATED, .store = config_store_route, .offset = IN_LISTENER(routes),
     .expected = "HOSTNAME BACKEND [send_proxy_protocol], such as www.example.com 10.0.0.5:8443"},
};
/* clang-format on */

#define KEY_COUNT (sizeof keys / sizeof keys[0])
_Static_assert(KEY_COUNT <= CONFIG_KEYS_MAX, "struct config_scope has a place for every key");

const struct config_key *config_schema_keys(unsigned *count_out)
{
    *count_out = KEY_COUNT;
    return keys;
}

unsigned config_schema_index(const struct config_key *key)
{
    CHECK(key >= keys && key < keys + KEY_COUNT);
    return (unsigned)(key - keys);
}

const struct config_key *config_schema_find(enum config_section section, const char *name)
{
    for (unsigned i = 0; i < KEY_COUNT; i++) {
        if (keys[i].section == section && strcmp(keys[i].name, name) == 0)
            return &keys[i];
    }
    return NULL;
}

const char *config_section_name(enum config_section section)
{
    CHECK(section < CONFIG_SECTION_COUNT);
    return section_names[section];
}

enum config_section config_section_find(struct bytes name)
{
    unsigned s = 0;

    while (s < CONFIG_LISTENER && !bytes_equal_str(name, section_names[s]))
        s++;
    return s < CONFIG_LISTENER ? (enum config_section)s : CONFIG_SECTION_COUNT;
}

static void expect_range(const struct config_key *key, struct strbuf *out)
{
    if (!key->is_duration) {
        strbuf_addf(out, "a number from %u to %u", key->min, key->max);
        return;
    }
    strbuf_add(out, "a duration from ");
    duration_format(key->min, out);
    strbuf_add(out, " to ");
    duration_format(key->max, out);
    strbuf_addf(out, ", such as %s", key->default_value);
}

void config_schema_expect(const struct config_key *key, struct strbuf *out)
{
    if (key->expected != NULL) {
        strbuf_add(out, key->expected);
    } else if (key->words != NULL) {
        for (unsigned i = 0; key->words[i] != NULL; i++) {
            if (i > 0)
                strbuf_add(out, key->words[i + 1] == NULL ? " or " : ", ");
            strbuf_add(out, key->words[i]);
        }
    } else {
        expect_range(key, out);
    }
}

#define SUGGEST_NAME_MAX 48

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    unsigned ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/** Letters to change, add or leave out to turn one name into the other (Levenshtein), without regard to case. */
static unsigned distance(const char *from, const char *to)
{
    unsigned row[SUGGEST_NAME_MAX + 1];
    size_t to_len = strlen(to);

    if (to_len > SUGGEST_NAME_MAX || strlen(from) > SUGGEST_NAME_MAX)
        return UINT_MAX;
    for (unsigned j = 0; j <= to_len; j++)
        row[j] = j;
    for (unsigned i = 1; from[i - 1] != '\0'; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= to_len; j++) {
            bool is_same = tolower((unsigned char)from[i - 1]) == tolower((unsigned char)to[j - 1]);
            unsigned next = least(row[j] + 1, row[j - 1] + 1, diagonal + (is_same ? 0 : 1));
            diagonal = row[j];
            row[j] = next;
        }
    }
    return row[to_len];
}

/** Close enough to be a slip: two letters, or three in a long name. */
static bool is_close(const char *name, const char *candidate, unsigned *best)
{
    unsigned limit = strlen(candidate) >= 9 ? 3 : 2;
    unsigned d = distance(name, candidate);

    if (d > limit || d >= *best)
        return false;
    *best = d;
    return true;
}

static void list_keys(enum config_section section, struct strbuf *out)
{
    const char *separator = "the keys here are ";

    for (unsigned i = 0; i < KEY_COUNT; i++) {
        if (keys[i].section != section)
            continue;
        strbuf_addf(out, "%s%s", separator, keys[i].name);
        separator = ", ";
    }
}

void config_schema_suggest_key(enum config_section section, const char *name, struct strbuf *out)
{
    const struct config_key *near = NULL;
    unsigned best = UINT_MAX;

    for (unsigned i = 0; i < KEY_COUNT; i++) {
        if (keys[i].section == section && is_close(name, keys[i].name, &best))
            near = &keys[i];
    }
    for (unsigned i = 0; near == NULL && i < KEY_COUNT; i++) {
        if (strcmp(keys[i].name, name) == 0)
            near = &keys[i];
    }
    if (near == NULL)
        list_keys(section, out);
    else if (near->section == section)
        strbuf_addf(out, "did you mean %s?", near->name);
    else
        strbuf_addf(out, "it belongs into [%s%s]", section_names[near->section],
                    near->section == CONFIG_LISTENER ? " NAME" : "");
}

void config_schema_suggest_section(const char *name, struct strbuf *out)
{
    char word_data[SUGGEST_NAME_MAX + 2];
    struct strbuf word = STRBUF_OF(word_data);
    const char *near = NULL;
    unsigned best = UINT_MAX;

    strbuf_add_bytes(&word, bytes_of(name, strcspn(name, " "))); /* of "listner web" the first */
    for (unsigned s = 0; s < CONFIG_SECTION_COUNT; s++) {
        if (is_close(word_data, section_names[s], &best))
            near = section_names[s];
    }
    if (near == NULL)
        strbuf_add(
            out,
            "the sections are [server], [database], [log], [proxy], [grpc], [metrics], [firewall] and [listener NAME]");
    else if (strcmp(near, section_names[CONFIG_LISTENER]) == 0)
        strbuf_add(out, "did you mean [listener NAME]?");
    else
        strbuf_addf(out, "did you mean [%s]?", near);
}
