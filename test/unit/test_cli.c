/* Options of subcommands: where they may stand, and what is said about wrong ones. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli.h"

#define WORDS_MAX 8

struct cli_case {
    const char *name;
    const char *words[WORDS_MAX]; /* behind the command's name */
    bool goes_on;
    int status;
    const char *config; /* the rest: when it goes on */
    bool has_json;
    int argument_count;
    const char *first_argument;
};

#define GOES_ON .goes_on = true, .config = "f"

/* clang-format off */
static const struct cli_case cases[] = {
    {"a letter", {"-c", "f"}, GOES_ON},
    {"a letter with its value", {"-cf"}, GOES_ON},
    {"a word", {"--config", "f"}, GOES_ON},
    {"a word with its value", {"--config=f"}, GOES_ON},
    {"a word cut short", {"--con", "f"}, GOES_ON},
    {"the last one wins", {"-c", "g", "-c", "f"}, GOES_ON},
    {"options first", {"-c", "f", "--json", "a"}, GOES_ON, .has_json = true, .argument_count = 1, .first_argument = "a"},
    {"options last", {"a", "b", "--json", "-c", "f"}, GOES_ON, .has_json = true, .argument_count = 2, .first_argument = "a"},
    {"options between", {"a", "-c", "f", "b"}, GOES_ON, .argument_count = 2, .first_argument = "a"},
    {"an argument like an option", {"-c", "f", "--", "--json"}, GOES_ON, .argument_count = 1, .first_argument = "--json"},
    {"a lone dash", {"-c", "f", "-"}, GOES_ON, .argument_count = 1, .first_argument = "-"},
    {"help", {"--help"}, .status = CLI_DONE},
    {"help by letter, before an error", {"-h", "--nonsense"}, .status = CLI_DONE},
    {"nothing", {NULL}, .status = CLI_USAGE},
    {"no value", {"-c"}, .status = CLI_USAGE},
    {"no value for a word", {"--config"}, .status = CLI_USAGE},
    {"a value for a flag", {"-c", "f", "--json=x"}, .status = CLI_USAGE},
    {"an unknown word", {"-c", "f", "--nonsense"}, .status = CLI_USAGE},
    {"an unknown letter", {"-c", "f", "-x"}, .status = CLI_USAGE},
    {"an option of getopt's own", {"-c", "f", "-?"}, .status = CLI_USAGE},
    {"a letter without letter", {"-c", "f", "-:"}, .status = CLI_USAGE},
    {"too many arguments", {"-c", "f", "a", "b", "c"}, .status = CLI_USAGE},
};
/* clang-format on */

static void run_case(const struct cli_command *command, const struct cli_case *c)
{
    char words[WORDS_MAX + 1][32] = {"test"}, *argv[WORDS_MAX + 2] = {words[0]}, **arguments = NULL;
    const char *config = NULL;
    bool has_json = false;
    int argc = 1, count = -1, status = -1;
    const struct cli_option options[] = {
        {"config", 'c', "FILE", "the configuration", .value_out = &config, .is_required = true},
        {"json", .help = "for programs", .flag_out = &has_json},
        {0},
    };

    for (; argc <= WORDS_MAX && c->words[argc - 1] != NULL; argc++) {
        snprintf(words[argc], sizeof words[argc], "%s", c->words[argc - 1]);
        argv[argc] = words[argc];
    }
    bool goes_on = cli_parse(command, options, argc, argv, 2, &arguments, &count, &status);
    if (goes_on != c->goes_on || (!goes_on && status != c->status))
        fail_msg("%s: %s, status %d", c->name, goes_on ? "goes on" : "ends", status);
    if (!goes_on)
        return;
    assert_string_equal(config, c->config);
    assert_int_equal(has_json, c->has_json);
    assert_int_equal(count, c->argument_count);
    if (count > 0)
        assert_string_equal(arguments[0], c->first_argument);
}

static void test_options(void **state)
{
    static const struct cli_command command = {.name = "test", .arguments = " [A] [B]", .summary = "Test"};

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
        run_case(&command, &cases[i]);
}

/* ---- verbs ---- */

struct verb_case {
    const char *name;
    const char *words[WORDS_MAX];
    const char *verb; /* NULL: it does not go on */
    int status;
    int argument_count;
    const char *first_argument;
};

/* clang-format off */
static const struct verb_case verb_cases[] = {
    {"a verb", {"list"}, .verb = "list"},
    {"with its arguments", {"add", "a", "b"}, .verb = "add", .argument_count = 2, .first_argument = "a"},
    {"options in front", {"--json", "-c", "f", "add", "a", "b"}, .verb = "add", .argument_count = 2, .first_argument = "a"},
    {"options between", {"add", "--json", "a", "-c", "f", "b"}, .verb = "add", .argument_count = 2, .first_argument = "a"},
    {"options behind", {"add", "a", "b", "--fast"}, .verb = "add", .argument_count = 2, .first_argument = "a"},
    {"an option of the other verb", {"list", "--fast"}, .status = CLI_USAGE},
    {"an option of both", {"list", "--both"}, .verb = "list"},
    {"too few arguments", {"add", "a"}, .status = CLI_USAGE},
    {"too many arguments", {"add", "a", "b", "c"}, .status = CLI_USAGE},
    {"arguments for none", {"list", "a"}, .status = CLI_USAGE},
    {"no verb", {"--json"}, .status = CLI_USAGE},
    {"an unknown verb", {"show"}, .status = CLI_USAGE},
    {"a part of a verb", {"ad", "a", "b"}, .status = CLI_USAGE},
    {"help of a verb", {"add", "--help"}, .status = CLI_DONE},
};
/* clang-format on */

static void run_verb_case(const struct cli_command *command, const struct verb_case *c)
{
    char words[WORDS_MAX + 1][32] = {"test"}, *argv[WORDS_MAX + 2] = {words[0]}, **arguments = NULL;
    const char *config = NULL;
    bool has_json = false, is_fast = false, is_both = false;
    int argc = 1, count = -1, status = -1;
    const struct cli_option options[] = {
        {"config", 'c', "FILE", "the configuration", .value_out = &config},
        {"json", .help = "for programs", .flag_out = &has_json},
        {"fast", .help = "for add", .verbs = "add", .flag_out = &is_fast},
        {"both", .help = "for both", .verbs = "add, list", .flag_out = &is_both},
        {0},
    };

    for (; argc <= WORDS_MAX && c->words[argc - 1] != NULL; argc++) {
        snprintf(words[argc], sizeof words[argc], "%s", c->words[argc - 1]);
        argv[argc] = words[argc];
    }
    const struct cli_verb *verb = cli_parse_verb(command, options, argc, argv, &arguments, &count, &status);
    if ((verb != NULL) != (c->verb != NULL) || (verb == NULL && status != c->status))
        fail_msg("%s: status %d", c->name, status);
    if (verb == NULL)
        return;
    assert_string_equal(verb->name, c->verb);
    assert_int_equal(count, c->argument_count);
    if (count > 0)
        assert_string_equal(arguments[0], c->first_argument);
}

static void test_verbs(void **state)
{
    static const struct cli_verb verbs[] = {{"list", "", 0, 0, "show", NULL}, {"add", "A B", 2, 2, "add", NULL}, {0}};
    static const struct cli_command command = {
        .name = "test", .arguments = " ACTION", .summary = "Test", .verbs = verbs};

    (void)state;
    for (unsigned i = 0; i < sizeof verb_cases / sizeof verb_cases[0]; i++)
        run_verb_case(&command, &verb_cases[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_options), cmocka_unit_test(test_verbs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
