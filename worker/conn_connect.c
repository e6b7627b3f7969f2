/* Reaching the backend: its addresses in turn, the PROXY header in front of the hello, and both sent as soon as the kernel takes
 * them. */

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "backlog.h"
#include "conn_facts.h"
#include "conn_log.h"
#include "conn_setup.h"
#include "conn_step.h"
#include "listener.h"
#include "proxy_protocol.h"
#include "stats.h"
#include "worker.h"

/* While a backend is being connected, the client's socket is read up to so many bytes: that is how its reset is noticed. */
#define READ_AHEAD_MAX 65536

struct target {
    struct sockaddr_storage addr;
    socklen_t len;
    bool is_near; /* this host: the handshake is over when connect() returns */
};

static void fill_unix_target(struct target *target, const char *backend_text)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&target->addr;
    const char *path = backend_text + strlen("unix:");
    size_t len = strlen(path);

    CHECK(len < sizeof un->sun_path);
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, len + 1);
    target->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    target->is_near = true;
}

static void fill_ip_target(struct target *target, const struct shm_backend_addr *addr, struct ip_endpoint *end_out)
{
    static const struct ip_addr loopback6 = {.family = 6, .bytes = {[15] = 1}};

    *end_out = (struct ip_endpoint){.addr = addr->addr, .port = addr->port};
    target->len = ip_endpoint_to_sockaddr(end_out, &target->addr);
    target->is_near = addr->addr.family == 4 ? addr->addr.bytes[0] == 127 : ip_addr_equal(&addr->addr, &loopback6);
}

static enum close_reason failure_of(int error_number)
{
    switch (error_number) {
    case ECONNREFUSED:
    case ENOENT: /* a Unix socket that is not there */ return CLOSE_BACKEND_REFUSED;
    case ECONNRESET: /* it had accepted */
    case EPIPE: return CLOSE_BACKEND_RESET;
    case ETIMEDOUT: return CLOSE_BACKEND_TIMEOUT;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EACCES:
    case EPERM: /* a local packet filter, or a Unix socket of somebody else */
    case ENOTSOCK:
    case EAFNOSUPPORT:
    case EINVAL: return CLOSE_BACKEND_UNREACHABLE;
    case EADDRNOTAVAIL: return CLOSE_NO_PORTS;
    case EMFILE:
    case ENFILE: return CLOSE_NO_DESCRIPTORS;
    case ENOBUFS:
    case ENOMEM: return CLOSE_NO_MEMORY;
    default: return CLOSE_INTERNAL;
    }
}

/**
 * The header is written in front of the hello, where there is room for it, so that both leave in one send. 0, or an errno: a header
 * without the address would say LOCAL, and the backend would take the client for us.
 */
static int prepend_proxy_header(struct conn *c)
{
    struct conn_setup *s = c->setup;
    struct ip_endpoint destination = s->destination;
    uint8_t header[PROXY_HEADER_OUT_MAX_BYTES];

    if (destination.addr.family == 0 && !s->is_local) {
        struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
        socklen_t len = sizeof ss;
        if (getsockname(c->front.fd, (struct sockaddr *)&ss, &len) != 0)
            return errno;
        destination = ip_endpoint_of_sockaddr(&ss);
    }
    uint32_t len = (uint32_t)proxy_header_build(s->is_local, &c->client, &destination, header);
    _Static_assert(PROXY_HEADER_OUT_MAX_BYTES <= CONN_HEADROOM && CONN_HEADROOM <= WORKER_IO_HEADROOM,
                   "a header fits in front");
    s->bytes -= len;
    memcpy(s->bytes, header, len);
    s->len += len;
    s->has_proxy_header_out = false; /* it is part of the bytes now, also for the next address */
    return 0;
}

/**
 * A port of this host where nobody listens may be the very one that connect() takes for our own end: both SYNs then meet, and we would
 * talk to ourselves (RFC 9293 3.5, simultaneous open). Only a port of the range that connect() takes from can be met.
 */
