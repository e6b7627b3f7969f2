/* One connection to the metrics endpoint: reads a request, writes an answer, and again. */

#include "metrics_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "strbuf.h"

#define REQUEST_S 10.  /* for a request to arrive */
#define ANSWER_S  10.  /* for an answer to be taken: what Prometheus waits for, too */
#define KEPT_S    120. /* without a request, once one was answered */
#define LINGER_S  1.

static struct metrics_client *client_check(void *data)
{
    struct metrics_client *client = data;

    CHECK_MAGIC(client, METRICS_CLIENT_MAGIC);
    return client;
}

void metrics_client_close(struct metrics_client *client)
{
    client_check(client);
    metrics_server_forget(client->server, client);
    ev_io_stop(client->loop, &client->io);
    ev_timer_stop(client->loop, &client->deadline);
    close(client->io.fd);
    metrics_text_fini(&client->body);
    client->magic = 0;
    free(client);
}

static void wait_for(struct metrics_client *client, int events)
{
    if (client->io.events == events && ev_is_active(&client->io))
        return;
    ev_io_stop(client->loop, &client->io);
    ev_io_set(&client->io, client->io.fd, events);
    ev_io_start(client->loop, &client->io);
}

static void set_deadline(struct metrics_client *client, double seconds)
{
    ev_timer_stop(client->loop, &client->deadline);
    ev_timer_set(&client->deadline, seconds, 0.);
    ev_timer_start(client->loop, &client->deadline);
}

static void enter_reading(struct metrics_client *client, double seconds)
{
    client->phase = METRICS_CLIENT_READING;
    client->since = metrics_server_tick(client->server);
    set_deadline(client, seconds);
    /* A request that has come already is answered at the loop's next turn: others are served in between. */
    wait_for(client, client->in_len > 0 ? EV_WRITE : EV_READ);
}

/* ---- the answer ---- */

static void add_date(struct strbuf *head)
{
    time_t now = time(NULL);
    struct tm tm;
    char text[64];

    /* RFC 9110 5.6.7; the master's locale is "C". */
    if (gmtime_r(&now, &tm) != NULL && strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0)
        strbuf_addf(head, "Date: %s\r\n", text);
}

static void make_head(struct metrics_client *client, unsigned status)
{
    struct strbuf head = STRBUF_OF(client->head);

    strbuf_addf(&head, "HTTP/1.1 %u %s\r\n", status, metrics_http_reason(status));
    add_date(&head);
    strbuf_addf(&head, "Content-Type: text/plain; %scharset=utf-8\r\n", status == 200 ? "version=0.0.4; " : "");
    strbuf_addf(&head, "Content-Length: %zu\r\n", client->body.len);
    if (status == 405)
        strbuf_add(&head, "Allow: GET, HEAD\r\n");
    strbuf_addf(&head, "Connection: %s\r\n\r\n", client->must_close ? "close" : "keep-alive");
    CHECK(!head.overflowed);
    client->head_len = head.len;
}

/** Fill the body; returns the status, which is another one if there is no memory. */
static unsigned make_body(struct metrics_client *client, unsigned status)
{
    if (status == 200) {
        metrics_server_render(client->server, &client->body);
        if (!client->body.failed)
            return 200;
        metrics_text_fini(&client->body);
        client->must_close = true;
        status = 503;
    }
    metrics_text_add(&client->body, metrics_http_reason(status));
    metrics_text_add(&client->body, status == 404 ? "; metrics are at /metrics\n" : "\n");
    return status;
}

static void answer(struct metrics_client *client, const struct metrics_http_request *request)
{
    client->must_close = !request->may_stay;
    client->in_len -= request->len;
    memmove(client->in, client->in + request->len, client->in_len);
    client->sent = 0;
    make_head(client, make_body(client, request->status));
    if (request->is_head)
        metrics_text_fini(&client->body);
    client->phase = METRICS_CLIENT_WRITING;
    set_deadline(client, ANSWER_S);
}

