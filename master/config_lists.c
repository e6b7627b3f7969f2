/* The types of list entries: checked with the parsers the worker and the admin API use, kept in canonical form, in the order of the
 * file. */

#include "config_lists.h"

#include <stdlib.h>

#include "config.h"
#include "config_builder.h"
#include "config_memory.h"
#include "err.h"
#include "hostname.h"

static int append_text(struct config_list *list, const char *text)
{
    char *copy = config_copy(bytes_of_str(text));

    if (copy == NULL || config_grow(&list->items, list->count, sizeof *list->items) != 0) {
        free(copy);
        return ERR_NO_MEMORY;
    }
    list->items[list->count++] = copy;
    return 0;
}

static int append_rule(struct config_builder *b, const struct config_key *key, void *object, const char *canonical)
{
    int rc = append_text((struct config_list *)((char *)object + key->offset), canonical);

    return rc != 0 ? rc : config_builder_note(b, key, canonical);
}

int config_store_blocked_ip(struct config_builder *b, const struct config_key *key, void *object, struct bytes text,
                            struct strbuf *why)
{
    char data[ADDRESS_TEXT_MAX];
    struct strbuf canonical = STRBUF_OF(data);
    struct ip_addr addr;
    int rc = ip_addr_parse(text, &addr, why);

    if (rc != 0)
        return rc;
    ip_addr_format(&addr, &canonical);
    return append_rule(b, key, object, data);
}

int config_store_blocked_cidr(struct config_builder *b, const struct config_key *key, void *object, struct bytes text,
                              struct strbuf *why)
{
    char data[ADDRESS_TEXT_MAX];
    struct strbuf canonical = STRBUF_OF(data);
    struct ip_cidr cidr;
    int rc = ip_cidr_parse(text, &cidr, why);

    if (rc != 0)
        return rc;
    ip_cidr_format(&cidr, &canonical);
    return append_rule(b, key, object, data);
}

int config_store_blocked_country(struct config_builder *b, const struct config_key *key, void *object,
                                 struct bytes text, struct strbuf *why)
{
    char code[3] = {0};

    for (size_t i = 0; i < text.len; i++) {
        if (text.len != 2 || text.ptr[i] < 'A' || text.ptr[i] > 'Z') {
            strbuf_add(why, "no country code");
            return ERR_INVALID;
        }
        code[i] = (char)text.ptr[i];
    }
    return append_rule(b, key, object, code);
}

static int parse_network(struct bytes text, struct ip_cidr *out, struct strbuf *why)
{
    int rc;

    if (text.len > 0 && memchr(text.ptr, '/', text.len) != NULL)
        return ip_cidr_parse(text, out, why);
    if ((rc = ip_addr_parse(text, &out->addr, why)) != 0)
        return rc;
    out->prefix_len = out->addr.family == 4 ? 32 : 128;
    return 0;
}

int config_store_trusted(struct config_builder *b, const struct config_key *key, void *object, struct bytes text,
                         struct strbuf *why)
{
    struct config_listener *listener = object;
    char data[ADDRESS_TEXT_MAX];
    struct strbuf canonical = STRBUF_OF(data);
    struct ip_cidr cidr;
    int rc = parse_network(text, &cidr, why);

    if (rc != 0)
        return rc;
    if (listener->trusted_count == CTL_TRUSTED_MAX) {
        strbuf_addf(why, "one too many, at most %d are possible", CTL_TRUSTED_MAX);
        return ERR_RANGE;
    }
    if (config_grow(&listener->trusted, listener->trusted_count, sizeof *listener->trusted) != 0)
        return ERR_NO_MEMORY;
    listener->trusted[listener->trusted_count++] = cidr;
    ip_cidr_format(&cidr, &canonical);
    return config_builder_note(b, key, data);
}

/* ---- [grpc] addr ---- */

static int parse_grpc_unix(struct bytes path, struct config_grpc_addr *out, struct strbuf *why)
{
    if (path.len == 0 || path.ptr[0] != '/') {
        strbuf_add(why, "the path behind unix: must begin with '/'");
        return ERR_INVALID;
    }
    if (path.len > BACKEND_UNIX_PATH_MAX) {
        strbuf_addf(why, "a socket's path can have at most %d bytes", BACKEND_UNIX_PATH_MAX);
        return ERR_RANGE;
    }
    out->is_unix = true;
    out->path = config_copy(path);
    return out->path != NULL ? 0 : ERR_NO_MEMORY;
}

static int parse_grpc_addr(struct bytes text, struct config_grpc_addr *out, struct strbuf *canonical,
                           struct strbuf *why)
{
    static const char prefix[] = "unix:";
    size_t skip = sizeof prefix - 1;
    int rc;

