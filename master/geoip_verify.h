#ifndef GEOIP_VERIFY_H
#define GEOIP_VERIFY_H

#include "bytes.h"
#include "check.h"

/*
 * Values of a MaxMind DB file (https://maxmind.github.io/MaxMind-DB/), looked through before libmaxminddb may touch them: it skips
 * nested maps and arrays by recursion without a limit, so that some hundred kilobytes of opening brackets end the process.
 */

#define GEOIP_VERIFY_DEPTH_MAX 64 /* real files nest five levels */

struct geoip_verifier {
    struct bytes section; /* what pointers count from; borrowed */
    uint8_t *seen;        /* a bit for each offset from which a value was read */
    uint64_t steps_left;  /* values to look at; a file without loops and overlaps needs less than one a byte */
};

/** @return 0 or ERR_NO_MEMORY */
int geoip_verifier_init(struct geoip_verifier *v, struct bytes section) MUST_CHECK;
void geoip_verifier_fini(struct geoip_verifier *v);

/**
 * Look through the value at offset and everything it points to. What was seen before is not looked at again.
 *
 * @return 0, or ERR_CORRUPT: it leaves the section, nests too deeply or takes too many steps
 */
int geoip_verifier_check(struct geoip_verifier *v, uint64_t offset) MUST_CHECK;

#endif
