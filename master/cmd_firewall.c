/* `mc-proxy firewall`: the firewall rules of a running server. */

#include "cmd_firewall.h"

#include <stdio.h>
#include <string.h>

#include "admin_client.h"
#include "err.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "row_fetch.h"
#include "row_import.h"
#include "row_write.h"
#include "text_table.h"

#define FIREWALL_TIMEOUT_MS 30000

/* ---- list ---- */

static int print_table(const struct row_list *list)
{
    static const struct text_column columns[] = {{"TYPE", false}, {"VALUE", false}};
    struct text_table table = text_table_of(columns, sizeof columns / sizeof columns[0]);

    for (size_t i = 0; i < list->count; i++) {
        text_table_add(&table, row_rule_word(list->rows[i].rule_kind));
        text_table_add(&table, list->rows[i].value);
    }
    int rc = text_table_print(&table, stdout);
    text_table_fini(&table);
    return rc;
}

static int list_rules(void *context, char **arguments, int count)
{
    const struct row_job *job = context;
    struct admin_client client;
    struct row_list list;
    int status = admin_client_open(&client, job->command, &job->connection, FIREWALL_TIMEOUT_MS);

    (void)arguments;
    (void)count;
    row_list_init(&list, ROW_RULE, row_fetch_problem, admin_client_context(job->command));
    if (status == CLI_DONE)
        status = row_fetch_rules(&client, &list);
    if (status == CLI_DONE && job->connection.is_json) {
        row_write(&list, ROW_FORMAT_JSON, stdout);
    } else if (status == CLI_DONE && print_table(&list) != 0) {
        cli_error(job->command, "%s", err_text(ERR_NO_MEMORY));
        status = CLI_FAILED;
    }
    row_list_fini(&list);
    admin_client_fini(&client);
    return status;
}

/* ---- add, remove ---- */

static const struct type_word {
    const char *word;
    McProxy__V1__FirewallRuleType type;
} type_words[] = {
    {"ip", MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_IP},
    {"cidr", MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_CIDR},
    {"country", MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_COUNTRY},
};

static bool find_type(const char *word, McProxy__V1__FirewallRuleType *out)
{
    for (size_t i = 0; i < sizeof type_words / sizeof type_words[0]; i++) {
        if (strcmp(type_words[i].word, word) == 0) {
            *out = type_words[i].type;
            return true;
        }
    }
    return false;
}

/** Both requests are a rule and nothing else. */
static int change_rule(const struct row_job *job, char **arguments, const char *method, const char *done)
{
    struct admin_client client;
    McProxy__V1__AddFirewallRuleRequest add;
    McProxy__V1__RemoveFirewallRuleRequest removal;
    McProxy__V1__FirewallRule rule;
    bool is_removal = strcmp(done, "removed") == 0;
    ProtobufCMessage *response;

    mc_proxy__v1__add_firewall_rule_request__init(&add);
    mc_proxy__v1__remove_firewall_rule_request__init(&removal);
    mc_proxy__v1__firewall_rule__init(&rule);
    if (!find_type(arguments[0], &rule.type))
        return cli_usage_error(job->command, "there is no type %s: expected ip, cidr or country", arguments[0]);
    rule.value = arguments[1];
    add.rule = removal.rule = &rule;
    int status = admin_client_open(&client, job->command, &job->connection, FIREWALL_TIMEOUT_MS);
    if (status == CLI_DONE)
        status = admin_client_ask(&client, method, is_removal ? &removal.base : &add.base,
                                  is_removal ? &mc_proxy__v1__remove_firewall_rule_response__descriptor
                                             : &mc_proxy__v1__add_firewall_rule_response__descriptor,
                                  &response);
    if (status == CLI_DONE) {
        if (job->connection.is_json)
            printf("{\"%s\":true}\n", done);
        else
            printf("%s %s %s\n", done, arguments[0], arguments[1]);
        protobuf_c_message_free_unpacked(response, NULL);
    }
    admin_client_fini(&client);
    return status;
}

static int add_rule(void *context, char **arguments, int count)
{
    (void)count;
    return change_rule(context, arguments, "AddFirewallRule", "added");
}

static int remove_rule(void *context, char **arguments, int count)
{
    (void)count;
    return change_rule(context, arguments, "RemoveFirewallRule", "removed");
}

/* ---- files ---- */

static int import_rules(void *context, char **arguments, int count)
{
    (void)count;
    return row_import(context, arguments[0]);
}

static int export_rules(void *context, char **arguments, int count)
{
    (void)arguments;
    (void)count;
    return row_export(context);
}

static const struct cli_verb verbs[] = {
    {"list", "", 0, 0, "all rules", list_rules},
    {"add", "TYPE VALUE", 2, 2, "add a rule", add_rule},
    {"remove", "TYPE VALUE", 2, 2, "remove a rule", remove_rule},
    {"import", "FILE", 1, 1, "add many in one step; - is standard input", import_rules},
    {"export", "", 0, 0, "print rules so that import takes them", export_rules},
    {0},
};

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct row_job job = {.command = command, .kind = ROW_RULE};
    const struct cli_option options[] = {
        CLIENT_CONNECTION_OPTIONS(job.connection),
        CLIENT_JSON_OPTION(job.connection),
        {"format", 'f', "FORMAT", "text, csv or json", .verbs = "import, export", .value_out = &job.format},
        {"replace", .help = "also remove what is not in the file", .verbs = "import", .flag_out = &job.is_replacement},
        {"dry-run", 'n', .help = "show what would change", .verbs = "import", .flag_out = &job.is_dry_run},
        {0},
    };
    char **arguments;
    int count, status;
    const struct cli_verb *verb = cli_parse_verb(command, options, argc, argv, &arguments, &count, &status);

    return verb != NULL ? verb->run(&job, arguments, count) : status;
}

const struct cli_command cmd_firewall = {
    .name = "firewall",
    .arguments = " ACTION",
    .summary = "List and change the firewall rules of a running server",
    .details =
        "TYPE VALUE is ip 192.0.2.7, cidr 198.51.100.0/24 or country KP. In a file, one rule per line, where TYPE may\n"
        "be left out; or CSV or JSON with the keys type and value. An import makes all its changes or none.\n",
    .run = run,
    .verbs = verbs,
};
