#ifndef CRC32C_H
#define CRC32C_H

#include <stdint.h>

#include "bytes.h"

/**
 * CRC32C (Castagnoli; RFC 3720 12.1 and B.4, RFC 4960 appendix B), as the PROXY protocol uses it. Pure. Pieces may be added one
 * after the other: crc32c_add(crc32c_add(0, a), b) is the checksum of a followed by b.
 *
 * @param crc  0 to begin with, or the checksum of all that stands before in
 */
uint32_t crc32c_add(uint32_t crc, struct bytes in);

#endif
