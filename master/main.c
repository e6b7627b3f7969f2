/* The command line: finds the subcommand, and sees to it that what it printed has really been written. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "cmd_check.h"
#include "cmd_connections.h"
#include "cmd_explain.h"
#include "cmd_firewall.h"
#include "cmd_listeners.h"
#include "cmd_routes.h"
#include "cmd_server.h"
#include "cmd_snapshot.h"
#include "cmd_status.h"
#include "cmd_tail.h"
#include "cmd_top.h"
#include "cmd_version.h"
#include "handover.h"

static int run_worker(const struct cli_command *command, int argc, char **argv)
{
    (void)command;
    (void)argc;
    (void)argv;
    return worker_main();
}

/* What the master executes its own binary with; nothing for people. */
static const struct cli_command cmd_worker = {.name = HANDOVER_SUBCOMMAND, .run = run_worker, .is_hidden = true};

static const struct cli_command *const commands[] = {
    &cmd_server, &cmd_check,   &cmd_status, &cmd_routes,   &cmd_firewall, &cmd_listeners, &cmd_connections,
    &cmd_tail,   &cmd_explain, &cmd_top,    &cmd_snapshot, &cmd_version,  &cmd_worker,
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static void print_usage(FILE *out)
{
    fprintf(out, "Usage: mc-proxy COMMAND [options]\n\nA Layer 4 proxy that routes TLS connections by server name.\n\n"
                 "Commands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (!commands[i]->is_hidden)
            fprintf(out, "  %-12s  %s\n", commands[i]->name, commands[i]->summary);
    }
    fprintf(out, "\nEvery command has --help.\n"
                 "Exit status: 0 done, 1 failed, 2 wrong usage, 78 the configuration is wrong.\n");
}

static const struct cli_command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    }
    return NULL;
}

static int run_command(const char *name, int argc, char **argv)
{
    const struct cli_command *command = find_command(name);

    if (command != NULL)
        return command->run(command, argc, argv);
    fprintf(stderr, "mc-proxy: there is no command %s; see mc-proxy --help\n", name);
    return CLI_USAGE;
}

/** `mc-proxy help [COMMAND]`, and the options that stand for commands. */
static int run_help(int argc, char **argv)
{
    char help[] = "--help";
    char *help_argv[] = {argc > 2 ? argv[2] : NULL, help, NULL};

    if (argc > 2 && argv[2][0] != '-')
        return run_command(argv[2], 2, help_argv);
    print_usage(stdout);
    return CLI_DONE;
}

/** Of the options that many commands have: is its value the next word? */
static bool takes_next_word(const char *option)
{
    static const char *const names[] = {"-c", "--config", "-a", "--addr", "--ca", "--cert", "--key", "--timeout"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(option, names[i]) == 0)
            return true;
    }
    return false;
}

/** Options may stand in front of the command, too: `mc-proxy -c FILE status`. The command knows them, so it goes first. */
static bool put_command_first(int argc, char **argv)
{
    int at = 1;

    while (at < argc && argv[at][0] == '-')
        at += takes_next_word(argv[at]) ? 2 : 1;
    if (at >= argc)
        return false;
    char *name = argv[at];
    memmove(&argv[2], &argv[1], (size_t)(at - 1) * sizeof argv[0]);
    argv[1] = name;
    return true;
}

static bool is_one_of(const char *word, const char *a, const char *b, const char *c)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return CLI_USAGE;
    }
    if (is_one_of(argv[1], "help", "--help", "-h"))
        return run_help(argc, argv);
    if (is_one_of(argv[1], "--version", "-V", "-v"))
        return run_command(cmd_version.name, argc - 1, argv + 1);
    if (!put_command_first(argc, argv)) {
        fprintf(stderr, "mc-proxy: a command is missing; see mc-proxy --help\n");
        return CLI_USAGE;
    }
    return run_command(argv[1], argc - 1, argv + 1);
}

/** Whatever opens a file next must not get the number of a standard stream that we were started without: a line for people in the
 *  database would be the end of it. Opened the wrong way round, so that using the stream still fails. */
static void reserve_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            _exit(CLI_FAILED); /* there is nowhere to say why */
    }
}

int main(int argc, char **argv)
{
    int status;

    reserve_standard_streams();
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is an error of write(), with a line and a status */
    signal(SIGXFSZ, SIG_IGN); /* and so is a file that RLIMIT_FSIZE lets grow no further */
    status = run(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "mc-proxy: cannot write to standard output: %s\n", strerror(errno));
        return status == CLI_DONE ? CLI_FAILED : status;
    }
    return status;
}
