/* `mc-proxy version`: our version, and those of the libraries in use, which can be newer than the ones we were built with. */

#include "cmd_version.h"

#include <ev.h>
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>

#include "admin_tls_check.h"
#include "dns_client.h"
#include "geoip.h"
#include "grpc_client.h"
#include "store.h"
#include "version.h"

static int run(const struct cli_command *command, int argc, char **argv)
{
    const struct cli_option options[] = {{0}};
    int status;

    if (!cli_parse(command, options, argc, argv, 0, NULL, NULL, &status))
        return status;
    printf("mc-proxy %s\n", version_text());
    printf("libev %d.%d\n", ev_version_major(), ev_version_minor());
    printf("libmaxminddb %s\n", geoip_version_text());
    printf("SQLite %s\n", store_version_text());
    printf("nghttp2 %s\n", grpc_client_version_text());
    printf("protobuf-c %s\n", protobuf_c_version());
    printf("OpenSSL %s\n", admin_tls_version_text());
    printf("%s\n", dns_client_version_text());
    printf("libseccomp %s\n", version_of_seccomp());
    return CLI_DONE;
}

const struct cli_command cmd_version = {
    .name = "version",
    .arguments = "",
    .summary = "Print the version, and those of the libraries it runs with",
    .details = "inih is not among them: it cannot be asked for its version.\n",
    .run = run,
};
