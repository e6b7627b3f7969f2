/* Facts about the host, read once at birth. */

#include "host_facts.h"

#include <stdio.h>
#include <stdlib.h>

#define FIRST_PORT_USUAL 32768 /* ip-sysctl.rst */
#define LAST_PORT_USUAL  60999

bool host_facts_parse_ports(const char *line, struct host_facts *out)
{
    char *between, *end;
    unsigned long first = strtoul(line, &between, 10);
    unsigned long last = strtoul(between, &end, 10);

    if (end == between || first < 1 || first > last || last > UINT16_MAX)
        return false;
    out->first_port = (uint16_t)first;
    out->last_port = (uint16_t)last;
    return true;
}

/** The first line of a file; false if there is no such file, or nothing in it. */
static bool read_line(const char *path, char *line, int size)
{
    FILE *file = fopen(path, "re");
    bool is_read = file != NULL && fgets(line, size, file) != NULL;

    if (file != NULL)
        fclose(file);
    return is_read;
}

/* A kernel without IPv6 has no if_inet6; one where it is disabled has an empty one. Where there is no /proc/net either, who knows. */
void host_facts_read(struct host_facts *out)
{
    char line[64];

    *out = (struct host_facts){.first_port = FIRST_PORT_USUAL, .last_port = LAST_PORT_USUAL};
    if (read_line("/proc/sys/net/ipv4/ip_local_port_range", line, sizeof line))
        (void)host_facts_parse_ports(line, out);
    out->has_ipv6 =
        read_line("/proc/net/if_inet6", line, sizeof line) || !read_line("/proc/net/tcp", line, sizeof line);
}
