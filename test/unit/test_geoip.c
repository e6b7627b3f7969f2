/* The GeoIP copy: databases made here byte by byte, good ones and hostile ones. */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <maxminddb.h>

#include "err.h"
#include "geoip.h"
#include "strbuf.h"

#define RECORD \
    "\xe1\x47" \
    "country\xe1\x48iso_code\x42KP" /* {country: {iso_code: "KP"}} */
#define FILE_MAX (1 << 20)

/** A MaxMind DB under construction: 128 nodes, a chain that leads ::c000:200/120 (192.0.2.0/24) to the first record. */
struct database {
    uint8_t *bytes;
    size_t len;
};

static void add(struct database *d, const void *bytes, size_t len)
{
    assert_true(d->len + len <= FILE_MAX);
    memcpy(d->bytes + d->len, bytes, len);
    d->len += len;
}

#define ADD(d, literal) add((d), (literal), sizeof(literal) - 1)

static void add_record_number(struct database *d, uint32_t value)
{
    const uint8_t bytes[3] = {(uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    add(d, bytes, sizeof bytes);
}

#define NODE_COUNT 120u

static void begin_database(struct database *d)
{
    static const uint8_t network[16] = {[12] = 192, [13] = 0, [14] = 2};

    *d = (struct database){.bytes = malloc(FILE_MAX)};
    assert_non_null(d->bytes);
    for (uint32_t i = 0; i < NODE_COUNT; i++) {
        bool bit = (network[i / 8] >> (7 - i % 8) & 1) != 0;
        uint32_t next = i + 1 < NODE_COUNT ? i + 1 : NODE_COUNT + 16; /* 16: the separator; then the first record */
        add_record_number(d, bit ? NODE_COUNT : next);
        add_record_number(d, bit ? next : NODE_COUNT);
    }
    add(d, (const uint8_t[16]){0}, 16);
}

static void end_database(struct database *d, const char *type)
{
    const uint8_t type_control = (uint8_t)(0x40 | strlen(type));

    assert_true(strlen(type) < 29);
    ADD(d, "\xab\xcd\xefMaxMind.com\xe9");
    ADD(d, "\x5b"
           "binary_format_major_version\xa1\x02");
    ADD(d, "\x5b"
           "binary_format_minor_version\xa0");
    ADD(d, "\x4b"
           "build_epoch\x04\x02\x65\x53\xf1\x00");
    ADD(d, "\x4d"
           "database_type");
    add(d, &type_control, 1);
    add(d, type, strlen(type));
    ADD(d, "\x4b"
           "description\xe0");
    ADD(d, "\x4a"
           "ip_version\xa1\x06");
    ADD(d, "\x49"
           "languages\x00\x04");
    ADD(d, "\x4a"
           "node_count\xc1\x78"); /* 120 */
    ADD(d, "\x4b"
           "record_size\xa1\x18");
}

/** Load what d holds from a file; frees d. */
static int load(struct database *d, int *fd_out, struct strbuf *why)
{
    char path[] = "/tmp/test_geoip.XXXXXX";
    int fd = mkstemp(path), rc;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, d->bytes, d->len), d->len);
    close(fd);
    rc = geoip_load_copy(path, fd_out, why);
    assert_int_equal(rc == 0, why->len == 0);
    unlink(path);
    free(d->bytes);
    return rc;
}

static void expect(struct database *d, int expected_rc, const char *expected_why)
{
    char data[512];
    struct strbuf why = STRBUF_OF(data);
    int fd, rc = load(d, &fd, &why);

    if (rc == 0)
        close(fd);
    if (rc != expected_rc || strstr(data, expected_why) == NULL)
        fail_msg("result %s, \"%s\"; expected %s, \"%s\"", err_text(rc), data, err_text(expected_rc), expected_why);
}

static void make_good(struct database *d)
{
    begin_database(d);
    ADD(d, RECORD);
    end_database(d, "Test-Country");
}

static void test_good_copy_is_sealed_and_answers(void **state)
{
    char data[512], link[64];
    struct strbuf why = STRBUF_OF(data);
    struct database d;
    MMDB_s mmdb;
    MMDB_entry_data_s country;
    int fd, gai, status;

    (void)state;
    make_good(&d);
    assert_int_equal(load(&d, &fd, &why), 0);
    assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(write(fd, "x", 1), -1);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    assert_int_equal(MMDB_open(link, MMDB_MODE_MMAP, &mmdb), MMDB_SUCCESS);
    MMDB_lookup_result_s found = MMDB_lookup_string(&mmdb, "192.0.2.77", &gai, &status);
    assert_true(found.found_entry);
    assert_int_equal(MMDB_get_value(&found.entry, &country, "country", "iso_code", NULL), MMDB_SUCCESS);
    assert_memory_equal(country.utf8_string, "KP", 2);
    MMDB_close(&mmdb);
    close(fd);
}

