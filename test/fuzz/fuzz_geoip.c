/* A GeoIP database from memory: whatever is taken must stand look-ups of every kind. */

#include <maxminddb.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "geoip.h"

/** MMDB_open() of libmaxminddb 1.7.1 loses a few kilobytes when the description in the metadata cannot be read. Not ours. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libmaxminddb";
}

static void look_up(int fd)
{
    static const char *const addresses[] = {"192.0.2.77", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::"};
    char link[64];
    MMDB_s mmdb;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    CHECK(MMDB_open(link, MMDB_MODE_MMAP, &mmdb) == MMDB_SUCCESS);
    for (unsigned i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        int gai, status;
        MMDB_entry_data_s data;
        MMDB_lookup_result_s found = MMDB_lookup_string(&mmdb, addresses[i], &gai, &status);
        if (gai == 0 && status == MMDB_SUCCESS && found.found_entry)
            (void)MMDB_get_value(&found.entry, &data, "country", "iso_code", NULL);
    }
    MMDB_close(&mmdb);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64], why_data[512];
    struct strbuf why = STRBUF_OF(why_data);
    int source = memfd_create("fuzz", MFD_CLOEXEC), copy;

    CHECK(source >= 0 && write(source, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", source);
    if (geoip_load_copy(path, &copy, &why) == 0) {
        look_up(copy);
        close(copy);
    }
    close(source);
    return 0;
}
