/* `mc-proxy connections`: those that a running server has open, listed and closed. */

#include "cmd_connections.h"

#include <inttypes.h>
#include <stdio.h>

#include "admin_client.h"
#include "connection_view.h"
#include "err.h"
#include "mc_proxy/v1/admin.pb-c.h"

#define CONNECTIONS_TIMEOUT_MS 60000

struct connections_job {
    const struct cli_command *command;
    struct client_options connection;
    const char *listener, *client, *route, *id_text, *limit_text;
    bool is_dry_run;
    uint64_t shown;
};

/** An option that must say something: an empty one would mean all. */
static bool is_empty(const char *value)
{
    return value != NULL && value[0] == '\0';
}

/* ---- listing ---- */

static void print_one(struct connections_job *job, const McProxy__V1__Connection *connection)
{
    bool is_first = job->shown++ == 0;

    if (job->connection.is_json) {
        fputs(is_first ? "[\n" : ",\n", stdout);
        connection_view_print_json(connection, stdout);
        return;
    }
    if (is_first)
        connection_view_print_header(stdout);
    connection_view_print_open(connection, stdout);
}

static int take(void *context, struct bytes message)
{
    struct connections_job *job = context;
    McProxy__V1__ListConnectionsResponse *response =
        mc_proxy__v1__list_connections_response__unpack(NULL, message.len, message.ptr);

    if (response == NULL)
        return ERR_PROTOCOL;
    for (size_t i = 0; i < response->n_connections; i++)
        print_one(job, response->connections[i]);
    mc_proxy__v1__list_connections_response__free_unpacked(response, NULL);
    return fflush(stdout) != 0; /* main() tells that nobody reads */
}

static void print_end(struct connections_job *job)
{
    if (job->connection.is_json)
        fputs(job->shown == 0 ? "[]\n" : "\n]\n", stdout);
    else if (job->shown == 0)
        connection_view_print_header(stdout);
}

static int list(void *context, char **arguments, int count)
{
    struct connections_job *job = context;
    McProxy__V1__ListConnectionsRequest request;
    struct admin_client client;
    char why_data[ADMIN_CLIENT_WHY_MAX];
    struct strbuf why = STRBUF_OF(why_data);

    (void)arguments;
    (void)count;
    mc_proxy__v1__list_connections_request__init(&request);
    admin_client_set(&request.listener_addr, job->listener);
    admin_client_set(&request.client_cidr, job->client);
    admin_client_set(&request.route, job->route);
    if (job->limit_text != NULL && !cli_parse_number(job->limit_text, UINT32_MAX, &request.limit))
        return cli_usage_error(job->command, "--limit %s: is no number", job->limit_text);
    int status = admin_client_open(&client, job->command, &job->connection, CONNECTIONS_TIMEOUT_MS);
    if (status == CLI_DONE && admin_client_follow(&client, "ListConnections", &request.base, take, job, &why) != 0) {
        cli_error(job->command, "%s", why_data);
        status = CLI_FAILED;
    } else if (status == CLI_DONE) {
        print_end(job);
    }
    admin_client_fini(&client);
    return status;
}

/* ---- closing ---- */

/** The selector of the request. False: not exactly one, or it says nothing. */
static bool set_selector(const struct connections_job *job, McProxy__V1__CloseConnectionsRequest *out)
{
    bool is_one = (job->id_text != NULL) + (job->client != NULL) + (job->route != NULL) == 1;

    if (job->client != NULL) {
        out->selector_case = MC_PROXY__V1__CLOSE_CONNECTIONS_REQUEST__SELECTOR_CLIENT_CIDR;
        out->client_cidr = admin_client_text(job->client);
    } else if (job->route != NULL) {
        out->selector_case = MC_PROXY__V1__CLOSE_CONNECTIONS_REQUEST__SELECTOR_ROUTE;
        out->route = admin_client_text(job->route);
    } else {
        out->selector_case = MC_PROXY__V1__CLOSE_CONNECTIONS_REQUEST__SELECTOR_CONN;
    }
    return is_one && !is_empty(job->client) && !is_empty(job->route);
}

