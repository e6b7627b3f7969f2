/* A byte stream with deadlines: the socket never blocks, poll() does, and knows whether TLS wants to read or to write. */

#include "client_link.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client_dial.h"
#include "err.h"

#define CLIENT_LINK_MAGIC 0x434c4e4bu

struct client_link {
    uint32_t magic;
    int fd;
    struct admin_tls_client *tls; /* NULL: a Unix socket */
};

/* ---- opening ---- */

static int tls_failed(const struct client_link *link, const struct client_endpoint *endpoint, struct strbuf *why)
{
    strbuf_addf(why, "cannot talk to the server at %s: ", endpoint->text);
    admin_tls_client_explain(link->tls, why);
    return ERR_PROTOCOL;
}

static int shake_hands(struct client_link *link, const struct client_endpoint *endpoint, uint64_t deadline_ms,
                       struct strbuf *why)
{
    int rc;

    while ((rc = admin_tls_client_handshake(link->tls)) != 1) {
        if (rc != ADMIN_TLS_WANTS_READ && rc != ADMIN_TLS_WANTS_WRITE)
            return tls_failed(link, endpoint, why);
        if (client_wait(link->fd, rc == ADMIN_TLS_WANTS_READ ? POLLIN : POLLOUT, deadline_ms) > 0)
            continue;
        strbuf_addf(why, "cannot talk to the server at %s: no answer in time", endpoint->text);
        return ERR_TIMEOUT;
    }
    return 0;
}

static int start_tls(struct client_link *link, const struct client_endpoint *endpoint, uint64_t deadline_ms,
                     struct strbuf *why)
{
    struct admin_tls_client_options options = endpoint->tls;
    int rc;

    options.host = endpoint->host;
    if ((rc = admin_tls_client_new(&options, link->fd, &link->tls, why)) != 0)
        return rc;
    return shake_hands(link, endpoint, deadline_ms, why);
}

int client_link_open(const struct client_endpoint *endpoint, uint64_t deadline_ms, struct client_link **out,
                     struct strbuf *why)
{
    struct client_link *link = calloc(1, sizeof *link);
    int rc;

    if (link == NULL) {
        strbuf_add(why, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    link->magic = CLIENT_LINK_MAGIC;
    link->fd = -1;
    if ((rc = client_dial(endpoint, deadline_ms, &link->fd, why)) == 0 && endpoint->path == NULL)
        rc = start_tls(link, endpoint, deadline_ms, why);
    if (rc != 0)
        client_link_close(&link);
    *out = link;
    return rc;
}

void client_link_close(struct client_link **link)
{
    struct client_link *l = *link;

    if (l == NULL)
        return;
    CHECK_MAGIC(l, CLIENT_LINK_MAGIC);
    admin_tls_client_free(&l->tls);
    if (l->fd >= 0)
        close(l->fd);
    free(l);
    *link = NULL;
}

/* ---- bytes ---- */

/** Plain sockets speak as TLS does: admin_tls_io. */
static ssize_t judge_plain(ssize_t n, int wants)
{
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? wants : ADMIN_TLS_FAILED;
}

static ssize_t link_read(struct client_link *link, uint8_t *data, size_t len)
{
    if (link->tls != NULL)
        return admin_tls_client_read(link->tls, data, len);
    return judge_plain(recv(link->fd, data, len, 0), ADMIN_TLS_WANTS_READ);
}

static ssize_t link_write(struct client_link *link, struct bytes bytes)
{
    if (link->tls != NULL)
        return admin_tls_client_write(link->tls, bytes.ptr, bytes.len);
    return judge_plain(send(link->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL), ADMIN_TLS_WANTS_WRITE);
}

static int link_failed(const struct client_link *link, struct strbuf *why)
{
    if (link->tls == NULL) {
        if (errno == ECONNRESET || errno == EPIPE)
            return ERR_CLOSED; /* as an end of the stream is, but with something of ours unread */
        strbuf_add(why, strerror(errno));
        return ERR_SYSTEM;
    }
    admin_tls_client_explain(link->tls, why);
    return ERR_PROTOCOL;
}

static short events_of(ssize_t io)
{
    return io == ADMIN_TLS_WANTS_READ ? POLLIN : io == ADMIN_TLS_WANTS_WRITE ? POLLOUT : 0;
}

int client_link_exchange(struct client_link *link, struct bytes *unsent, uint8_t *data, size_t len,
                         size_t *received_out, uint64_t deadline_ms, struct strbuf *why)
{
    CHECK_MAGIC(link, CLIENT_LINK_MAGIC);
    *received_out = 0;
    for (;;) {
        /* Reading first: what a server says before it closes (an alert, a GOAWAY) explains why writing fails. */
        ssize_t got = link_read(link, data, len);
        ssize_t sent = got == ADMIN_TLS_FAILED || unsent->len == 0 ? 0 : link_write(link, *unsent);
        if (sent > 0)
            *unsent = bytes_of(unsent->ptr + sent, unsent->len - (size_t)sent);
        if (got > 0) {
            *received_out = (size_t)got;
            return 0;
        }
        if (got == ADMIN_TLS_FAILED)
            return link_failed(link, why);
        if (got == 0)
            return ERR_CLOSED;
        if (sent > 0)
            return 0;
        if (sent == ADMIN_TLS_FAILED)
            *unsent = bytes_of(NULL, 0); /* it takes no more; reading will tell why */
        int events = client_wait(link->fd, (short)(events_of(got) | events_of(sent)), deadline_ms);
        if (events <= 0) {
            strbuf_add(why, events < 0 ? strerror(errno) : "no answer in time");
            return events < 0 ? ERR_SYSTEM : ERR_TIMEOUT;
        }
    }
}
