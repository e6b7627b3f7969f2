#ifndef GEOIP_PATHS_H
#define GEOIP_PATHS_H

#include <stddef.h>

/**
 * Where a record of a country database has its two letters: country.iso_code as MaxMind publishes them, else country_code at the top
 * as databases converted from lists do (ip-location-db). The first that is there counts; nothing else that a record may have does
 * (registered_country is where the network's owner is at home, not where its user is). Each path ends with NULL, as
 * MMDB_aget_value() takes it.
 */
static const char *const geoip_country_paths[][3] = {
    {"country", "iso_code", NULL},
    {"country_code", NULL, NULL},
};
#define GEOIP_COUNTRY_PATHS (sizeof geoip_country_paths / sizeof geoip_country_paths[0])

#endif
