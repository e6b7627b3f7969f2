/*
 * An upgrade (SIGUSR2), seen from the server that is to be replaced. It starts the program file anew, hands over sockets, database and,
 * when the successor serves, the place of the main process. Until then everything can be undone: a successor that fails, at whatever
 * stage, leaves this server serving as before. What the two say to each other is in upgrade_link.h.
 */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "config.h"
#include "err.h"
#include "exit_status.h"
#include "log_event.h"
#include "server_internal.h"
#include "server_metrics.h"
#include "state.h"
#include "supervisor.h"
#include "upgrade_link.h"
#include "upgrade_spawn.h"

#define READY_MS      60000 /* from its start until a successor serves */
#define GOODBYE_MS    250   /* for clients of the admin API to take the last answers */
#define LAST_WORDS_MS 5000  /* from "it cannot" to its end */
#define EOF_MS        1000  /* from the end of the link to its end */
#define RESUME_MS     5000  /* between tries to get the database back */

static void log_successor(enum log_level level, const char *message, pid_t pid)
{
    struct log_event e;

    log_event_begin(&e, level, message);
    log_event_u64(&e, LOG_KEY_PID, (uint64_t)pid);
    log_event_end(&e);
}

void server_upgrade_init(struct server *s)
{
    struct strbuf program = STRBUF_OF(s->upgrade.program);

    s->upgrade.fd = -1;
    if (upgrade_find_program(&program) != 0)
        strbuf_reset(&program); /* said when somebody asks for an upgrade */
}

/* ---- the beginning ---- */

static const char *why_not(const struct server *s)
{
    const struct server_upgrade *u = &s->upgrade;

    if (getpid() == 1)
        return "the first process of a container cannot be replaced: start a container of the new image";
    if (s->is_stopping || u->is_handed_over)
        return "the server is stopping";
    if (!s->notify.is_ready)
        return "the server is still starting";
    if (u->pid != 0 || u->is_wanted)
        return "an upgrade is under way";
    if (u->resume_at_ms != 0)
        return "the database that the last upgrade had is not back yet";
    return u->program[0] == '\0' ? "it is not known which file this program was started from" : NULL;
}

void server_ask_upgrade(struct server *s)
{
    const char *reason = why_not(s);

    if (reason != NULL) {
        server_log_failure("not upgrading", reason);
        return;
    }
    s->upgrade.is_wanted = true;
    if (!supervisor_is_settled(s->supervisor))
        log_text(LOG_INFO, "the upgrade waits until the last reload's workers and listeners have settled");
    server_upgrade_turn(s);
}

bool server_upgrade_is_busy(const struct server *s)
{
    const struct server_upgrade *u = &s->upgrade;

    return u->is_wanted || u->pid != 0 || u->resume_at_ms != 0 || u->is_handed_over;
}

struct passed {
    struct upgrade_fd *fds; /* NULL: only count */
    unsigned count;
};

static void pass_socket(void *context, const struct supervisor_socket *socket)
{
    struct passed *passed = context;
    unsigned i = passed->count++;

    if (passed->fds == NULL)
        return;
    struct strbuf name = STRBUF_OF(passed->fds[i].name);
    if (socket->is_shared)
        inherited_shared_name(socket->addr, &name);
    else
        inherited_socket_name(socket->addr, socket->slot, &name);
    passed->fds[i].fd = socket->fd;
}

/** Every socket, and last the link. NULL without memory. */
static struct upgrade_fd *make_passed(struct server *s, int link_fd, unsigned *count_out)
{
    struct passed passed = {0};

    supervisor_each_socket(s->supervisor, pass_socket, &passed);
    passed.fds = calloc(passed.count + 1, sizeof *passed.fds);
    passed.count = 0;
    if (passed.fds == NULL)
        return NULL;
    supervisor_each_socket(s->supervisor, pass_socket, &passed);
    struct strbuf name = STRBUF_OF(passed.fds[passed.count].name);
    strbuf_add(&name, INHERITED_UPGRADE_NAME);
    passed.fds[passed.count].fd = link_fd;
    *count_out = passed.count + 1;
    return passed.fds;
}

static int spawn(struct server *s, int link_fd)
{
    static char subcommand[] = "server", option[] = "-c";
    char config_path[PATH_MAX];
    char *argv[] = {s->upgrade.program, subcommand, option, config_path, NULL};
    struct strbuf path = STRBUF_OF(config_path);
    unsigned count;

    strbuf_add(&path, s->config_path);
    struct upgrade_fd *fds = make_passed(s, link_fd, &count);
    if (fds == NULL || path.overflowed) {
        free(fds);
        return ERR_NO_MEMORY;
    }
    int rc = upgrade_spawn(argv, fds, count, &s->upgrade.pid);
    int error_number = errno;
    free(fds);
    errno = error_number;
    return rc;
}

