#ifndef GEOIP_H
#define GEOIP_H

#include "check.h"
#include "strbuf.h"

/**
 * Copy a GeoIP database into a sealed memfd and check the copy: the whole search tree and every record it leads to. Whoever opens
 * the copy later (/proc/self/fd/N) meets neither a file that is cut or overwritten in place (mmap gives SIGBUS) nor a value that
 * libmaxminddb cannot stand.
 *
 * @param path    a MaxMind DB file with country.iso_code; 1 GiB at most
 * @param fd_out  on 0: the sealed copy, close-on-exec; the caller closes it
 * @param why     otherwise gets what is wrong and what would be right, fit to stand behind "PATH: "
 * @return 0; ERR_SYSTEM: it cannot be read (errno); ERR_INVALID: no such database; ERR_CORRUPT; ERR_TOO_LARGE; ERR_NO_MEMORY
 */
int geoip_load_copy(const char *path, int *fd_out, struct strbuf *why) MUST_CHECK;

/** The libmaxminddb library at run time: "1.7.1". */
const char *geoip_version_text(void);

#endif
