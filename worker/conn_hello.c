/* The first bytes of a connection: the PROXY header if one is due, the ClientHello, and the route that its name has. */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "conn_facts.h"
#include "conn_firewall.h"
#include "conn_route_stats.h"
#include "conn_setup.h"
#include "conn_step.h"
#include "listener.h"
#include "proxy_protocol.h"
#include "route_table.h"
#include "stats.h"
#include "worker.h"

#define FIRST_READ_BYTES 16384  /* a hello and what a client sends right behind it */
#define HELLO_PIECES_FEW 3      /* post-quantum hellos come in two: nothing is done about so many */
#define LINGER_BYTES_MAX 131072 /* what a client may still send after its alert */

/* unrecognized_name, fatal (RFC 8446 6.2, RFC 6066 3), in a record of TLS 1.2 form */
static const uint8_t alert_unrecognized_name[] = {0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70};

/** Nothing more comes, and that was too little. */
static enum conn_next end_early(struct conn *c)
{
    if (c->step == CONN_STEP_HELLO)
        return conn_end(c, CLOSE_HELLO_EOF);
    c->setup->detail = "ended before the header was complete"; /* as a health check that knows of no header */
    return conn_end(c, CLOSE_PROXY_MALFORMED);
}

/**
 * Read what the client has sent. The first bytes go to the process's buffer, as most hellos are complete at once; what came in
 * pieces is gathered in own_bytes.
 */
static enum conn_next read_more(struct conn *c)
{
    struct conn_setup *s = c->setup;
    struct worker *w = conn_worker(c);
    uint8_t *at = worker_io(w);
    size_t room = FIRST_READ_BYTES;

    if (s->len > 0) {
        room = conn_setup_grow(s);
        if (room == 0)
            return conn_end(c, CLOSE_NO_MEMORY);
        at = s->bytes + s->len;
    }
    ssize_t n = conn_recv(&c->front, at, room);
    if (n > 0) {
        /* A PROXY header comes from the proxy before us, not from the client: what is behind it is counted when it is off. */
        if (c->step != CONN_STEP_PROXY)
            conn_count_in(c, (size_t)n);
        if (s->len == 0)
            s->bytes = at;
        s->len += (uint32_t)n;
        return CONN_NEXT;
    }
    if (n == 0)
        return end_early(c);
    return errno == EAGAIN ? CONN_WAIT : conn_end(c, CLOSE_CLIENT_RESET);
}

/** Wait for more of a header or hello: the bytes must survive this callback. */
static enum conn_next wait_for_more(struct conn *c)
{
    c->setup->needs_more = true;
    if (!conn_setup_keep(c->setup))
        return conn_end(c, CLOSE_NO_MEMORY);
    return c->front.is_readable ? CONN_NEXT : CONN_WAIT;
}

static enum conn_next take_proxy_header(struct conn *c, const struct proxy_header *header)
{
    struct conn_setup *s = c->setup;

    if (header->has_addresses) {
        s->peer = c->client;
        c->client = header->source;
        s->destination = header->destination;
    }
    s->is_local = header->is_local;
    stat_add(&conn_worker(c)
                  ->mine->proxy_headers[header->has_addresses ? SHM_PROXY_HEADER_ADDRESS : SHM_PROXY_HEADER_NO_ADDRESS],
             1);
    s->needs_more = false;
    conn_setup_consume(s, header->len);
    if (conn_enter_hello(c) == CONN_DONE)
        return CONN_DONE; /* closed, and counted there */
    conn_count_in(c, s->len);
    return CONN_NEXT;
}

enum conn_next conn_step_proxy(struct conn *c)
{
    struct proxy_header header;

    if (!c->front.is_readable)
        return CONN_WAIT;
    enum conn_next next = read_more(c);
    if (next != CONN_NEXT)
        return next;
    switch (proxy_header_parse(bytes_of(c->setup->bytes, c->setup->len), &header)) {
    case PROXY_MORE: return wait_for_more(c);
    case PROXY_OK: return take_proxy_header(c, &header);
    case PROXY_BAD: break;
    }
    c->setup->detail = header.reason;
    return conn_end(c, CLOSE_PROXY_MALFORMED);
}

/** The hello is complete: from now on there is something to tell. False: no memory. */
static bool begin_facts(struct conn *c, const struct client_hello *hello, const struct route_match *match)
{
    const struct conn_setup *s = c->setup;

    c->facts = conn_facts_new(hello, match, s->peer.addr.family != 0 ? &s->peer : NULL);
    if (c->facts == NULL)
        return false;
    c->facts->hello_us = conn_span_us(conn_age_us(c));
    conn_find_country(c);
    memcpy(c->facts->country, s->country, sizeof s->country);
    return true;
}

