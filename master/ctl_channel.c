/* The master's end of a control socket: a queue that the socket's writability empties, and a door that only valid messages pass. */

#include "ctl_channel.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl_codec.h"
#include "ctl_socket.h"
#include "err.h"

#define CTL_CHANNEL_MAGIC    0x6c746331u
#define CTL_MESSAGES_PER_RUN 64  /* one worker must not keep the loop to itself */
#define CTL_RETRY_SECONDS    0.1 /* when the kernel is short of memory; the socket calls itself writable all the same */

struct ctl_queued {
    struct ctl_queued *next;
    int fd; /* ours, or -1 */
    uint16_t type;
    size_t len;
    uint8_t payload[];
};

struct ctl_channel {
    uint32_t magic;
    int fd;
    bool is_down;
    unsigned queued_count;
    struct ev_loop *loop;
    struct ev_io reads;  /* active but for moments without memory */
    struct ev_io writes; /* active while something is queued and the kernel has memory */
    struct ev_timer retry;
    struct ctl_queued *first;
    struct ctl_queued **last_next;
    ctl_channel_message_fn on_message;
    ctl_channel_down_fn on_down;
    void *context;
};

static struct ctl_channel *channel_check(void *data)
{
    struct ctl_channel *c = data;

    CHECK_MAGIC(c, CTL_CHANNEL_MAGIC);
    return c;
}

static void channel_drop_first(struct ctl_channel *c)
{
    struct ctl_queued *q = c->first;

    c->first = q->next;
    if (c->first == NULL)
        c->last_next = &c->first;
    c->queued_count--;
    if (q->fd >= 0)
        close(q->fd);
    free(q);
}

static void channel_stop(struct ctl_channel *c)
{
    ev_io_stop(c->loop, &c->reads);
    ev_io_stop(c->loop, &c->writes);
    ev_timer_stop(c->loop, &c->retry);
    while (c->first != NULL)
        channel_drop_first(c);
    c->is_down = true;
}

static void channel_go_down(struct ctl_channel *c, int rc)
{
    channel_stop(c);
    c->on_down(c->context, rc);
}

/* ---- out ---- */

/* Sends what is queued; 0 when the queue is empty, else why it is not. */
static int channel_flush(struct ctl_channel *c)
{
    int rc = 0;

    while (c->first != NULL && rc == 0) {
        struct ctl_queued *q = c->first;
        rc = ctl_send(c->fd, q->type, bytes_of(q->payload, q->len), q->fd);
        if (rc == 0)
            channel_drop_first(c);
    }
    return rc;
}

static void channel_retry_later(struct ctl_channel *c)
{
    if (ev_is_active(&c->retry))
        return;
    /* Set anew each time: one that has run out would start with what was left, which is nothing. */
    ev_timer_set(&c->retry, CTL_RETRY_SECONDS, 0.);
    ev_timer_start(c->loop, &c->retry);
}

/* Writability is watched only where it would be news. */
static void channel_arm(struct ctl_channel *c, int rc)
{
    if (rc == ERR_UNAVAILABLE)
        ev_io_start(c->loop, &c->writes);
    else
        ev_io_stop(c->loop, &c->writes);
    if (rc == ERR_NO_MEMORY)
        channel_retry_later(c);
}

static void channel_continue(struct ctl_channel *c)
{
    int rc = channel_flush(c);

    if (rc == 0 || rc == ERR_UNAVAILABLE || rc == ERR_NO_MEMORY)
        channel_arm(c, rc);
    else if (rc == ERR_CLOSED)
        ev_io_stop(c->loop,
                   &c->writes); /* what the worker said before its end is still to be read; then the reader ends this */
    else
        channel_go_down(c, rc);
}

static void on_writable(struct ev_loop *loop, struct ev_io *w, int revents)
{
    (void)loop;
    (void)revents;
    channel_continue(channel_check(w->data));
}

static void on_retry(struct ev_loop *loop, struct ev_timer *w, int revents)
{
    struct ctl_channel *c = channel_check(w->data);

    (void)revents;
    ev_io_start(loop, &c->reads);
    channel_continue(c);
}

