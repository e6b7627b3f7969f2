/* The addresses of the admin API: what is new is bound beside what is old, and takes its place in one step that cannot fail. */

#include "grpc_endpoints.h"

#include <errno.h>
#include <string.h>

#include "admin_tls.h"
#include "err.h"
#include "listen_sockets.h"
#include "log_event.h"

#define PROBE_WAIT_MS 200 /* a predecessor that has just died may still be closing */

static bool is_same(const struct grpc_endpoint *e, const struct config_grpc_addr *addr)
{
    if (e->is_unix != addr->is_unix)
        return false;
    return e->is_unix ? strcmp(e->socket.path, addr->path) == 0 : listen_addr_equal(&e->addr, &addr->addr);
}

static bool has_same(const struct grpc_endpoints *set, const struct config_grpc_addr *addr)
{
    for (unsigned i = 0; i < set->count; i++) {
        if (is_same(&set->items[i], addr))
            return true;
    }
    return false;
}

/* ---- binding ---- */

/** Would one of our own sockets look like somebody else's to a probe? */
static bool is_ours_in_part(const struct grpc_endpoints *set, const struct listen_addr *addr)
{
    for (unsigned i = 0; i < set->count; i++) {
        if (!set->items[i].is_unix && listen_addr_overlaps(&set->items[i].addr, addr))
            return true;
    }
    return false;
}

static int open_tcp(const struct grpc_endpoints *current, struct grpc_endpoint *e, struct strbuf *why)
{
    int rc = is_ours_in_part(current, &e->addr) ? 0 : listen_sockets_probe(&e->addr, PROBE_WAIT_MS, why);

    return rc != 0 ? rc : listen_sockets_open(&e->addr, 1, &e->socket.fd, why);
}

static int open_endpoint(const struct grpc_endpoints *current, const struct config_grpc_addr *addr,
                         struct grpc_endpoint *e, struct strbuf *why)
{
    static uint64_t last_id;

    *e = (struct grpc_endpoint){.id = ++last_id, .is_unix = addr->is_unix, .addr = addr->addr, .socket.fd = -1};
    if (has_same(current, addr)) {
        if (e->is_unix)
            memcpy(e->socket.path, addr->path, strlen(addr->path) + 1);
        e->is_taken = true;
        return 0;
    }
    strbuf_addf(why, "[grpc] addr %s: ", addr->text);
    int rc = addr->is_unix ? unix_socket_open(addr->path, &e->socket, why) : open_tcp(current, e, why);
    if (rc == 0)
        strbuf_reset(why);
    else
        e->socket.fd = -1;
    return rc;
}

/** TCP is never served without TLS; the configuration was checked for that. */
static int open_tls(const struct config *config, struct grpc_endpoints *out, struct strbuf *why)
{
    bool has_tcp = false;

    for (unsigned i = 0; i < config->grpc_addr_count; i++)
        has_tcp = has_tcp || !config->grpc_addrs[i].is_unix;
    if (!has_tcp)
        return 0;
    if (config->grpc_tls_cert == NULL || config->grpc_tls_key == NULL) {
        strbuf_add(why, "[grpc] a TCP address needs tls_cert and tls_key");
        return ERR_INVALID;
    }
    return admin_tls_context_new(config->grpc_tls_cert, config->grpc_tls_key, config->grpc_client_ca, &out->tls, why);
}

int grpc_endpoints_open(const struct grpc_endpoints *current, const struct config *config, struct grpc_endpoints *out,
                        struct strbuf *why)
{
    int rc = open_tls(config, out, why);

    CHECK(config->grpc_addr_count <= CONFIG_GRPC_ADDRS_MAX);
    for (unsigned i = 0; i < config->grpc_addr_count && rc == 0; i++) {
        rc = open_endpoint(current, &config->grpc_addrs[i], &out->items[out->count], why);
        out->count++;
    }
    return rc;
}

/* ---- changing over ---- */

/** Nothing is lost if that fails, but nobody will find it either. */
static void publish(struct grpc_endpoint *e)
{
    struct log_event event;

    if (!e->is_unix || e->socket.hidden[0] == '\0')
        return;
    int rc = unix_socket_publish(&e->socket);
    if (rc == 0)
        return;
    int error_number = errno;
    log_event_begin(&event, LOG_ERROR, "the admin socket cannot get its name; check the folder and reload");
    log_event_cstr(&event, LOG_KEY_PATH, e->socket.path);
    log_event_cstr(&event, LOG_KEY_ERROR,
                   rc == ERR_IN_USE ? "something that is no socket is there" : strerror(error_number));
    log_event_end(&event);
}

static void take_same(struct grpc_endpoint *e, struct grpc_endpoints *current)
{
    struct config_grpc_addr addr = {.is_unix = e->is_unix, .path = e->socket.path, .addr = e->addr};

    for (unsigned i = 0; i < current->count; i++) {
        struct grpc_endpoint *old = &current->items[i];
        if (old->socket.fd >= 0 && is_same(old, &addr)) {
            e->id = old->id;
            e->socket = old->socket;
            old->socket.fd = -1;
            return;
        }
    }
}

void grpc_endpoints_take(struct grpc_endpoints *fresh, struct grpc_endpoints *current)
{
    for (unsigned i = 0; i < fresh->count; i++) {
        if (fresh->items[i].is_taken)
            take_same(&fresh->items[i], current);
        publish(&fresh->items[i]);
    }
}

void grpc_endpoints_close(struct grpc_endpoints *set)
{
    for (unsigned i = 0; i < set->count; i++) {
        struct grpc_endpoint *e = &set->items[i];
        if (e->is_unix)
            unix_socket_close(&e->socket);
        else
            listen_sockets_close(&e->socket.fd, 1);
    }
    admin_tls_context_free(&set->tls);
    set->count = 0;
}
