/* `mc-proxy top`: what happens on a running server at the moment, renewed every second. */

#include "cmd_top.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin_client.h"
#include "client_counts.h"
#include "clock.h"
#include "err.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "screen.h"
#include "shm_layout.h"
#include "terminal.h"
#include "top_feed.h"
#include "top_view.h"

#define TOP_TIMEOUT_MS  10000
#define PLAIN_COLUMNS   80
#define PLAIN_ROWS      10
#define HEAD_ROWS       2
#define TABLE_HEAD_ROWS 2 /* a blank line, and the titles */
#define INTERVAL_MAX_S  3600

struct top_job {
    struct client_options connection;
    struct admin_client client;
    struct top top;
    struct top_layout layout;
    struct top_feed feed;          /* fd -1: clients are not asked for */
    struct client_counts *clients; /* NULL: the same */
    bool has_rows;                 /* -n was given */
    bool is_terminal;
    uint64_t interval_ms;
    uint64_t pages_left; /* UINT64_MAX: no end */
    bool was_painted;
};

/* ---- asking ---- */

/** 0, or a negative or positive result of admin_client_call() with `why`. */
static int ask_once(struct top_job *job, McProxy__V1__GetStatusResponse **out, struct strbuf *why)
{
    McProxy__V1__GetStatusRequest request;
    ProtobufCMessage *response;

    if (job->client.grpc == NULL)
        return ERR_CLOSED;
    mc_proxy__v1__get_status_request__init(&request);
    request.include_routes = job->top.is_by_route;
    request.max_routes = SHM_ROUTE_SERIES_MAX - 1; /* all: one that was quiet may become the busiest */
    int rc = admin_client_call(&job->client, "GetStatus", &request.base, &mc_proxy__v1__get_status_response__descriptor,
                               &response, why);
    if (rc == 0)
        *out = (McProxy__V1__GetStatusResponse *)response;
    return rc;
}

/** The same, on a new connection if need be: a server that was restarted or handed over. */
static int ask(struct top_job *job, McProxy__V1__GetStatusResponse **out, struct strbuf *why)
{
    int rc = ask_once(job, out, why);

    if (rc >= 0)
        return rc;
    strbuf_reset(why);
    rc = admin_client_connect(&job->client, why);
    return rc == 0 ? ask_once(job, out, why) : rc;
}

/* ---- showing ---- */

static void fit_layout(struct top_job *job)
{
    unsigned rows, columns, tables = 0;

    job->layout.columns = PLAIN_COLUMNS;
    if (!job->has_rows)
        job->layout.rows = PLAIN_ROWS;
    if (!job->is_terminal || !screen_size(STDOUT_FILENO, &rows, &columns))
        return;
    job->layout.columns = columns > 40 ? columns : 40;
    for (unsigned by = 0; by < TOP_BY_COUNT; by++)
        tables += job->layout.is_shown[by];
    unsigned heads = HEAD_ROWS + tables * TABLE_HEAD_ROWS;
    if (!job->has_rows)
        job->layout.rows = rows > heads + tables ? (rows - heads) / tables : 1;
}

static void show(struct top_job *job, const char *page)
{
    unsigned rows, columns;

    if (job->is_terminal && screen_size(STDOUT_FILENO, &rows, &columns)) {
        if (!job->was_painted)
            fputs("\033[2J", stdout);
        screen_paint(page, rows, columns, stdout);
    } else {
        fputs(job->was_painted ? "\n" : "", stdout);
        fputs(page, stdout);
    }
    job->was_painted = true;
}

/** A page of what was seen, or of why nothing was. 0 or ERR_NO_MEMORY. */
static int show_page(struct top_job *job, const McProxy__V1__GetStatusResponse *status, const char *why)
{
    char *page = NULL;
    size_t len;
    FILE *to = open_memstream(&page, &len);

    if (to == NULL)
        return ERR_NO_MEMORY;
    fit_layout(job);
    if (status != NULL)
        top_print(&job->top, status, &job->layout, to);
    else
        fprintf(to, "%s\n", why);
    int rc = fclose(to) == 0 ? 0 : ERR_NO_MEMORY;
    if (rc == 0)
        show(job, page);
    free(page);
    return rc;
}

/* ---- again and again ---- */

/** Wait for the next look; on the way, a terminal of another size gets the page anew. False: the end. */
static bool wait_next(struct top_job *job, const McProxy__V1__GetStatusResponse *status, const char *why,
                      uint64_t until_ms)
{
    for (;;) {
        switch (terminal_wait(job->feed.fd, until_ms)) {
        case TERMINAL_END: return false;
        case TERMINAL_NOTHING: return true;
        case TERMINAL_READABLE: top_feed_read(&job->feed, job->clients); break;
        case TERMINAL_RESIZED:
            if (show_page(job, status, why) != 0 || fflush(stdout) != 0)
                return false;
            break;
        }
    }
}

static void look(struct top_job *job, const McProxy__V1__GetStatusResponse *status)
{
    uint64_t now_ms = clock_monotonic_ms();

    top_look(&job->top, status, now_ms);
    if (job->clients == NULL)
        return;
    client_counts_look(job->clients, &job->top.groups[TOP_BY_CLIENT], now_ms);
    job->top.lost = job->feed.lost;
}

