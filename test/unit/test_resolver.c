/* Names of backends against a DNS server in the same loop, with times scaled down. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "clock.h"
#include "err.h"
#include "fake_dns.h"
#include "log_event.h"
#include "resolver.h"

static const struct resolver_options quick = {
    .query_timeout_ms = 50,
    .query_tries = 1,
    .ttl_min_ms = 30,
    .ttl_max_ms = 5000,
    .hosts_ttl_ms = 40,
    .retry_min_ms = 20,
    .retry_max_ms = 80,
};

/** What a test looks at: the loop, the server, the resolver, its callbacks and its log lines. */
struct bench {
    struct ev_loop *loop;
    struct ev_timer tick; /* so that a wait for a condition can end */
    struct fake_dns dns;
    struct resolver *resolver;
    unsigned answers;
    char last_name[256];
    struct addr_set last;
    const char *unwatch_in_callback;
    const char *watch_in_callback;
    char log[8192]; /* messages, one a line */
};

static void on_tick(EV_P_ ev_timer *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

static void on_log(struct bytes record, void *context)
{
    struct bench *b = context;
    struct log_record_reader r;
    size_t len = strlen(b->log);

    assert_int_equal(log_record_open(&r, record), 0);
    snprintf(b->log + len, sizeof b->log - len, "%.*s\n", (int)r.message.len, (const char *)r.message.ptr);
}

static void on_answer(const char *name, const struct addr_set *addrs, void *context)
{
    struct bench *b = context;

    b->answers++;
    snprintf(b->last_name, sizeof b->last_name, "%s", name);
    b->last = *addrs;
    if (b->unwatch_in_callback != NULL)
        resolver_unwatch(b->resolver, b->unwatch_in_callback);
    if (b->watch_in_callback != NULL)
        assert_int_equal(resolver_watch(b->resolver, b->watch_in_callback), 0);
    b->watch_in_callback = NULL;
}

static void bench_start(struct bench *b, struct fake_name *names, unsigned name_count,
                        const struct resolver_options *options)
{
    struct resolver_options o = *options;

    memset(b, 0, sizeof *b);
    b->loop = ev_loop_new(EVFLAG_AUTO);
    ev_timer_init(&b->tick, on_tick, 0.005, 0.005);
    ev_timer_start(b->loop, &b->tick);
    fake_dns_start(&b->dns, b->loop, names, name_count);
    o.servers = b->dns.servers;
    log_set_sink(on_log, b);
    assert_int_equal(resolver_new(b->loop, &o, on_answer, b, &b->resolver), 0);
}

static void bench_stop(struct bench *b)
{
    resolver_free(&b->resolver);
    assert_null(b->resolver);
    resolver_free(&b->resolver); /* of NULL */
    fake_dns_stop(&b->dns);
    ev_timer_stop(b->loop, &b->tick);
    ev_loop_destroy(b->loop);
    log_set_sink(NULL, NULL);
}

static void run_for(struct bench *b, unsigned ms)
{
    uint64_t end = clock_monotonic_ms() + ms;
    while (clock_monotonic_ms() < end)
        ev_run(b->loop, EVRUN_ONCE);
}

/* Wait for a condition, at most 10 s. */
#define RUN_UNTIL(b, condition)                             \
    do {                                                    \
        uint64_t end_ms = clock_monotonic_ms() + 10000;     \
        while (!(condition)) {                              \
            ev_run((b)->loop, EVRUN_ONCE);                  \
            if (clock_monotonic_ms() > end_ms)              \
                fail_msg("never happened: %s", #condition); \
        }                                                   \
    } while (0)

static unsigned count_text(const char *in, const char *text)
{
    unsigned count = 0;
    for (; (in = strstr(in, text)) != NULL; in++)
        count++;
    return count;
}

static void expect_addrs(const struct addr_set *set, const char *const *texts)
{
    unsigned count = 0;

    for (; texts[count] != NULL; count++) {
        char why_text[64];
        struct strbuf why = STRBUF_OF(why_text);
        struct ip_addr addr;
        assert_int_equal(ip_addr_parse(bytes_of_str(texts[count]), &addr, &why), 0);
        if (!addr_set_has(set, &addr))
            fail_msg("%s is missing", texts[count]);
    }
    assert_int_equal(set->count, count);
}
#define EXPECT_ADDRS(set, ...) expect_addrs((set), (const char *const[]){__VA_ARGS__, NULL})

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
        assert_int_equal(resolver_watch(b.resolver, "app.test"), 0);
        RUN_UNTIL(&b, b.answers == 1);
        uint64_t answered_ms = clock_monotonic_ms();
        RUN_UNTIL(&b, names[0].asked == 2);
        uint64_t took_ms = clock_monotonic_ms() - answered_ms;
        if (took_ms + 50 < cases[i].expected_ms || took_ms > cases[i].expected_ms + 3000)
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

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_name names[] = {{.name = "app.test", .v4 = {"192.0.2.1"}}};
        struct bench b;

        bench_start(&b, names, 1, &quick);
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
        assert_string_equal(b.log, "backend name resolved\n"
                                   "backend name cannot be resolved, its last addresses stay in use\n"
                                   "backend name resolved again\n");
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
    assert_int_equal(resolver_watch(b.resolver, "gone.test"), 0);
    RUN_UNTIL(&b, names[0].asked == 1);
    for (unsigned i = 0; i < sizeof least_ms / sizeof least_ms[0]; i++) {
        uint64_t before_ms = clock_monotonic_ms();
        RUN_UNTIL(&b, names[0].asked == i + 2);
        uint64_t took_ms = clock_monotonic_ms() - before_ms;
        if (took_ms + 15 < least_ms[i] || took_ms > least_ms[i] * 5 / 4 + 2000)
            fail_msg("retry %u after %u ms, not %u", i + 1, (unsigned)took_ms, least_ms[i]);
    }
    bench_stop(&b);
}

static void test_one_silent_family_does_not_hide_the_other(void **state)
{
    (void)state;
    struct fake_name names[] = {{.name = "app.test", .ttl = 60, .drops_aaaa = true, .v4 = {"192.0.2.1"}}};
    struct bench b;

    bench_start(&b, names, 1, &quick);
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

    bench_start(&b, NULL, 0, &quick);
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
    char path[] = "/tmp/test_resolver.hosts.XXXXXX";
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
    assert_int_equal(strncmp(resolver_version_text(), "c-ares 1.", 9), 0);
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
        cmocka_unit_test(test_thousands_of_names_wait_their_turn),
        cmocka_unit_test(test_names_forgotten_in_flight_leave_their_places_to_others),
        cmocka_unit_test(test_watches_are_counted),
        cmocka_unit_test(test_a_callback_may_unwatch_its_name_and_watch_another),
        cmocka_unit_test(test_the_hosts_file_comes_first_and_is_read_again),
        cmocka_unit_test(test_localhost_is_never_asked_for),
        cmocka_unit_test(test_localhost_needs_no_hosts_file),
        cmocka_unit_test(test_bad_servers_are_refused),
        cmocka_unit_test(test_the_dump_shows_every_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
