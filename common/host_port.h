#ifndef HOST_PORT_H
#define HOST_PORT_H

#include <stdint.h>

#include "address.h"
#include "bytes.h"
#include "check.h"
#include "strbuf.h"

/** "host:port" cut in two: what listener and backend addresses have in common. */
struct host_port {
    struct bytes host;   /* borrowed from the text, without brackets; empty for ":443" */
    struct ip_addr addr; /* the address that host spells; family 0 if it spells none */
    uint16_t port;       /* 1..65535, host order */
};

/**
 * Cut "host:port" or "[v6]:port" in two. Pure. What stands in brackets is an IPv6 address; what stands outside is not looked at
 * further than whether it spells an IPv4 address.
 *
 * @param why  on error gets a short English reason, as all parsers in address.h give
 * @return 0; ERR_INVALID for another shape; ERR_RANGE for a port of 0 or above 65535
 */
int host_port_parse(struct bytes text, struct host_port *out, struct strbuf *why) MUST_CHECK;

#endif
