/* Countries from a GeoIP database: all record sizes, both IP versions, what counts as unknown, and files made to harm. The files are
 * those of the fuzz target's corpus, which test/tools/make_mmdb.py writes. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <maxminddb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "addr_of.h"
#include "err.h"
#include "fork_child.h"
#include "geoip_reader.h"
#include "sandbox.h"

#define CORPUS MCPROXY_SOURCE_DIR "/test/fuzz/corpus/geoip_reader"
#define SEALS  (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static struct bytes read_file(const char *name)
{
    static uint8_t buffer[1 << 20];
    char path[512];
    (void)snprintf(path, sizeof path, CORPUS "/%s", name);
    FILE *f = fopen(path, "rb");

    if (f == NULL)
        fail_msg("%s: %s", path, strerror(errno));
    size_t len = fread(buffer, 1, sizeof buffer, f);
    fclose(f);
    return bytes_of(buffer, len);
}

static int memfd_of(struct bytes data, int seals)
{
    int fd = memfd_create("geoip", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data.ptr, data.len), (ssize_t)data.len);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static struct geoip_reader *open_database(const char *name)
{
    struct geoip_reader *r = NULL;

    assert_int_equal(geoip_reader_open(memfd_of(read_file(name), SEALS), &r), 0);
    return r;
}

struct country_case {
    const char *addr;
    const char *country; /* NULL: unknown */
};

static void expect(const struct geoip_reader *r, const char *database, const struct country_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ip_addr addr = addr_of(cases[i].addr);
        char iso[3] = "??";
        bool found = geoip_reader_country(r, &addr, iso);
        if (found != (cases[i].country != NULL) || (found && strcmp(iso, cases[i].country) != 0))
            fail_msg("%s: %s is in %s, expected %s", database, cases[i].addr, found ? iso : "no country",
                     cases[i].country != NULL ? cases[i].country : "none");
    }
}

static const struct country_case ipv4_cases[] = {
    {"192.0.2.1", "KP"},
    {"192.0.2.127", "KP"},
    {"192.0.2.128", "DE"},
    {"192.0.2.255", "DE"},
    {"192.0.1.255", NULL},
    {"192.0.3.0", NULL},
    {"198.51.100.7", "US"},
    {"198.51.100.6", NULL},
    {"198.51.100.8", NULL},
    {"203.0.113.1", NULL},
    /* a record without country */ {"10.1.2.3", NULL}, /* registered_country only */
    {"0.0.0.0", NULL},
    {"255.255.255.255", NULL},
    {"::ffff:192.0.2.1", "KP"},
};

static const struct country_case ipv6_cases[] = {
    {"2001:db8::1", "IR"},   {"2001:db8:1::1", "FR"}, {"2001:db8:2::1", "JP"},
    {"2001:db8:2::2", "IR"}, {"2001:db9::", NULL},    {"::", NULL},
    {"ffff::", NULL},
};

static void countries_are_found_in_every_layout(void **state)
{
    static const char *const databases[] = {"country4_24", "country4_28", "country4_32",
                                            "country6_24", "country6_28", "country6_32"};
    (void)state;

    for (size_t i = 0; i < sizeof databases / sizeof databases[0]; i++) {
        struct geoip_reader *r = open_database(databases[i]);
        expect(r, databases[i], ipv4_cases, sizeof ipv4_cases / sizeof ipv4_cases[0]);
        if (i >= 3)
            expect(r, databases[i], ipv6_cases, sizeof ipv6_cases / sizeof ipv6_cases[0]);
        geoip_reader_close(&r);
        assert_null(r);
        geoip_reader_close(&r);
    }
}

static const struct country_case flat_cases[] = {
    {"192.0.2.1", "KP"},
    {"192.0.2.200", "DE"},
    {"2001:db8::1", "IR"},
    {"192.0.3.1", NULL},
};

static void countries_are_found_at_the_top_of_a_record_too(void **state)
{
    static const char *const databases[] = {"flat6_24", "flat6_28", "flat6_32"};

    (void)state;
    for (size_t i = 0; i < sizeof databases / sizeof databases[0]; i++) {
        struct geoip_reader *r = open_database(databases[i]);
        expect(r, databases[i], flat_cases, sizeof flat_cases / sizeof flat_cases[0]);
        geoip_reader_close(&r);
    }
}

