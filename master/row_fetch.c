/* Reading the lists of a server. Pages keep each answer well below what one message may hold. */

#include "row_fetch.h"

#include <stdlib.h>
#include <string.h>

#include "admin_client.h"
#include "cli.h"
#include "err.h"
#include "mc_proxy/v1/admin.pb-c.h"

#define PAGE_ROWS 10000

void row_fetch_problem(void *context, unsigned line, const char *text)
{
    (void)line;
    cli_error(context, "the server's list has what this version does not understand: %s", text);
}

static int finish(const struct admin_client *client, const struct row_list *list, int status)
{
    if (status == CLI_DONE && list->is_out_of_memory) {
        cli_error(client->command, "%s", err_text(ERR_NO_MEMORY));
        return CLI_FAILED;
    }
    return status == CLI_DONE && list->problem_count > 0 ? CLI_FAILED : status;
}

/** The next page's token, instead of the last one; false at the end, and without memory. */
static bool take_token(struct row_list *list, char **token, const char *next)
{
    free(*token);
    *token = next[0] != '\0' ? strdup(next) : NULL;
    list->is_out_of_memory = list->is_out_of_memory || (next[0] != '\0' && *token == NULL);
    return *token != NULL;
}

static void add_routes(struct row_list *list, const char *listener, const McProxy__V1__ListRoutesResponse *page)
{
    for (size_t i = 0; i < page->n_routes; i++) {
        const McProxy__V1__Route *route = page->routes[i];
        const struct row_fields fields = {
            .listener = bytes_of_str(listener),
            .hostname = bytes_of_str(route->hostname),
            .backend = bytes_of_str(route->backend),
            .send_proxy_protocol = route->send_proxy_protocol != 0,
        };
        row_list_add(list, 0, &fields);
    }
}

static int fetch_routes_of(struct admin_client *client, const char *listener, struct row_list *list)
{
    McProxy__V1__ListRoutesRequest request;
    char *token = NULL;
    bool goes_on = true;
    int status = CLI_DONE;

    mc_proxy__v1__list_routes_request__init(&request);
    request.listener_addr = admin_client_text(listener);
    request.page_size = PAGE_ROWS;
    while (goes_on) {
        ProtobufCMessage *response;
        if (token != NULL)
            request.page_token = token;
        status = admin_client_ask(client, "ListRoutes", &request.base, &mc_proxy__v1__list_routes_response__descriptor,
                                  &response);
        if (status != CLI_DONE)
            break;
        const McProxy__V1__ListRoutesResponse *page = (const McProxy__V1__ListRoutesResponse *)response;
        add_routes(list, listener, page);
        goes_on = take_token(list, &token, page->next_page_token);
        protobuf_c_message_free_unpacked(response, NULL);
    }
    free(token);
    return status;
}

static int fetch_all_routes(struct admin_client *client, struct row_list *list)
{
    McProxy__V1__GetStatusRequest request;
    ProtobufCMessage *response;

    mc_proxy__v1__get_status_request__init(&request);
    int status =
        admin_client_ask(client, "GetStatus", &request.base, &mc_proxy__v1__get_status_response__descriptor, &response);
    if (status != CLI_DONE)
        return status;
    const McProxy__V1__GetStatusResponse *all = (const McProxy__V1__GetStatusResponse *)response;
    for (size_t i = 0; i < all->n_listeners && status == CLI_DONE; i++)
        status = fetch_routes_of(client, all->listeners[i]->addr, list);
    protobuf_c_message_free_unpacked(response, NULL);
    return status;
}

int row_fetch_routes(struct admin_client *client, const char *listener, struct row_list *list)
{
    return finish(client, list,
                  listener != NULL ? fetch_routes_of(client, listener, list) : fetch_all_routes(client, list));
}

static void add_rules(struct row_list *list, const McProxy__V1__GetFirewallRulesResponse *page)
{
    static const char *const words[] = {
        [MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_UNSPECIFIED] = "unspecified",
        [MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_IP] = "ip",
        [MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_CIDR] = "cidr",
        [MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_COUNTRY] = "country",
    };

    for (size_t i = 0; i < page->n_rules; i++) {
        unsigned type = (unsigned)page->rules[i]->type;
        const struct row_fields fields = {
            .type = bytes_of_str(type < sizeof words / sizeof words[0] ? words[type] : "unknown"),
            .value = bytes_of_str(page->rules[i]->value),
        };
        row_list_add(list, 0, &fields);
    }
}

int row_fetch_rules(struct admin_client *client, struct row_list *list)
{
    McProxy__V1__GetFirewallRulesRequest request;
    char *token = NULL;
    bool goes_on = true;
    int status = CLI_DONE;

    mc_proxy__v1__get_firewall_rules_request__init(&request);
    request.page_size = PAGE_ROWS;
    while (goes_on) {
        ProtobufCMessage *response;
        if (token != NULL)
            request.page_token = token;
        status = admin_client_ask(client, "GetFirewallRules", &request.base,
                                  &mc_proxy__v1__get_firewall_rules_response__descriptor, &response);
        if (status != CLI_DONE)
            break;
        const McProxy__V1__GetFirewallRulesResponse *page = (const McProxy__V1__GetFirewallRulesResponse *)response;
        add_rules(list, page);
        goes_on = take_token(list, &token, page->next_page_token);
        protobuf_c_message_free_unpacked(response, NULL);
    }
    free(token);
    return finish(client, list, status);
}