static void on_link(EV_P_ ev_io *io, int revents);

static void begin(struct server *s)
{
    struct server_upgrade *u = &s->upgrade;
    struct log_event e;
    int ends[2], rc;

    u->is_wanted = false;
    u->reason[0] = '\0';
    u->is_killed = u->has_asked = u->is_ready = false;
    if ((rc = upgrade_link_make(ends)) == 0) {
        rc = spawn(s, ends[1]);
        int error_number = errno;
        close(ends[1]);
        if (rc != 0)
            close(ends[0]);
        errno = error_number;
    }
    log_event_begin(&e, rc == 0 ? LOG_INFO : LOG_ERROR,
                    rc == 0 ? "upgrading: the new program starts" : "not upgrading: the new program cannot be started");
    log_event_cstr(&e, LOG_KEY_PATH, u->program);
    if (rc == 0)
        log_event_u64(&e, LOG_KEY_PID, (uint64_t)u->pid);
    else
        log_event_cstr(&e, LOG_KEY_ERROR, rc == ERR_SYSTEM ? strerror(errno) : err_text(rc));
    log_event_end(&e);
    if (rc != 0)
        return;
    u->fd = ends[0];
    u->deadline_ms = clock_monotonic_ms() + READY_MS;
    ev_io_init(&u->io, on_link, u->fd, EV_READ);
    u->io.data = s;
    ev_io_start(s->loop, &u->io);
}

/* ---- what is handed over ---- */

static void close_link(struct server *s)
{
    if (s->upgrade.fd < 0)
        return;
    ev_io_stop(s->loop, &s->upgrade.io);
    close(s->upgrade.fd);
    s->upgrade.fd = -1;
}

/** A link that cannot be written to has a successor at its other end that is about to be reaped. */
static void tell(struct server *s, enum upgrade_word word)
{
    if (upgrade_link_send(s->upgrade.fd, word, "") != 0)
        log_successor(LOG_WARN, "the new process does not listen any more", s->upgrade.pid);
}

/** No changes from here on, until the successor has failed. */
static void begin_to_give(struct server *s)
{
    if (s->upgrade.has_asked)
        return;
    s->upgrade.has_asked = true;
    s->upgrade.give_at_ms = clock_monotonic_ms() + GOODBYE_MS;
    server_admin_say_goodbye(s);
}

static void give_database(struct server *s)
{
    s->upgrade.give_at_ms = 0;
    server_metrics_release(s);
    server_admin_close(s);
    state_suspend(s->state);
    log_successor(LOG_INFO, "upgrading: the database goes to the new process", s->upgrade.pid);
    tell(s, UPGRADE_DATABASE_GIVEN);
}