static void test_other_types(void **state)
{
    struct database d;

    (void)state;
    begin_database(&d); /* the type does not matter when there is a country */
    ADD(&d, RECORD);
    end_database(&d, "Our-Own");
    expect(&d, 0, "");
    begin_database(&d); /* {asn: 5} */
    ADD(&d, "\xe1\x43"
            "asn\xa1\x05");
    end_database(&d, "Test-ASN");
    expect(&d, ERR_INVALID, "is a database of type \"Test-ASN\" without country.iso_code or country_code; expected");
    begin_database(&d); /* {country_code: "KP"} */
    ADD(&d, "\xe1\x4c"
            "country_code\x42KP");
    end_database(&d, "country ipvAll");
    expect(&d, 0, "");
    begin_database(&d); /* {country_code: 5} */
    ADD(&d, "\xe1\x4c"
            "country_code\xa1\x05");
    end_database(&d, "country ipvAll");
    expect(&d, ERR_CORRUPT, "is damaged");
    begin_database(&d); /* no country in it, but it could have had one */
    ADD(&d, "\xe0");
    end_database(&d, "Test-Country");
    expect(&d, 0, "");
    begin_database(&d); /* {country: {iso_code: 5}} */
    ADD(&d, "\xe1\x47"
            "country\xe1\x48iso_code\xa1\x05");
    end_database(&d, "Test-Country");
    expect(&d, ERR_CORRUPT, "is damaged");
}

static void test_hostile_values(void **state)
{
    struct database d;

    (void)state;
    begin_database(&d); /* arrays within arrays, 200,000 deep, which libmaxminddb would follow into the ground */
    ADD(&d, "\xe2\x41"
            "a");
    for (unsigned i = 0; i < 200000; i++)
        ADD(&d, "\x01\x04");
    ADD(&d, "\x41"
            "x\x47"
            "country\xe1\x48iso_code\x42KP");
    end_database(&d, "Test-Country");
    expect(&d, ERR_CORRUPT, "is damaged");

    begin_database(&d); /* the same in the metadata */
    ADD(&d, RECORD "\xab\xcd\xefMaxMind.com\xe2\x41"
                   "a");
    for (unsigned i = 0; i < 60000; i++)
        ADD(&d, "\x01\x04");
    ADD(&d, "\x41"
            "x");
    expect(&d, ERR_CORRUPT, "is damaged");

    begin_database(&d); /* a pointer to itself */
    ADD(&d, "\x20\x00");
    end_database(&d, "Test-Country");
    expect(&d, ERR_CORRUPT, "is damaged");

    begin_database(&d); /* a pointer out of the section */
    ADD(&d, "\xe1\x41"
            "a\x27\xff");
    end_database(&d, "Test-Country");
    expect(&d, ERR_CORRUPT, "is damaged");

    begin_database(&d); /* a map that says it has 16 million entries */
    ADD(&d, "\xff\xff\xff\xff");
    end_database(&d, "Test-Country");
    expect(&d, ERR_CORRUPT, "is damaged");

    make_good(&d); /* a tree that leads to the middle of nowhere */
    memcpy(d.bytes + 18, "\xff\xff\xff\xff\xff\xff", 6);
    expect(&d, ERR_CORRUPT, "is damaged");
}

/* Every prefix and every flipped byte ends in a verdict; whatever is taken can be looked up in. */
static void test_prefixes_and_flips(void **state)
{
    struct database good;
    char data[512];

    (void)state;
    make_good(&good);
    for (size_t i = 0; i < 2 * good.len; i++) {
        struct strbuf why = STRBUF_OF(data);
        struct database d = {.bytes = malloc(good.len + 1), .len = good.len};
        int fd;
        assert_non_null(d.bytes);
        memcpy(d.bytes, good.bytes, good.len);
        if (i < good.len)
            d.len = i;
        else
            d.bytes[i - good.len] ^= (uint8_t)(1u << i % 8);
        int rc = load(&d, &fd, &why);
        if (rc == 0)
            close(fd);
        assert_true(rc == 0 || rc == ERR_INVALID || rc == ERR_CORRUPT);
        assert_true(rc != 0 || i >= good.len - 2); /* nothing cut short is taken, unless its last value is a default */
    }
    free(good.bytes);
}

static void test_what_is_no_file(void **state)
{
    char data[512], path[] = "/tmp/test_geoip.XXXXXX";
    struct strbuf why = STRBUF_OF(data);
    struct database empty = {0};
    int fd;

    (void)state;
    assert_int_equal(geoip_load_copy("/nonexistent/x", &fd, &why), ERR_SYSTEM);
    assert_non_null(strstr(data, "cannot be read: No such file or directory"));
    strbuf_reset(&why);
    assert_int_equal(geoip_load_copy("/tmp", &fd, &why), ERR_INVALID);
    assert_non_null(strstr(data, "is no regular file"));
    strbuf_reset(&why);
    assert_non_null(mkdtemp(path));
    char pipe_path[64];
    snprintf(pipe_path, sizeof pipe_path, "%s/pipe", path);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_int_equal(geoip_load_copy(pipe_path, &fd, &why), ERR_INVALID); /* and does not wait for a writer */
    unlink(pipe_path);
    rmdir(path);
    expect(&empty, ERR_INVALID, "is no MaxMind DB file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_copy_is_sealed_and_answers),
        cmocka_unit_test(test_other_types),
        cmocka_unit_test(test_hostile_values),
        cmocka_unit_test(test_prefixes_and_flips),
        cmocka_unit_test(test_what_is_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
