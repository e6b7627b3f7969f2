/* The worker's end of the control socket: what the master tells (a table of messages), and the little that goes back. */

#include "control.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "conn.h"
#include "conn_io.h"
#include "conn_wait.h"
#include "ctl_codec.h"
#include "ctl_socket.h"
#include "err.h"
#include "geoip_reader.h"
#include "listener.h"
#include "log_event.h"
#include "query.h"
#include "worker.h"

#define HANDOVER_WAIT_MS  10000
#define MESSAGES_PER_TURN 64

int control_receive_handover(struct handover *out, struct strbuf *why)
{
    static _Alignas(8) uint8_t buffer[CTL_MSG_MAX];
    struct pollfd pfd = {.fd = HANDOVER_FD_CONTROL, .events = POLLIN};
    struct ctl_header header;
    struct bytes payload;
    int passed_fd = -1;
    int rc = poll(&pfd, 1, HANDOVER_WAIT_MS) == 1 ? 0 : ERR_TIMEOUT;

    if (rc != 0 || (rc = ctl_recv(HANDOVER_FD_CONTROL, buffer, sizeof buffer, &header, &payload, &passed_fd)) != 0) {
        strbuf_addf(why, "no handover from the master: %s", err_text(rc));
        return rc;
    }
    if (passed_fd >= 0)
        close(passed_fd);
    if (header.type == CTL_HANDOVER && payload.len == sizeof *out) {
        memcpy(out, payload.ptr, sizeof *out);
        if (out->magic == HANDOVER_MAGIC && out->layout_version == SHM_LAYOUT_VERSION && out->slot < SHM_WORKERS_MAX)
            return 0;
    }
    strbuf_add(why, "the master's handover is of another version: was the binary replaced? restart the master");
    return ERR_PROTOCOL;
}

bool control_tell_ready(void)
{
    int rc = ctl_send(HANDOVER_FD_CONTROL, CTL_READY, bytes_of(NULL, 0), -1);

    return rc == 0 || rc == ERR_CLOSED;
}

static int send_removed(uint16_t id)
{
    struct ctl_listener_id payload = {.id = id};

    return ctl_send(HANDOVER_FD_CONTROL, CTL_LISTENER_REMOVED, bytes_of(&payload, sizeof payload), -1);
}

static int send_answer(struct control *control)
{
    if (control->answer_len == 0)
        return 0;
    int rc = ctl_send(HANDOVER_FD_CONTROL, CTL_QUERY_ANSWER, bytes_of(control->answer, control->answer_len), -1);
    if (rc == 0)
        control->answer_len = 0;
    return rc;
}

void control_send_rest(struct worker *w)
{
    struct control *control = &w->control;
    unsigned sent = 0;
    int rc = 0;

    while (sent < control->removed_count && (rc = send_removed(control->removed[sent])) == 0)
        sent++;
    control->removed_count -= sent;
    memmove(control->removed, control->removed + sent, control->removed_count * sizeof control->removed[0]);
    if (rc == 0)
        rc = send_answer(control);
    if (rc == ERR_UNAVAILABLE)
        ev_io_start(w->loop, &control->writes);
    else
        ev_io_stop(w->loop, &control->writes);
}

static void on_control_writable(EV_P_ ev_io *io, int revents)
{
    struct worker *w = io->data;

    (void)loop;
    (void)revents;
    CHECK_MAGIC(w, WORKER_MAGIC);
    control_send_rest(w);
}

void control_tell_listener_removed(struct worker *w, uint16_t id)
{
    struct control *control = &w->control;

    CHECK(control->removed_count < SHM_LISTENERS_MAX); /* an id comes back only after the master has been told */
    control->removed[control->removed_count++] = id;
    if (!ev_is_active(&control->writes))
        control_send_rest(w);
}

/* ---- what the master says: each handler gets a payload that ctl_message_is_valid() has passed, and owns passed_fd ---- */

static bool have_timeouts_changed(const struct ctl_settings *a, const struct ctl_settings *b)
{
    return a->hello_timeout_ms != b->hello_timeout_ms || a->connect_timeout_ms != b->connect_timeout_ms ||
           a->idle_timeout_ms != b->idle_timeout_ms || a->half_close_timeout_ms != b->half_close_timeout_ms;
}

static int take_settings(struct worker *w, struct bytes payload, int passed_fd)
{
    const struct ctl_settings before = w->settings;

    (void)passed_fd;
    memcpy(&w->settings, payload.ptr, sizeof w->settings);
    log_set_level((enum log_level)w->settings.log_level);
    conn_wait_limit(w);
    if (have_timeouts_changed(&before, &w->settings)) /* and not when somebody only begins to watch */
        wheel_visit_all(&w->wheel, conn_on_tick, w);  /* shorter ones hold for open connections too */
    return 0;
}

static const struct ctl_listener *listener_of(struct bytes payload)
{
    return (const struct ctl_listener *)(const void *)payload.ptr; /* ctl_recv() aligns it */
}

