/* Numbers of routes: one for each as long as it has records, its own counters, and no other's. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend_set.h"
#include "route_series.h"
#include "route_set.h"
#include "route_writer.h"
#include "stats.h"
#include "tables_with_stats.h"

#define LAST (SHM_ROUTE_SERIES_MAX - 1)

struct fixture {
    struct tables *tables;
    struct shm_stats *stats;
    struct backend_set *backends;
    struct route_writer *writer;
    struct route_series *series; /* one of its own */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    *state = f;
    f->tables = tables_with_stats(0, 2, &f->stats);
    assert_int_equal(backend_set_new(f->tables, &f->backends), 0);
    assert_int_equal(route_writer_new(f->tables, f->backends, &f->writer), 0);
    assert_int_equal(route_series_new(f->tables, &f->series), 0);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    route_series_free(&f->series);
    route_series_free(&f->series);
    route_writer_free(&f->writer);
    backend_set_free(&f->backends);
    tables_free(&f->tables);
    munmap(f->stats, sizeof *f->stats);
    free(f);
    return 0;
}

static struct host_pattern pattern_of(const char *text)
{
    struct host_pattern pattern;
    char why_text[128];
    struct strbuf why = STRBUF_OF(why_text);

    assert_int_equal(host_pattern_parse(bytes_of_str(text), &pattern, &why), 0);
    return pattern;
}

static uint32_t acquire(struct fixture *f, uint16_t listener, const char *text)
{
    struct host_pattern pattern = pattern_of(text);
    struct route_key key = route_key_of(f->tables, listener, &pattern);
    return route_series_acquire(f->series, &key);
}

static unsigned number_of(uint32_t word)
{
    return word & SHM_ROUTE_SERIES_NUMBER;
}

static void test_a_route_has_one_number_until_its_last_record_is_gone(void **state)
{
    struct fixture *f = *state;
    struct route_series_info info;
    uint32_t word = acquire(f, 3, "www.example.com");

    assert_int_not_equal(word, 0);
    assert_int_equal(acquire(f, 3, "WWW.example.com."), word); /* one route in two spellings */
    assert_int_equal(acquire(f, 3, "www.example.com"), word);
    assert_true(route_series_get(f->series, number_of(word), &info));
    assert_string_equal(info.pattern, "www.example.com");
    assert_int_equal(info.listener, 3);
    route_series_release(f->series, word);
    route_series_release(f->series, word);
    assert_true(route_series_get(f->series, number_of(word), &info));
    route_series_release(f->series, word);
    assert_false(route_series_get(f->series, number_of(word), &info));
    route_series_release(f->series, 0); /* a route without number */
    assert_int_not_equal(acquire(f, 3, "www.example.com"), word);
}

static void test_routes_that_look_alike_are_told_apart(void **state)
{
    static const char *const patterns[] = {"example.com", "*.example.com", "www.example.com", "*", "*.com", "com"};
    struct fixture *f = *state;
    uint32_t words[2][6];

    for (uint16_t listener = 0; listener < 2; listener++) {
        for (unsigned i = 0; i < 6; i++)
            words[listener][i] = acquire(f, listener, patterns[i]);
    }
    for (unsigned a = 0; a < 12; a++) {
        struct route_series_info info;
        assert_true(route_series_get(f->series, number_of(words[a / 6][a % 6]), &info));
        assert_string_equal(info.pattern, patterns[a % 6]);
        assert_int_equal(info.listener, a / 6);
        for (unsigned b = 0; b < a; b++)
            assert_int_not_equal(words[a / 6][a % 6], words[b / 6][b % 6]);
    }
}

static void fill(struct fixture *f, uint32_t *words)
{
    for (unsigned i = 1; i <= LAST; i++) {
        char name[32];
        snprintf(name, sizeof name, "r%u.example.com", i);
        words[i] = acquire(f, 0, name);
        assert_int_not_equal(words[i], 0);
    }
}

static void test_there_are_so_many_and_free_ones_are_used_again_as_late_as_possible(void **state)
{
    static uint32_t words[SHM_ROUTE_SERIES_MAX];
    struct fixture *f = *state;

    fill(f, words);
    assert_int_equal(acquire(f, 0, "one.too.many"), 0);
    assert_int_equal(acquire(f, 0, "r77.example.com"), words[77]); /* one that has a number is found all the same */
    route_series_release(f->series, words[77]);
    route_series_release(f->series, words[500]);
    route_series_release(f->series, words[77]);
    route_series_release(f->series, words[9]);
    assert_int_equal(number_of(acquire(f, 0, "a.new")), 500);
    assert_int_equal(number_of(acquire(f, 0, "b.new")), 77);
    assert_int_equal(number_of(acquire(f, 0, "c.new")), 9);
    assert_int_equal(acquire(f, 0, "d.new"), 0);
}

