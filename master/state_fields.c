/* Requests field by field: any bytes in, canonical values out, or a line that names the field and says what would be right. */

#include "state_fields.h"

#include <string.h>

#include "err.h"
#include "utf8.h"

#define QUOTED_MAX 100 /* bytes of a value that are shown */

static void add_printable(struct bytes text, struct strbuf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.ptr[i];
        if (byte >= ' ' && byte < 0x7f && byte != '"' && byte != '\\')
            strbuf_add_char(out, (char)byte);
        else if (byte == '"' || byte == '\\')
            strbuf_addf(out, "\\%c", byte);
        else
            strbuf_addf(out, "\\x%02x", byte);
    }
}

void state_add_quoted(struct bytes text, struct strbuf *out)
{
    bool is_long = text.len > QUOTED_MAX;

    strbuf_add_char(out, '"');
    add_printable(bytes_of(text.ptr, is_long ? QUOTED_MAX : text.len), out);
    strbuf_add(out, is_long ? "...\"" : "\"");
}

/** What a parser says may hold bytes of the value as they came. */
static void add_reason(const char *reason, struct strbuf *out)
{
    for (const char *p = reason; *p != '\0'; p++) {
        uint8_t byte = (uint8_t)*p;
        if (byte >= ' ' && byte < 0x7f)
            strbuf_add_char(out, *p);
        else
            strbuf_addf(out, "\\x%02x", byte);
    }
}

static int refuse(const char *field, struct bytes text, const char *reason, struct strbuf *why)
{
    strbuf_addf(why, "%s: ", field);
    add_reason(reason, why);
    if (text.len > 0) {
        strbuf_add(why, " (it is ");
        state_add_quoted(text, why);
        strbuf_add_char(why, ')');
    }
    return ERR_INVALID;
}

/** No field holds more than this; so no parser has to look at megabytes. */
#define FIELD_MAX 1024

/** What every field has in common; true: it was refused. */
static bool is_refused(const char *field, struct bytes text, struct strbuf *why)
{
    const char *reason = NULL;

    if (text.len == 0)
        reason = "must not be empty";
    else if (memchr(text.ptr, '\0', text.len) != NULL)
        reason = "must not contain a NUL";
    else if (text.len > FIELD_MAX)
        reason = "is too long";
    if (reason != NULL)
        (void)refuse(field, text, reason, why);
    return reason != NULL;
}

int state_parse_listener(struct bytes text, struct listen_addr *out, struct strbuf *why)
{
    char data[256];
    struct strbuf reason = STRBUF_OF(data);

    if (is_refused("listener_addr", text, why))
        return ERR_INVALID;
    return listen_addr_parse(text, out, &reason) == 0 ? 0 : refuse("listener_addr", text, data, why);
}

static int parse_hostname(const char *field, struct bytes text, struct state_request *out, struct strbuf *why)
{
    char data[256];
    struct strbuf reason = STRBUF_OF(data);
    struct strbuf canonical = STRBUF_OF(out->hostname);

    if (is_refused(field, text, why))
        return ERR_INVALID;
    if (host_pattern_parse(text, &out->pattern, &reason) != 0)
        return refuse(field, text, data, why);
    host_pattern_format(&out->pattern, &canonical);
    CHECK(!canonical.overflowed);
    return 0;
}

static int parse_backend(struct bytes text, struct state_request *out, struct strbuf *why)
{
    static const char field[] = "route.backend";
    char data[256];
    struct strbuf reason = STRBUF_OF(data);
    struct strbuf canonical = STRBUF_OF(out->backend_text);

    if (is_refused(field, text, why))
        return ERR_INVALID;
    if (backend_addr_parse(text, &out->backend, &reason) != 0)
        return refuse(field, text, data, why);
    /* A path goes into answers, lists and logs. */
    if (!utf8_is_printable(bytes_of_str(out->backend.path)))
        return refuse(field, text, "the path must be UTF-8 without control characters", why);
    backend_addr_format(&out->backend, &canonical);
    CHECK(!canonical.overflowed);
    return 0;
}

static int parse_rule(const struct state_change *change, struct state_request *out, struct strbuf *why)
{
    static const enum firewall_rule_kind kinds[] = {
        [STORE_RULE_IP] = FIREWALL_RULE_IP,
        [STORE_RULE_CIDR] = FIREWALL_RULE_CIDR,
        [STORE_RULE_COUNTRY] = FIREWALL_RULE_COUNTRY,
    };
    char data[256];
    struct strbuf reason = STRBUF_OF(data);
    struct strbuf canonical = STRBUF_OF(out->value);

    if ((size_t)change->rule_type >= sizeof kinds / sizeof kinds[0])
        return refuse("rule.type", bytes_of(NULL, 0), "must be an IP, a CIDR or a country", why);
    if (is_refused("rule.value", change->value, why))
        return ERR_INVALID;
    if (firewall_rule_parse(kinds[change->rule_type], change->value, &out->rule, &reason) != 0)
        return refuse("rule.value", change->value, data, why);
    firewall_rule_format(&out->rule, &canonical);
    CHECK(!canonical.overflowed);
    return 0;
}

int state_request_parse(const struct state_change *change, struct state_request *out, struct strbuf *why)
{
    int rc;

    if (change->kind == STATE_ADD_RULE || change->kind == STATE_REMOVE_RULE)
        return parse_rule(change, out, why);
    if ((rc = state_parse_listener(change->listener, &out->listener, why)) != 0)
        return rc;
    if (change->kind == STATE_REMOVE_ROUTE)
        return parse_hostname("hostname", change->hostname, out, why);
    CHECK(change->kind == STATE_PUT_ROUTE);
    if ((rc = parse_hostname("route.hostname", change->hostname, out, why)) != 0)
        return rc;
    return parse_backend(change->backend, out, why);
}