/** Copy what connecting needs out of the pinned tables. */
static void plan_connect(struct conn *c, const struct route_match *match)
{
    struct conn_setup *s = c->setup;
    const struct shm_backend *backend = match->backend;

    s->has_proxy_header_out = (match->route->flags & SHM_ROUTE_SEND_PROXY_PROTOCOL) != 0;
    s->is_unix = backend->kind == BACKEND_UNIX;
    s->addr_count = backend->addr_count;
    memcpy(s->addrs, backend->addrs, backend->addr_count * sizeof s->addrs[0]);
}

static enum conn_next send_alert(struct conn *c)
{
    ssize_t n = send(c->front.fd, alert_unrecognized_name, sizeof alert_unrecognized_name, MSG_NOSIGNAL);

    if (n > 0)
        conn_count_out(c, (size_t)n);
    if (n != (ssize_t)sizeof alert_unrecognized_name || shutdown(c->front.fd, SHUT_WR) != 0)
        return conn_end(c, CLOSE_NO_ROUTE);
    return conn_enter(c, CONN_STEP_LINGER);
}

static enum conn_next find_route(struct conn *c, const struct client_hello *hello)
{
    const struct table_view *view = &conn_worker(c)->view;
    struct bytes name = bytes_of(hello->name, hello->name_len);
    struct route_match match;

    hello_budget_remove(&conn_worker(c)->hellos, &c->setup->wait);
    stat_add(&conn_worker(c)->mine->hellos[name.len > 0 ? SHM_HELLO_NAME : SHM_HELLO_NO_NAME], 1);
    const struct shm_root *root = table_pin(view);
    bool found = route_match_name(view->tables, root, c->listener->id, name, &match);
    if (found) {
        c->series = match.route->series;
        plan_connect(c, &match);
    }
    bool has_facts = begin_facts(c, hello, found ? &match : NULL);
    table_release(view);
    if (!has_facts)
        return conn_end(c, CLOSE_NO_MEMORY);
    if (found) {
        conn_count_routed(c);
        return conn_enter(c, CONN_STEP_CONNECT);
    }
    return c->listener->no_route_mode == NO_ROUTE_ALERT ? send_alert(c) : conn_end(c, CLOSE_NO_ROUTE);
}

/** Have the client's socket report bytes (SO_RCVLOWAT) only when there are `low_water` and one more of them; ends and errors always. */
static void set_low_water(struct conn *c, uint32_t low_water)
{
    int bytes = (int)low_water + 1;

    if (c->setup->low_water == low_water)
        return;
    c->setup->low_water = low_water;
    (void)setsockopt(c->front.fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes); /* fails: woken more often */
}

/**
 * Wait for more of a hello. One that comes in many pieces wakes us once for a record instead of once for a piece. Less is not waited for
 * than what the record lacks, and nothing that comes before that could change the verdict; the timeout runs on. When the receive buffer is
 * full, the kernel reports what is there.
 */
static enum conn_next wait_for_hello(struct conn *c)
{
    struct conn_setup *s = c->setup;

    if (s->pieces == HELLO_PIECES_FEW)
        set_low_water(c, (uint32_t)client_hello_missing(&s->progress, bytes_of(s->bytes, s->len)) - 1);
    else
        s->pieces++;
    return wait_for_more(c);
}

void conn_hello_count_unread(struct conn *c)
{
    if (c->setup->low_water == 0)
        return;
    ssize_t n = conn_recv(&c->front, worker_io(conn_worker(c)), WORKER_IO_BYTES);
    if (n > 0)
        conn_count_in(c, (size_t)n);
}

enum conn_next conn_step_hello(struct conn *c)
{
    struct conn_setup *s = c->setup;
    struct client_hello hello;

    /* Bytes behind a PROXY header may be here already. */
    if (s->len == 0 || s->needs_more) {
        if (!c->front.is_readable)
            return CONN_WAIT;
        enum conn_next next = read_more(c);
        if (next == CONN_WAIT && s->len == 0)
            c->listener->early_wait = LISTENER_EARLY_READ_WAIT;
        if (next != CONN_NEXT)
            return next;
    }
    switch (client_hello_parse(&s->progress, bytes_of(s->bytes, s->len), &conn_worker(c)->scratch, &hello)) {
    case HELLO_MORE: return wait_for_hello(c);
    case HELLO_OK: set_low_water(c, 0); return find_route(c, &hello);
    case HELLO_BAD: break;
    }
    s->detail = hello.reason;
    return conn_end(c, hello.is_too_large ? CLOSE_HELLO_TOO_LARGE : CLOSE_HELLO_MALFORMED);
}

enum conn_next conn_step_linger(struct conn *c)
{
    struct worker *w = conn_worker(c);

    /* Closing with unread bytes would turn into a RST and could destroy the alert before the client has read it. */
    while (c->front.is_readable) {
        ssize_t n = conn_recv(&c->front, worker_io(w), FIRST_READ_BYTES);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0 || c->bytes_in > LINGER_BYTES_MAX)
            return conn_end(c, CLOSE_NO_ROUTE);
        conn_count_in(c, (size_t)n);
    }
    return CONN_WAIT;
}
