#ifndef GEOIP_READER_H
#define GEOIP_READER_H

#include <stdbool.h>

#include "address.h"
#include "check.h"

/**
 * A GeoIP database to look up countries in, for workers and for whoever explains what they do. Made from a descriptor, without any path, so that a
 * worker behind its system-call filter can take a new one (docs/decisions/0005-geoip-in-a-sandbox.md). It calls lseek, fcntl
 * (F_GET_SEALS), mmap and close when it opens, munmap when it closes, and nothing when it looks up.
 */
struct geoip_reader;

/**
 * @param fd  a sealed memfd with a database that the master has verified (geoip_load_copy()); taken, even on error
 * @return 0; ERR_INVALID: no database, or none that can be used; ERR_FOREIGN: not sealed against shrinking and writing, so it could
 *         kill the process that maps it; ERR_NO_MEMORY; ERR_SYSTEM (errno)
 */
int geoip_reader_open(int fd, struct geoip_reader **out) MUST_CHECK;

/** Accepts NULL, clears the caller's pointer. */
void geoip_reader_close(struct geoip_reader **reader);

/**
 * The country of an address, where geoip_paths.h says.
 *
 * @param iso_code_out  two bytes, set on true; whatever the database says
 * @return false: unknown (no record, no country in it, or a code that is not two bytes; IPv6 in a database of IPv4; family 0)
 */
bool geoip_reader_country(const struct geoip_reader *reader, const struct ip_addr *addr, char iso_code_out[2]);

#endif
