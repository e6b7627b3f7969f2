/* `mc-proxy explain`: what a running server would do with a connection, and why. */

#include "cmd_explain.h"

#include <stdio.h>

#include "admin_client.h"
#include "client_text.h"
#include "json_out.h"
#include "mc_proxy/v1/admin.pb-c.h"

#define EXPLAIN_TIMEOUT_MS 10000
#define STEP_WIDTH         10 /* of the longest word */
#define LINE_MAX_BYTES     4096

static const char *verdict_word(const McProxy__V1__ExplainResponse *answer)
{
    return answer->verdict == MC_PROXY__V1__VERDICT__VERDICT_ROUTED ? "routed" : answer->reason;
}

static const char *match_word(McProxy__V1__RouteMatch match)
{
    switch (match) {
    case MC_PROXY__V1__ROUTE_MATCH__ROUTE_MATCH_EXACT: return "exact";
    case MC_PROXY__V1__ROUTE_MATCH__ROUTE_MATCH_WILDCARD: return "wildcard";
    case MC_PROXY__V1__ROUTE_MATCH__ROUTE_MATCH_DEFAULT: return "default";
    default: return "";
    }
}

static const char *rule_word(McProxy__V1__FirewallRuleType type)
{
    switch (type) {
    case MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_IP: return "ip";
    case MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_CIDR: return "cidr";
    case MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_COUNTRY: return "country";
    default: return "";
    }
}

/* ---- for people ---- */

static void print_line(const char *name, const char *text)
{
    char data[LINE_MAX_BYTES];
    struct strbuf line = STRBUF_OF(data);

    client_text_add_printable(bytes_of_str(text), &line);
    printf("%-*s  %s\n", STEP_WIDTH, name, data);
}

static void print_verdict(const McProxy__V1__ExplainResponse *answer)
{
    char data[LINE_MAX_BYTES];
    struct strbuf text = STRBUF_OF(data);

    if (answer->verdict == MC_PROXY__V1__VERDICT__VERDICT_ROUTED && answer->route != NULL)
        strbuf_addf(&text, "routed to %s", answer->route->backend);
    else
        strbuf_addf(&text, "%s (%s)", answer->client_sees, answer->reason);
    print_line("verdict", data);
}

static void print_steps(const McProxy__V1__ExplainResponse *answer)
{
    for (size_t i = 0; i < answer->n_steps; i++) {
        char data[32];
        struct strbuf name = STRBUF_OF(data);
        client_text_add_printable(bytes_of_str(answer->steps[i]->name), &name);
        print_line(data, answer->steps[i]->text);
    }
    print_verdict(answer);
}

/* ---- for programs ---- */

static void put_rule(struct json_out *json, const McProxy__V1__FirewallRule *rule)
{
    json_out_key(json, "rule");
    json_out_open(json, '{');
    json_out_text_of(json, "type", rule_word(rule->type));
    json_out_text_of(json, "value", rule->value);
    json_out_close(json, '}');
}

static void put_rate(struct json_out *json, const McProxy__V1__RateUsage *rate)
{
    json_out_key(json, "rate");
    json_out_open(json, '{');
    json_out_number_of(json, "limit", rate->limit);
    json_out_number_of(json, "window_ms", rate->window_ms);
    json_out_number_of(json, "used", rate->used);
    json_out_number_of(json, "retry_in_ms", rate->retry_in_ms);
    json_out_close(json, '}');
}

static void put_route(struct json_out *json, const McProxy__V1__ExplainResponse *answer)
{
    json_out_key(json, "route");
    json_out_open(json, '{');
    json_out_text_of(json, "hostname", answer->route->hostname);
    json_out_text_of(json, "backend", answer->route->backend);
    json_out_bool_of(json, "send_proxy_protocol", answer->route->send_proxy_protocol != 0);
    json_out_text_of(json, "match", match_word(answer->match));
    json_out_bool_of(json, "is_counted", answer->is_counted != 0);
    json_out_key(json, "backend_addrs");
    json_out_open(json, '[');
    for (size_t i = 0; i < answer->n_backend_addrs; i++)
        json_out_text(json, bytes_of_str(answer->backend_addrs[i]));
    json_out_close(json, ']');
    json_out_close(json, '}');
}

