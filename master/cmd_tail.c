/* `mc-proxy tail`: connections of a running server as they end, a line each, until Ctrl-C. */

#include "cmd_tail.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "admin_client.h"
#include "connection_view.h"
#include "err.h"
#include "mc_proxy/v1/admin.pb-c.h"

struct tail_job {
    struct client_options connection;
    const char *sni, *client, *reason, *listener, *count_text;
    uint64_t left; /* lines that are still wanted */
    bool is_reader_gone;
};

static void print_lost(const struct tail_job *job, uint64_t lost)
{
    if (lost == 0)
        return;
    if (job->connection.is_json)
        printf("{\"lost\":%" PRIu64 "}\n", lost);
    else
        printf("... %" PRIu64 " lost\n", lost);
}

static void print_connection(struct tail_job *job, const McProxy__V1__Connection *connection)
{
    if (connection == NULL)
        return;
    job->left--;
    if (!job->connection.is_json) {
        connection_view_print_ended(connection, stdout);
        return;
    }
    connection_view_print_json(connection, stdout);
    putchar('\n');
}

static int take(void *context, struct bytes message)
{
    struct tail_job *job = context;
    McProxy__V1__WatchConnectionsResponse *response =
        mc_proxy__v1__watch_connections_response__unpack(NULL, message.len, message.ptr);

    if (response == NULL)
        return ERR_PROTOCOL;
    print_lost(job, response->lost);
    print_connection(job, response->connection);
    mc_proxy__v1__watch_connections_response__free_unpacked(response, NULL);
    if (fflush(stdout) != 0) {
        job->is_reader_gone = errno == EPIPE;
        return 1; /* main() tells what else it is */
    }
    return job->left == 0;
}

static int follow(struct tail_job *job, struct admin_client *client)
{
    McProxy__V1__WatchConnectionsRequest request;
    char why_data[ADMIN_CLIENT_WHY_MAX];
    struct strbuf why = STRBUF_OF(why_data);

    mc_proxy__v1__watch_connections_request__init(&request);
    admin_client_set(&request.sni_pattern, job->sni);
    admin_client_set(&request.client_cidr, job->client);
    admin_client_set(&request.reason, job->reason);
    admin_client_set(&request.listener_addr, job->listener);
    cli_end_on_signals();
    int rc = admin_client_follow(client, "WatchConnections", &request.base, take, job, &why);
    if (job->is_reader_gone)
        _exit(CLI_DONE); /* as of `| head`: nobody wants more, and nobody wants to hear of it */
    if (rc == 0 || (rc == ERR_PROTOCOL && ferror(stdout)))
        return CLI_DONE;
    cli_error(client->command, "%s", why_data);
    return CLI_FAILED;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct tail_job job = {.left = UINT64_MAX};
    const struct cli_option options[] = {
        CLIENT_CONNECTION_OPTIONS(job.connection),
        {"json", .help = "for programs: one JSON object a line", .flag_out = &job.connection.is_json},
        {"sni", 's', "PATTERN", "only with this server name: www.example.com, *.example.com", .value_out = &job.sni},
        {"client", .argument = "CIDR", .help = "only from this address or network", .value_out = &job.client},
        {"reason", 'r', "REASON", "only those that ended for it: no_route", .value_out = &job.reason},
        {"listener", 'l', "ADDR", "only of this listener", .value_out = &job.listener},
        {"lines", 'n', "N", "end after so many", .value_out = &job.count_text},
        {0},
    };
    struct admin_client client;
    int status;

    if (!cli_parse(command, options, argc, argv, 0, NULL, NULL, &status))
        return status;
    if (job.count_text != NULL && !cli_parse_number(job.count_text, UINT32_MAX, &job.left))
        return cli_usage_error(command, "--lines %s: is no number", job.count_text);
    if (job.count_text != NULL && job.left == 0)
        return CLI_DONE;
    status = admin_client_open(&client, command, &job.connection, GRPC_CLIENT_NO_DEADLINE);
    if (status == CLI_DONE)
        status = follow(&job, &client);
    admin_client_fini(&client);
    return status;
}

const struct cli_command cmd_tail = {
    .name = "tail",
    .arguments = "",
    .summary = "Show connections of a running server as they end",
    .details =
        "A line a connection: when it ended (UTC), why, the client, server name and backend, bytes from and to the client,\n"
        "milliseconds. \"... N lost\": so many came faster than they could be shown. Goes on until Ctrl-C, or until the\n"
        "server ends; --timeout sets an end too.\n",
    .run = run,
};
