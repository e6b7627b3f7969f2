/*
 * An upgrade, seen from the new server. It begins like any other, only that its sockets were passed to it, that it asks for the
 * database, and that it is the main process when its predecessor says so. A predecessor that dies makes it an ordinary start.
 */

#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "err.h"
#include "log_event.h"
#include "server_internal.h"
#include "upgrade_link.h"

#define DATABASE_WAIT_MS 30000 /* the predecessor folds its log into the file meanwhile */

/* What this process said last when something failed: the predecessor's log shall have it, too. */
static char last_failure[UPGRADE_TEXT_MAX / 2];

void server_note_failure(const char *message, const char *error)
{
    struct strbuf out = STRBUF_OF(last_failure);

    strbuf_addf(&out, "%s%s%s", message, message[0] != '\0' ? ": " : "", error);
}

void server_greet_predecessor(struct server *s)
{
    s->predecessor.fd = s->inherited.upgrade_fd;
    s->inherited.upgrade_fd = -1;
    s->predecessor.is_successor = s->predecessor.fd >= 0 && upgrade_link_is_one(s->predecessor.fd);
    if (s->predecessor.fd < 0 || s->predecessor.is_successor)
        return;
    close(s->predecessor.fd); /* a socket unit that happens to have that name */
    s->predecessor.fd = -1;
}

static void forget(struct server *s)
{
    if (s->predecessor.fd < 0)
        return;
    if (s->predecessor.is_told)
        ev_io_stop(s->loop, &s->predecessor.io);
    s->predecessor.is_told = false;
    close(s->predecessor.fd);
    s->predecessor.fd = -1;
}

static void go_on_alone(struct server *s)
{
    log_text(LOG_WARN, "the server that was to be replaced is gone: going on without it");
    forget(s);
}

static int fail(const char *error)
{
    server_log_failure("cannot get the database from the server that is to be replaced", error);
    return CLI_FAILED;
}

int server_ask_for_database(struct server *s)
{
    struct upgrade_message message;
    int fd = s->predecessor.fd;

    if (fd < 0)
        return CLI_DONE;
    int rc = upgrade_link_send(fd, UPGRADE_GIVE_DATABASE, "");
    while (rc == 0 && (rc = upgrade_link_wait(fd, DATABASE_WAIT_MS, &message)) == 0) {
        if (message.word == UPGRADE_DATABASE_GIVEN)
            return CLI_DONE;
        if (message.word == UPGRADE_CALLED_OFF)
            return fail("the upgrade was called off");
    }
    if (rc != ERR_CLOSED)
        return fail(err_text(rc));
    go_on_alone(s);
    return CLI_DONE;
}

/** Changes over the admin API begin here: had we failed before, our predecessor would not have known of them. */
static void become_main(struct server *s)
{
    if (s->predecessor.is_successor) {
        s->predecessor.is_successor = false;
        server_notify_start(s);
        server_admin_serve(s);
    }
    server_notify_ready(s);
    server_drop_surplus_slots(s);
    server_continue_reload(s);
}

static void on_predecessor(EV_P_ ev_io *io, int revents)
{
    struct server *s = io->data;
    struct upgrade_message message;
    int rc;

    (void)loop;
    (void)revents;
    CHECK_MAGIC(s, SERVER_MAGIC);
    while ((rc = upgrade_link_receive(s->predecessor.fd, &message)) == 0 && message.word != UPGRADE_TAKE_OVER) {
    }
    if (rc == ERR_UNAVAILABLE)
        return;
    if (rc == 0)
        log_text(LOG_INFO, "taken over from the server that was to be replaced");
    if (rc == 0)
        forget(s);
    else
        go_on_alone(s);
    become_main(s);
}

void server_workers_ready(struct server *s)
{
    struct server_predecessor *p = &s->predecessor;

    if (p->is_told)
        return; /* workers that were added, while we wait for an answer */
    if (p->fd >= 0 && upgrade_link_send(p->fd, UPGRADE_READY, "") != 0)
        go_on_alone(s);
    if (p->fd < 0) {
        become_main(s);
        return;
    }
    p->is_told = true;
    ev_io_init(&p->io, on_predecessor, p->fd, EV_READ);
    p->io.data = s;
    ev_io_start(s->loop, &p->io);
}

void server_successor_fini(struct server *s, int exit_status)
{
    if (s->predecessor.fd < 0)
        return;
    if (exit_status != CLI_DONE && upgrade_link_send(s->predecessor.fd, UPGRADE_FAILED, last_failure) != 0)
        log_text(LOG_WARN, "the server that was to be replaced does not listen any more");
    forget(s);
}