static void put_steps(struct json_out *json, const McProxy__V1__ExplainResponse *answer)
{
    json_out_key(json, "steps");
    json_out_open(json, '[');
    for (size_t i = 0; i < answer->n_steps; i++) {
        json_out_open(json, '{');
        json_out_text_of(json, "name", answer->steps[i]->name);
        json_out_text_of(json, "text", answer->steps[i]->text);
        json_out_close(json, '}');
    }
    json_out_close(json, ']');
}

static void print_json(const McProxy__V1__ExplainResponse *answer)
{
    struct json_out json = json_out_to(stdout);

    json_out_open(&json, '{');
    json_out_text_of(&json, "verdict", verdict_word(answer));
    json_out_text_of(&json, "client_sees", answer->client_sees);
    json_out_text_of(&json, "client", answer->client);
    json_out_text_of(&json, "country", answer->country);
    json_out_text_of(&json, "sni", answer->sni);
    json_out_number_of(&json, "active_connections", answer->active_connections);
    json_out_number_of(&json, "max_connections", answer->max_connections);
    if (answer->rule != NULL)
        put_rule(&json, answer->rule);
    if (answer->rate != NULL)
        put_rate(&json, answer->rate);
    if (answer->route != NULL)
        put_route(&json, answer);
    put_steps(&json, answer);
    json_out_close(&json, '}');
    fputc('\n', stdout);
}

static int ask(const struct cli_command *command, const struct client_options *connection,
               const McProxy__V1__ExplainRequest *request)
{
    struct admin_client client;
    ProtobufCMessage *response;
    int status = admin_client_open(&client, command, connection, EXPLAIN_TIMEOUT_MS);

    if (status == CLI_DONE)
        status = admin_client_ask(&client, "Explain", &request->base, &mc_proxy__v1__explain_response__descriptor,
                                  &response);
    if (status == CLI_DONE) {
        if (connection->is_json)
            print_json((const McProxy__V1__ExplainResponse *)response);
        else
            print_steps((const McProxy__V1__ExplainResponse *)response);
        protobuf_c_message_free_unpacked(response, NULL);
    }
    admin_client_fini(&client);
    return status;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct client_options connection = {0};
    McProxy__V1__ExplainRequest request;
    const char *listener = NULL, *from = NULL, *sni = NULL, *peer = NULL;
    const struct cli_option options[] = {
        CLIENT_CONNECTION_OPTIONS(connection),
        CLIENT_JSON_OPTION(connection),
        {"listener", 'l', "ADDR", "the listener, as :443", .value_out = &listener, .is_required = true},
        {"from", 'f', "IP", "the client's address", .value_out = &from, .is_required = true},
        {"sni", 's', "NAME", "its server name; else a client without one", .value_out = &sni},
        {"peer", 'p', "IP", "the proxy that connects in its name", .value_out = &peer},
        {0},
    };
    int status;

    if (!cli_parse(command, options, argc, argv, 0, NULL, NULL, &status))
        return status;
    if (sni != NULL && *sni == '\0')
        return cli_usage_error(command, "--sni is empty: leave it out for a client without server name");
    mc_proxy__v1__explain_request__init(&request);
    request.listener_addr = admin_client_text(listener);
    request.from = admin_client_text(from);
    admin_client_set(&request.sni, sni);
    admin_client_set(&request.peer, peer);
    return ask(command, &connection, &request);
}

const struct cli_command cmd_explain = {
    .name = "explain",
    .arguments = "",
    .summary = "Show what a running server would do with a connection, and why",
    .details =
        "The steps that the connection would take, up to the one that decides, by the code and the tables of the\n"
        "workers. Nothing is used up: the rate limit is only looked at. Behind a PROXY header, --from is the address\n"
        "that it announces, and --peer who sends it (else: one that may).\n",
    .run = run,
};
