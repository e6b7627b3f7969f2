/* The workers' counters added up: classes of reasons, sums over slots, and the order of routes. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "bytes.h"
#include "route_series.h"
#include "route_set.h"
#include "route_table.h"
#include "stats.h"
#include "stats_segment.h"
#include "tables.h"
#include "traffic.h"

static void test_a_listener_over_all_slots(void **state)
{
    struct stats_segment stats;
    struct listener_traffic sum;

    (void)state;
    assert_int_equal(stats_segment_init(&stats), 0);
    stats_segment_use_listener(&stats, 3);
    stats_segment_use_slot(&stats, 2);
    for (unsigned slot = 0; slot < 4; slot++) { /* slot 3 is not in use */
        struct shm_listener_stats *l = &stats.stats->workers[slot].listeners[3];
        stat_add(&l->accepted, 10);
        stat_add(&l->bytes_in, 100);
        stat_add(&l->bytes_out, 1000);
        stat_add(&l->closed[CLOSE_FINISHED], 4);
        stat_add(&l->closed[CLOSE_NO_ROUTE], 2);
        stat_add(&l->closed[CLOSE_BLOCKED_IP], slot);
    }
    traffic_of_listener(&stats, 3, &sum);
    assert_int_equal(sum.accepted, 30);
    assert_int_equal(sum.bytes_in, 300);
    assert_int_equal(sum.bytes_out, 3000);
    assert_int_equal(sum.closed[CLOSE_FINISHED], 12);
    assert_int_equal(sum.classes[CLOSE_CLASS_SERVED], 12);
    assert_int_equal(sum.classes[CLOSE_CLASS_REJECTED], 6);
    assert_int_equal(sum.classes[CLOSE_CLASS_BLOCKED], 3);
    assert_int_equal(sum.classes[CLOSE_CLASS_FAILED], 0);
    traffic_of_listener(&stats, 4, &sum);
    assert_int_equal(sum.accepted, 0);
    stats_segment_fini(&stats);
}

static unsigned add_route(struct route_series *series, struct tables *tables, uint16_t listener, const char *name)
{
    struct route_key key = {.listener = listener, .name = bytes_of_str(name)};

    key.tag = route_key_tag(tables->shm, listener, false, key.name);
    return route_series_acquire(series, &key) & SHM_ROUTE_SERIES_NUMBER;
}

static void test_the_busiest_routes_come_first(void **state)
{
    static const struct {
        uint16_t listener;
        const char *name;
        uint64_t connections, bytes;
    } rows[] = {{0, "a", 5, 0}, {0, "b", 7, 0}, {1, "other", 99, 0}, {0, "c", 5, 1}, {2, "d", 0, 0}};
    static const char *const order[] = {"b", "c", "a", "d"};
    const bool wanted[SHM_LISTENERS_MAX] = {[0] = true, [2] = true};
    struct tables *tables;
    struct route_series *series;
    struct stats_segment stats;
    struct route_traffic *list;
    unsigned count;

    (void)state;
    assert_int_equal(stats_segment_init(&stats), 0);
    stats_segment_use_slot(&stats, 1);
    const struct tables_options options = {.segment_bytes = 64 << 20, .stats = stats.stats, .worker_slots = 2};
    assert_int_equal(tables_new(&options, &tables), 0);
    assert_int_equal(route_series_new(tables, &series), 0);
    assert_int_equal(traffic_of_routes(&stats, series, wanted, &list, &count), 0);
    assert_int_equal(count, 0);
    free(list);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned number = add_route(series, tables, rows[i].listener, rows[i].name);
        for (unsigned slot = 0; slot < 2; slot++) {
            stat_add(&stats.stats->workers[slot].routes[number].counts[SHM_ROUTE_CONNECTIONS], rows[i].connections);
            stat_add(&stats.stats->workers[slot].routes[number].counts[SHM_ROUTE_BYTES_OUT], rows[i].bytes);
        }
    }
    assert_int_equal(traffic_of_routes(&stats, series, wanted, &list, &count), 0);
    assert_int_equal(count, 4);
    for (unsigned i = 0; i < count; i++) {
        struct route_series_info info;
        assert_true(route_series_get(series, list[i].number, &info));
        assert_string_equal(info.pattern, order[i]);
    }
    assert_int_equal(list[0].connections, 14);
    free(list);
    route_series_free(&series);
    tables_free(&tables);
    stats_segment_fini(&stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_listener_over_all_slots),
        cmocka_unit_test(test_the_busiest_routes_come_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