/** One look, shown, and the wait behind it. @return does it go on? */
static bool turn(struct top_job *job, int *rc_out)
{
    uint64_t now_ms = clock_monotonic_ms();
    char why_data[ADMIN_CLIENT_WHY_MAX];
    struct strbuf why = STRBUF_OF(why_data);
    McProxy__V1__GetStatusResponse *status = NULL;
    bool is_answer = ask(job, &status, &why) == 0;

    if (is_answer)
        look(job, status);
    /* Where pages stay, one without rates says nothing. */
    bool is_shown = job->is_terminal || !is_answer || rates_are_known(&job->top.all);
    *rc_out = is_shown ? show_page(job, status, why_data) : 0;
    if (is_shown)
        job->pages_left -= job->pages_left != UINT64_MAX;
    bool goes_on = *rc_out == 0 && fflush(stdout) == 0 && job->pages_left > 0 &&
                   wait_next(job, status, why_data, now_ms + job->interval_ms);
    if (is_answer)
        mc_proxy__v1__get_status_response__free_unpacked(status, NULL);
    return goes_on;
}

static int start_feed(struct top_job *job)
{
    if (!job->layout.is_shown[TOP_BY_CLIENT])
        return 0;
    job->clients = client_counts_new();
    if (job->clients == NULL)
        return ERR_NO_MEMORY;
    return top_feed_start(&job->feed, job->client.command, &job->connection);
}

static int run_top(struct top_job *job)
{
    int rc = start_feed(job);

    job->is_terminal = isatty(STDOUT_FILENO) != 0;
    if (rc == 0) {
        terminal_begin();
        while (turn(job, &rc))
            ;
        terminal_end();
    }
    top_feed_stop(&job->feed);
    client_counts_free(&job->clients);
    if (rc == 0)
        return CLI_DONE;
    cli_error(job->client.command, "%s", err_text(rc));
    return CLI_FAILED;
}

/* ---- options ---- */

static bool read_interval(const char *text, uint64_t *ms_out)
{
    char *end;

    if (strspn(text, "0123456789.") != strlen(text) || *text == '\0')
        return false;
    double seconds = strtod(text, &end);
    if (*end != '\0' || seconds < 0.1 || seconds > INTERVAL_MAX_S)
        return false;
    *ms_out = (uint64_t)(seconds * 1000 + 0.5);
    return true;
}

static bool read_count(const char *text, uint64_t max, uint64_t *out)
{
    return cli_parse_number(text, max, out) && *out >= 1;
}

/** Which tables; without a word those that are cheap and say most. */
static bool choose_tables(struct top_job *job, const char *by)
{
    for (unsigned i = 0; i < TOP_BY_COUNT; i++) {
        bool is_default = i == TOP_BY_ROUTE || i == TOP_BY_REASON;
        job->layout.is_shown[i] = by == NULL ? is_default : strcmp(by, top_by_word(i)) == 0;
        if (job->layout.is_shown[i])
            job->top.is_by_route |= i == TOP_BY_ROUTE;
    }
    for (unsigned i = 0; i < TOP_BY_COUNT; i++) {
        if (job->layout.is_shown[i])
            return true;
    }
    return false;
}

struct top_words {
    const char *by, *interval, *rows, *pages; /* NULL: not given */
};

static int read_words(const struct cli_command *command, const struct top_words *words, struct top_job *job)
{
    uint64_t rows = 0;

    job->interval_ms = 1000;
    job->pages_left = UINT64_MAX;
    if (!choose_tables(job, words->by))
        return cli_usage_error(command, "there is no table by %s: expected route, client, reason or listener",
                               words->by);
    if (words->interval != NULL && !read_interval(words->interval, &job->interval_ms))
        return cli_usage_error(command, "%s is no interval: expected 0.1 to %d seconds", words->interval,
                               INTERVAL_MAX_S);
    if (words->rows != NULL && !read_count(words->rows, SHM_ROUTE_SERIES_MAX, &rows))
        return cli_usage_error(command, "%s is no number of rows: expected 1 to %d", words->rows, SHM_ROUTE_SERIES_MAX);
    if (words->pages != NULL && !read_count(words->pages, UINT32_MAX, &job->pages_left))
        return cli_usage_error(command, "%s is no number of pages: expected 1 and up", words->pages);
    job->has_rows = words->rows != NULL;
    job->layout.rows = (unsigned)rows;
    return CLI_DONE;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct top_job job = {.feed.fd = -1};
    struct top_words words = {0};
    const struct cli_option options[] = {
        CLIENT_CONNECTION_OPTIONS(job.connection),
        {"by", 'b', "WHAT", "one table: route, client, reason or listener", .value_out = &words.by},
        {"interval", 'i', "S", "seconds between pages; else 1", .value_out = &words.interval},
        {"rows", 'n', "N", "rows of each table; else what fits, or 10", .value_out = &words.rows},
        {"pages", .argument = "N", .help = "end after so many pages", .value_out = &words.pages},
        {0},
    };
    int status;

    if (!cli_parse(command, options, argc, argv, 0, NULL, NULL, &status))
        return status;
    top_init(&job.top);
    status = read_words(command, &words, &job);
    if (status == CLI_DONE) {
        status = admin_client_open(&job.client, command, &job.connection, TOP_TIMEOUT_MS);
        if (status == CLI_DONE)
            status = run_top(&job);
        admin_client_fini(&job.client);
    }
    top_fini(&job.top);
    return status;
}

const struct cli_command cmd_top = {
    .name = "top",
    .arguments = "",
    .summary = "Show what happens on a running server, second by second",
    .details =
        "The busiest first. Bytes of routes are counted when a connection ends, those of listeners at once. On a\n"
        "terminal the page is renewed in place, and q or Ctrl-C ends; elsewhere pages of text follow each other.\n",
    .run = run,
};
