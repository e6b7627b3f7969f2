/* Options and help of subcommands, from their tables. */

#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "strbuf.h"

#define OPTIONS_MAX 16
#define OPTION_HELP OPTIONS_MAX /* what getopt_long() gives for --help; options themselves give their index */
#define HELP_COLUMN 27
#define VERB_COLUMN 34
#define WORDS_MAX   64 /* arguments of any command; more than any takes */

bool cli_parse_number(const char *text, uint64_t max, uint64_t *out)
{
    size_t len = strlen(text);

    if (len == 0 || len > 20 || strspn(text, "0123456789") != len)
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    *out = value;
    return errno == 0 && value <= max;
}

static void on_end(int number)
{
    (void)number;
    _exit(CLI_DONE);
}

void cli_end_on_signals(void)
{
    const struct sigaction end = {.sa_handler = on_end};

    sigaction(SIGINT, &end, NULL);
    sigaction(SIGTERM, &end, NULL);
}

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

static void print_option(const struct cli_option *option)
{
    char data[80];
    struct strbuf left = STRBUF_OF(data);

    if (option->letter != '\0')
        strbuf_addf(&left, "  -%c, ", option->letter);
    else
        strbuf_add(&left, "      ");
    strbuf_addf(&left, "--%s", option->name);
    if (option->argument != NULL)
        strbuf_addf(&left, " %s", option->argument);
    printf("%-*s  ", HELP_COLUMN, data);
    if (option->verbs != NULL)
        printf("%s: ", option->verbs);
    printf("%s\n", option->help);
}

static void print_verb(const struct cli_verb *verb, bool is_first)
{
    char data[80];
    struct strbuf left = STRBUF_OF(data);

    strbuf_addf(&left, "  %s %s", verb->name, verb->arguments);
    printf("%s%-*s  %s\n", is_first ? "Actions:\n" : "", VERB_COLUMN, data, verb->help);
}

static void print_help(const struct cli_command *command, const struct cli_option *options)
{
    printf("Usage: mc-proxy %s", command->name);
    for (const struct cli_option *o = options; o->name != NULL; o++) {
        if (o->is_required)
            printf(" --%s %s", o->name, o->argument);
    }
    printf("%s [options]\n\n%s\n\n", command->arguments, command->summary);
    for (const struct cli_verb *v = command->verbs; v != NULL && v->name != NULL; v++)
        print_verb(v, v == command->verbs);
    printf("%sOptions:\n", command->verbs != NULL ? "\n" : "");
    for (const struct cli_option *o = options; o->name != NULL; o++)
        print_option(o);
    print_option(&(const struct cli_option){.name = "help", .letter = 'h', .help = "show this"});
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

/* ---- verbs ---- */

static bool is_word_of(const char *words, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = strstr(words, word); at != NULL; at = strstr(at + 1, word)) {
        if ((at == words || at[-1] == ' ') && (at[len] == '\0' || at[len] == ','))
            return true;
    }
    return false;
}

static bool is_given(const struct cli_option *option)
{
    return option->argument != NULL ? *option->value_out != NULL : *option->flag_out;
}

static int list_verbs(const struct cli_command *command, const char *problem)
{
    char data[256];
    struct strbuf names = STRBUF_OF(data);

    for (const struct cli_verb *v = command->verbs; v->name != NULL; v++) {
        strbuf_add(&names, v == command->verbs ? "" : v[1].name == NULL ? " or " : ", ");
        strbuf_add(&names, v->name);
    }
    return cli_usage_error(command, "%s: expected %s", problem, data);
}

static const struct cli_verb *find_verb(const struct cli_command *command, const char *name, int *status_out)
{
    char data[128];
    struct strbuf problem = STRBUF_OF(data);

    for (const struct cli_verb *v = command->verbs; name != NULL && v->name != NULL; v++) {
        if (strcmp(v->name, name) == 0)
            return v;
    }
    if (name == NULL && command->has_default)
        return command->verbs;
    if (name != NULL)
        strbuf_addf(&problem, "there is no action %s", name);
    else
        strbuf_add(&problem, "an action is missing");
    *status_out = list_verbs(command, data);
    return NULL;
}

static int check_verb(const struct cli_command *command, const struct cli_verb *verb, const struct cli_option *options,
                      char **arguments, int count)
{
    if (count < verb->min_arguments)
        return cli_usage_error(command, "an argument is missing: expected %s %s", verb->name, verb->arguments);
    if (count > verb->max_arguments)
        return cli_usage_error(command, "unexpected argument %s", arguments[verb->max_arguments]);
    for (const struct cli_option *o = options; o->name != NULL; o++) {
        if (o->verbs != NULL && is_given(o) && !is_word_of(o->verbs, verb->name))
            return cli_usage_error(command, "%s does not take --%s", verb->name, o->name);
    }
    return CLI_DONE;
}

const struct cli_verb *cli_parse_verb(const struct cli_command *command, const struct cli_option *options, int argc,
                                      char **argv, char ***arguments_out, int *argument_count_out, int *status_out)
{
    char **words;
    int count;
    const struct cli_verb *verb;

    if (!cli_parse(command, options, argc, argv, WORDS_MAX, &words, &count, status_out) ||
        (verb = find_verb(command, count > 0 ? words[0] : NULL, status_out)) == NULL)
        return NULL;
    int verb_words = count > 0 ? 1 : 0;
    *arguments_out = words + verb_words;
    *argument_count_out = count - verb_words;
    *status_out = check_verb(command, verb, options, *arguments_out, *argument_count_out);
    return *status_out == CLI_DONE ? verb : NULL;
}
