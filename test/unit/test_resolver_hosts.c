/* Names that no DNS server is asked for: those of the hosts file, and localhost. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "resolver_bench.h"

static void write_hosts(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_the_hosts_file_comes_first_and_is_read_again(void **state)
{
    (void)state;
    struct resolver_options options = {.hosts_ttl_ms = 300, .ttl_min_ms = 1};
    struct fake_name names[] = {{.name = "db.test", .ttl = 60, .v4 = {"192.0.2.200"}}};
    char path[] = "/tmp/test_resolver_hosts.XXXXXX";
    struct bench b;

    close(mkstemp(path));
    write_hosts(path, "192.0.2.10 db.test\n2001:db8::10 db.test\n");
    setenv("CARES_HOSTS", path, 1);
    bench_start(&b, names, 1, &options);
    assert_int_equal(resolver_watch(b.resolver, "db.test"), 0);
    RUN_UNTIL(&b, b.answers == 1);
    EXPECT_ADDRS(&b.last, "192.0.2.10", "2001:db8::10");
    assert_int_equal(b.dns.asked, 0);
    uint64_t answered_ms = clock_monotonic_ms();
    write_hosts(path, "192.0.2.11 db.test\n");
    RUN_UNTIL(&b, b.answers == 2);
    assert_true(clock_monotonic_ms() - answered_ms > 250); /* an entry without TTL is good for hosts_ttl_ms */
    EXPECT_ADDRS(&b.last, "192.0.2.11");
    write_hosts(path, "");
    RUN_UNTIL(&b, b.answers == 3);
    EXPECT_ADDRS(&b.last, "192.0.2.200");
    bench_stop(&b);
    unsetenv("CARES_HOSTS");
    unlink(path);
}

static void test_localhost_is_never_asked_for(void **state)
{
    (void)state;
    struct bench b;

    bench_start(&b, NULL, 0, &quick);
    assert_int_equal(resolver_watch(b.resolver, "localhost"), 0);
    RUN_UNTIL(&b, b.answers == 1);
    assert_in_range(b.last.count, 1, 2);
    assert_int_equal(b.dns.asked, 0);
    bench_stop(&b);
}

static void test_localhost_needs_no_hosts_file(void **state)
{
    (void)state;
    struct bench b;

    setenv("CARES_HOSTS", "/nonexistent/hosts", 1);
    bench_start(&b, NULL, 0, &quick);
    assert_int_equal(resolver_watch(b.resolver, "localhost"), 0);
    RUN_UNTIL(&b, b.answers == 1);
    EXPECT_ADDRS(&b.last, "127.0.0.1", "::1");
    assert_int_equal(b.dns.asked, 0);
    bench_stop(&b);
    unsetenv("CARES_HOSTS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_hosts_file_comes_first_and_is_read_again),
        cmocka_unit_test(test_localhost_is_never_asked_for),
        cmocka_unit_test(test_localhost_needs_no_hosts_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
