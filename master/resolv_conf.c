/* Whether resolv.conf names servers. c-ares reads the file itself, but does not tell when it could not. */

#include "resolv_conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 512

static bool is_address(const char *text)
{
    unsigned char parsed[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, text, parsed) == 1 || inet_pton(AF_INET6, text, parsed) == 1;
}

static bool line_names_another(const char *line, const char *server)
{
    char address[INET6_ADDRSTRLEN];

    return sscanf(line, "nameserver %45s", address) == 1 && is_address(address) && strcmp(address, server) != 0;
}

/** May another try open the file? */
static bool is_passing(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == EINTR || error == EIO;
}

bool resolv_conf_names_another(const char *path, const char *server)
{
    char line[LINE_MAX_BYTES];
    bool names_another = false;
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return is_passing(errno);
    while (!names_another && fgets(line, sizeof line, file) != NULL)
        names_another = line_names_another(line, server);
    bool cannot_be_read = ferror(file) != 0;
    fclose(file);
    return names_another || cannot_be_read;
}
