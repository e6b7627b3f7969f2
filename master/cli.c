/* Options and help of subcommands, from their tables. */

#include "cli.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "strbuf.h"

#define OPTIONS_MAX 16
#define OPTION_HELP OPTIONS_MAX /* what getopt_long() gives for --help; options themselves give their index */
#define HELP_COLUMN 24

void cli_error(const struct cli_command *command, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "mc-proxy %s: ", command->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

int cli_usage_error(const struct cli_command *command, const char *format, ...)
{
    char data[512];
    struct strbuf text = STRBUF_OF(data);
    va_list args;

    va_start(args, format);
    strbuf_addv(&text, format, args);
    va_end(args);
    cli_error(command, "%s; see mc-proxy %s --help", data, command->name);
    return CLI_USAGE;
}

/* ---- help ---- */

static void print_option(char letter, const char *name, const char *argument, const char *help)
{
    char data[80];
    struct strbuf left = STRBUF_OF(data);

    if (letter != '\0')
        strbuf_addf(&left, "  -%c, ", letter);
    else
        strbuf_add(&left, "      ");
    strbuf_addf(&left, "--%s", name);
    if (argument != NULL)
        strbuf_addf(&left, " %s", argument);
    printf("%-*s  %s\n", HELP_COLUMN, data, help);
}

static void print_help(const struct cli_command *command, const struct cli_option *options)
{
    printf("Usage: mc-proxy %s", command->name);
    for (const struct cli_option *o = options; o->name != NULL; o++) {
        if (o->is_required)
            printf(" --%s %s", o->name, o->argument);
    }
    printf("%s [options]\n\n%s\n\nOptions:\n", command->arguments, command->summary);
    for (const struct cli_option *o = options; o->name != NULL; o++)
        print_option(o->letter, o->name, o->argument, o->help);
    print_option('h', "help", NULL, "show this");
    if (command->details != NULL)
        printf("\n%s", command->details);
}

/* ---- options ---- */

/** getopt_long()'s two views of a table; its texts are borrowed. */
struct getopt_tables {
    char letters[2 * OPTIONS_MAX + 4];
    struct option longs[OPTIONS_MAX + 2];
};

static void fill_tables(const struct cli_option *options, struct getopt_tables *out)
{
    struct strbuf letters = STRBUF_OF(out->letters);
    unsigned i;

    strbuf_add(&letters, ":h"); /* ':' first: tell a missing argument from an unknown option, print neither */
    for (i = 0; options[i].name != NULL; i++) {
        CHECK(i < OPTIONS_MAX);
        out->longs[i] = (struct option){.name = options[i].name,
                                        .has_arg = options[i].argument != NULL ? required_argument : no_argument,
                                        .val = (int)i};
        if (options[i].letter != '\0')
            strbuf_addf(&letters, "%c%s", options[i].letter, options[i].argument != NULL ? ":" : "");
    }
    out->longs[i] = (struct option){.name = "help", .val = OPTION_HELP};
    out->longs[i + 1] = (struct option){0};
}

/** The option that getopt_long() means: an index, or a letter of one. */
static const struct cli_option *find_option(const struct cli_option *options, int found)
{
    if (found < OPTIONS_MAX)
        return &options[found];
    while (options->name != NULL && options->letter != found)
        options++;
    CHECK(options->name != NULL);
    return options;
}

static int report_option(const struct cli_command *command, int found, char **argv)
{
    const char *text = argv[optind - 1];
    const char letter[] = {'-', (char)optopt, '\0'};

    if (optopt >= OPTIONS_MAX + 1) /* a letter; getopt_long() may still be inside of its word */
        text = letter;
    return cli_usage_error(command, "%s %s", found == ':' ? "a value is missing for" : "there is no option", text);
}

/** Read all options; false when the command shall not go on. */
static bool read_options(const struct cli_command *command, const struct cli_option *options, int argc, char **argv,
                         int *status_out)
{
    struct getopt_tables tables;
    int found;

    fill_tables(options, &tables);
    opterr = 0;
    optind = 0; /* GNU: begin anew */
    while ((found = getopt_long(argc, argv, tables.letters, tables.longs, NULL)) != -1) {
        if (found == 'h' || found == OPTION_HELP) {
            print_help(command, options);
            *status_out = CLI_DONE;
            return false;
        }
        if (found == '?' || found == ':') {
            *status_out = report_option(command, found, argv);
            return false;
        }
        const struct cli_option *option = find_option(options, found);
        if (option->argument != NULL)
            *option->value_out = optarg;
        else
            *option->flag_out = true;
    }
    return true;
}

bool cli_parse(const struct cli_command *command, const struct cli_option *options, int argc, char **argv,
               int max_arguments, char ***arguments_out, int *argument_count_out, int *status_out)
{
    if (!read_options(command, options, argc, argv, status_out))
        return false;
    for (const struct cli_option *o = options; o->name != NULL; o++) {
        if (o->is_required && *o->value_out == NULL) {
            *status_out = cli_usage_error(command, "--%s %s is missing", o->name, o->argument);
            return false;
        }
    }
    if (argc - optind > max_arguments) {
        *status_out = cli_usage_error(command, "unexpected argument %s", argv[optind + max_arguments]);
        return false;
    }
    if (arguments_out != NULL)
        *arguments_out = argv + optind;
    if (argument_count_out != NULL)
        *argument_count_out = argc - optind;
    return true;
}