static void an_ipv4_database_knows_no_ipv6(void **state)
{
    struct geoip_reader *r = open_database("country4_28");
    struct ip_addr addr = addr_of("2001:db8::1");
    struct ip_addr none = {0};
    char iso[2];
    (void)state;

    assert_false(geoip_reader_country(r, &addr, iso));
    assert_false(geoip_reader_country(r, &none, iso));
    geoip_reader_close(&r);
}

static void one_record_may_cover_the_whole_world(void **state)
{
    static const struct country_case cases[] = {
        {"192.0.2.1", "ZZ"}, {"0.0.0.0", "ZZ"}, {"2001:db8::1", "ZZ"}, {"::", "ZZ"}};
    struct geoip_reader *r = open_database("whole_world");
    (void)state;

    expect(r, "whole_world", cases, sizeof cases / sizeof cases[0]);
    geoip_reader_close(&r);
}

/* The library's own way, by a path: it must come to the same answer for every address. */
static bool country_by_library(MMDB_s *mmdb, const struct ip_addr *addr, char iso_out[2])
{
    const struct ip_endpoint endpoint = {.addr = *addr};
    struct sockaddr_storage ss;
    MMDB_entry_data_s data;
    int status = 0;

    (void)ip_endpoint_to_sockaddr(&endpoint, &ss);
    MMDB_lookup_result_s found = MMDB_lookup_sockaddr(mmdb, (struct sockaddr *)&ss, &status);
    if (status != MMDB_SUCCESS || !found.found_entry ||
        MMDB_get_value(&found.entry, &data, "country", "iso_code", NULL) != MMDB_SUCCESS || !data.has_data ||
        data.type != MMDB_DATA_TYPE_UTF8_STRING || data.data_size != 2)
        return false;
    memcpy(iso_out, data.utf8_string, 2);
    return true;
}

static void the_library_itself_finds_the_same(void **state)
{
    static const char *const databases[] = {"country4_24", "country6_24", "country6_28", "country6_32", "whole_world"};
    uint64_t rng = 88172645463325252u;
    unsigned found = 0;
    (void)state;

    for (size_t d = 0; d < sizeof databases / sizeof databases[0]; d++) {
        struct geoip_reader *r = open_database(databases[d]);
        char path[512];
        MMDB_s mmdb;
        (void)snprintf(path, sizeof path, CORPUS "/%s", databases[d]);
        assert_int_equal(MMDB_open(path, 0, &mmdb), MMDB_SUCCESS);
        for (unsigned i = 0; i < 20000; i++) {
            static const char *const bases[] = {"192.0.2.0", "198.51.100.0", "10.0.0.0", "2001:db8::", "::", "0.0.0.0"};
            struct ip_addr addr = addr_of(bases[i % 6]);
            char iso[2];
            char want[2];
            rng ^= rng << 13, rng ^= rng >> 7, rng ^= rng << 17;
            addr.bytes[addr.family == 4 ? 3 : 4 + i / 6 % 12] ^= (uint8_t)(rng >> 20);
            bool is_known = geoip_reader_country(r, &addr, iso);
            assert_int_equal(is_known, country_by_library(&mmdb, &addr, want));
            assert_true(!is_known || memcmp(iso, want, 2) == 0);
            found += is_known;
        }
        MMDB_close(&mmdb);
        geoip_reader_close(&r);
    }
    assert_in_range(found, 20000, 90000);
}

/* ---- harm ---- */

static void only_a_sealed_descriptor_is_taken(void **state)
{
    static const int seals[] = {0, F_SEAL_GROW, F_SEAL_WRITE | F_SEAL_GROW, F_SEAL_SHRINK | F_SEAL_GROW};
    struct geoip_reader *r = NULL;
    int pipe_fds[2];
    (void)state;

    for (size_t i = 0; i < sizeof seals / sizeof seals[0]; i++) {
        int fd = memfd_of(read_file("country6_28"), seals[i]);
        assert_int_equal(geoip_reader_open(fd, &r), ERR_FOREIGN);
        assert_int_equal(fcntl(fd, F_GETFD), -1); /* taken all the same */
    }
    assert_int_equal(pipe(pipe_fds), 0);
    close(pipe_fds[1]);
    assert_int_equal(geoip_reader_open(pipe_fds[0], &r), ERR_FOREIGN);
    assert_null(r);
}