static int add_listener(struct worker *w, struct bytes payload, int passed_fd)
{
    return listener_add(w, listener_of(payload), passed_fd);
}

static int update_listener(struct worker *w, struct bytes payload, int passed_fd)
{
    (void)passed_fd;
    return listener_update(w, listener_of(payload));
}

static int remove_listener(struct worker *w, struct bytes payload, int passed_fd)
{
    struct ctl_listener_id id;

    (void)passed_fd;
    memcpy(&id, payload.ptr, sizeof id);
    struct listener *l = listener_find(w, id.id);
    if (l != NULL)
        listener_close(l);
    control_tell_listener_removed(w, id.id);
    return 0;
}

static int take_geoip(struct worker *w, struct bytes payload, int passed_fd)
{
    struct geoip_reader *fresh = NULL;

    (void)payload;
    if (passed_fd >= 0 && geoip_reader_open(passed_fd, &fresh) != 0) {
        /* The master has verified it: a lack of memory. The one we have is better than none. */
        log_text(LOG_ERROR, "the new GeoIP database cannot be opened; the old one stays in use");
        return 0;
    }
    geoip_reader_close(&w->geoip);
    w->geoip = fresh;
    return 0;
}

static int start(struct worker *w, struct bytes payload, int passed_fd)
{
    (void)payload;
    (void)passed_fd;
    worker_start(w);
    return 0;
}

static int drain(struct worker *w, struct bytes payload, int passed_fd)
{
    (void)payload;
    (void)passed_fd;
    worker_drain(w);
    return 0;
}

static int stop(struct worker *w, struct bytes payload, int passed_fd)
{
    (void)payload;
    (void)passed_fd;
    worker_stop(w);
    return 0;
}

static int answer_query(struct worker *w, struct bytes payload, int passed_fd)
{
    struct ctl_query query;

    (void)passed_fd;
    memcpy(&query, payload.ptr, sizeof query);
    w->control.answer_len = query_answer(w, &query, (struct ctl_query_answer *)w->control.answer);
    if (!ev_is_active(&w->control.writes))
        control_send_rest(w);
    return 0;
}

typedef int (*message_fn)(struct worker *w, struct bytes payload, int passed_fd);

static const message_fn messages[] = {
    [CTL_SETTINGS] = take_settings,
    [CTL_LISTENER_ADD] = add_listener,
    [CTL_LISTENER_UPDATE] = update_listener,
    [CTL_LISTENER_REMOVE] = remove_listener,
    [CTL_GEOIP] = take_geoip,
    [CTL_START] = start,
    [CTL_DRAIN] = drain,
    [CTL_STOP] = stop,
    [CTL_QUERY] = answer_query,
};

static int take_message(struct worker *w, const struct ctl_header *header, struct bytes payload, int passed_fd)
{
    bool is_ours = ctl_message_is_valid(CTL_FROM_MASTER, header->type, payload, passed_fd >= 0) &&
                   header->type < sizeof messages / sizeof messages[0] && messages[header->type] != NULL;

    if (is_ours)
        return messages[header->type](w, payload, passed_fd);
    if (passed_fd >= 0)
        close(passed_fd);
    return ERR_PROTOCOL;
}

static void on_control_readable(EV_P_ ev_io *io, int revents)
{
    static _Alignas(8) uint8_t buffer[CTL_MSG_MAX];
    struct worker *w = io->data;
    struct ctl_header header;
    struct bytes payload;
    int passed_fd;
    int rc = 0;

    CHECK_MAGIC(w, WORKER_MAGIC);
    if (revents & EV_ERROR) {
        worker_give_up(w, "the control socket cannot be watched; the worker ends");
        return;
    }
    for (int i = 0; i < MESSAGES_PER_TURN && rc == 0; i++) {
        rc = ctl_recv(io->fd, buffer, sizeof buffer, &header, &payload, &passed_fd);
        if (rc == 0)
            rc = take_message(w, &header, payload, passed_fd);
    }
    if (rc == 0 || rc == ERR_UNAVAILABLE)
        return;
    ev_io_stop(loop, io);
    conn_io_leave_loop(w, io->fd);
    if (rc != ERR_CLOSED) {
        /* Both ends are the same binary: only a bug or a lack of memory comes here. The master replaces us. */
        log_text(LOG_ERROR, "a control message could not be carried out; the worker stops accepting");
    }
    /* The master is gone (or will be told by our end): serve what we have, take nothing new. */
    worker_drain(w);
}

int control_start(struct worker *w)
{
    ev_io_init(&w->control.reads, on_control_readable, HANDOVER_FD_CONTROL, EV_READ);
    w->control.reads.data = w;
    ev_io_start(w->loop, &w->control.reads);
    ev_io_init(&w->control.writes, on_control_writable, HANDOVER_FD_CONTROL, EV_WRITE);
    w->control.writes.data = w;
    return conn_io_join_loop(w, HANDOVER_FD_CONTROL);
}
