/* The admin API as functions: connects to the server that the options mean, packs, calls, unpacks, and puts failures into words. */

#include "admin_client.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "client_text.h"
#include "duration.h"
#include "err.h"

#define SERVICE_PATH "/mc_proxy.v1.ProxyAdminService/"

/* ---- connecting ---- */

static int read_timeout(const struct cli_command *command, const char *text, uint32_t *timeout_ms)
{
    char why_data[128];
    struct strbuf why = STRBUF_OF(why_data);

    if (text == NULL)
        return CLI_DONE;
    if (duration_parse(bytes_of_str(text), timeout_ms, &why) != 0)
        return cli_usage_error(command, "--timeout %s: %s", text, why_data);
    if (*timeout_ms == 0)
        return cli_usage_error(command, "--timeout %s: must be longer than nothing", text);
    return CLI_DONE;
}

int admin_client_init(struct admin_client *out, const struct cli_command *command, const struct client_options *options,
                      uint32_t timeout_ms)
{
    *out = (struct admin_client){.command = command, .timeout_ms = timeout_ms};
    int status = read_timeout(command, options->timeout, &out->timeout_ms);
    return status == CLI_DONE ? client_targets_find(command, options, &out->targets) : status;
}

void admin_client_fini(struct admin_client *client)
{
    grpc_client_close(&client->grpc);
    client_targets_fini(&client->targets);
}

int admin_client_connect(struct admin_client *client, struct strbuf *why)
{
    char unused_data[256];
    int rc = ERR_NOT_FOUND;

    grpc_client_close(&client->grpc);
    if (client->targets.count == 0)
        strbuf_addf(why, "%s has no [grpc] addr: that server has no admin API", client->targets.config_path);
    for (unsigned i = 0; i < client->targets.count && rc == ERR_NOT_FOUND; i++) {
        struct strbuf unused = STRBUF_OF(unused_data);
        struct strbuf *told = why->len == 0 ? why : &unused; /* where nobody is, the first address is named */
        rc = grpc_client_open(&client->targets.list[i].endpoint, client->timeout_ms, &client->grpc, told);
        if (rc != 0 && rc != ERR_NOT_FOUND && told == &unused) {
            strbuf_reset(why);
            strbuf_add(why, unused_data);
        }
    }
    return rc;
}

int admin_client_open(struct admin_client *out, const struct cli_command *command, const struct client_options *options,
                      uint32_t timeout_ms)
{
    char why_data[ADMIN_CLIENT_WHY_MAX];
    struct strbuf why = STRBUF_OF(why_data);
    int status = admin_client_init(out, command, options, timeout_ms);

    if (status != CLI_DONE)
        return status;
    if (admin_client_connect(out, &why) != 0) {
        cli_error(command, "%s", why_data);
        return CLI_FAILED;
    }
    return CLI_DONE;
}

/* ---- calling ---- */

static void explain_status(const struct grpc_reply *reply, const char *method, struct strbuf *why)
{
    if (reply->message[0] != '\0') {
        strbuf_add(why, reply->message);
        return;
    }
    strbuf_addf(why, "%s: ", method);
    client_text_add_status(reply->status, why);
}

static int unpack(struct bytes body, const char *method, const ProtobufCMessageDescriptor *type,
                  ProtobufCMessage **response_out, struct strbuf *why)
{
    *response_out = protobuf_c_message_unpack(type, NULL, body.len, body.ptr);
    if (*response_out != NULL)
        return 0;
    strbuf_addf(why, "%s: the answer cannot be read; is the server of another version?", method);
    return ERR_PROTOCOL;
}

int admin_client_stream(struct admin_client *client, const char *method, grpc_message_fn next, void *context,
                        const ProtobufCMessageDescriptor *type, ProtobufCMessage **response_out, struct strbuf *why)
{
    char path_data[128];
    struct strbuf path = STRBUF_OF(path_data);
    struct grpc_reply reply;
    int rc;

    CHECK(client->grpc != NULL);
    strbuf_addf(&path, SERVICE_PATH "%s", method);
    if ((rc = grpc_client_call(client->grpc, path_data, next, context, &reply, why)) != 0)
        return rc;
    if (reply.status == 0)
        return unpack(reply.body, method, type, response_out, why);
    explain_status(&reply, method, why);
    return (int)reply.status;
}

int admin_client_call(struct admin_client *client, const char *method, const ProtobufCMessage *request,
                      const ProtobufCMessageDescriptor *type, ProtobufCMessage **response_out, struct strbuf *why)
{
    size_t len = protobuf_c_message_get_packed_size(request);
    uint8_t *data = malloc(len + 1); /* never of size 0 */
    int rc;

    if (data == NULL) {
        strbuf_add(why, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    struct grpc_single single = {.message = bytes_of(data, protobuf_c_message_pack(request, data))};
    rc = admin_client_stream(client, method, grpc_single_next, &single, type, response_out, why);
    free(data);
    return rc;
}

int admin_client_follow(struct admin_client *client, const char *method, const ProtobufCMessage *request,
                        grpc_take_fn take, void *context, struct strbuf *why)
{
    char path_data[128];
    struct strbuf path = STRBUF_OF(path_data);
    size_t len = protobuf_c_message_get_packed_size(request);
    uint8_t *data = malloc(len + 1); /* never of size 0 */
    struct grpc_reply reply;

    if (data == NULL) {
        strbuf_add(why, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    strbuf_addf(&path, SERVICE_PATH "%s", method);
    struct bytes message = bytes_of(data, protobuf_c_message_pack(request, data));
    int rc = grpc_client_follow(client->grpc, path_data, message, take, context, &reply, why);
    free(data);
    if (rc != 0 || reply.status == 0)
        return rc;
    explain_status(&reply, method, why);
    return (int)reply.status;
}

int admin_client_ask(struct admin_client *client, const char *method, const ProtobufCMessage *request,
                     const ProtobufCMessageDescriptor *type, ProtobufCMessage **response_out)
{
    char why_data[ADMIN_CLIENT_WHY_MAX];
    struct strbuf why = STRBUF_OF(why_data);

    if (admin_client_call(client, method, request, type, response_out, &why) == 0)
        return CLI_DONE;
    cli_error(client->command, "%s", admin_client_plain_message(why_data));
    return CLI_FAILED;
}

const char *admin_client_plain_message(const char *message)
{
    static const char *const prefixes[] = {"route.", "rule."};

    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        size_t prefix = strlen(prefixes[i]);
        if (strncmp(message, prefixes[i], prefix) != 0)
            continue;
        if (message[prefix + strspn(message + prefix, "abcdefghijklmnopqrstuvwxyz_")] == ':')
            return message + prefix;
    }
    return message;
}