    if (text.len >= skip && memcmp(text.ptr, prefix, skip) == 0) {
        rc = parse_grpc_unix(bytes_of(text.ptr + skip, text.len - skip), out, why);
        strbuf_add_bytes(canonical, text);
        return rc;
    }
    if ((rc = listen_addr_parse(text, &out->addr, why)) == 0)
        listen_addr_format(&out->addr, canonical);
    return rc;
}

int config_store_grpc_addr(struct config_builder *b, const struct config_key *key, void *object, struct bytes text,
                           struct strbuf *why)
{
    struct config *config = object;
    char data[sizeof "unix:" + BACKEND_UNIX_PATH_MAX];
    struct strbuf canonical = STRBUF_OF(data);
    struct config_grpc_addr fresh = {0};
    int rc = parse_grpc_addr(text, &fresh, &canonical, why);

    if (rc != 0)
        return rc;
    if (config->grpc_addr_count == CONFIG_GRPC_ADDRS_MAX) {
        free(fresh.path);
        strbuf_addf(why, "one too many, at most %d are possible", CONFIG_GRPC_ADDRS_MAX);
        return ERR_RANGE;
    }
    fresh.text = config_copy(text);
    if (fresh.text == NULL ||
        config_grow(&config->grpc_addrs, config->grpc_addr_count, sizeof *config->grpc_addrs) != 0) {
        free(fresh.text);
        free(fresh.path);
        return ERR_NO_MEMORY;
    }
    fresh.line = b->place.site.line;
    config->grpc_addrs[config->grpc_addr_count++] = fresh;
    return config_builder_note(b, key, data);
}

/* ---- route ---- */

/** Cut the first word off; empty at the end. */
static struct bytes take_word(struct bytes *text)
{
    size_t begin = 0, end;

    while (begin < text->len && (text->ptr[begin] == ' ' || text->ptr[begin] == '\t'))
        begin++;
    for (end = begin; end < text->len && text->ptr[end] != ' ' && text->ptr[end] != '\t';)
        end++;
    struct bytes word = bytes_of(text->ptr + begin, end - begin);
    *text = bytes_of(text->ptr + end, text->len - end);
    return word;
}

static int parse_flag(struct bytes flag, struct bytes rest, bool *out, struct strbuf *why)
{
    *out = flag.len > 0;
    if (flag.len > 0 && !bytes_equal_str(flag, "send_proxy_protocol")) {
        strbuf_add(why, "the third word can only be send_proxy_protocol");
        return ERR_INVALID;
    }
    if (take_word(&rest).len > 0) {
        strbuf_add(why, "there are more than three words");
        return ERR_INVALID;
    }
    return 0;
}

/** The texts of a route in canonical form. */
static int parse_route(struct bytes text, struct strbuf *host_out, struct strbuf *backend_out, bool *flag_out,
                       struct strbuf *why)
{
    struct bytes host = take_word(&text), backend = take_word(&text), flag = take_word(&text);
    struct host_pattern pattern;
    struct backend_addr addr;
    int rc;

    if (backend.len == 0) {
        strbuf_add(why, "the backend is missing");
        return ERR_INVALID;
    }
    strbuf_add(why, "hostname: ");
    if ((rc = host_pattern_parse(host, &pattern, why)) != 0)
        return rc;
    strbuf_reset(why);
    strbuf_add(why, "backend: ");
    if ((rc = backend_addr_parse(backend, &addr, why)) != 0)
        return rc;
    strbuf_reset(why);
    if ((rc = parse_flag(flag, text, flag_out, why)) != 0)
        return rc;
    host_pattern_format(&pattern, host_out);
    backend_addr_format(&addr, backend_out);
    return 0;
}

int config_store_route(struct config_builder *b, const struct config_key *key, void *object, struct bytes text,
                       struct strbuf *why)
{
    struct config_listener *listener = object;
    char host_data[HOSTNAME_MAX + 1], backend_data[BACKEND_TEXT_MAX];
    struct strbuf host = STRBUF_OF(host_data), backend = STRBUF_OF(backend_data);
    struct config_route fresh = {0};
    int rc = parse_route(text, &host, &backend, &fresh.send_proxy_protocol, why);

    if (rc != 0)
        return rc;
    fresh.hostname = config_copy(bytes_of(host.data, host.len));
    fresh.backend = config_copy(bytes_of(backend.data, backend.len));
    if (fresh.hostname == NULL || fresh.backend == NULL ||
        config_grow(&listener->routes, listener->route_count, sizeof *listener->routes) != 0) {
        free(fresh.hostname);
        free(fresh.backend);
        return ERR_NO_MEMORY;
    }
    listener->routes[listener->route_count++] = fresh;
    return config_builder_note(b, key, host_data);
}
