/* The number of connections that descriptors suffice for. */

#include "conn_cap.h"

#define RESERVED_DESCRIPTORS 64 /* loop, control socket, and listeners that arrive while all the others are in use */
#define RESERVED_LISTENERS   16 /* of them */
#define DESCRIPTORS_PER_CONN 2

uint32_t conn_cap(uint64_t descriptor_limit, unsigned listeners)
{
    uint64_t usable =
        descriptor_limit > 2ull * RESERVED_DESCRIPTORS ? descriptor_limit - RESERVED_DESCRIPTORS : descriptor_limit / 2;
    uint64_t more_listeners = listeners > RESERVED_LISTENERS ? listeners - RESERVED_LISTENERS : 0;
    uint64_t cap = usable > more_listeners ? (usable - more_listeners) / DESCRIPTORS_PER_CONN : 0;

    if (cap > UINT32_MAX)
        return UINT32_MAX;
    return cap > 0 ? (uint32_t)cap : 1;
}
