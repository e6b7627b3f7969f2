/* What becomes of the answers of a DNS server: addresses, how long they are good for, failures and retries. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "resolver_bench.h"

static void test_both_families_arrive_in_one_answer(void **state)
{
    (void)state;
    struct fake_name names[] = {
        {.name = "app.test", .ttl = 60, .v4 = {"192.0.2.1", "192.0.2.2"}, .v6 = {"2001:db8::1"}}};
    struct bench b;

    bench_start(&b, names, 1, &quick);
    assert_int_equal(resolver_watch(b.resolver, "app.test"), 0);
    assert_int_equal(b.answers, 0); /* never within the call */
    assert_int_equal(resolver_addresses(b.resolver, "app.test").count, 0);
    RUN_UNTIL(&b, b.answers > 0);
    assert_string_equal(b.last_name, "app.test");
    EXPECT_ADDRS(&b.last, "192.0.2.1", "192.0.2.2", "2001:db8::1");
    struct addr_set known = resolver_addresses(b.resolver, "app.test");
    assert_true(addr_set_equal(&known, &b.last));
    run_for(&b, 100);
    assert_int_equal(b.dns.asked, 2); /* the TTL of a minute is respected */
    assert_string_equal(b.log, "backend name resolved\n");
    bench_stop(&b);
}

static void test_the_same_addresses_in_another_order_are_no_change(void **state)
{
    (void)state;
    struct fake_name names[] = {{.name = "app.test", .rotates = true, .v4 = {"192.0.2.1", "192.0.2.2", "192.0.2.3"}}};
    struct bench b;

    bench_start(&b, names, 1, &quick);
    assert_int_equal(resolver_watch(b.resolver, "app.test"), 0);
    RUN_UNTIL(&b, names[0].asked >= 5);
    assert_int_equal(b.answers, 1);
    assert_string_equal(b.log, "backend name resolved\n");
    bench_stop(&b);
}

static void test_other_addresses_are_called_back_and_logged(void **state)
{
    (void)state;
    struct fake_name names[] = {{.name = "app.test", .v4 = {"192.0.2.1", "192.0.2.2"}}};
    struct bench b;

    bench_start(&b, names, 1, &quick);
    assert_int_equal(resolver_watch(b.resolver, "app.test"), 0);
    RUN_UNTIL(&b, b.answers == 1);
    names[0].v4[0] = "192.0.2.9";
    RUN_UNTIL(&b, b.answers == 2);
    EXPECT_ADDRS(&b.last, "192.0.2.9", "192.0.2.2");
    names[0].v4[1] = NULL;
    RUN_UNTIL(&b, b.answers == 3);
    EXPECT_ADDRS(&b.last, "192.0.2.9");
    assert_string_equal(b.log,
                        "backend name resolved\nbackend name has new addresses\nbackend name has new addresses\n");
    bench_stop(&b);
}

static void test_a_name_is_asked_again_when_the_shortest_ttl_runs_out(void **state)
{
    (void)state;
    static const struct {
        uint32_t ttl, alias_ttl, min_ms, max_ms;
        const char *alias;
        unsigned expected_ms;
    } cases[] = {
        {.ttl = 1, .expected_ms = 1000},
        {.ttl = 3600, .alias = "real.test", .alias_ttl = 1, .expected_ms = 1000},
        {.ttl = 1, .alias = "real.test", .alias_ttl = 3600, .expected_ms = 1000},
        {.ttl = 0, .min_ms = 300, .expected_ms = 300},
        {.ttl = 3600, .max_ms = 300, .expected_ms = 300},
        {.ttl = 0xffffffff, .min_ms = 300, .expected_ms = 300}, /* RFC 2181 8: the top bit makes it zero */
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_name names[] = {{.name = "app.test",
                                     .ttl = cases[i].ttl,
                                     .alias = cases[i].alias,
                                     .alias_ttl = cases[i].alias_ttl,
                                     .v4 = {"192.0.2.1"}}};
        struct resolver_options options = {.ttl_min_ms = cases[i].min_ms, .ttl_max_ms = cases[i].max_ms};
        struct bench b;

        bench_start(&b, names, 1, &options);
        uint64_t begun_ms = clock_monotonic_ms(); /* the answer comes later: we may be late, never early */
        assert_int_equal(resolver_watch(b.resolver, "app.test"), 0);
        RUN_UNTIL(&b, names[0].asked >= 2);
        uint64_t took_ms = clock_monotonic_ms() - begun_ms;
        assert_int_equal(b.answers, 1);
        if (took_ms + 50 < cases[i].expected_ms || took_ms > cases[i].expected_ms + 20000)
            fail_msg("case %u: asked again after %u ms, not %u", i, (unsigned)took_ms, cases[i].expected_ms);
        bench_stop(&b);
    }
}

