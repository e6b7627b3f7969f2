/* Files of routes and rules into a server and back: read everything, check everything, then make all changes in one call. */

#include "row_import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin_client.h"
#include "cli.h"
#include "err.h"
#include "grow_buf.h"
#include "row_apply.h"
#include "row_diff.h"
#include "row_fetch.h"
#include "row_read.h"
#include "row_result.h"
#include "row_write.h"

#define IMPORT_TIMEOUT_MS  (5u * 60 * 1000)
#define EXPORT_TIMEOUT_MS  (60u * 1000)
#define IMPORT_MAX_BYTES   (1u << 30)
#define READ_BYTES         (256u << 10)
#define PROBLEMS_SHOWN_MAX 10

/** An import under way. */
struct import {
    const struct row_job *job;
    const char *name; /* of the file, for messages */
    struct grow_buf text;
    struct row_list wanted;
    struct row_list current; /* what the server has, where that matters */
    const struct row **sorted;
    size_t sorted_count;
    struct admin_client client;
};

static void on_problem(void *context, unsigned line, const char *text)
{
    const struct import *i = context;

    if (i->wanted.problem_count <= PROBLEMS_SHOWN_MAX)
        cli_error(i->job->command, "%s:%u: %s", i->name, line, text);
}

/* ---- the file ---- */

static int read_all(int fd, struct grow_buf *out)
{
    ssize_t n;

    do {
        uint8_t *room = grow_buf_extend(out, READ_BYTES);
        if (room == NULL)
            return ERR_NO_MEMORY;
        n = read(fd, room, READ_BYTES);
        out->len -= READ_BYTES - (n > 0 ? (size_t)n : 0);
        if (n < 0 && errno != EINTR)
            return ERR_SYSTEM;
        if (out->len > IMPORT_MAX_BYTES)
            return ERR_TOO_LARGE;
    } while (n != 0);
    return 0;
}

static int read_file(struct import *i, const char *path)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? ERR_SYSTEM : read_all(fd, &i->text);

    if (rc != 0)
        cli_error(i->job->command, "%s: cannot be read: %s", i->name,
                  rc == ERR_SYSTEM ? strerror(errno) : err_text(rc));
    if (fd >= 0 && !is_stdin)
        close(fd);
    return rc == 0 ? CLI_DONE : CLI_FAILED;
}

static int find_format(const struct row_job *job, enum row_format *out)
{
    *out = ROW_FORMAT_GUESS;
    if (job->format == NULL || row_format_find(job->format, out))
        return CLI_DONE;
    return cli_usage_error(job->command, "--format %s: expected text, csv or json", job->format);
}

static int set_default_listener(struct import *i)
{
    char why_data[160];
    struct strbuf why = STRBUF_OF(why_data);

    if (i->job->listener == NULL || row_list_set_listener(&i->wanted, i->job->listener, &why) == 0)
        return CLI_DONE;
    cli_error(i->job->command, "--listener %s: %s", i->job->listener, why_data);
    return CLI_FAILED;
}

/** The file's rows, checked; all its problems are told, or the first few of many. */
static int read_rows(struct import *i, const char *path)
{
    enum row_format format;
    int status = find_format(i->job, &format);

    if (status != CLI_DONE || (status = set_default_listener(i)) != CLI_DONE ||
        (status = read_file(i, path)) != CLI_DONE)
        return status;
    struct bytes text = grow_buf_bytes(&i->text);
    row_read(&i->wanted, format != ROW_FORMAT_GUESS ? format : row_format_guess(path, text), text);
    i->sorted_count = row_list_sort(&i->wanted, &i->sorted);
    if (i->wanted.is_out_of_memory)
        cli_error(i->job->command, "%s", err_text(ERR_NO_MEMORY));
    if (i->wanted.problem_count > PROBLEMS_SHOWN_MAX)
        cli_error(i->job->command, "%s: %zu more problems like these", i->name,
                  i->wanted.problem_count - PROBLEMS_SHOWN_MAX);
    return i->wanted.problem_count > 0 || i->wanted.is_out_of_memory ? CLI_FAILED : CLI_DONE;
}

/** Nothing at all is rather a download that failed than the wish to remove everything. */
static int refuse_emptiness(const struct import *i)
{
    if (!i->job->is_replacement || i->wanted.count > 0)
        return CLI_DONE;
    if (i->text.len == 0) {
        cli_error(i->job->command, "%s: is empty; to remove everything, put a comment into it", i->name);
        return CLI_FAILED;
    }
    if (i->job->kind == ROW_ROUTE && i->job->listener == NULL) {
        cli_error(i->job->command, "%s: names no listener; to remove a listener's routes, give --listener", i->name);
        return CLI_FAILED;
    }
    return CLI_DONE;
}

