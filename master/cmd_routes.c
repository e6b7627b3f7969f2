/* `mc-proxy routes`: the routes of a running server. */

#include "cmd_routes.h"

#include <stdio.h>

#include "admin_client.h"
#include "err.h"
#include "json_out.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "row_fetch.h"
#include "row_import.h"
#include "row_write.h"
#include "text_table.h"

#define ROUTES_TIMEOUT_MS 30000

struct routes_job {
    struct row_job rows;
    bool sends_proxy_protocol;
};

/* ---- list ---- */

static int print_table(const struct row_list *list)
{
    static const struct text_column columns[] = {
        {"LISTENER", false}, {"HOSTNAME", false}, {"BACKEND", false}, {"SEND PROXY PROTOCOL", false}};
    struct text_table table = text_table_of(columns, sizeof columns / sizeof columns[0]);

    for (size_t i = 0; i < list->count; i++) {
        const struct row *row = &list->rows[i];
        text_table_add(&table, row->listener);
        text_table_add(&table, row->hostname);
        text_table_add(&table, row->backend);
        text_table_add(&table, row->send_proxy_protocol ? "yes" : "no");
    }
    int rc = text_table_print(&table, stdout);
    text_table_fini(&table);
    return rc;
}

static int list_routes(void *context, char **arguments, int count)
{
    const struct routes_job *job = context;
    const struct cli_command *command = job->rows.command;
    struct admin_client client;
    struct row_list list;
    int status = admin_client_open(&client, command, &job->rows.connection, ROUTES_TIMEOUT_MS);

    row_list_init(&list, ROW_ROUTE, row_fetch_problem, admin_client_context(command));
    if (status == CLI_DONE)
        status = row_fetch_routes(&client, count > 0 ? arguments[0] : NULL, &list);
    if (status == CLI_DONE && job->rows.connection.is_json) {
        row_write(&list, ROW_FORMAT_JSON, stdout);
    } else if (status == CLI_DONE && print_table(&list) != 0) {
        cli_error(command, "%s", err_text(ERR_NO_MEMORY));
        status = CLI_FAILED;
    }
    row_list_fini(&list);
    admin_client_fini(&client);
    return status;
}

/* ---- add, remove ---- */

static void print_added(const struct routes_job *job, char **arguments, bool is_created)
{
    struct json_out json = json_out_to(stdout);

    if (!job->rows.connection.is_json) {
        printf("%s %s %s -> %s%s\n", is_created ? "added" : "replaced", arguments[0], arguments[1], arguments[2],
               job->sends_proxy_protocol ? " send_proxy_protocol" : "");
        return;
    }
    json_out_open(&json, '{');
    json_out_bool_of(&json, "created", is_created);
    json_out_close(&json, '}');
    putchar('\n');
}

static int add_route(void *context, char **arguments, int count)
{
    const struct routes_job *job = context;
    struct admin_client client;
    McProxy__V1__AddRouteRequest request;
    McProxy__V1__Route route;
    ProtobufCMessage *response;
    int status = admin_client_open(&client, job->rows.command, &job->rows.connection, ROUTES_TIMEOUT_MS);

    mc_proxy__v1__add_route_request__init(&request);
    mc_proxy__v1__route__init(&route);
    (void)count;
    request.listener_addr = arguments[0];
    request.route = &route;
    route.hostname = arguments[1];
    route.backend = arguments[2];
    route.send_proxy_protocol = job->sends_proxy_protocol;
    if (status == CLI_DONE)
        status = admin_client_ask(&client, "AddRoute", &request.base, &mc_proxy__v1__add_route_response__descriptor,
                                  &response);
    if (status == CLI_DONE) {
        print_added(job, arguments, ((const McProxy__V1__AddRouteResponse *)response)->created != 0);
        protobuf_c_message_free_unpacked(response, NULL);
    }
    admin_client_fini(&client);
    return status;
}

static int remove_route(void *context, char **arguments, int count)
{
    const struct routes_job *job = context;
    struct admin_client client;
    McProxy__V1__RemoveRouteRequest request;
    ProtobufCMessage *response;
    int status = admin_client_open(&client, job->rows.command, &job->rows.connection, ROUTES_TIMEOUT_MS);

    mc_proxy__v1__remove_route_request__init(&request);
    (void)count;
    request.listener_addr = arguments[0];
    request.hostname = arguments[1];
    if (status == CLI_DONE)
        status = admin_client_ask(&client, "RemoveRoute", &request.base,
                                  &mc_proxy__v1__remove_route_response__descriptor, &response);
    if (status == CLI_DONE) {
        if (job->rows.connection.is_json)
            puts("{\"removed\":true}");
        else
            printf("removed %s %s\n", arguments[0], arguments[1]);
        protobuf_c_message_free_unpacked(response, NULL);
    }
    admin_client_fini(&client);
    return status;
}

/* ---- files ---- */

static int import_routes(void *context, char **arguments, int count)
{
    const struct routes_job *job = context;

    (void)count;
    return row_import(&job->rows, arguments[0]);
}

static int export_routes(void *context, char **arguments, int count)
{
    struct routes_job *job = context;

    job->rows.listener = count > 0 ? arguments[0] : NULL;
    return row_export(&job->rows);
}

static const struct cli_verb verbs[] = {
    {"list", "[ADDR]", 0, 1, "routes of one listener, or of all", list_routes},
    {"add", "ADDR NAME BACKEND", 3, 3, "add a route, or replace the one of that name", add_route},
    {"remove", "ADDR NAME", 2, 2, "remove a route", remove_route},
    {"import", "FILE", 1, 1, "add or replace many in one step; - is standard input", import_routes},
    {"export", "[ADDR]", 0, 1, "print routes so that import takes them", export_routes},
    {0},
};

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct routes_job job = {.rows = {.command = command, .kind = ROW_ROUTE}};
    const struct cli_option options[] = {
        CLIENT_CONNECTION_OPTIONS(job.rows.connection),
        CLIENT_JSON_OPTION(job.rows.connection),
        {"send-proxy-protocol", .help = "tell the backend the client's address", .verbs = "add",
         .flag_out = &job.sends_proxy_protocol},
        {"format", 'f', "FORMAT", "text, csv or json", .verbs = "import, export", .value_out = &job.rows.format},
        {"listener", 'l', "ADDR", "listener of lines without one", .verbs = "import", .value_out = &job.rows.listener},
        {"replace", .help = "also remove what is not in the file", .verbs = "import",
         .flag_out = &job.rows.is_replacement},
        {"dry-run", 'n', .help = "show what would change", .verbs = "import", .flag_out = &job.rows.is_dry_run},
        {0},
    };
    char **arguments;
    int count, status;
    const struct cli_verb *verb = cli_parse_verb(command, options, argc, argv, &arguments, &count, &status);

    return verb != NULL ? verb->run(&job, arguments, count) : status;
}

const struct cli_command cmd_routes = {
    .name = "routes",
    .arguments = " ACTION",
    .summary = "List and change the routes of a running server",
    .details =
        "ADDR is a listener's addr in the configuration, as :443. In a file, one route per line:\n"
        "  :443 www.example.com 10.0.0.5:8443 send_proxy_protocol\n"
        "or CSV or JSON with the keys listener_addr, hostname, backend, send_proxy_protocol. An import makes all its\n"
        "changes or none; --replace touches only the listeners that the file (or --listener) names.\n",
    .run = run,
    .verbs = verbs,
};
