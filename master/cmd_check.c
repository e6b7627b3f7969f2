/* `mc-proxy check`: everything that could be wrong with a configuration, told at once; nothing is bound, written or left behind. */

#include "cmd_check.h"

#include <stdio.h>
#include <unistd.h>

#include "config.h"
#include "config_check.h"
#include "config_origin.h"
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

/** 0 with *out, or what store_check() says, told on standard error. */
static int check_database(const struct cli_command *command, const char *path, struct store_check_result *out)
{
    char data[1024];
    struct strbuf why = STRBUF_OF(data);
    int rc = store_check(path, out, &why);

    if (rc != 0)
        cli_error(command, "%s", data);
    return rc;
}

/** A server refuses to start with a rule that it cannot keep. */
static bool lacks_geoip(const struct config *config, const struct store_check_result *database)
{
    char data[4096 + 512]; /* a path and a section */
    struct strbuf place = STRBUF_OF(data);

    if (config->geoip_db != NULL || database->country_rules == 0)
        return false;
    config_origin_describe(config->origin, CONFIG_FIREWALL, "geoip_db", &place);
    fprintf(stderr,
            "%sis not set, but the database has %llu country rule%s; expected a MaxMind DB file with countries\n", data,
            (unsigned long long)database->country_rules, database->country_rules == 1 ? "" : "s");
    return true;
}

/** What the configuration names is looked at even if it has errors elsewhere. */
static int check_named(const struct cli_command *command, const struct config *config, bool is_valid,
                       struct config_errors *errors)
{
    struct store_check_result database = {0};
    int rc = config_check_files(config, errors);
    int database_rc = 0;

    print_errors(errors);
    if (config->database_path != NULL)
        database_rc = check_database(command, config->database_path, &database);
    if (lacks_geoip(config, &database) || !is_valid || rc != 0)
        return CLI_CONFIG;
    if (database_rc != 0)
        return CLI_FAILED;
    print_summary(config, &database);
    return CLI_DONE;
}

static int check_file(const struct cli_command *command, const char *path, struct config_errors *errors)
{
    struct config *config;
    int rc = config_load_anyway(path, environ, &config, errors);
    int status = CLI_CONFIG;

    if (config != NULL)
        status = check_named(command, config, rc == 0, errors);
    else
        print_errors(errors);
    if (rc == ERR_NO_MEMORY || errors->is_incomplete) {
        cli_error(command, "out of memory");
        status = CLI_FAILED;
    }
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