/** Send what the socket takes. Returns whether all is sent; *failed_out: the peer is gone. */
static bool send_answer(struct metrics_client *client, bool *failed_out)
{
    size_t head_left = client->sent < client->head_len ? client->head_len - client->sent : 0;
    size_t body_sent = client->sent - (client->head_len - head_left);
    struct iovec parts[] = {{client->head + (client->head_len - head_left), head_left},
                            {client->body.data + body_sent, client->body.len - body_sent}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = client->body.len > 0 ? 2 : 1};
    ssize_t n = sendmsg(client->io.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

    *failed_out = n < 0 && errno != EAGAIN && errno != EINTR;
    if (n > 0)
        client->sent += (size_t)n;
    return client->sent == client->head_len + client->body.len;
}

static void begin_linger(struct metrics_client *client)
{
    client->phase = METRICS_CLIENT_LINGERING;
    if (shutdown(client->io.fd, SHUT_WR) != 0) {
        metrics_client_close(client);
        return;
    }
    set_deadline(client, LINGER_S);
    wait_for(client, EV_READ);
}

/* ---- events; the client may be gone after each ---- */

static void run_writing(struct metrics_client *client)
{
    bool failed;

    if (!send_answer(client, &failed)) {
        if (failed)
            metrics_client_close(client);
        else
            wait_for(client, EV_WRITE);
        return;
    }
    metrics_text_fini(&client->body); /* no memory is held for a connection that waits */
    if (client->must_close)
        begin_linger(client);
    else
        enter_reading(client, client->in_len > 0 ? REQUEST_S : KEPT_S);
}

/** What was read may be a request. */
static void take_request(struct metrics_client *client)
{
    struct metrics_http_request request;

    if (metrics_http_parse(bytes_of(client->in, client->in_len), &request) == METRICS_HTTP_MORE) {
        wait_for(client, EV_READ);
        return;
    }
    answer(client, &request);
    run_writing(client);
}

/** Something came: bytes, an end or an error. False: the client is gone. */
static bool receive(struct metrics_client *client)
{
    ssize_t n = recv(client->io.fd, client->in + client->in_len, sizeof client->in - client->in_len, MSG_DONTWAIT);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        metrics_client_close(client);
        return false;
    }
    if (n > 0 && client->in_len == 0)
        set_deadline(client, REQUEST_S); /* from the first byte: those that trickle in do not extend it */
    client->in_len += n > 0 ? (size_t)n : 0;
    return true;
}

static void run_lingering(struct metrics_client *client)
{
    ssize_t n = recv(client->io.fd, client->in, sizeof client->in, MSG_DONTWAIT);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        metrics_client_close(client);
}

static void on_io(EV_P_ ev_io *io, int revents)
{
    struct metrics_client *client = client_check(io->data);

    (void)loop;
    if (revents & EV_ERROR) { /* it cannot be watched any more */
        metrics_client_close(client);
        return;
    }
    switch (client->phase) {
    case METRICS_CLIENT_READING:
        if ((revents & EV_READ) == 0 || receive(client))
            take_request(client);
        return;
    case METRICS_CLIENT_WRITING: run_writing(client); return;
    case METRICS_CLIENT_LINGERING: run_lingering(client); return;
    }
}

static void on_deadline(EV_P_ ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    metrics_client_close(client_check(timer->data));
}

struct metrics_client *metrics_client_new(struct metrics_server *server, struct ev_loop *loop, int fd)
{
    struct metrics_client *client = calloc(1, sizeof *client);

    if (client == NULL) {
        close(fd);
        return NULL;
    }
    client->magic = METRICS_CLIENT_MAGIC;
    client->server = server;
    client->loop = loop;
    ev_io_init(&client->io, on_io, fd, EV_READ);
    ev_timer_init(&client->deadline, on_deadline, REQUEST_S, 0.);
    client->io.data = client->deadline.data = client;
    enter_reading(client, REQUEST_S);
    return client;
}
