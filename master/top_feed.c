/* The stream of ended connections for `top`, by a child process. */

#include "top_feed.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "address.h"
#include "admin_client.h"
#include "cli.h"
#include "client_counts.h"
#include "err.h"
#include "mc_proxy/v1/admin.pb-c.h"

#define ITEMS_AT_ONCE 64
#define AGAIN_S       1 /* between streams: the server is away */

/** What goes through the pipe; short enough to be written whole or not at all (PIPE_BUF, pipe(7)). */
struct item {
    char client[ADDRESS_TEXT_MAX]; /* "": only lost */
    uint64_t values[CLIENT_VALUES];
    uint64_t lost;
};

/* ---- the child ---- */

static void fill_item(const McProxy__V1__WatchConnectionsResponse *response, struct item *out)
{
    const McProxy__V1__Connection *c = response->connection;

    *out = (struct item){.lost = response->lost};
    if (c == NULL)
        return;
    snprintf(out->client, sizeof out->client, "%s", c->client);
    out->values[CLIENT_ENDED] = 1;
    out->values[CLIENT_REFUSED] = c->connect_us == 0 && c->bytes_out == 0; /* never had a backend */
    out->values[CLIENT_BYTES_IN] = c->bytes_in;
    out->values[CLIENT_BYTES_OUT] = c->bytes_out;
}

static int take(void *context, struct bytes message)
{
    const int *fd = context;
    struct item item;
    McProxy__V1__WatchConnectionsResponse *response =
        mc_proxy__v1__watch_connections_response__unpack(NULL, message.len, message.ptr);

    if (response == NULL)
        return ERR_PROTOCOL;
    fill_item(response, &item);
    mc_proxy__v1__watch_connections_response__free_unpacked(response, NULL);
    if (write(*fd, &item, sizeof item) != (ssize_t)sizeof item)
        _exit(CLI_DONE); /* nobody reads any more */
    return 0;
}

/** One stream, to its end; how it ended is of no matter: another follows. */
static void follow(const struct cli_command *command, const struct client_options *options, int fd)
{
    McProxy__V1__WatchConnectionsRequest request;
    struct admin_client client;
    char why_data[ADMIN_CLIENT_WHY_MAX];
    struct strbuf why = STRBUF_OF(why_data);
    int rc = admin_client_init(&client, command, options, GRPC_CLIENT_NO_DEADLINE);

    mc_proxy__v1__watch_connections_request__init(&request);
    if (rc == CLI_DONE)
        rc = admin_client_connect(&client, &why);
    if (rc == 0)
        rc = admin_client_follow(&client, "WatchConnections", &request.base, take, &fd, &why);
    (void)rc;
    admin_client_fini(&client);
}

static _Noreturn void run_child(const struct cli_command *command, const struct client_options *options, int fd)
{
    sigset_t none;

    /* The parent ends us; and so does its end, however it comes. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigemptyset(&none);
    for (const int *number = (const int[]){SIGINT, SIGTERM, SIGHUP, SIGWINCH, 0}; *number != 0; number++)
        signal(*number, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (;;) {
        follow(command, options, fd);
        sleep(AGAIN_S);
    }
}

/* ---- the parent ---- */

int top_feed_start(struct top_feed *feed, const struct cli_command *command, const struct client_options *options)
{
    int ends[2];

    *feed = (struct top_feed){.fd = -1};
    if (pipe2(ends, O_CLOEXEC) != 0)
        return ERR_SYSTEM;
    feed->pid = fork();
    if (feed->pid == 0) {
        close(ends[0]);
        run_child(command, options, ends[1]);
    }
    close(ends[1]);
    if (feed->pid < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) {
        close(ends[0]);
        return ERR_SYSTEM;
    }
    feed->fd = ends[0];
    return 0;
}

void top_feed_read(struct top_feed *feed, struct client_counts *counts)
{
    struct item items[ITEMS_AT_ONCE];
    ssize_t n = read(feed->fd, items, sizeof items); /* whole items: they are written so, and this is a multiple */

    for (ssize_t i = 0; i < n / (ssize_t)sizeof items[0]; i++) {
        feed->lost += items[i].lost;
        items[i].client[sizeof items[i].client - 1] = '\0';
        if (items[i].client[0] != '\0')
            client_counts_add(counts, items[i].client, items[i].values);
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) { /* the child is gone */
        close(feed->fd);
        feed->fd = -1;
    }
}

void top_feed_stop(struct top_feed *feed)
{
    if (feed->pid > 0) {
        kill(feed->pid, SIGKILL);
        while (waitpid(feed->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (feed->fd >= 0)
        close(feed->fd);
    *feed = (struct top_feed){.fd = -1};
}
