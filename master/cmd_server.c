/* `mc-proxy server`: the command line's end of the server. */

#include "cmd_server.h"

#include <stddef.h>

#include "server.h"

static int run(const struct cli_command *command, int argc, char **argv)
{
    const char *path = NULL;
    const struct cli_option options[] = {
        {"config", 'c', "FILE", "the configuration to run with", .value_out = &path, .is_required = true},
        {0},
    };
    int status;

    if (!cli_parse(command, options, argc, argv, 0, NULL, NULL, &status))
        return status;
    return server_run(path);
}

const struct cli_command cmd_server = {
    .name = "server",
    .arguments = "",
    .summary = "Run the proxy in the foreground, with logs on standard error",
    .details =
        "SIGHUP reads the configuration again; SIGUSR2 executes the program file anew, which takes over without\n"
        "losing a connection; SIGTERM and SIGINT let connections finish and stop, a second one stops at once.\n\n"
        "Exit status: 0 stopped by a signal, 1 failed, 78 the configuration is wrong.\n",
    .run = run,
};
