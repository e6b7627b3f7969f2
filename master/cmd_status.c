/* `mc-proxy status`: what a running server is and does, once or again every second. */

#include "cmd_status.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "admin_client.h"
#include "clock.h"
#include "err.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "screen.h"
#include "shm_layout.h"
#include "status_view.h"

#define STATUS_TIMEOUT_MS 10000
#define WATCH_PERIOD_MS   1000

struct status_job {
    struct client_options connection;
    bool is_watching;
    bool with_routes;
    uint64_t max_routes; /* 0: as many as the server thinks right */
    struct admin_client client;
};

/* ---- one look ---- */

static int print_status(const struct status_job *job, const McProxy__V1__GetStatusResponse *status, FILE *to)
{
    if (!job->connection.is_json)
        return status_view_print(status, to);
    status_view_print_json(status, to);
    return 0;
}

/** 0, or a negative or positive result of admin_client_call() with `why`. */
static int get_status(struct status_job *job, FILE *to, struct strbuf *why)
{
    McProxy__V1__GetStatusRequest request;
    ProtobufCMessage *response;

    mc_proxy__v1__get_status_request__init(&request);
    request.include_routes = job->with_routes;
    request.max_routes = (uint32_t)job->max_routes;
    int rc = admin_client_call(&job->client, "GetStatus", &request.base, &mc_proxy__v1__get_status_response__descriptor,
                               &response, why);
    if (rc != 0)
        return rc;
    rc = print_status(job, (const McProxy__V1__GetStatusResponse *)response, to);
    if (rc != 0)
        strbuf_add(why, err_text(rc));
    protobuf_c_message_free_unpacked(response, NULL);
    return rc;
}

static int look_once(struct status_job *job)
{
    char why_data[ADMIN_CLIENT_WHY_MAX];
    struct strbuf why = STRBUF_OF(why_data);

    if (get_status(job, stdout, &why) == 0)
        return CLI_DONE;
    cli_error(job->client.command, "%s", why_data);
    return CLI_FAILED;
}

/* ---- again and again ---- */

/** One page of text, of what the server says or why it says nothing; the caller frees it. NULL without memory. */
static char *make_page(struct status_job *job, bool *is_answer_out)
{
    char why_data[ADMIN_CLIENT_WHY_MAX];
    struct strbuf why = STRBUF_OF(why_data);
    char *page = NULL;
    size_t len;
    FILE *to = open_memstream(&page, &len);

    if (to == NULL)
        return NULL;
    int rc = job->client.grpc != NULL ? get_status(job, to, &why) : ERR_CLOSED;
    if (rc < 0) { /* a server that was restarted, or handed over: its successor answers on a new connection */
        strbuf_reset(&why);
        rc = admin_client_connect(&job->client, &why);
        if (rc == 0)
            rc = get_status(job, to, &why);
    }
    *is_answer_out = rc == 0;
    if (rc != 0)
        fprintf(to, "%s\n", why_data);
    if (fclose(to) == 0)
        return page;
    free(page);
    return NULL;
}

/** False when nobody can read what is printed any more. */
static bool show_page(const struct status_job *job, const char *page, bool is_answer, bool is_first)
{
    unsigned rows, columns;

    if (!is_answer && job->connection.is_json) {
        fputs(page, stderr); /* standard output is for programs */
        return true;
    }
    if (!job->connection.is_json && screen_size(STDOUT_FILENO, &rows, &columns)) {
        if (is_first)
            fputs("\033[2J", stdout);
        screen_paint(page, rows, columns, stdout);
    } else {
        fputs(is_first || job->connection.is_json ? "" : "\n", stdout);
        fputs(page, stdout);
    }
    return fflush(stdout) == 0;
}

static void sleep_until(uint64_t ms)
{
    const struct timespec when = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
}

static int watch(struct status_job *job)
{
    bool is_first = true, goes_on = true;

    cli_end_on_signals();
    while (goes_on) {
        uint64_t next_ms = clock_monotonic_ms() + WATCH_PERIOD_MS;
        bool is_answer = false;
        char *page = make_page(job, &is_answer);
        if (page == NULL) {
            cli_error(job->client.command, "%s", err_text(ERR_NO_MEMORY));
            return CLI_FAILED;
        }
        goes_on = show_page(job, page, is_answer, is_first);
        free(page);
        is_first = false;
        if (goes_on)
            sleep_until(next_ms);
    }
    return CLI_DONE; /* main() tells that standard output is gone */
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct status_job job = {0};
    const char *max_text = NULL;
    const struct cli_option options[] = {
        CLIENT_CONNECTION_OPTIONS(job.connection),
        CLIENT_JSON_OPTION(job.connection),
        {"routes", 'r', .help = "routes too, the busiest first", .flag_out = &job.with_routes},
        {"max", 'n', "N", "so many routes at most, 1 to 16383; else 1000", .value_out = &max_text},
        {"watch", 'w', .help = "again every second, until Ctrl-C", .flag_out = &job.is_watching},
        {0},
    };
    int status;

    if (!cli_parse(command, options, argc, argv, 0, NULL, NULL, &status))
        return status;
    if (max_text != NULL &&
        (!cli_parse_number(max_text, SHM_ROUTE_SERIES_MAX - 1, &job.max_routes) || job.max_routes == 0))
        return cli_usage_error(command, "%s is no number of routes: expected 1 to %d", max_text,
                               SHM_ROUTE_SERIES_MAX - 1);
    job.with_routes |= max_text != NULL;
    status = admin_client_open(&job.client, command, &job.connection, STATUS_TIMEOUT_MS);
    if (status == CLI_DONE)
        status = job.is_watching ? watch(&job) : look_once(&job);
    admin_client_fini(&job.client);
    return status;
}

const struct cli_command cmd_status = {
    .name = "status",
    .arguments = "",
    .summary = "Show what a running server is and does",
    .details =
        "With --watch on a terminal the page is renewed in place; elsewhere pages follow each other (with --json: one\n"
        "document a line), and a server that is away for a while is asked again.\n",
    .run = run,
};
