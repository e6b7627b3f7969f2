#ifndef CONFIG_LISTS_H
#define CONFIG_LISTS_H

#include "config_schema.h"

/* How entries of lists are read and appended; each is noted with the builder under its canonical text, so that one thing in two
 * spellings is found to be a duplicate. */

config_store_fn config_store_blocked_ip;
config_store_fn config_store_blocked_cidr;
config_store_fn config_store_blocked_country;
config_store_fn config_store_trusted; /* an address counts as a network of one */
config_store_fn config_store_grpc_addr;
config_store_fn config_store_route; /* noted under its hostname */

#endif
