#ifndef ROW_IMPORT_H
#define ROW_IMPORT_H

#include <stdbool.h>

#include "check.h"
#include "client_target.h"
#include "row_list.h"

struct cli_command;

/* `import` and `export`, the same for routes and firewall rules. */

/** What the command line says, besides the file. */
struct row_job {
    const struct cli_command *command;
    enum row_kind kind;
    struct client_options connection;
    const char *format;   /* --format; NULL: guess, or text */
    const char *listener; /* import: for routes that name none; export: only this one; NULL: not given */
    bool is_replacement;  /* import: what is not in the file goes */
    bool is_dry_run;
};

/** @param path  "-": standard input. @return an exit status; everything is told */
int row_import(const struct row_job *job, const char *path) MUST_CHECK;
int row_export(const struct row_job *job) MUST_CHECK;

#endif