static bool is_connected_to_itself(const struct conn *c, const struct target *target)
{
    const struct host_facts *host = &conn_worker(c)->host;
    struct ip_endpoint far = ip_endpoint_of_sockaddr(&target->addr);
    struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof ss;

    if (far.addr.family == 0 || far.port < host->first_port || far.port > host->last_port ||
        getsockname(c->back.fd, (struct sockaddr *)&ss, &len) != 0)
        return false;
    struct ip_endpoint near = ip_endpoint_of_sockaddr(&ss);
    return near.port == far.port && ip_addr_equal(&near.addr, &far.addr);
}

/** What connect() says of a host without IPv6 is what it says where no port is left. */
static int connect_error(const struct conn *c, const struct target *target)
{
    bool is_out_of_reach =
        errno == EADDRNOTAVAIL && target->addr.ss_family == AF_INET6 && !conn_worker(c)->host.has_ipv6;

    return is_out_of_reach ? ENETUNREACH : errno;
}

/** Begin to connect to the next address. 0, or the errno that speaks against this address. */
static int open_next(struct conn *c)
{
    struct conn_setup *s = c->setup;
    struct target target = {.len = 0};

    if (s->is_unix)
        fill_unix_target(&target, (const char *)conn_facts_backend(c->facts).ptr);
    else
        fill_ip_target(&target, &s->addrs[s->next_addr], &c->facts->backend_addr);
    int fd = socket(target.addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    c->back.fd = fd;
    int rc = connect(fd, (struct sockaddr *)&target.addr, target.len);
    if (rc != 0 && errno != EINPROGRESS)
        return connect_error(c, &target);
    if (is_connected_to_itself(c, &target))
        return ECONNREFUSED;
    c->back.is_writable = rc == 0 || target.is_near; /* sending then tells whether it is connected, without a wait */
    return 0;
}

/** Keep for later what the backend did not take. */
static bool keep_rest(struct conn *c, size_t sent)
{
    const struct conn_setup *s = c->setup;

    if (sent == s->len)
        return true;
    c->back.backlog = backlog_new(bytes_of(s->bytes + sent, s->len - sent));
    return c->back.backlog != NULL;
}

/** Send what was read so far. 0: the backend is connected and took some; EAGAIN: not connected yet; another errno: failed. */
static int send_first(struct conn *c)
{
    struct conn_setup *s = c->setup;
    ssize_t n = conn_send(&c->back, s->bytes, s->len);

    if (n < 0)
        return errno;
    return keep_rest(c, (size_t)n) ? 0 : ENOMEM;
}

static bool is_past(const struct conn *c, uint32_t tick)
{
    return (int32_t)(conn_worker(c)->wheel.now - tick) >= 0;
}

uint32_t conn_connect_deadline(const struct conn *c)
{
    const struct conn_setup *s = c->setup;

    if (s->retry_on_tick)
        return c->active_tick + 1;
    int32_t left = (int32_t)(s->connect_deadline - c->active_tick);
    int32_t tries = s->is_unix ? 1 : s->addr_count - s->next_addr;
    return c->active_tick + (left > tries ? (uint32_t)(left / tries) : 1);
}

/** Whatever kept the backend from being connected, the client gets a RST. */
static enum conn_next end_unconnected(struct conn *c, enum close_reason reason)
{
    c->front.is_reset_on_close = true;
    return conn_end(c, reason);
}

/** The attempt at hand has failed for good: on to the next address, or the end. */
static enum conn_next try_next_or_end(struct conn *c, enum close_reason failure, int error)
{
    struct conn_setup *s = c->setup;

    s->detail = strerrorname_np(error);
    conn_side_close(&c->back);
    if (!s->is_unix)
        s->next_addr++;
    if (s->is_unix || s->next_addr >= s->addr_count || is_past(c, s->connect_deadline))
        return end_unconnected(c, failure);
    conn_touch(c);
    return CONN_NEXT;
}

/** The client goes on sending, ends or resets while its backend is being connected. */
static enum conn_next read_ahead(struct conn *c)
{
    struct conn_setup *s = c->setup;
    size_t room = conn_setup_keep(s) ? conn_setup_grow(s) : 0;

    if (room == 0)
        return conn_end(c, CLOSE_NO_MEMORY);
    ssize_t n = conn_recv(&c->front, s->bytes + s->len, room);
    if (n > 0) {
        conn_count_in(c, (size_t)n);
        s->len += (uint32_t)n;
    } else if (n == 0) {
        c->front.is_read_done = true; /* passed on once the backend is there */
        conn_note_end(c, &c->front);
    } else if (errno != EAGAIN) {
        return conn_end(c, CLOSE_CLIENT_RESET);
    }
    return CONN_NEXT;
}

/** Nothing to do until the backend answers, but to hear what the client does. */
static enum conn_next wait_connected(struct conn *c)
{
    if (c->front.is_reset_announced)
        return conn_end(
            c, CLOSE_CLIENT_RESET); /* no read finds it behind an end of stream, or behind more than is read ahead */
    while (c->front.is_readable && !c->front.is_read_done && c->setup->len < READ_AHEAD_MAX) {
        if (read_ahead(c) == CONN_DONE)
            return CONN_DONE;
    }
    return conn_setup_keep(c->setup) ? CONN_WAIT : conn_end(c, CLOSE_NO_MEMORY);
}

/** A Unix socket's queue is full: connect() says so at once and offers nothing to wait for. */
static enum conn_next retry_later(struct conn *c)
{
    struct conn_setup *s = c->setup;

    conn_side_close(&c->back);
    if (is_past(c, s->connect_deadline))
        return conn_end(c, CLOSE_BACKEND_TIMEOUT);
    s->retry_on_tick = true;
    conn_touch(c);
    return wait_connected(c);
}

static enum conn_next begin_attempt(struct conn *c)
{
    struct conn_setup *s = c->setup;

    if (!s->is_unix && s->addr_count == 0)
        return conn_end(c, CLOSE_BACKEND_UNRESOLVED);
    if (s->connect_deadline == 0)
        s->connect_deadline = wheel_tick_after(c->active_tick, conn_worker(c)->settings.connect_timeout_ms);
    int error = s->has_proxy_header_out ? prepend_proxy_header(c) : 0;
    if (error != 0) {
        s->detail = strerrorname_np(error);
        return end_unconnected(c, failure_of(error));
    }
    s->retry_on_tick = false;
    error = open_next(c);
    if (error == EAGAIN && s->is_unix)
        return retry_later(c);
    return error != 0 ? try_next_or_end(c, failure_of(error), error) : CONN_NEXT;
}

static enum conn_next start_relay(struct conn *c)
{
    uint64_t took_us = conn_age_us(c) - c->facts->hello_us;

    histogram_observe(&c->listener->stats->connect, &histogram_latency, took_us);
    c->facts->connect_us = conn_span_us(took_us);
    c->awaits_answer = 1;
    conn_setup_free(c);
    return conn_enter(c, CONN_STEP_RELAY);
}

enum conn_next conn_step_connect(struct conn *c)
{
    struct conn_setup *s = c->setup;

    if (c->back.fd < 0)
        return s->retry_on_tick && !is_past(c, conn_connect_deadline(c)) ? wait_connected(c) : begin_attempt(c);
    if (c->back.is_writable) {
        int error = send_first(c);
        if (error == 0)
            return start_relay(c);
        if (error == ENOMEM)
            return conn_end(c, CLOSE_NO_MEMORY);
        if (error != EAGAIN)
            return try_next_or_end(c, failure_of(error), error);
    }
    if (is_past(c, conn_connect_deadline(c)))
        return try_next_or_end(c, CLOSE_BACKEND_TIMEOUT, ETIMEDOUT);
    return wait_connected(c);
}