static void test_failures_keep_the_last_answer_and_are_logged_once(void **state)
{
    (void)state;
    static const struct {
        int rcode;
        bool is_mute, is_empty;
    } cases[] = {{.rcode = 2}, {.rcode = 3}, {.rcode = 5}, {.is_mute = true}, {.is_empty = true}};

    for (unsigned i = 0, tries = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_name names[] = {{.name = "app.test", .v4 = {"192.0.2.1"}}};
        struct bench b;

        bench_start(&b, names, 1, cases[i].is_mute ? &impatient : &quick);
        assert_int_equal(resolver_watch(b.resolver, "app.test"), 0);
        RUN_UNTIL(&b, b.answers == 1);
        names[0].rcode = cases[i].rcode;
        names[0].is_mute = cases[i].is_mute;
        names[0].v4[0] = cases[i].is_empty ? NULL : "192.0.2.1";
        unsigned asked = names[0].asked;
        RUN_UNTIL(&b, names[0].asked >= asked + 4);
        assert_int_equal(b.answers, 1);
        assert_int_equal(resolver_addresses(b.resolver, "app.test").count, 1);
        names[0] = (struct fake_name){.name = "app.test", .v4 = {"192.0.2.1"}};
        RUN_UNTIL(&b, strstr(b.log, "again") != NULL);
        RUN_UNTIL(&b, names[0].asked >= 4);
        assert_int_equal(b.answers, 1); /* the answer is the old one */
        static const char expected[] = "backend name resolved\n"
                                       "backend name cannot be resolved, its last addresses stay in use\n"
                                       "backend name resolved again\n";
        if (cases[i].is_mute && strcmp(b.log, expected) != 0 && tries++ < 10)
            i--; /* the server is part of this process, which may have had no processor for as long as the time-out */
        else
            assert_string_equal(b.log, expected);
        bench_stop(&b);
    }
}

static void test_a_name_that_never_resolved_is_tried_until_it_does(void **state)
{
    (void)state;
    struct fake_name names[] = {{.name = "late.test", .rcode = 3}};
    struct bench b;

    bench_start(&b, names, 1, &quick);
    assert_int_equal(resolver_watch(b.resolver, "late.test"), 0);
    RUN_UNTIL(&b, names[0].asked >= 4);
    assert_int_equal(b.answers, 0);
    names[0] = (struct fake_name){.name = "late.test", .v6 = {"2001:db8::7"}};
    RUN_UNTIL(&b, b.answers == 1);
    EXPECT_ADDRS(&b.last, "2001:db8::7");
    assert_string_equal(b.log, "backend name cannot be resolved\nbackend name resolved\n");
    bench_stop(&b);
}

static void test_retries_back_off_to_the_maximum(void **state)
{
    (void)state;
    struct resolver_options options = {.retry_min_ms = 40, .retry_max_ms = 160};
    struct fake_name names[] = {{.name = "gone.test", .rcode = 3}};
    static const unsigned least_ms[] = {40, 80, 160, 160, 160, 160, 160, 160, 160};
    struct bench b;

    bench_start(&b, names, 1, &options);
    uint64_t begun_ms = clock_monotonic_ms(), least_sum_ms = 0, took_ms = 0;
    assert_int_equal(resolver_watch(b.resolver, "gone.test"), 0);
    for (unsigned i = 0; i < sizeof least_ms / sizeof least_ms[0]; i++) {
        RUN_UNTIL(&b, names[0].asked >= i + 2);
        took_ms = clock_monotonic_ms() - begun_ms; /* of all: how long one took we may have seen too late */
        least_sum_ms += least_ms[i];
        if (took_ms + 15 * (i + 1) < least_sum_ms)
            fail_msg("%u retries within %u ms, not %u", i + 1, (unsigned)took_ms, (unsigned)least_sum_ms);
    }
    assert_true(took_ms < 15000); /* without a maximum it would be 20 s */
    bench_stop(&b);
}

static void test_one_silent_family_does_not_hide_the_other(void **state)
{
    (void)state;
    struct fake_name names[] = {{.name = "app.test", .ttl = 60, .drops_aaaa = true, .v4 = {"192.0.2.1"}}};
    struct bench b;

    bench_start(&b, names, 1, &impatient);
    assert_int_equal(resolver_watch(b.resolver, "app.test"), 0);
    RUN_UNTIL(&b, b.answers == 1);
    EXPECT_ADDRS(&b.last, "192.0.2.1");
    bench_stop(&b);
}

