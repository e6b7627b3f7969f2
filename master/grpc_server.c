/* The admin API's front door: accepts connections, keeps their number within the limit, says what became of them. */

#include "grpc_server.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "accept_shortage.h"
#include "clock.h"
#include "config.h"
#include "err.h"
#include "grpc_conn.h"
#include "grpc_endpoints.h"
#include "grpc_server_internal.h"
#include "grpc_session.h"
#include "h2_budget.h"
#include "log_event.h"

#define GRPC_SERVER_MAGIC 0x76724773u
#define ACCEPTS_PER_RUN   16
#define ACCEPT_PAUSE_S    0.1
#define LOG_AT_ONCE       10 /* lines about peers that misbehave, then one a second */
#define LOG_A_SECOND      1

struct grpc_server {
    uint32_t magic;
    struct ev_loop *loop;
    struct grpc_shared shared;
    struct grpc_endpoints *endpoints; /* in force; never NULL */
    struct grpc_conn **conns;         /* limits.connections of them */
    unsigned conn_count;
    struct grpc_server_counts counts;
    struct ev_timer accept_pause;
    uint64_t shortage_told_ms;
    struct h2_bucket remotes; /* TCP connections that may be accepted now */
    bool is_leaving;
    struct h2_bucket log_bucket;
    uint64_t unlogged;
};

static struct grpc_server *server_check(void *object)
{
    struct grpc_server *s = object;

    CHECK_MAGIC(s, GRPC_SERVER_MAGIC);
    return s;
}

/* ---- what is said about peers: strangers write our log here, so within limits ---- */

static void log_peer(struct grpc_server *s, enum log_level level, const char *message, const char *peer,
                     const char *detail)
{
    struct log_event e;

    if (!h2_bucket_take(&s->log_bucket, LOG_AT_ONCE, LOG_A_SECOND, clock_monotonic_ms())) {
        s->unlogged++;
        return;
    }
    log_event_begin(&e, level, message);
    log_event_cstr(&e, LOG_KEY_PEER, peer);
    log_event_cstr(&e, LOG_KEY_REASON, detail);
    if (s->unlogged > 0)
        log_event_u64(&e, LOG_KEY_DROPPED, s->unlogged);
    log_event_end(&e);
    s->unlogged = 0;
}

/** About one that is not let in. */
static void log_stranger(struct grpc_server *s, enum log_level level, const char *message,
                         const struct grpc_endpoint *e, const struct sockaddr_storage *peer)
{
    char text[ADDRESS_TEXT_MAX];
    struct strbuf address = STRBUF_OF(text);
    struct ip_endpoint end = ip_endpoint_of_sockaddr(peer);

    ip_endpoint_format(&end, &address);
    log_peer(s, level, message, e->is_unix ? "unix" : text, NULL);
}

struct end_row {
    enum log_level level;
    const char *message; /* NULL: none */
};

static const struct end_row end_rows[] = {
    [GRPC_END_DONE] = {LOG_DEBUG, NULL},
    [GRPC_END_HANDSHAKE] = {LOG_INFO, "admin connection refused: TLS failed"},
    [GRPC_END_TIMEOUT] = {LOG_INFO, "admin connection ended: too slow"},
    [GRPC_END_PROTOCOL] = {LOG_INFO, "admin connection ended: the client does not speak HTTP/2"},
    [GRPC_END_ABUSE] = {LOG_WARN, "admin connection ended: the client sends too many of a kind"},
    [GRPC_END_REFUSED] = {LOG_INFO, "admin connection ended: it gave its place to another"},
    [GRPC_END_NO_MEMORY] = {LOG_ERROR, "admin connection ended: out of memory"},
};

/* ---- connections ---- */

static void forget_conn(struct grpc_server *s, const struct grpc_conn *conn)
{
    unsigned i = 0;

    while (i < s->conn_count && s->conns[i] != conn)
        i++;
    CHECK(i < s->conn_count);
    s->conns[i] = s->conns[--s->conn_count];
    s->conns[s->conn_count] = NULL;
}