/* ---- what the server has ---- */

/** Routes of the listeners that the file is about; of no others, so that a file for one listener leaves the others alone. */
static int fetch_routes(struct import *i)
{
    const char *before = NULL;
    int status = CLI_DONE;

    for (size_t n = 0; n < i->sorted_count && status == CLI_DONE; n++) {
        const char *listener = i->sorted[n]->listener;
        if (before == NULL || strcmp(before, listener) != 0)
            status = row_fetch_routes(&i->client, listener, &i->current);
        before = listener;
    }
    if (status == CLI_DONE && i->sorted_count == 0 && i->wanted.default_listener != NULL)
        status = row_fetch_routes(&i->client, i->wanted.default_listener, &i->current);
    return status;
}

static int fetch_current(struct import *i)
{
    if (!i->job->is_replacement && !i->job->is_dry_run)
        return CLI_DONE;
    return i->job->kind == ROW_ROUTE ? fetch_routes(i) : row_fetch_rules(&i->client, &i->current);
}

/* ---- the change ---- */

static int apply(struct import *i, const struct row_diff *diff)
{
    char why_data[ADMIN_CLIENT_WHY_MAX];
    struct strbuf why = STRBUF_OF(why_data);
    const struct row_job *job = i->job;
    const struct row_changes changes = {
        .removed = diff->removed,
        .removed_count = job->is_replacement ? diff->removed_count : 0,
        .wanted = i->wanted.rows,
        .wanted_count = i->wanted.count,
        .validate_only = job->is_dry_run,
    };
    struct row_applied applied;
    const struct row *failed;

    if (row_apply(&i->client, &changes, &applied, &failed, &why) != 0) {
        if (failed != NULL && failed->line > 0)
            cli_error(job->command, "%s:%u: %s", i->name, failed->line, why_data);
        else
            cli_error(job->command, "%s", why_data);
        return CLI_FAILED;
    }
    if (job->is_dry_run && !job->connection.is_json)
        row_diff_print(diff, job->is_replacement, stdout);
    row_result_print(&applied, job->is_dry_run, job->connection.is_json, stdout);
    return CLI_DONE;
}

static int compare_and_apply(struct import *i)
{
    struct row_diff diff = {0};
    int status = fetch_current(i);

    if (status != CLI_DONE)
        return status;
    if (row_diff_make(&diff, i->sorted, i->sorted_count, &i->current) == 0) {
        status = apply(i, &diff);
    } else {
        cli_error(i->job->command, "%s", err_text(ERR_NO_MEMORY));
        status = CLI_FAILED;
    }
    row_diff_fini(&diff);
    return status;
}

int row_import(const struct row_job *job, const char *path)
{
    struct import i = {.job = job, .name = strcmp(path, "-") == 0 ? "standard input" : path};
    int status = admin_client_init(&i.client, job->command, &job->connection, IMPORT_TIMEOUT_MS);
    char why_data[ADMIN_CLIENT_WHY_MAX];
    struct strbuf why = STRBUF_OF(why_data);

    row_list_init(&i.wanted, job->kind, on_problem, &i);
    row_list_init(&i.current, job->kind, row_fetch_problem, admin_client_context(job->command));
    if (status == CLI_DONE && (status = read_rows(&i, path)) == CLI_DONE &&
        (status = refuse_emptiness(&i)) == CLI_DONE) {
        if (admin_client_connect(&i.client, &why) == 0) {
            status = compare_and_apply(&i);
        } else {
            cli_error(job->command, "%s", why_data);
            status = CLI_FAILED;
        }
    }
    admin_client_fini(&i.client);
    free(i.sorted);
    row_list_fini(&i.wanted);
    row_list_fini(&i.current);
    grow_buf_fini(&i.text);
    return status;
}

int row_export(const struct row_job *job)
{
    struct admin_client client = {0};
    struct row_list list;
    enum row_format format;
    int status = find_format(job, &format);

    row_list_init(&list, job->kind, row_fetch_problem, admin_client_context(job->command));
    if (status == CLI_DONE)
        status = admin_client_open(&client, job->command, &job->connection, EXPORT_TIMEOUT_MS);
    if (status == CLI_DONE)
        status =
            job->kind == ROW_ROUTE ? row_fetch_routes(&client, job->listener, &list) : row_fetch_rules(&client, &list);
    if (status == CLI_DONE)
        row_write(&list, format == ROW_FORMAT_GUESS && job->connection.is_json ? ROW_FORMAT_JSON : format, stdout);
    admin_client_fini(&client);
    row_list_fini(&list);
    return status;
}
