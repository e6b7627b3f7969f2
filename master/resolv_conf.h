#ifndef RESOLV_CONF_H
#define RESOLV_CONF_H

#include <stdbool.h>

/**
 * Does this resolv.conf name a server other than `server` (an IPv4 address)? Lines that are no nameserver with a plain address do not count.
 * A file that is not there, or that we may not read, names none; one that cannot be read at the moment (descriptors, memory) may name
 * any: true.
 */
bool resolv_conf_names_another(const char *path, const char *server);

#endif
