#ifndef HOST_FACTS_H
#define HOST_FACTS_H

#include <stdbool.h>
#include <stdint.h>

/** What a worker must know of its host and cannot ask any more once it is in its sandbox. */
struct host_facts {
    uint16_t first_port; /* connect() takes local ports from first_port..last_port (ip_local_port_range) */
    uint16_t last_port;
    bool has_ipv6; /* some interface has an address, be it ::1 */
};

/** Ask; what cannot be read is taken to be as usual. */
void host_facts_read(struct host_facts *out);

/**
 * The first line of net.ipv4.ip_local_port_range: "32768	60999".
 *
 * @return false, and nothing is set, if it is no range
 */
bool host_facts_parse_ports(const char *line, struct host_facts *out);

#endif