static void test_a_long_answer_in_rotation_settles_on_eight_addresses(void **state)
{
    (void)state;
    struct fake_name names[] = {{.name = "big.test",
                                 .rotates = true,
                                 .v4 = {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6",
                                        "192.0.2.7", "192.0.2.8", "192.0.2.9", "192.0.2.10", "192.0.2.11"}}};
    struct bench b;

    bench_start(&b, names, 1, &quick);
    assert_int_equal(resolver_watch(b.resolver, "big.test"), 0);
    RUN_UNTIL(&b, names[0].asked >= 6);
    assert_int_equal(b.answers, 1);
    assert_int_equal(b.last.count, SHM_BACKEND_ADDRS_MAX);
    /* One that is in use goes away: exactly that one is replaced. */
    struct addr_set before = b.last;
    char gone[ADDRESS_TEXT_MAX];
    struct strbuf s = STRBUF_OF(gone);
    ip_addr_format(&before.addrs[3], &s);
    for (unsigned i = 0; i < 11; i++) {
        if (strcmp(names[0].v4[i], gone) == 0)
            names[0].v4[i] = "192.0.2.99";
    }
    RUN_UNTIL(&b, b.answers == 2);
    unsigned kept = 0;
    for (unsigned i = 0; i < before.count; i++)
        kept += addr_set_has(&b.last, &before.addrs[i]);
    assert_int_equal(kept, SHM_BACKEND_ADDRS_MAX - 1);
    bench_stop(&b);
}

static void test_mapped_and_repeated_addresses_count_once(void **state)
{
    (void)state;
    struct fake_name names[] = {
        {.name = "odd.test", .ttl = 60, .v4 = {"192.0.2.1", "192.0.2.1"}, .v6 = {"::ffff:192.0.2.1", "2001:db8::1"}}};
    struct bench b;

    bench_start(&b, names, 1, &quick);
    assert_int_equal(resolver_watch(b.resolver, "odd.test"), 0);
    RUN_UNTIL(&b, b.answers == 1);
    EXPECT_ADDRS(&b.last, "192.0.2.1", "2001:db8::1");
    bench_stop(&b);
}

static void test_bad_servers_are_refused(void **state)
{
    (void)state;
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct resolver_options options = {.servers = "not an address"};
    struct resolver *r = NULL;

    assert_int_equal(resolver_new(loop, &options, on_answer, NULL, &r), ERR_INVALID);
    assert_null(r);
    ev_loop_destroy(loop);
}

static unsigned count_text(const char *in, const char *text)
{
    unsigned count = 0;
    for (; (in = strstr(in, text)) != NULL; in++)
        count++;
    return count;
}

static void test_the_dump_shows_every_name(void **state)
{
    (void)state;
    struct fake_name names[] = {{.name = "a.test", .ttl = 60, .v4 = {"192.0.2.1"}, .v6 = {"2001:db8::1"}},
                                {.name = "b.test", .rcode = 3}};
    char text[1024], tiny[8];
    struct strbuf s = STRBUF_OF(text), cut = STRBUF_OF(tiny);
    struct bench b;

    bench_start(&b, names, 2, &quick);
    assert_int_equal(resolver_watch(b.resolver, "b.test"), 0);
    assert_int_equal(resolver_watch(b.resolver, "a.test"), 0);
    RUN_UNTIL(&b, b.answers == 1 && names[1].asked > 1);
    resolver_dump(b.resolver, &s);
    assert_non_null(strstr(text, "resolver names=2 "));
    assert_non_null(strstr(text, "name=a.test state=ttl watches=1 failures=0 addresses="));
    assert_non_null(strstr(text, "name=b.test state="));
    assert_int_equal(count_text(text, "name=a.test"), 1);
    assert_false(s.overflowed);
    resolver_dump(b.resolver, &cut);
    assert_true(cut.overflowed);
    bench_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_families_arrive_in_one_answer),
        cmocka_unit_test(test_the_same_addresses_in_another_order_are_no_change),
        cmocka_unit_test(test_other_addresses_are_called_back_and_logged),
        cmocka_unit_test(test_a_name_is_asked_again_when_the_shortest_ttl_runs_out),
        cmocka_unit_test(test_failures_keep_the_last_answer_and_are_logged_once),
        cmocka_unit_test(test_a_name_that_never_resolved_is_tried_until_it_does),
        cmocka_unit_test(test_retries_back_off_to_the_maximum),
        cmocka_unit_test(test_one_silent_family_does_not_hide_the_other),
        cmocka_unit_test(test_a_long_answer_in_rotation_settles_on_eight_addresses),
        cmocka_unit_test(test_mapped_and_repeated_addresses_count_once),
        cmocka_unit_test(test_bad_servers_are_refused),
        cmocka_unit_test(test_the_dump_shows_every_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