static int channel_enqueue(struct ctl_channel *c, uint16_t type, struct bytes payload, int passed_fd)
{
    if (c->queued_count >= CTL_CHANNEL_QUEUE_MAX)
        return ERR_FULL;
    struct ctl_queued *q = malloc(sizeof *q + payload.len);
    if (q == NULL)
        return ERR_NO_MEMORY;
    *q = (struct ctl_queued){.fd = -1, .type = type, .len = payload.len};
    if (passed_fd >= 0 && (q->fd = fcntl(passed_fd, F_DUPFD_CLOEXEC, 3)) < 0) {
        free(q);
        return ERR_SYSTEM;
    }
    if (payload.len > 0)
        memcpy(q->payload, payload.ptr, payload.len);
    *c->last_next = q;
    c->last_next = &q->next;
    c->queued_count++;
    return 0;
}

int ctl_channel_send(struct ctl_channel *c, uint16_t type, struct bytes payload, int passed_fd)
{
    CHECK_MAGIC(c, CTL_CHANNEL_MAGIC);
    if (c->is_down)
        return ERR_CLOSED;
    if (c->first != NULL) /* order first: nothing overtakes the queue */
        return channel_enqueue(c, type, payload, passed_fd);

    int rc = ctl_send(c->fd, type, payload, passed_fd);
    if (rc != ERR_UNAVAILABLE && rc != ERR_NO_MEMORY)
        return rc;
    int queued = channel_enqueue(c, type, payload, passed_fd);
    if (queued == 0)
        channel_arm(c, rc);
    return queued;
}

/* ---- in ---- */

/* One message; ERR_UNAVAILABLE when there is none. */
static int channel_receive(struct ctl_channel *c)
{
    _Alignas(8) uint8_t buffer[CTL_MSG_MAX];
    struct ctl_header header;
    struct bytes payload;
    int passed_fd;
    int rc = ctl_recv(c->fd, buffer, sizeof buffer, &header, &payload, &passed_fd);

    if (rc != 0)
        return rc == ERR_NO_SPACE ? ERR_PROTOCOL : rc; /* a worker has no descriptor to give us anyway */
    if (!ctl_message_is_valid(CTL_FROM_WORKER, header.type, payload, passed_fd >= 0)) {
        if (passed_fd >= 0)
            close(passed_fd);
        return ERR_PROTOCOL;
    }
    c->on_message(c->context, header.type, payload);
    return 0;
}

static void on_readable(struct ev_loop *loop, struct ev_io *w, int revents)
{
    struct ctl_channel *c = channel_check(w->data);
    int rc = revents & EV_ERROR ? ERR_SYSTEM : 0; /* the kernel cannot watch it any more: as good as gone */

    (void)loop;
    for (unsigned i = 0; i < CTL_MESSAGES_PER_RUN && rc == 0 && !c->is_down; i++)
        rc = channel_receive(c);
    if (rc == ERR_NO_MEMORY) { /* the message waits, and so does a worker with all its connections */
        ev_io_stop(c->loop, &c->reads);
        channel_retry_later(c);
    } else if (rc != 0 && rc != ERR_UNAVAILABLE) {
        channel_go_down(c, rc);
    }
}

/* ---- life ---- */

struct ctl_channel *ctl_channel_new(struct ev_loop *loop, int fd, ctl_channel_message_fn on_message,
                                    ctl_channel_down_fn on_down, void *context)
{
    struct ctl_channel *c = calloc(1, sizeof *c);

    if (c == NULL) {
        close(fd);
        return NULL;
    }
    c->magic = CTL_CHANNEL_MAGIC;
    c->fd = fd;
    c->loop = loop;
    c->last_next = &c->first;
    c->on_message = on_message;
    c->on_down = on_down;
    c->context = context;
    ev_io_init(&c->reads, on_readable, fd, EV_READ);
    ev_io_init(&c->writes, on_writable, fd, EV_WRITE);
    ev_init(&c->retry, on_retry);
    c->reads.data = c->writes.data = c->retry.data = c;
    ev_io_start(loop, &c->reads);
    return c;
}

void ctl_channel_free(struct ctl_channel **channel)
{
    struct ctl_channel *c = *channel;

    *channel = NULL;
    if (c == NULL)
        return;
    CHECK_MAGIC(c, CTL_CHANNEL_MAGIC);
    channel_stop(c);
    close(c->fd);
    c->magic = 0;
    free(c);
}

void ctl_channel_dump(const struct ctl_channel *c, struct strbuf *out)
{
    strbuf_addf(out, "queued=%u down=%s", c->queued_count, c->is_down ? "yes" : "no");
}
