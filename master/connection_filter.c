/* Which connections an operator means, in the words of the admin API. */

#include "connection_filter.h"

#include <string.h>

#include "access_record.h"
#include "close_reason.h"
#include "err.h"
#include "log_event.h"
#include "state_fields.h"

static void take_field(const struct log_field *field, struct connection_traits *out)
{
    switch (field->key) {
    case LOG_KEY_SNI: out->sni = field->str; break;
    case LOG_KEY_REASON: out->reason = field->str; break;
    case LOG_KEY_LISTENER: out->listener = field->str; break;
    case LOG_KEY_CLIENT: out->client = field->endpoint.addr; break;
    default: break;
    }
}

bool connection_traits_of(struct bytes record, struct connection_traits *out)
{
    struct log_record_reader reader;
    struct log_field field;
    int rc;

    *out = (struct connection_traits){0};
    if (log_record_open(&reader, record) != 0 || !bytes_equal_str(reader.message, ACCESS_RECORD_MESSAGE))
        return false;
    while ((rc = log_record_next(&reader, &field)) == 1)
        take_field(&field, out);
    return rc == 0;
}

static bool sni_matches(const struct host_pattern *pattern, struct bytes sni)
{
    if (pattern->kind == HOST_PATTERN_ANY)
        return true;
    if (pattern->kind == HOST_PATTERN_EXACT)
        return bytes_equal_str(sni, pattern->name);
    return sni.len > (size_t)pattern->len + 1 && sni.ptr[sni.len - pattern->len - 1] == '.' &&
           memcmp(sni.ptr + sni.len - pattern->len, pattern->name, pattern->len) == 0;
}

bool connection_filter_passes(const struct connection_filter *f, const struct connection_traits *traits)
{
    return (!f->has_sni || sni_matches(&f->sni, traits->sni)) &&
           (f->client.addr.family == 0 || ip_cidr_covers(&f->client, &traits->client)) &&
           (f->reason == NULL || bytes_equal_str(traits->reason, f->reason)) &&
           (f->listener[0] == '\0' || bytes_equal_str(traits->listener, f->listener));
}

/* ---- fields ---- */

static int refuse(const char *field, const char *text, const char *reason, struct strbuf *why)
{
    strbuf_addf(why, "%s: %s (it is ", field, reason);
    state_add_quoted(bytes_of_str(text), why);
    strbuf_add_char(why, ')');
    return ERR_INVALID;
}

/** What parsers say may hold bytes of the value; those of requests are shown behind it anyway. */
static int parse_pattern(const char *field, const char *text, struct host_pattern *out, struct strbuf *why)
{
    char data[256];
    struct strbuf reason = STRBUF_OF(data);

    return host_pattern_parse(bytes_of_str(text), out, &reason) == 0 ? 0 : refuse(field, text, data, why);
}

int connection_filter_set_sni(struct connection_filter *filter, const char *text, struct strbuf *why)
{
    filter->has_sni = true;
    return parse_pattern("sni_pattern", text, &filter->sni, why);
}

int connection_filter_set_reason(struct connection_filter *filter, const char *text, struct strbuf *why)
{
    for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++) {
        filter->reason = close_reason_word((enum close_reason)i);
        if (strcmp(filter->reason, text) == 0)
            return 0;
    }
    filter->reason = NULL;
    return refuse("reason", text, "is none of the reasons that connections end for", why);
}

int connection_filter_parse_client(const char *text, struct ip_cidr *out, struct strbuf *why)
{
    char data[256];
    struct strbuf reason = STRBUF_OF(data);
    struct bytes bytes = bytes_of_str(text);
    int rc;

    if (strchr(text, '/') != NULL) {
        rc = ip_cidr_parse(bytes, out, &reason);
    } else {
        rc = ip_addr_parse(bytes, &out->addr, &reason);
        out->prefix_len = out->addr.family == 4 ? 32 : 128;
    }
    return rc == 0 ? 0 : refuse("client_cidr", text, data, why);
}

int connection_filter_parse_route(const char *text, struct strbuf *out, struct strbuf *why)
{
    struct host_pattern pattern;
    int rc = parse_pattern("route", text, &pattern, why);

    if (rc == 0)
        host_pattern_format(&pattern, out);
    return rc;
}
