/* The worker's reader of GeoIP databases: whatever is in the file, opening and asking end in a verdict. */

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "err.h"
#include "geoip_reader.h"

/* libmaxminddb skips nested values by recursion, a level for two bytes; what is too deep for a stack the master refuses before a
 * worker sees it (geoip_verify.h). */
#define SIZE_MAX_BYTES 8192u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const struct geoip_reader *r, const struct ip_addr *addr)
{
    char iso[2] = {0, 0};

    (void)geoip_reader_country(r, addr, iso);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t addrs[][16] = {
        {0},
        {192, 0, 2, 1},
        {192, 0, 2, 200},
        {198, 51, 100, 7},
        {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
        {0x20, 0x01, 0x0d, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    struct geoip_reader *r = NULL;

    if (size > SIZE_MAX_BYTES)
        return 0;
    int fd = memfd_create("geoip", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0);
    int rc = geoip_reader_open(fd, &r);
    CHECK(rc == 0 || rc == ERR_INVALID);
    for (unsigned i = 0; rc == 0 && i < sizeof addrs / sizeof addrs[0]; i++) {
        struct ip_addr v4 = ip_addr_of_ipv4(addrs[i]);
        struct ip_addr v6 = ip_addr_of_ipv6(addrs[i]);
        ask(r, &v4);
        ask(r, &v6);
    }
    geoip_reader_close(&r);
    return 0;
}
