/* `mc-proxy listeners`: the listeners of a running server, and their limits. */

#include "cmd_listeners.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin_client.h"
#include "err.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "status_view.h"

#define LISTENERS_TIMEOUT_MS 30000

struct listeners_job {
    const struct cli_command *command;
    struct client_options connection;
};

static int print_listeners(const struct listeners_job *job, const McProxy__V1__GetStatusResponse *status)
{
    if (job->connection.is_json) {
        status_view_print_listeners_json(status, stdout);
        return CLI_DONE;
    }
    if (status_view_print_listeners(status, stdout) == 0)
        return CLI_DONE;
    cli_error(job->command, "%s", err_text(ERR_NO_MEMORY));
    return CLI_FAILED;
}

static int list_listeners(void *context, char **arguments, int count)
{
    const struct listeners_job *job = context;
    McProxy__V1__GetStatusRequest request;
    struct admin_client client;
    ProtobufCMessage *response;
    int status = admin_client_open(&client, job->command, &job->connection, LISTENERS_TIMEOUT_MS);

    mc_proxy__v1__get_status_request__init(&request);
    (void)arguments;
    (void)count;
    if (status == CLI_DONE)
        status = admin_client_ask(&client, "GetStatus", &request.base, &mc_proxy__v1__get_status_response__descriptor,
                                  &response);
    if (status == CLI_DONE) {
        status = print_listeners(job, (const McProxy__V1__GetStatusResponse *)response);
        protobuf_c_message_free_unpacked(response, NULL);
    }
    admin_client_fini(&client);
    return status;
}

/** Digits only: strtoul() would take blanks and signs too. */
static bool parse_limit(const char *text, uint32_t *out)
{
    if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text) || strlen(text) > 10)
        return false;
    unsigned long long value = strtoull(text, NULL, 10);
    *out = (uint32_t)value;
    return value <= UINT32_MAX;
}

static void print_limit(const struct listeners_job *job, const char *addr, uint32_t limit)
{
    if (job->connection.is_json)
        printf("{\"max_connections\":%" PRIu32 "}\n", limit);
    else if (limit == 0)
        printf("%s has no limit of connections now\n", addr);
    else
        printf("%s takes at most %" PRIu32 " connections now\n", addr, limit);
}

static int set_max_connections(void *context, char **arguments, int count)
{
    const struct listeners_job *job = context;
    McProxy__V1__SetListenerMaxConnectionsRequest request;
    struct admin_client client;
    ProtobufCMessage *response;

    mc_proxy__v1__set_listener_max_connections_request__init(&request);
    (void)count;
    request.listener_addr = arguments[0];
    if (!parse_limit(arguments[1], &request.max_connections))
        return cli_usage_error(job->command, "%s is no number of connections: expected 0 (no limit) to %" PRIu32,
                               arguments[1], UINT32_MAX);
    int status = admin_client_open(&client, job->command, &job->connection, LISTENERS_TIMEOUT_MS);
    if (status == CLI_DONE)
        status = admin_client_ask(&client, "SetListenerMaxConnections", &request.base,
                                  &mc_proxy__v1__set_listener_max_connections_response__descriptor, &response);
    if (status == CLI_DONE) {
        print_limit(job, arguments[0], request.max_connections);
        protobuf_c_message_free_unpacked(response, NULL);
    }
    admin_client_fini(&client);
    return status;
}

static const struct cli_verb verbs[] = {
    {"list", "", 0, 0, "the listeners, with what they have and do", list_listeners},
    {"set-max-connections", "ADDR N", 2, 2, "at most N connections over all workers; 0: no limit", set_max_connections},
    {0},
};

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct listeners_job job = {.command = command};
    const struct cli_option options[] = {
        CLIENT_CONNECTION_OPTIONS(job.connection),
        CLIENT_JSON_OPTION(job.connection),
        {0},
    };
    char **arguments;
    int count, status;
    const struct cli_verb *verb = cli_parse_verb(command, options, argc, argv, &arguments, &count, &status);

    return verb != NULL ? verb->run(&job, arguments, count) : status;
}

const struct cli_command cmd_listeners = {
    .name = "listeners",
    .arguments = " ACTION",
    .summary = "List the listeners of a running server, and limit their connections",
    .details =
        "ADDR is a listener's addr in the configuration, as :443. A limit that is set here is stored: it beats the\n"
        "configuration's from now on, also after a restart.\n",
    .run = run,
    .verbs = verbs,
};
