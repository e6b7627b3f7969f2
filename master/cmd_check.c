/* `mc-proxy check`: everything that could be wrong with a configuration, told at once; nothing is bound, written or left behind. */

#include "cmd_check.h"

#include <stdio.h>
#include <unistd.h>

#include "config.h"
#include "config_check.h"
#include "err.h"
#include "store.h"

static void print_errors(const struct config_errors *errors)
{
    for (unsigned i = 0; i < errors->warning_count; i++)
        fprintf(stderr, "warning: %s\n", errors->warnings[i]);
    for (unsigned i = 0; i < errors->count; i++)
        fprintf(stderr, "%s\n", errors->lines[i]);
}

static void print_summary(const struct config *config, const struct store_check_result *database)
{
    unsigned long routes = 0;

    for (unsigned i = 0; i < config->listener_count; i++)
        routes += config->listeners[i].route_count;
    printf("configuration ok: %u listener%s, %lu route%s, %u worker%s%s\n", config->listener_count,
           config->listener_count == 1 ? "" : "s", routes, routes == 1 ? "" : "s", config->workers,
           config->workers == 1 ? "" : "s", config->workers_auto ? " (auto)" : "");
    printf("database %s: %s\n", config->database_path,
           database->is_missing  ? "not there yet, the server will make it"
           : database->is_in_use ? "in use by a running server, its contents were not looked at"
                                 : "ok");
}

/** The database counts only once the configuration that names it is right. */
static int check_database(const struct cli_command *command, const struct config *config)
{
    char data[1024];
    struct strbuf why = STRBUF_OF(data);
    struct store_check_result result;

    if (store_check(config->database_path, &result, &why) != 0) {
        cli_error(command, "%s", data);
        return CLI_FAILED;
    }
    print_summary(config, &result);
    return CLI_DONE;
}

static int check_file(const struct cli_command *command, const char *path, struct config_errors *errors)
{
    struct config *config = NULL;
    int rc = config_load(path, environ, &config, errors);
    int status;

    if (rc == 0)
        rc = config_check_files(config, errors);
    print_errors(errors);
    if (rc == ERR_NO_MEMORY || errors->is_incomplete)
        cli_error(command, "out of memory");
    status = rc == ERR_NO_MEMORY ? CLI_FAILED : CLI_CONFIG;
    if (rc == 0)
        status = check_database(command, config);
    config_free(&config);
    return status;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct config_errors errors = {0};
    const char *path = NULL;
    const struct cli_option options[] = {
        {"config", 'c', "FILE", "the configuration to check", .value_out = &path, .is_required = true},
        {0},
    };
    int status;

    if (!cli_parse(command, options, argc, argv, 0, NULL, NULL, &status))
        return status;
    status = check_file(command, path, &errors);
    config_errors_fini(&errors);
    return status;
}

const struct cli_command cmd_check = {
    .name = "check",
    .arguments = "",
    .summary = "Check a configuration and everything it names; print every error",
    .details = "Looks at syntax, addresses, certificates and keys, the GeoIP file and the database. Binds nothing and\n"
               "writes nothing, so it is safe beside a running server.\n\n"
               "Exit status: 0 all is well, 1 the database cannot be used, 78 the configuration is wrong.\n",
    .run = run,
};
