/* Who watches which names: thousands of them, forgotten ones, watches that are counted and change within a callback. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "resolver_bench.h"

static void watch_bulk(struct bench *b, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%u.bulk", i);
        assert_int_equal(resolver_watch(b->resolver, name), 0);
    }
}

static void test_thousands_of_names_wait_their_turn(void **state)
{
    (void)state;
    struct resolver_options options = {.query_timeout_ms = 60000, .query_tries = 1};
    struct bench b;

    bench_start(&b, NULL, 0, &options);
    b.dns.is_mute = true;
    watch_bulk(&b, 3000);
    RUN_UNTIL(&b, b.dns.asked >= 128);
    run_for(&b, 100);
    assert_int_equal(b.dns.asked, 128); /* A and AAAA of 64 names */
    bench_stop(&b);                     /* with all of them in flight and the rest queued */

    bench_start(&b, NULL, 0, &quick);
    log_set_sink(NULL, NULL); /* 3000 lines of it */
    watch_bulk(&b, 3000);
    RUN_UNTIL(&b, b.answers >= 3000);
    struct addr_set last = resolver_addresses(b.resolver, "n2999.bulk");
    EXPECT_ADDRS(&last, "10.0.11.183");
    run_for(&b, 50);
    assert_int_equal(b.answers, 3000);
    bench_stop(&b);
}

static void test_names_forgotten_in_flight_leave_their_places_to_others(void **state)
{
    (void)state;
    struct bench b;

    bench_start(&b, NULL, 0, &impatient);
    b.dns.is_mute = true;
    watch_bulk(&b, 64);
    RUN_UNTIL(&b, b.dns.asked >= 128);
    for (unsigned i = 0; i < 64; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%u.bulk", i);
        resolver_unwatch(b.resolver, name);
    }
    b.dns.is_mute = false;
    assert_int_equal(resolver_watch(b.resolver, "n7.bulk"), 0); /* again, as a new name */
    assert_int_equal(resolver_watch(b.resolver, "n100.bulk"), 0);
    RUN_UNTIL(&b, b.answers == 2);
    assert_string_equal(b.log, "backend name resolved\nbackend name resolved\n");
    bench_stop(&b);
}

static void test_watches_are_counted(void **state)
{
    (void)state;
    struct fake_name names[] = {{.name = "app.test", .ttl = 0, .v4 = {"192.0.2.1"}}};
    struct bench b;

    bench_start(&b, names, 1, &quick);
    resolver_unwatch(b.resolver, "app.test"); /* watched by nobody: no effect */
    assert_int_equal(resolver_watch(b.resolver, "app.test"), 0);
    assert_int_equal(resolver_watch(b.resolver, "app.test"), 0);
    RUN_UNTIL(&b, b.answers == 1);
    resolver_unwatch(b.resolver, "app.test");
    assert_int_equal(resolver_addresses(b.resolver, "app.test").count, 1);
    unsigned asked = names[0].asked;
    RUN_UNTIL(&b, names[0].asked > asked + 1);
    resolver_unwatch(b.resolver, "app.test");
    assert_int_equal(resolver_addresses(b.resolver, "app.test").count, 0);
    asked = names[0].asked;
    run_for(&b, 150);
    assert_in_range(names[0].asked, asked, asked + 1); /* at most what was on its way */
    assert_int_equal(b.answers, 1);
    bench_stop(&b);
}

static void test_a_callback_may_unwatch_its_name_and_watch_another(void **state)
{
    (void)state;
    struct fake_name names[] = {{.name = "one.test", .v4 = {"192.0.2.1"}}, {.name = "two.test", .v4 = {"192.0.2.2"}}};
    struct bench b;

    bench_start(&b, names, 2, &quick);
    b.unwatch_in_callback = "one.test";
    b.watch_in_callback = "two.test";
    assert_int_equal(resolver_watch(b.resolver, "one.test"), 0);
    RUN_UNTIL(&b, b.answers == 2);
    assert_string_equal(b.last_name, "two.test");
    assert_int_equal(resolver_addresses(b.resolver, "one.test").count, 0);
    bench_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thousands_of_names_wait_their_turn),
        cmocka_unit_test(test_names_forgotten_in_flight_leave_their_places_to_others),
        cmocka_unit_test(test_watches_are_counted),
        cmocka_unit_test(test_a_callback_may_unwatch_its_name_and_watch_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