/** One that is dead, and not reaped yet, must not be handed anything. */
static bool is_alive(pid_t pid)
{
    siginfo_t info = {0};

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

static void hand_over(struct server *s)
{
    struct server_upgrade *u = &s->upgrade;
    struct log_event e;

    if (!is_alive(u->pid) || s->is_stopping || u->is_killed || !state_is_suspended(s->state))
        return;
    u->is_handed_over = true;
    server_notify_hand_over(s, u->pid);
    tell(s, UPGRADE_TAKE_OVER);
    log_event_begin(&e, LOG_INFO,
                    "upgraded: the new process has taken over, this one serves its connections to their end");
    log_event_u64(&e, LOG_KEY_PID, (uint64_t)u->pid);
    log_event_u64(&e, LOG_KEY_CONNECTIONS, server_open_connections(s));
    log_event_end(&e);
    if (server_take_reload(s))
        kill(u->pid, SIGHUP); /* it came while the new process may have read the configuration already */
    supervisor_leave(s->supervisor);
}

static void take_reason(struct server *s, const char *reason)
{
    struct strbuf out = STRBUF_OF(s->upgrade.reason);

    strbuf_add(&out, reason);
}

static void shorten_deadline(struct server *s, unsigned wait_ms)
{
    uint64_t deadline_ms = clock_monotonic_ms() + wait_ms;

    if (deadline_ms < s->upgrade.deadline_ms)
        s->upgrade.deadline_ms = deadline_ms;
}

static void take_message(struct server *s, const struct upgrade_message *message)
{
    switch (message->word) {
    case UPGRADE_GIVE_DATABASE: begin_to_give(s); break;
    case UPGRADE_READY:
        s->upgrade.is_ready = true;
        hand_over(s);
        break;
    case UPGRADE_FAILED:
        take_reason(s, message->text);
        shorten_deadline(s, LAST_WORDS_MS);
        break;
    default: break; /* not for us, or of a later version */
    }
}

static void on_link(EV_P_ ev_io *io, int revents)
{
    struct server *s = io->data;
    struct upgrade_message message;
    int rc;

    (void)loop;
    (void)revents;
    CHECK_MAGIC(s, SERVER_MAGIC);
    while (s->upgrade.fd >= 0 && (rc = upgrade_link_receive(s->upgrade.fd, &message)) != ERR_UNAVAILABLE) {
        if (rc == 0) {
            take_message(s, &message);
        } else {
            close_link(s);
            shorten_deadline(s, EOF_MS);
        }
    }
}

/* ---- the end of a successor ---- */

static void log_failed(const struct server *s, pid_t pid, int status)
{
    struct log_event e;

    log_event_begin(&e, LOG_ERROR, "not upgraded: the new process has failed, this one goes on");
    log_event_u64(&e, LOG_KEY_PID, (uint64_t)pid);
    exit_status_log(&e, status);
    log_event_cstr(&e, LOG_KEY_REASON,
                   s->upgrade.reason[0] != '\0' ? s->upgrade.reason : "it ended without saying why");
    log_event_end(&e);
}

/* One that was stopped, or has handed over in its turn before our last connection ended, is nothing to wake anybody for. */
static void log_ended(pid_t pid, int status)
{
    bool is_in_order = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    struct log_event e;

    log_event_begin(&e, is_in_order ? LOG_INFO : LOG_ERROR, "the new process has ended");
    log_event_u64(&e, LOG_KEY_PID, (uint64_t)pid);
    exit_status_log(&e, status);
    log_event_end(&e);
}

static void resume(struct server *s)
{
    char text[1024];
    struct strbuf why = STRBUF_OF(text);

    server_admin_close(s); /* it has said goodbye */
    if ((state_is_suspended(s->state) && state_resume(s->state, &why) != 0) || server_admin_open(s, &why) != 0) {
        server_log_failure("routes and rules stay as they are: they cannot be changed until this is mended", text);
        s->upgrade.resume_at_ms = clock_monotonic_ms() + RESUME_MS;
        return;
    }
    server_admin_serve(s);
    server_admin_ready(s);
    log_text(LOG_INFO, "the database is open again");
    s->upgrade.resume_at_ms = 0;
}

static void on_successor_gone(struct server *s, int status)
{
    struct server_upgrade *u = &s->upgrade;
    pid_t pid = u->pid;

    if (u->fd >= 0)
        on_link(s->loop, &u->io, EV_READ); /* its last words */
    close_link(s);
    u->pid = 0;
    u->give_at_ms = 0;
    if (u->is_handed_over || s->is_stopping) {
        log_ended(pid, status);
        return;
    }
    log_failed(s, pid, status);
    server_notify_upgrade_failed(s, u->reason);
    if (u->has_asked) {
        server_metrics_resume(s);
        resume(s);
    }
    server_continue_reload(s);
}

static void look_after_successor(struct server *s)
{
    struct server_upgrade *u = &s->upgrade;
    int status = 0;
    pid_t pid = waitpid(u->pid, &status, WNOHANG);

    if (pid == u->pid || (pid < 0 && errno == ECHILD)) {
        on_successor_gone(s, status);
        return;
    }
    if (u->is_handed_over || u->is_killed || clock_monotonic_ms() < u->deadline_ms)
        return;
    if (u->reason[0] == '\0')
        take_reason(s, "it was not ready in time");
    u->is_killed = true;
    kill(u->pid, SIGKILL);
}

/* ---- called by others ---- */

void server_upgrade_turn(struct server *s)
{
    struct server_upgrade *u = &s->upgrade;
    uint64_t now_ms = clock_monotonic_ms();

    if (u->is_wanted && supervisor_is_settled(s->supervisor))
        begin(s);
    if (u->give_at_ms != 0 && (server_admin_is_quiet(s) || now_ms >= u->give_at_ms))
        give_database(s);
    if (u->pid != 0)
        look_after_successor(s);
    if (u->resume_at_ms != 0 && !s->is_stopping && now_ms >= u->resume_at_ms)
        resume(s);
}

/** A successor that serves already drains as we do; one that does not is of no use any more. */
void server_upgrade_stop(struct server *s)
{
    struct server_upgrade *u = &s->upgrade;

    u->is_wanted = false;
    if (u->pid == 0 || u->is_handed_over)
        return;
    log_successor(LOG_INFO, "the upgrade is called off", u->pid);
    if (u->fd >= 0)
        tell(s, UPGRADE_CALLED_OFF);
    kill(u->pid, SIGTERM);
    u->deadline_ms = u->is_ready ? UINT64_MAX : clock_monotonic_ms() + LAST_WORDS_MS;
}

void server_upgrade_fini(struct server *s)
{
    struct server_upgrade *u = &s->upgrade;

    if (u->pid != 0 && !u->is_handed_over && !u->is_ready) {
        kill(u->pid, SIGKILL);
        while (waitpid(u->pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    if (s->loop != NULL)
        close_link(s);
}