static void on_conn_end(void *context, struct grpc_conn *conn, enum grpc_conn_end end, const char *detail)
{
    struct grpc_server *s = server_check(context);
    const struct end_row *row = &end_rows[end];

    s->counts.connections_abused += end == GRPC_END_ABUSE;
    if (row->message != NULL)
        log_peer(s, row->level, row->message, grpc_conn_peer(conn), detail);
    forget_conn(s, conn);
    grpc_conn_free(&conn);
}

/** Since when it is of no use: a lower number gives way earlier. 0: never. */
static uint64_t idle_since(const struct grpc_server *s, const struct grpc_conn *conn, bool for_local, uint64_t now_ms)
{
    if (grpc_conn_is_local(conn))
        return 0;
    if (!grpc_conn_is_established(conn))
        return now_ms - grpc_conn_opened_ms(conn) >= (for_local ? 0 : s->shared.limits.newcomer_ms)
                   ? grpc_conn_opened_ms(conn)
                   : 0;
    return for_local ? grpc_conn_active_ms(conn) : 0;
}

/**
 * All places are taken. Whoever is on this machine must get in to see what is going on, so a Unix socket's client takes the place of
 * a remote one: one that is still shaking hands, or one without calls, or else the one that was silent for longest. A remote client
 * takes the place of a handshake that lasts too long: strangers who never finish theirs cannot lock out those who do.
 */
static bool make_room(struct grpc_server *s, bool for_local)
{
    uint64_t now = clock_monotonic_ms(), best_since = UINT64_MAX;
    struct grpc_conn *best = NULL;
    unsigned best_rank = 3;

    for (unsigned i = 0; i < s->conn_count; i++) {
        struct grpc_conn *conn = s->conns[i];
        uint64_t since = idle_since(s, conn, for_local, now);
        unsigned rank = !grpc_conn_is_established(conn) ? 0 : grpc_conn_calls(conn) == 0 ? 1 : 2;
        if (since != 0 && (rank < best_rank || (rank == best_rank && since < best_since))) {
            best = conn;
            best_rank = rank;
            best_since = since;
        }
    }
    if (best != NULL)
        grpc_conn_give_way(best);
    return best != NULL;
}

static void add_conn(struct grpc_server *s, const struct grpc_endpoint *e, int fd, const struct sockaddr_storage *peer)
{
    struct grpc_conn_options options = {
        .loop = s->loop,
        .shared = &s->shared,
        .tls = e->is_unix ? NULL : s->endpoints->tls,
        .is_local = e->is_unix,
        .peer = ip_endpoint_of_sockaddr(peer),
        .owner_id = e->id,
        .on_end = on_conn_end,
        .context = s,
    };

    struct grpc_conn *conn = grpc_conn_new(fd, &options);
    if (conn == NULL) {
        log_stranger(s, LOG_ERROR, "admin connection refused: out of memory", e, peer);
        return;
    }
    s->counts.connections++;
    s->conns[s->conn_count++] = conn;
}

static void refuse_conn(struct grpc_server *s, const struct grpc_endpoint *e, int fd,
                        const struct sockaddr_storage *peer)
{
    close(fd);
    s->counts.connections_refused++;
    log_stranger(s, LOG_WARN, "admin connection refused: as many as possible are open", e, peer);
}

/* ---- accepting ---- */

/** The queue calls itself readable all the time, whether or not we can take anything from it. */
static void pause_accepting(struct grpc_server *s, bool of_remotes_only)
{
    for (unsigned i = 0; i < s->endpoints->count; i++) {
        if (!of_remotes_only || !s->endpoints->items[i].is_unix)
            ev_io_stop(s->loop, &s->endpoints->items[i].accepts);
    }
    if (ev_is_active(&s->accept_pause))
        return;
    /* Set anew each time: one that has run out would start with what was left, which is nothing. */
    ev_timer_set(&s->accept_pause, ACCEPT_PAUSE_S, 0.);
    ev_timer_start(s->loop, &s->accept_pause);
}

