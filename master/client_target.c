/* From options to endpoints. A configuration says more than the address: which certificate the server has. */

#include "client_target.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "cli.h"
#include "err.h"
#include "host_port.h"

#define UNIX_PREFIX "unix:"

/* ---- addresses ---- */

/** Where to connect to for an address that listens: the wildcards mean every address of the server's host, ours too. */
static void set_host(struct client_target *target, const struct ip_addr *addr)
{
    static const struct ip_addr any_v4 = {.family = 4}, any_v6 = {.family = 6};
    struct strbuf host = STRBUF_OF(target->host);

    if (addr->family == 0 || ip_addr_equal(addr, &any_v4))
        strbuf_add(&host, "127.0.0.1");
    else if (ip_addr_equal(addr, &any_v6))
        strbuf_add(&host, "::1");
    else
        ip_addr_format(addr, &host);
}

static void set_port(struct client_target *target, uint16_t port)
{
    struct strbuf text = STRBUF_OF(target->port);

    strbuf_addf(&text, "%u", port);
    target->endpoint.host = target->host;
    target->endpoint.port = target->port;
}

/** A lone path, which cannot be anything else, is taken for a Unix socket too. */
static const char *unix_path_of(const char *addr)
{
    if (strncmp(addr, UNIX_PREFIX, sizeof UNIX_PREFIX - 1) == 0)
        return addr + sizeof UNIX_PREFIX - 1;
    return addr[0] == '/' ? addr : NULL;
}

static int parse_addr(const char *text, struct client_target *target, struct strbuf *why)
{
    struct host_port parsed;
    int rc;

    target->endpoint = (struct client_endpoint){.text = text, .path = unix_path_of(text)};
    if (target->endpoint.path != NULL)
        return 0;
    if ((rc = host_port_parse(bytes_of_str(text), &parsed, why)) != 0)
        return rc;
    if (parsed.host.len == 0 || parsed.addr.family != 0) {
        set_host(target, &parsed.addr);
    } else if (parsed.host.len < sizeof target->host) {
        memcpy(target->host, parsed.host.ptr, parsed.host.len);
        target->host[parsed.host.len] = '\0';
    } else {
        strbuf_add(why, "the host's name is too long");
        return ERR_RANGE;
    }
    set_port(target, parsed.port);
    return 0;
}

/* ---- a configuration ---- */

static void print_errors(const struct config_errors *errors)
{
    for (unsigned i = 0; i < errors->count; i++)
        fprintf(stderr, "%s\n", errors->lines[i]);
}

static void add_configured(struct client_targets *targets, const struct config_grpc_addr *addr)
{
    struct client_target *target = &targets->list[targets->count++];
    const struct config *config = targets->config;

    target->endpoint = (struct client_endpoint){.text = addr->text, .path = addr->path};
    if (addr->is_unix)
        return;
    target->endpoint.tls.known_cert_path = config->grpc_tls_cert;
    if (config->grpc_client_ca != NULL) {
        target->endpoint.tls.cert_path = config->grpc_tls_cert;
        target->endpoint.tls.key_path = config->grpc_tls_key;
        target->endpoint.tls.is_cert_optional = true;
    }
    set_host(target, &addr->addr.addr);
    set_port(target, addr->addr.port);
}

static int load_config(const struct cli_command *command, const char *path, struct client_targets *out)
{
    struct config_errors errors = {0};
    int rc = config_load_grpc(path, environ, &out->config, &errors);

    print_errors(&errors);
    config_errors_fini(&errors);
    if (rc == ERR_NO_MEMORY)
        cli_error(command, "%s", err_text(rc));
    if (rc != 0)
        return rc == ERR_NO_MEMORY ? CLI_FAILED : CLI_CONFIG;
    for (int is_unix = 1; is_unix >= 0; is_unix--) {
        for (unsigned i = 0; i < out->config->grpc_addr_count; i++) {
            if (out->config->grpc_addrs[i].is_unix == (is_unix == 1))
                add_configured(out, &out->config->grpc_addrs[i]);
        }
    }
    return CLI_DONE;
}

/* ---- all of it ---- */

static void apply_tls_options(const struct client_options *options, struct client_targets *targets)
{
    for (unsigned i = 0; i < targets->count; i++) {
        struct admin_tls_client_options *tls = &targets->list[i].endpoint.tls;
        tls->ca_path = options->ca;
        if (options->cert == NULL)
            continue;
        tls->cert_path = options->cert;
        tls->key_path = options->key != NULL ? options->key : options->cert;
        tls->is_cert_optional = false;
    }
}

int client_targets_find(const struct cli_command *command, const struct client_options *options,
                        struct client_targets *out)
{
    char why_data[160];
    struct strbuf why = STRBUF_OF(why_data);
    int status = CLI_DONE;

    *out = (struct client_targets){.config_path = options->config};
    if (options->config == NULL && options->addr == NULL)
        return cli_usage_error(command, "which server? Give --config FILE or --addr ADDR");
    if (options->key != NULL && options->cert == NULL)
        return cli_usage_error(command, "--key needs --cert");
    if (options->addr != NULL) {
        if (parse_addr(options->addr, &out->list[0], &why) != 0)
            return cli_usage_error(command, "--addr %s: %s; expected unix:/PATH or HOST:PORT", options->addr, why_data);
        out->count = 1;
    } else {
        status = load_config(command, options->config, out);
    }
    apply_tls_options(options, out);
    return status;
}

void client_targets_fini(struct client_targets *targets)
{
    config_free(&targets->config);
}
