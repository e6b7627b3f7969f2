/* Batches on the tables themselves: published or dropped, nothing is leaked and nothing is half; when memory runs out in the middle, the
 * tables are as before. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "err.h"
#include "firewall.h"
#include "firewall_writer.h"
#include "tables_fixture.h"

#define HOSTS  64
#define ROUNDS 400

static unsigned seed = 99;

static uint32_t pick(uint32_t below)
{
    return (uint32_t)rand_r(&seed) % below;
}

static void name_of(uint32_t host, char out[32])
{
    snprintf(out, 32, "%sh%u.example", host % 4 == 0 ? "*." : "", host);
}

static void expect_hosts(const struct tables_fixture *f, const int32_t *backends)
{
    char name[64];

    for (uint32_t host = 0; host < HOSTS; host++) {
        snprintf(name, sizeof name, "%sh%u.example", host % 4 == 0 ? "x." : "", host);
        assert_int_equal(fixture_match(f, 0, name), backends[host]);
    }
}

static void random_routes(struct route_batch *batch, int32_t *backends, uint32_t changes)
{
    char name[32];

    for (uint32_t i = 0; i < changes; i++) {
        uint32_t host = pick(HOSTS), backend = 1 + pick(1000);
        name_of(host, name);
        struct host_pattern pattern = pattern_of(name);
        struct backend_addr addr = backend_number(backend);
        if (pick(3) > 0) {
            assert_int_equal(route_batch_put(batch, 0, &pattern, &addr, false), 0);
            backends[host] = (int32_t)backend;
        } else {
            assert_int_equal(route_batch_remove(batch, 0, &pattern), backends[host] >= 0 ? 0 : ERR_NOT_FOUND);
            backends[host] = -1;
        }
    }
}

static void test_routes_published_and_dropped(void **state)
{
    struct tables_fixture f;
    int32_t backends[HOSTS], next[HOSTS];

    (void)state;
    fixture_init(&f, 64 << 20, 0);
    const uint64_t empty = fixture_used_bytes(&f);
    memset(backends, 0xff, sizeof backends);
    for (int round = 0; round < ROUNDS; round++) {
        struct route_batch *batch = NULL;
        memcpy(next, backends, sizeof next);
        assert_int_equal(route_batch_begin(f.routes, &batch), 0);
        random_routes(batch, next, pick(100));
        expect_hosts(&f, backends);
        if (pick(3) == 0) {
            uint64_t prepared = route_writer_total(f.routes);
            route_batch_abort(&batch);
            assert_int_equal(route_writer_total(f.routes), prepared);
        } else {
            route_batch_publish(&batch);
            memcpy(backends, next, sizeof next);
        }
        assert_null(batch);
        expect_hosts(&f, backends);
        if (pick(4) == 0) { /* and single changes in between */
            assert_int_equal(fixture_put(&f, 0, "h1.example", 7), backends[1] < 0);
            backends[1] = 7;
        }
    }
    struct route_batch *batch = NULL;
    char name[32];
    assert_int_equal(route_batch_begin(f.routes, &batch), 0);
    for (uint32_t host = 0; host < HOSTS; host++) {
        name_of(host, name);
        struct host_pattern pattern = pattern_of(name);
        int rc = route_batch_remove(batch, 0, &pattern);
        assert_int_equal(rc, backends[host] >= 0 ? 0 : ERR_NOT_FOUND);
    }
    route_batch_publish(&batch);
    assert_int_equal(route_writer_total(f.routes), 0);
    fixture_reclaim(&f);
    assert_int_equal(backend_set_count(f.backends), 0);
    assert_int_equal(f.tables->retired.reserved, 0);
    assert_in_range(fixture_used_bytes(&f), empty, empty + 8192); /* the smallest array */
    fixture_fini(&f);
}

/** A batch that runs out of shared memory is dropped without a trace. */
static void test_routes_that_do_not_fit_leave_no_trace(void **state)
{
    struct tables_fixture f;
    char name[64];
    int rc = 0;

    (void)state;
    fixture_init(&f, 4 << 20, 0);
    assert_true(fixture_put(&f, 0, "kept.example", 5));
    const uint64_t before = fixture_used_bytes(&f);
    for (int round = 0; round < 3; round++) {
        struct route_batch *batch = NULL;
        assert_int_equal(route_batch_begin(f.routes, &batch), 0);
        uint32_t i = 0;
        for (rc = 0; rc == 0; i++) {
            snprintf(name, sizeof name, "a-name-of-some-length-number-%u.example", i);
            struct host_pattern pattern = pattern_of(name);
            struct backend_addr addr = backend_number(i);
            rc = route_batch_put(batch, 0, &pattern, &addr, false);
        }
        assert_int_equal(rc, ERR_NO_MEMORY);
        assert_true(i > 1000);
        route_batch_abort(&batch);
        assert_int_equal(f.tables->retired.reserved, 0);
        assert_int_equal(fixture_used_bytes(&f), before);
        assert_int_equal(fixture_match(&f, 0, "kept.example"), 5);
        assert_int_equal(backend_set_count(f.backends), 1);
    }
    fixture_fini(&f);
}

/* ---- firewall ---- */

#define RULES 48 /* half of them in both spellings */

static struct firewall_rule rule_number(uint32_t n)
{
    struct firewall_rule rule = {.kind = n % 2 == 0 ? FIREWALL_RULE_IP : FIREWALL_RULE_CIDR};
    bool is_ipv6 = n / 2 % 2 == 1;