/** May the next one come at once? */
static bool keep_pace(struct grpc_server *s, const struct grpc_endpoint *e)
{
    const struct grpc_limits *l = &s->shared.limits;

    if (e->is_unix || h2_bucket_take(&s->remotes, l->remote_at_once, l->remote_a_second, clock_monotonic_ms()))
        return true;
    pause_accepting(s, true);
    return false;
}

/** We lack something that every connection takes. */
static void wait_for_better(struct grpc_server *s)
{
    accept_shortage_tell(&s->shortage_told_ms, "admin connections wait: descriptors or memory are at their limit");
    pause_accepting(s, false);
}

/** One connection; false when there is none to be had. */
static bool accept_one(struct grpc_server *s, struct grpc_endpoint *e)
{
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;
    int fd = accept4(e->socket.fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        int error = errno;
        if (accept_lacks(error))
            wait_for_better(s);
        return error == EINTR || error == ECONNABORTED;
    }
    if (s->conn_count < s->shared.limits.connections || make_room(s, e->is_unix))
        add_conn(s, e, fd, &peer);
    else
        refuse_conn(s, e, fd, &peer);
    return keep_pace(s, e);
}

static struct grpc_endpoint *endpoint_of(struct grpc_server *s, const struct ev_io *watcher)
{
    for (unsigned i = 0; i < s->endpoints->count; i++) {
        if (&s->endpoints->items[i].accepts == watcher)
            return &s->endpoints->items[i];
    }
    return NULL;
}

static void on_acceptable(EV_P_ ev_io *watcher, int revents)
{
    struct grpc_server *s = server_check(watcher->data);
    struct grpc_endpoint *e = endpoint_of(s, watcher);

    (void)loop;
    CHECK(e != NULL);
    if (revents & EV_ERROR) { /* the kernel had no memory to watch it, and the loop has stopped to */
        wait_for_better(s);
        return;
    }
    for (unsigned i = 0; i < ACCEPTS_PER_RUN && accept_one(s, e); i++)
        ;
}

static void start_accepting(struct grpc_server *s)
{
    for (unsigned i = 0; i < s->endpoints->count && !s->is_leaving; i++) {
        struct grpc_endpoint *e = &s->endpoints->items[i];
        if (e->socket.fd < 0 || ev_is_active(&e->accepts))
            continue;
        ev_io_init(&e->accepts, on_acceptable, e->socket.fd, EV_READ);
        e->accepts.data = s;
        ev_io_start(s->loop, &e->accepts);
    }
}

static void stop_accepting(struct grpc_server *s)
{
    ev_timer_stop(s->loop, &s->accept_pause);
    for (unsigned i = 0; i < s->endpoints->count; i++)
        ev_io_stop(s->loop, &s->endpoints->items[i].accepts);
}

static void on_pause_over(EV_P_ ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    start_accepting(server_check(timer->data));
}

/* ---- life ---- */

int grpc_server_new_with(struct ev_loop *loop, const struct grpc_limits *limits, const struct grpc_method *methods,
                         void *service, struct grpc_server **out)
{
    struct grpc_server *s = calloc(1, sizeof *s);

    if (s == NULL)
        return ERR_NO_MEMORY;
    s->magic = GRPC_SERVER_MAGIC;
    s->loop = loop;
    grpc_shared_init(&s->shared, limits, methods, service);
    h2_bucket_init(&s->remotes, limits->remote_at_once, clock_monotonic_ms());
    h2_bucket_init(&s->log_bucket, LOG_AT_ONCE, clock_monotonic_ms());
    ev_timer_init(&s->accept_pause, on_pause_over, ACCEPT_PAUSE_S, 0.);
    s->accept_pause.data = s;
    s->conns = calloc(limits->connections, sizeof(struct grpc_conn *));
    s->endpoints = calloc(1, sizeof *s->endpoints);
    if (s->conns == NULL || s->endpoints == NULL) {
        free(s->endpoints);
        free(s->conns);
        free(s);
        return ERR_NO_MEMORY;
    }
    *out = s;
    return 0;
}