static void test_a_number_used_again_counts_from_0_and_has_another_generation(void **state)
{
    static uint32_t words[SHM_ROUTE_SERIES_MAX];
    struct fixture *f = *state;

    fill(f, words);
    for (unsigned slot = 0; slot < 2; slot++) {
        for (unsigned i = 0; i < SHM_ROUTE_COUNTS; i++) {
            stat_add(&f->stats->workers[slot].routes[5].counts[i], 10 + i);
            stat_add(&f->stats->workers[slot].routes[6].counts[i], 10 + i);
        }
    }
    route_series_release(f->series, words[5]);
    uint32_t again = acquire(f, 0, "another.example.com");
    assert_int_equal(number_of(again), 5);
    assert_int_not_equal(again, words[5]);
    assert_int_equal(again >> 16, atomic_load(&f->tables->shm->route_generations[5]));
    for (unsigned slot = 0; slot < 2; slot++) {
        for (unsigned i = 0; i < SHM_ROUTE_COUNTS; i++) {
            assert_int_equal(stat_get(&f->stats->workers[slot].routes[5].counts[i]), 0);
            assert_int_equal(stat_get(&f->stats->workers[slot].routes[6].counts[i]), 10 + i);
        }
    }
}

/* Against a naive copy: which names hold a number, and how often. */
static void test_random_operations(void **state)
{
    enum { NAMES = 200 };
    struct fixture *f = *state;
    uint32_t words[NAMES] = {0};
    unsigned records[NAMES] = {0};

    srandom(20);
    for (unsigned step = 0; step < 20000; step++) {
        unsigned i = (unsigned)random() % NAMES;
        char name[32];
        snprintf(name, sizeof name, "%sn%u.example.com", i % 3 == 0 ? "*." : "", i);
        if (random() % 2 == 0) {
            uint32_t word = acquire(f, (uint16_t)(i % 5), name);
            assert_true(word != 0 && (records[i] == 0 || word == words[i]));
            words[i] = word;
            records[i]++;
        } else if (records[i] > 0) {
            route_series_release(f->series, words[i]);
            records[i]--;
        }
        struct route_series_info info;
        bool is_there = words[i] != 0 && route_series_get(f->series, number_of(words[i]), &info);
        assert_true(records[i] == 0 || (is_there && strcmp(info.pattern, name) == 0 && info.listener == i % 5));
    }
}

/* ---- with the writer of routes ---- */

static void put(struct fixture *f, const char *name, const char *backend)
{
    struct host_pattern pattern = pattern_of(name);
    struct backend_addr addr;
    char why_text[128];
    struct strbuf why = STRBUF_OF(why_text);

    assert_int_equal(backend_addr_parse(bytes_of_str(backend), &addr, &why), 0);
    assert_int_equal(route_put(f->writer, 0, &pattern, &addr, false, NULL), 0);
}

static unsigned shown(struct fixture *f)
{
    const struct route_series *series = route_writer_series(f->writer);
    struct route_series_info info;
    unsigned count = 0;

    for (unsigned number = 1; number < route_series_end(series); number++)
        count += route_series_get(series, number, &info);
    return count;
}

static void test_replacing_and_reloading_keeps_the_number_and_removing_frees_it(void **state)
{
    struct fixture *f = *state;
    struct host_pattern pattern = pattern_of("www.example.com");
    struct backend_addr addr;
    char why_text[128];
    struct strbuf why = STRBUF_OF(why_text);
    struct route_bulk *bulk;

    put(f, "www.example.com", "127.0.0.1:1");
    put(f, "other.example.com", "127.0.0.1:1");
    for (unsigned i = 0; i < 100; i++)
        put(f, "www.example.com", i % 2 == 0 ? "127.0.0.1:2" : "127.0.0.1:3");
    assert_int_equal(shown(f), 2);
    assert_int_equal(route_series_end(route_writer_series(f->writer)), 3);

    assert_int_equal(backend_addr_parse(bytes_of_str("127.0.0.1:4"), &addr, &why), 0);
    assert_int_equal(route_bulk_begin(f->writer, 1, &bulk), 0);
    assert_int_equal(route_bulk_add(bulk, 0, &pattern, &addr, false), 0);
    route_bulk_publish(&bulk);
    while (tables_reclaim(f->tables) > 0)
        ;
    assert_int_equal(shown(f), 1);
    assert_int_equal(route_series_end(route_writer_series(f->writer)), 3);

    assert_int_equal(route_bulk_begin(f->writer, 1, &bulk), 0); /* and one that comes to nothing */
    assert_int_equal(route_bulk_add(bulk, 0, &pattern, &addr, false), 0);
    route_bulk_abort(&bulk);
    assert_int_equal(shown(f), 1);
    assert_int_equal(route_remove(f->writer, 0, &pattern), 0);
    while (tables_reclaim(f->tables) > 0)
        ;
    assert_int_equal(shown(f), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_route_has_one_number_until_its_last_record_is_gone),
        TEST(test_routes_that_look_alike_are_told_apart),
        TEST(test_there_are_so_many_and_free_ones_are_used_again_as_late_as_possible),
        TEST(test_a_number_used_again_counts_from_0_and_has_another_generation),
        TEST(test_random_operations),
        TEST(test_replacing_and_reloading_keeps_the_number_and_removing_frees_it),
    };
    return cmocka_run_group_tests_name("route_series", tests, NULL, NULL);
}