static void print_closed(const struct connections_job *job, const McProxy__V1__CloseConnectionsResponse *response)
{
    uint64_t count = response->matched;
    const char *noun = count == 1 ? "connection" : "connections";

    if (job->connection.is_json)
        printf("{\"matched\":%" PRIu64 ",\"closed\":%" PRIu64 "}\n", count, response->closed);
    else if (job->is_dry_run)
        printf("nothing was closed; it would be: %" PRIu64 " %s\n", count, noun);
    else
        printf("closed %" PRIu64 " %s\n", response->closed, noun);
}

static int ask_to_close(struct connections_job *job, const McProxy__V1__CloseConnectionsRequest *request)
{
    struct admin_client client;
    ProtobufCMessage *response;
    int status = admin_client_open(&client, job->command, &job->connection, CONNECTIONS_TIMEOUT_MS);

    if (status == CLI_DONE)
        status = admin_client_ask(&client, "CloseConnections", &request->base,
                                  &mc_proxy__v1__close_connections_response__descriptor, &response);
    if (status == CLI_DONE) {
        print_closed(job, (const McProxy__V1__CloseConnectionsResponse *)response);
        protobuf_c_message_free_unpacked(response, NULL);
    }
    admin_client_fini(&client);
    return status;
}

static int close_some(void *context, char **arguments, int count)
{
    struct connections_job *job = context;
    McProxy__V1__CloseConnectionsRequest request;

    (void)arguments;
    (void)count;
    mc_proxy__v1__close_connections_request__init(&request);
    if (!set_selector(job, &request))
        return cli_usage_error(job->command, "close needs exactly one of --id, --client and --route");
    if (job->id_text != NULL && (!cli_parse_number(job->id_text, UINT64_MAX, &request.conn) || request.conn == 0))
        return cli_usage_error(job->command, "--id %s: is no number of a connection", job->id_text);
    admin_client_set(&request.listener_addr, job->listener);
    request.dry_run = job->is_dry_run;
    return ask_to_close(job, &request);
}

static const struct cli_verb verbs[] = {
    {"list", "", 0, 0, "the connections that are open; what is done without an action", list},
    {"close", "", 0, 0, "reset those that are named by --id, --client or --route", close_some},
    {0},
};

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct connections_job job = {.command = command};
    const struct cli_option options[] = {
        CLIENT_CONNECTION_OPTIONS(job.connection),
        CLIENT_JSON_OPTION(job.connection),
        {"listener", 'l', "ADDR", "only of this listener", .value_out = &job.listener},
        {"client", .argument = "CIDR", .help = "from this address or network", .value_out = &job.client},
        {"route", 'r', "HOST", "that the route of this hostname has led", .value_out = &job.route},
        {"limit", 'n', "N", "at most so many", .value_out = &job.limit_text, .verbs = "list"},
        {"id", 'i', "N", "the one of this number", .value_out = &job.id_text, .verbs = "close"},
        {"dry-run", .help = "only count them", .flag_out = &job.is_dry_run, .verbs = "close"},
        {0},
    };
    char **arguments;
    int count, status;
    const struct cli_verb *verb = cli_parse_verb(command, options, argc, argv, &arguments, &count, &status);

    return verb != NULL ? verb->run(&job, arguments, count) : status;
}

const struct cli_command cmd_connections = {
    .name = "connections",
    .arguments = " ACTION",
    .summary = "List and close the open connections of a running server",
    .details =
        "HOST is a route's hostname as `mc-proxy routes list` shows it, such as www.example.com, *.example.com or *.\n"
        "Closed connections are reset on both sides; to keep a client away, add a firewall rule first.\n",
    .run = run,
    .verbs = verbs,
    .has_default = true,
};
