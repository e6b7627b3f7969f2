#ifndef ADMIN_CLIENT_H
#define ADMIN_CLIENT_H

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

#include "check.h"
#include "client_target.h"
#include "grpc_client.h"
#include "strbuf.h"

/* Calls of mc_proxy.v1.ProxyAdminService, for the client commands. */

/** protobuf-c has no const in its types, and leaves what it packs alone. */
static inline char *admin_client_text(const char *text)
{
    union {
        const char *in;
        char *out;
    } u = {.in = text};

    return u.out;
}

/** Set a request's field if the text was given; NULL leaves it as it is. Borrowed. */
static inline void admin_client_set(char **field, const char *text)
{
    if (text != NULL)
        *field = admin_client_text(text);
}

/** A command as the context of a callback, which has no const either. */
static inline void *admin_client_context(const struct cli_command *command)
{
    union {
        const struct cli_command *in;
        void *out;
    } u = {.in = command};

    return u.out;
}

#define ADMIN_CLIENT_WHY_MAX 5120 /* a server's message and what we say around it */

struct admin_client {
    const struct cli_command *command;
    struct client_targets targets;
    struct grpc_client *grpc; /* NULL: not connected */
    uint32_t timeout_ms;
};

/**
 * Read the options and find the server, without connecting yet. What is wrong with them is told on standard error.
 *
 * @param timeout_ms  unless --timeout says another
 * @param out         admin_client_fini() it in every case; must not be moved
 * @return CLI_DONE or another exit status
 */
int admin_client_init(struct admin_client *out, const struct cli_command *command, const struct client_options *options,
                      uint32_t timeout_ms) MUST_CHECK;
void admin_client_fini(struct admin_client *client);

/**
 * Connect to the first address where somebody is, Unix sockets before others; a connection from before is closed.
 *
 * @return 0; ERR_NOT_FOUND: nobody is at any of them, or there are none; another error of client_link_open()
 */
int admin_client_connect(struct admin_client *client, struct strbuf *why) MUST_CHECK;

/** admin_client_init() and admin_client_connect(); everything that is wrong is told. @return an exit status */
int admin_client_open(struct admin_client *out, const struct cli_command *command, const struct client_options *options,
                      uint32_t timeout_ms) MUST_CHECK;

/**
 * Call a method with one message.
 *
 * @param method        "GetStatus"
 * @param response_out  set on 0: of type `type`, protobuf_c_message_free_unpacked() it
 * @param why           unless 0 gets one line: the server's message, or what else went wrong
 * @return 0; a status of gRPC (> 0); an error of grpc_client_call() (< 0), after which only connecting again helps
 */
int admin_client_call(struct admin_client *client, const char *method, const ProtobufCMessage *request,
                      const ProtobufCMessageDescriptor *type, ProtobufCMessage **response_out,
                      struct strbuf *why) MUST_CHECK;

/** The same with a stream of messages, each packed already. */
int admin_client_stream(struct admin_client *client, const char *method, grpc_message_fn next, void *context,
                        const ProtobufCMessageDescriptor *type, ProtobufCMessage **response_out,
                        struct strbuf *why) MUST_CHECK;

/** admin_client_call() of a method that answers with a stream: grpc_client_follow(). */
int admin_client_follow(struct admin_client *client, const char *method, const ProtobufCMessage *request,
                        grpc_take_fn take, void *context, struct strbuf *why) MUST_CHECK;

/** admin_client_call(), and a failure told on standard error. @return CLI_DONE or CLI_FAILED */
int admin_client_ask(struct admin_client *client, const char *method, const ProtobufCMessage *request,
                     const ProtobufCMessageDescriptor *type, ProtobufCMessage **response_out) MUST_CHECK;

/** Of "route.hostname: too long" what people want to read: "hostname: too long"; other texts as they are. Borrowed. */
const char *admin_client_plain_message(const char *message);

#endif
