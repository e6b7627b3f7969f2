#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"

/* The frame of the command line: what every subcommand is, how its options are read and its help is printed. */

enum cli_exit {
    CLI_DONE = 0,
    CLI_FAILED = 1, /* one clear line on standard error */
    CLI_USAGE = 2,
    CLI_CONFIG = 78, /* EX_CONFIG of sysexits.h: the configuration is wrong or cannot be read */
};

/** An option of a subcommand. */
/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): its order is that of the tables, and there are a dozen of them */
struct cli_option {
    const char *name;     /* without "--"; NULL ends a table */
    char letter;          /* '\0': none */
    const char *argument; /* what the help calls it; NULL: a flag */
    const char *help;
    const char **value_out; /* with argument; the last one given wins; borrowed from argv */
    bool *flag_out;         /* without argument */
    bool is_required;
    const char *verbs; /* of a command with verbs: those that take it, "import, export"; NULL: all */
};

/** What a command with several actions can do: "mc-proxy routes add ...". */
struct cli_verb {
    const char *name;      /* NULL ends a table */
    const char *arguments; /* for the help: "ADDR NAME"; "" for none */
    int min_arguments, max_arguments;
    const char *help;
    /** arguments[0 .. count) are the words behind the verb; returns the exit status. */
    int (*run)(void *context, char **arguments, int count);
};

struct cli_command {
    const char *name;
    const char *arguments;        /* for the usage line: "list|add|remove ..."; "" for none */
    const char *summary;          /* one line, for the list of commands */
    const char *details;          /* for --help, behind the options; NULL: nothing more to say */
    const struct cli_verb *verbs; /* NULL: it has none */
    /** argv[0] is the command's name; returns the exit status. */
    int (*run)(const struct cli_command *command, int argc, char **argv);
    bool is_hidden;   /* not in the list of commands */
    bool has_default; /* without a verb, the first is meant */
};

/**
 * Read a subcommand's options, which may stand before, between and behind its arguments; `--` ends them. --help is understood
 * without being in the table. Says what is wrong on standard error.
 *
 * @param max_arguments  arguments beyond options, at most
 * @param arguments_out  may be NULL if there are none; argv's own strings
 * @param status_out     when false is returned: the exit status, CLI_DONE after --help
 * @return should the command go on?
 */
bool cli_parse(const struct cli_command *command, const struct cli_option *options, int argc, char **argv,
               int max_arguments, char ***arguments_out, int *argument_count_out, int *status_out) MUST_CHECK;

/**
 * cli_parse() for a command with verbs: the first argument is the verb, its arguments are counted, and options that are not for it are
 * refused.
 *
 * @param arguments_out  those behind the verb
 * @return the verb; NULL: do not go on, *status_out says how it ended
 */
const struct cli_verb *cli_parse_verb(const struct cli_command *command, const struct cli_option *options, int argc,
                                      char **argv, char ***arguments_out, int *argument_count_out,
                                      int *status_out) MUST_CHECK;

/** A decimal number: digits only, as strtoul() would take blanks and signs too. False: it is none, or above max. */
bool cli_parse_number(const char *text, uint64_t max, uint64_t *out) MUST_CHECK;

/**
 * From now on SIGINT and SIGTERM end the process with CLI_DONE, whatever it waits for: for commands that go on until they are told to
 * stop. What has been written out stays, what stdio holds is lost.
 */
void cli_end_on_signals(void);

/** "mc-proxy check: <text>" on standard error, one line. */
void cli_error(const struct cli_command *command, const char *format, ...) PRINTF_LIKE(2, 3);

/** cli_error() and where help is; returns CLI_USAGE. */
int cli_usage_error(const struct cli_command *command, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