/** Ask for addresses all over a database, if it can be opened at all. */
static int open_and_ask(struct bytes data)
{
    static const char *const addrs[] = {"192.0.2.1", "0.0.0.0",       "255.255.255.255",
                                        "::",        "2001:db8:2::1", "ffff:ffff::"};
    struct geoip_reader *r = NULL;
    int rc = geoip_reader_open(memfd_of(data, SEALS), &r);

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < sizeof addrs / sizeof addrs[0]; i++) {
        struct ip_addr addr = addr_of(addrs[i]);
        char iso[2];
        (void)geoip_reader_country(r, &addr, iso);
    }
    geoip_reader_close(&r);
    return 0;
}

static void files_made_to_harm_are_refused_or_survived(void **state)
{
    DIR *dir = opendir(CORPUS);
    unsigned refused = 0;
    unsigned survived = 0;
    (void)state;

    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (strncmp(e->d_name, "bad_", 4) != 0)
            continue;
        int rc = open_and_ask(read_file(e->d_name));
        assert_true(rc == 0 || rc == ERR_INVALID);
        refused += rc != 0;
        survived += rc == 0;
    }
    closedir(dir);
    assert_in_range(refused, 15, 40);
    assert_in_range(survived, 10, 40);
}

/* What the metadata claims is measured against the file, in numbers that do not wrap around. */
static void metadata_that_lies_about_the_tree_is_refused(void **state)
{
    static const char *const databases[] = {
        "bad_node_count_huge",   "bad_node_count_wraps", "bad_node_count_more", "bad_node_count_zero",
        "bad_node_count_string", "bad_record_size_0",    "bad_record_size_25",  "bad_ip_version_5",
        "bad_format_3",          "bad_no_marker",        "bad_empty",           "bad_marker_only",
        "bad_two_markers",       "bad_marker_ends_page", "bad_no_data",         "bad_record_before_no_data"};
    (void)state;

    for (size_t i = 0; i < sizeof databases / sizeof databases[0]; i++) {
        if (open_and_ask(read_file(databases[i])) != ERR_INVALID)
            fail_msg("%s was taken", databases[i]);
    }
}

static void every_prefix_and_every_flipped_byte_ends_in_a_verdict(void **state)
{
    struct bytes file = read_file("country6_28");
    uint8_t *copy = malloc(file.len);
    (void)state;

    assert_non_null(copy);
    memcpy(copy, file.ptr, file.len);
    for (size_t len = 0; len < file.len; len += len < file.len - 300 ? 13 : 1)
        (void)open_and_ask(bytes_of(copy, len));
    for (size_t i = 0; i < file.len; i++) {
        copy[i] ^= (uint8_t)(1u << i % 8);
        (void)open_and_ask(bytes_of(copy, file.len));
        copy[i] = 0xff;
        (void)open_and_ask(bytes_of(copy, file.len));
        copy[i] = file.ptr[i];
    }
    free(copy);
}

/* A reload hands a new database to a worker that has given up everything else. */
static void a_worker_in_its_sandbox_takes_a_new_database(void **state)
{
    int fd = memfd_of(read_file("country6_28"), SEALS);
    pid_t child = fork_child();
    int status = 0;
    (void)state;

    if (child == 0) {
        char why_text[256];
        struct strbuf why = STRBUF_OF(why_text);
        struct ip_addr addr = ip_addr_of_ipv4((const uint8_t[]){192, 0, 2, 1});
        struct geoip_reader *r = NULL;
        char iso[2] = "";
        int rc = sandbox_enter(UINT32_MAX, UINT32_MAX, &why);
        if (rc == 0)
            rc = geoip_reader_open(fd, &r);
        bool is_known = rc == 0 && geoip_reader_country(r, &addr, iso);
        geoip_reader_close(&r);
        _exit(is_known && memcmp(iso, "KP", 2) == 0 ? 0 : 1);
    }
    close(fd);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(countries_are_found_in_every_layout),
        cmocka_unit_test(countries_are_found_at_the_top_of_a_record_too),
        cmocka_unit_test(an_ipv4_database_knows_no_ipv6),
        cmocka_unit_test(one_record_may_cover_the_whole_world),
        cmocka_unit_test(the_library_itself_finds_the_same),
        cmocka_unit_test(only_a_sealed_descriptor_is_taken),
        cmocka_unit_test(files_made_to_harm_are_refused_or_survived),
        cmocka_unit_test(metadata_that_lies_about_the_tree_is_refused),
        cmocka_unit_test(a_worker_in_its_sandbox_takes_a_new_database),
        cmocka_unit_test(every_prefix_and_every_flipped_byte_ends_in_a_verdict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
