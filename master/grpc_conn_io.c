/* Moves bytes between a connection's socket and its session, through TLS where it is wanted. */

#include <errno.h>
#include <sys/socket.h>

#include "admin_tls.h"
#include "clock.h"
#include "err.h"
#include "grpc_conn_internal.h"

#define READ_BYTES       16384u
#define LINGER_BYTES_MAX (4u << 20)

/* ---- in ---- */

static void conn_note_session(struct grpc_conn *c, int rc)
{
    if (rc == ERR_FULL)
        grpc_conn_begin_end(c, GRPC_END_ABUSE, grpc_session_abuse(c->session));
    else if (rc == ERR_NO_MEMORY)
        grpc_conn_begin_end(c, GRPC_END_NO_MEMORY, NULL);
    else if (rc != 0)
        grpc_conn_begin_end(c, GRPC_END_PROTOCOL, NULL);
}

static void conn_take_plain(struct grpc_conn *c, struct bytes in)
{
    conn_note_session(c, grpc_session_receive(c->session, in, clock_monotonic_ms()));
}

static void conn_take_tls(struct grpc_conn *c, struct bytes in)
{
    uint8_t plain[GRPC_CONN_PLAIN_BYTES];
    size_t len = 0;
    int rc = admin_tls_feed(c->tls, in);

    while (rc == 0 && !c->is_ending) {
        rc = admin_tls_read(c->tls, plain, sizeof plain, &len);
        if (len == 0)
            break;
        conn_take_plain(c, bytes_of(plain, len));
    }
    if (rc == ERR_CLOSED)
        grpc_conn_begin_end(c, GRPC_END_DONE, NULL);
    else if (rc == ERR_NO_MEMORY)
        grpc_conn_begin_end(c, GRPC_END_NO_MEMORY, NULL);
    else if (rc != 0)
        grpc_conn_begin_end(c, GRPC_END_HANDSHAKE, admin_tls_reason(c->tls));
}

static void conn_take(struct grpc_conn *c, struct bytes in)
{
    c->active_ms = clock_monotonic_ms();
    if (c->tls != NULL)
        conn_take_tls(c, in);
    else
        conn_take_plain(c, in);
    bool is_in_headers = grpc_session_is_in_headers(c->session);
    if (!is_in_headers || c->headers_ms == 0)
        c->headers_ms = is_in_headers ? c->active_ms : 0;
}

bool grpc_conn_read(struct grpc_conn *c)
{
    uint8_t in[READ_BYTES];
    ssize_t len = recv(c->fd, in, sizeof in, 0);

    if (len > 0 && c->state == CONN_OPEN && !c->is_ending) {
        uint64_t calls = c->options.shared->calls;
        conn_take(c, bytes_of(in, (size_t)len));
        return !c->is_ending && c->options.shared->calls == calls; /* a call may mean a write to disk */
    }
    if (len > 0) { /* too late for that */
        c->lingered += (size_t)len;
        if (c->lingered > LINGER_BYTES_MAX)
            c->end_by_ms = 0;
        return true;
    }
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    grpc_conn_begin_end(c, GRPC_END_DONE,
                        NULL); /* closed or reset by the client: nobody is there to be told anything */
    c->end_by_ms = 0;
    return false;
}

/* ---- out ---- */

static int conn_fill_plain(struct grpc_conn *c)
{
    return grpc_session_produce(c->session, c->out, GRPC_CONN_PLAIN_BYTES, &c->out_len, clock_monotonic_ms());
}

static int conn_fill_tls(struct grpc_conn *c)
{
    uint8_t plain[GRPC_CONN_PLAIN_BYTES];
    size_t len = 0;
    int rc = 0;

    if (admin_tls_is_open(c->tls) && !admin_tls_has_output(c->tls)) {
        rc = grpc_session_produce(c->session, plain, sizeof plain, &len, clock_monotonic_ms());
        if (admin_tls_write(c->tls, bytes_of(plain, len)) != 0)
            rc = ERR_PROTOCOL;
        if (len == 0 && c->is_ending && !c->is_goodbye_said) {
            c->is_goodbye_said = true;
            admin_tls_say_goodbye(c->tls);
        }
    }
    c->out_len = admin_tls_take(c->tls, c->out, sizeof c->out);
    return rc;
}

/** Put the next bytes for the socket into the empty buffer. */
static void conn_fill(struct grpc_conn *c)
{
    c->out_sent = c->out_len = 0;
    conn_note_session(c, c->tls != NULL ? conn_fill_tls(c) : conn_fill_plain(c));
}

bool grpc_conn_write(struct grpc_conn *c)
{
    if (c->out_sent == c->out_len)
        conn_fill(c);
    if (c->out_len == 0)
        return false;
    ssize_t len = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);
    if (len > 0) {
        c->out_sent += (size_t)len;
        c->is_blocked = false;
        return true;
    }
    if (errno == EAGAIN) {
        if (!c->is_blocked)
            c->progress_ms = clock_monotonic_ms();
        c->is_blocked = true;
    } else if (errno != EINTR) {
        grpc_conn_begin_end(c, GRPC_END_DONE, NULL);
        c->end_by_ms = 0;
    }
    return false;
}

bool grpc_conn_wants_write(const struct grpc_conn *c)
{
    if (c->state == CONN_LINGERS)
        return false;
    if (c->out_sent < c->out_len || (c->tls != NULL && admin_tls_has_output(c->tls)))
        return true;
    if (c->tls != NULL && !admin_tls_is_open(c->tls))
        return false;
    return grpc_session_wants_write(c->session) || (c->tls != NULL && c->is_ending && !c->is_goodbye_said);
}
