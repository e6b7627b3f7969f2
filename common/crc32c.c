/* CRC32C by table, a byte at a time: a header of at most 4 KiB once per connection needs nothing faster. */

#include "crc32c.h"

/* The table is linear over XOR, so its 256 entries follow from the eight of the powers of two (reflected polynomial 0x82F63B78). */
#define BIT(n, mask, entry) (((n) & (mask)) != 0 ? (entry) : 0U)
#define E1(n)                                                                                                        \
    (BIT(n, 0x01, 0xF26B8303U) ^ BIT(n, 0x02, 0xE13B70F7U) ^ BIT(n, 0x04, 0xC79A971FU) ^ BIT(n, 0x08, 0x8AD958CFU) ^ \
     BIT(n, 0x10, 0x105EC76FU) ^ BIT(n, 0x20, 0x20BD8EDEU) ^ BIT(n, 0x40, 0x417B1DBCU) ^ BIT(n, 0x80, 0x82F63B78U))
#define E4(n)  E1(n), E1((n) + 1), E1((n) + 2), E1((n) + 3)
#define E16(n) E4(n), E4((n) + 4), E4((n) + 8), E4((n) + 12)
#define E64(n) E16(n), E16((n) + 16), E16((n) + 32), E16((n) + 48)

static const uint32_t table[256] = {E64(0), E64(64), E64(128), E64(192)};

uint32_t crc32c_add(uint32_t crc, struct bytes in)
{
    crc = ~crc;
    for (size_t i = 0; i < in.len; i++)
        crc = crc >> 8 ^ table[(crc ^ in.ptr[i]) & 0xff];
    return ~crc;
}