    rule.prefix.addr.family = is_ipv6 ? 6 : 4;
    rule.prefix.prefix_len = is_ipv6 ? 128 : 32;
    rule.prefix.addr.bytes[0] = 0x20;
    rule.prefix.addr.bytes[3] = (uint8_t)(n / 4);
    if (n == RULES - 1)
        rule = (struct firewall_rule){.kind = FIREWALL_RULE_COUNTRY, .country = {'K', 'P'}};
    return rule;
}

static void expect_rules(struct tables *t, const bool *there)
{
    const struct table_view *view = &t->view;

    for (uint32_t n = 0; n + 2 < RULES; n += 2) {
        struct firewall_rule rule = rule_number(n);
        const struct shm_root *root = table_pin(view);
        enum firewall_verdict verdict = firewall_match_addr(view->tables, root, &rule.prefix.addr);
        table_release(view);
        assert_int_equal(verdict, there[n]       ? FIREWALL_BLOCKED_IP
                                  : there[n + 1] ? FIREWALL_BLOCKED_CIDR
                                                 : FIREWALL_PASS);
    }
}

static void random_rules(struct firewall_batch *batch, bool *there, uint32_t changes)
{
    for (uint32_t i = 0; i < changes; i++) {
        uint32_t n = pick(RULES);
        struct firewall_rule rule = rule_number(n);
        if (pick(2) == 0) {
            assert_int_equal(firewall_batch_add(batch, &rule), there[n] ? ERR_EXISTS : 0);
            there[n] = true;
        } else {
            assert_int_equal(firewall_batch_remove(batch, &rule), there[n] ? 0 : ERR_NOT_FOUND);
            there[n] = false;
        }
    }
}

static uint32_t count_rules(const struct firewall_writer *w)
{
    struct firewall_counts counts = firewall_writer_counts(w);

    return counts.ip + counts.cidr + counts.country;
}

static void test_rules_published_and_dropped(void **state)
{
    struct shm_stats *stats;
    struct tables *t;
    struct firewall_writer *w;
    bool there[RULES] = {false}, next[RULES];

    (void)state;
    t = tables_with_stats(64 << 20, 0, &stats);
    assert_int_equal(firewall_writer_new(t, &w), 0);
    const uint64_t empty = shm_arena_stats(&t->arena).used_bytes;
    for (int round = 0; round < ROUNDS; round++) {
        struct firewall_batch *batch = NULL;
        uint32_t expected = 0;
        memcpy(next, there, sizeof next);
        assert_int_equal(firewall_batch_begin(w, &batch), 0);
        if (round == ROUNDS - 1) {
            for (uint32_t n = 0; n < RULES; n++) {
                struct firewall_rule rule = rule_number(n);
                assert_int_equal(firewall_batch_remove(batch, &rule), there[n] ? 0 : ERR_NOT_FOUND);
                next[n] = false;
            }
        }
        random_rules(batch, next, round == ROUNDS - 1 ? 0 : pick(80));
        expect_rules(t, there);
        if (round < ROUNDS - 1 && pick(3) == 0) {
            firewall_batch_abort(&batch);
        } else {
            firewall_batch_publish(&batch);
            memcpy(there, next, sizeof next);
        }
        expect_rules(t, there);
        for (uint32_t n = 0; n < RULES; n++)
            expected += there[n];
        assert_int_equal(count_rules(w), expected);
    }
    while (tables_reclaim(t) > 0)
        continue;
    assert_int_equal(t->retired.reserved, 0);
    assert_in_range(shm_arena_stats(&t->arena).used_bytes, empty, empty + 16384); /* the smallest arrays */
    firewall_writer_free(&w);
    tables_free(&t);
    munmap(stats, sizeof *stats);
}

static void test_rules_that_do_not_fit_leave_no_trace(void **state)
{
    struct shm_stats *stats;
    struct tables *t;
    struct firewall_writer *w;
    struct firewall_rule kept = rule_number(0), other = rule_number(1);
    struct firewall_batch *batch = NULL;
    int rc;

    (void)state;
    t = tables_with_stats(4 << 20, 0, &stats);
    assert_int_equal(firewall_writer_new(t, &w), 0);
    assert_int_equal(firewall_add(w, &kept), 0);
    while (tables_reclaim(t) > 0)
        continue;
    const uint64_t before = shm_arena_stats(&t->arena).used_bytes;
    assert_int_equal(firewall_batch_begin(w, &batch), 0);
    assert_int_equal(firewall_batch_add(batch, &other), 0); /* a spelling more, in a record of its own */
    uint32_t i = 0;
    for (rc = 0; rc == 0; i++) {
        struct firewall_rule rule = {.kind = FIREWALL_RULE_IP,
                                     .prefix = {.prefix_len = 32, .addr = {.family = 4, .bytes = {10}}}};
        rule.prefix.addr.bytes[1] = (uint8_t)(i >> 16);
        rule.prefix.addr.bytes[2] = (uint8_t)(i >> 8);
        rule.prefix.addr.bytes[3] = (uint8_t)i;
        rc = firewall_batch_add(batch, &rule);
    }
    assert_int_equal(rc, ERR_NO_MEMORY);
    assert_true(i > 1000);
    firewall_batch_abort(&batch);
    assert_int_equal(t->retired.reserved, 0);
    assert_int_equal(shm_arena_stats(&t->arena).used_bytes, before);
    assert_int_equal(count_rules(w), 1);
    assert_int_equal(firewall_remove(w, &other), ERR_NOT_FOUND);
    firewall_writer_free(&w);
    tables_free(&t);
    munmap(stats, sizeof *stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes_published_and_dropped),
        cmocka_unit_test(test_routes_that_do_not_fit_leave_no_trace),
        cmocka_unit_test(test_rules_published_and_dropped),
        cmocka_unit_test(test_rules_that_do_not_fit_leave_no_trace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
