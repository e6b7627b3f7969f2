/* `mc-proxy snapshot`: a consistent copy of the database, through the running server if there is one, else directly. */

#include "cmd_snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin_client.h"
#include "config.h"
#include "err.h"
#include "json_out.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "snapshot.h"
#include "state_change.h"
#include "store.h"

#define SNAPSHOT_TIMEOUT_MS (10u * 60 * 1000)
#define SNAPSHOT_PATH_MAX   4096
#define SNAPSHOT_KEEP_MAX   1000000

struct snapshot_job {
    const struct cli_command *command;
    struct client_options connection;
    const char *output_text;
    const char *keep_text;
    char output[SNAPSHOT_PATH_MAX]; /* absolute; "": a new name in the backups folder */
    uint32_t keep;                  /* 0: none are removed */
};

static int failed(const struct snapshot_job *job, const char *why)
{
    cli_error(job->command, "%s", why);
    return CLI_FAILED;
}

/* ---- options ---- */

/** A relative path begins where the caller is, as with any command, not where the server is. */
static int read_output(struct snapshot_job *job)
{
    struct strbuf out = STRBUF_OF(job->output);
    char *here = NULL;

    if (job->output_text == NULL)
        return CLI_DONE;
    if (job->output_text[0] == '\0')
        return cli_usage_error(job->command, "--output needs a file's name");
    if (job->output_text[0] != '/') {
        if ((here = getcwd(NULL, 0)) == NULL)
            return failed(job, strerror(errno));
        strbuf_addf(&out, "%s/", strcmp(here, "/") == 0 ? "" : here);
        free(here);
    }
    strbuf_add(&out, job->output_text);
    return out.overflowed ? failed(job, "the path of --output is too long") : CLI_DONE;
}

static int read_keep(struct snapshot_job *job)
{
    const char *text = job->keep_text;

    if (text == NULL)
        return CLI_DONE;
    unsigned long value = strspn(text, "0123456789") == strlen(text) && strlen(text) <= 7 ? strtoul(text, NULL, 10) : 0;
    if (value < 1 || value > SNAPSHOT_KEEP_MAX)
        return cli_usage_error(job->command, "--keep %s: expected 1 to %d", text, SNAPSHOT_KEEP_MAX);
    job->keep = (uint32_t)value;
    return CLI_DONE;
}

static int print_path(const struct snapshot_job *job, const char *path)
{
    struct json_out json = json_out_to(stdout);

    if (!job->connection.is_json) {
        puts(path);
        return CLI_DONE;
    }
    json_out_open(&json, '{');
    json_out_text_of(&json, "path", path);
    json_out_close(&json, '}');
    putchar('\n');
    return CLI_DONE;
}

/* ---- through the server ---- */

static int ask_server(struct snapshot_job *job, struct admin_client *client)
{
    McProxy__V1__SnapshotRequest request;
    ProtobufCMessage *response;

    mc_proxy__v1__snapshot_request__init(&request);
    request.output_path = job->output;
    request.keep = job->keep;
    int status =
        admin_client_ask(client, "Snapshot", &request.base, &mc_proxy__v1__snapshot_response__descriptor, &response);
    if (status != CLI_DONE)
        return status;
    status = print_path(job, ((const McProxy__V1__SnapshotResponse *)response)->path);
    protobuf_c_message_free_unpacked(response, NULL);
    return status;
}

/* ---- directly ---- */

static int write_copy(const struct snapshot_job *job, struct store *store, const char *database)
{
    char path_data[SNAPSHOT_PATH_MAX], why_data[1024];
    struct strbuf path = STRBUF_OF(path_data), why = STRBUF_OF(why_data);
    const struct state_snapshot request = {
        .output_path = bytes_of_str(job->output),
        .is_anywhere_allowed = true,
        .keep = job->keep,
    };

    if (snapshot_write(store, database, &request, &path, &why) != 0)
        return failed(job, why_data);
    if (why.len > 0)
        cli_error(job->command, "%s", why_data); /* a warning: an old one could not be removed */
    return print_path(job, path_data);
}

/** Opening makes a database where there is none; a copy of that would be worth nothing. */
static int copy_database(const struct snapshot_job *job, const char *database)
{
    char why_data[1024];
    struct strbuf why = STRBUF_OF(why_data);
    struct store_check_result found;
    struct store *store;

    if (store_check(database, &found, &why) != 0)
        return failed(job, why_data);
    if (found.is_missing) {
        cli_error(job->command, "%s: there is no database yet", database);
        return CLI_FAILED;
    }
    int rc = store_open(database, &store, &why);
    if (rc == ERR_IN_USE)
        strbuf_add(&why, "; a snapshot beside a running server goes through its admin API ([grpc] addr)");
    if (rc != 0)
        return failed(job, why_data);
    int status = write_copy(job, store, database);
    store_close(&store);
    return status;
}

static int go_directly(const struct snapshot_job *job)
{
    struct config_errors errors = {0};
    struct config *config = NULL;
    int rc = config_load_anyway(job->connection.config, environ, &config, &errors);
    int status = CLI_CONFIG;

    if (config != NULL && config->database_path != NULL) {
        status = copy_database(job, config->database_path);
    } else if (rc == ERR_NO_MEMORY) {
        status = failed(job, err_text(rc));
    } else {
        for (unsigned i = 0; i < errors.count; i++)
            fprintf(stderr, "%s\n", errors.lines[i]);
    }
    config_free(&config);
    config_errors_fini(&errors);
    return status;
}

/* ---- which way ---- */

static int make_snapshot(struct snapshot_job *job)
{
    char why_data[ADMIN_CLIENT_WHY_MAX];
    struct strbuf why = STRBUF_OF(why_data);
    struct admin_client client;
    int status = admin_client_init(&client, job->command, &job->connection, SNAPSHOT_TIMEOUT_MS);

    if (status == CLI_DONE) {
        int rc = admin_client_connect(&client, &why);
        if (rc == 0)
            status = ask_server(job, &client);
        else if (rc == ERR_NOT_FOUND && job->connection.addr == NULL)
            status = go_directly(job); /* nobody is there, or there is no admin API */
        else
            status = failed(job, why_data);
    }
    admin_client_fini(&client);
    return status;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct snapshot_job job = {.command = command};
    const struct cli_option options[] = {
        CLIENT_CONNECTION_OPTIONS(job.connection),
        CLIENT_JSON_OPTION(job.connection),
        {"output", 'o', "OUT", "a new file; else a new one in backups/ beside the database",
         .value_out = &job.output_text},
        {"keep", 'k', "N", "then remove all but the newest N of backups/", .value_out = &job.keep_text},
        {0},
    };
    int status;

    if (!cli_parse(command, options, argc, argv, 0, NULL, NULL, &status) || (status = read_output(&job)) != CLI_DONE ||
        (status = read_keep(&job)) != CLI_DONE)
        return status;
    return make_snapshot(&job);
}

const struct cli_command cmd_snapshot = {
    .name = "snapshot",
    .arguments = "",
    .summary = "Write a consistent copy of the database, beside a running server or without one",
    .details =
        "Prints the path of the copy, which has mode 0600 and never overwrites a file. When no server answers, the\n"
        "database that --config names is copied directly. Over TCP a server writes to its backups folder only.\n"
        "--keep counts only files that snapshots without --output have made.\n",
    .run = run,
};
