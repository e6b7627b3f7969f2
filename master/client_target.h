#ifndef CLIENT_TARGET_H
#define CLIENT_TARGET_H

#include <stdbool.h>

#include "check.h"
#include "client_link.h"
#include "config.h"

struct cli_command;

/* Which server a client command talks to: from --addr, or from [grpc] of a configuration. */

/** The options that all client commands have; all borrowed from argv, NULL if not given. */
struct client_options {
    const char *config;
    const char *addr;
    const char *ca;
    const char *cert;
    const char *key;
    const char *timeout;
    bool is_json;
};

/** Their rows in a command's table of options. */
/* clang-format off */
#define CLIENT_CONNECTION_OPTIONS(o)                                                                               \
    {"config", 'c', "FILE", "the server's configuration: [grpc] says where it is", .value_out = &(o).config},      \
    {"addr", 'a', "ADDR", "where it is instead: unix:/PATH or HOST:PORT", .value_out = &(o).addr},                 \
    {"ca", .argument = "FILE", .help = "CA of its certificate, PEM; else the system's", .value_out = &(o).ca},     \
    {"cert", .argument = "FILE", .help = "client certificate, PEM", .value_out = &(o).cert},                       \
    {"key", .argument = "FILE", .help = "its private key; else it is in the same file", .value_out = &(o).key},    \
    {"timeout", .argument = "TIME", .help = "give up after: 500ms, 30s, 5m", .value_out = &(o).timeout}
#define CLIENT_JSON_OPTION(o) {"json", .help = "for programs: one JSON document", .flag_out = &(o).is_json}
/* clang-format on */

struct client_target {
    struct client_endpoint endpoint;
    char host[256];
    char port[6];
};

struct client_targets {
    struct config *config; /* what the endpoints borrow from; NULL with --addr */
    const char *config_path;
    unsigned count;                                   /* 0: the configuration has no admin API */
    struct client_target list[CONFIG_GRPC_ADDRS_MAX]; /* Unix sockets first */
};

/**
 * Find out, and say on standard error what is wrong: neither --config nor --addr, an unusable --addr, a wrong configuration.
 *
 * @param out  client_targets_fini() it in every case; its endpoints point into it: it must not be moved
 * @return CLI_DONE, CLI_USAGE, CLI_CONFIG or CLI_FAILED
 */
int client_targets_find(const struct cli_command *command, const struct client_options *options,
                        struct client_targets *out) MUST_CHECK;
void client_targets_fini(struct client_targets *targets);

#endif