int grpc_server_new(struct ev_loop *loop, const struct grpc_method *methods, void *service, struct grpc_server **out)
{
    return grpc_server_new_with(loop, &grpc_limits_default, methods, service, out);
}

void grpc_server_free(struct grpc_server **server)
{
    struct grpc_server *s = *server;

    *server = NULL;
    if (s == NULL)
        return;
    (void)server_check(s);
    stop_accepting(s);
    while (s->conn_count > 0) {
        struct grpc_conn *conn = s->conns[--s->conn_count];
        grpc_conn_free(&conn);
    }
    CHECK(s->shared.requests.used == 0 && s->shared.answers.used == 0 && s->shared.open_calls == 0);
    grpc_endpoints_close(s->endpoints);
    free(s->endpoints);
    free(s->conns);
    s->magic = 0;
    free(s);
}

/* ---- configurations ---- */

int grpc_server_prepare(struct grpc_server *s, const struct config *config, struct grpc_endpoints **out,
                        struct strbuf *why)
{
    struct grpc_endpoints *fresh = calloc(1, sizeof *fresh);

    (void)server_check(s);
    if (fresh == NULL) {
        strbuf_add(why, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    fresh->server = s;
    int rc = grpc_endpoints_open(s->endpoints, config, fresh, why);
    if (rc == 0)
        *out = fresh;
    else
        grpc_server_abort(&fresh);
    return rc;
}

void grpc_server_abort(struct grpc_endpoints **prepared)
{
    if (*prepared != NULL)
        grpc_endpoints_close(*prepared);
    free(*prepared);
    *prepared = NULL;
}

static bool has_endpoint(const struct grpc_endpoints *set, uint64_t id)
{
    for (unsigned i = 0; i < set->count; i++) {
        if (set->items[i].id == id)
            return true;
    }
    return false;
}

/** A goodbye may end the connection at once, and another takes its place in the list: so from behind. */
static void say_goodbye(struct grpc_server *s, bool to_everybody)
{
    for (unsigned i = s->conn_count; i > 0; i--) {
        struct grpc_conn *conn = s->conns[i - 1];
        if (to_everybody || !has_endpoint(s->endpoints, grpc_conn_owner_id(conn)))
            grpc_conn_say_goodbye(conn);
    }
}

void grpc_server_commit(struct grpc_server *s, struct grpc_endpoints **prepared)
{
    struct grpc_endpoints *old = s->endpoints, *fresh = *prepared;

    (void)server_check(s);
    CHECK(fresh != NULL && fresh->server == s);
    *prepared = NULL;
    stop_accepting(s);
    grpc_endpoints_take(fresh, old);
    s->endpoints = fresh;
    grpc_server_abort(&old);
    start_accepting(s);
    say_goodbye(s, false);
}

void grpc_server_say_goodbye(struct grpc_server *s)
{
    (void)server_check(s);
    s->is_leaving = true;
    stop_accepting(s);
    say_goodbye(s, true);
}

/* ---- seeing what happens ---- */

struct grpc_server_counts grpc_server_counts(const struct grpc_server *s)
{
    struct grpc_server_counts counts = s->counts;

    counts.open_connections = s->conn_count;
    counts.calls = s->shared.calls;
    counts.buffered_bytes = s->shared.requests.used + s->shared.answers.used;
    for (unsigned i = 0; i < s->conn_count; i++)
        counts.buffered_bytes += grpc_conn_buffered_bytes(s->conns[i]);
    return counts;
}

void grpc_server_dump(const struct grpc_server *s, struct strbuf *out)
{
    struct grpc_server_counts c = grpc_server_counts(s);

    strbuf_addf(out, "connections=%u accepted=%llu refused=%llu abused=%llu calls=%llu open_calls=%u buffered=%llu",
                c.open_connections, (unsigned long long)c.connections, (unsigned long long)c.connections_refused,
                (unsigned long long)c.connections_abused, (unsigned long long)c.calls, s->shared.open_calls,
                (unsigned long long)c.buffered_bytes);
}
