/* What workers write and others read: the log ring (one writer, one reader), the rate limiter (everybody changes it), the counters
 * (one writer each, read by the master). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "crew.h"
#include "log_ring.h"
#include "rate_limit.h"
#include "stats.h"
#include "stats_segment.h"

/* ---- the log ring ---- */

#define RECORDS 60000u

struct ring_test {
    void *mapping;
    uint64_t bytes;
    _Atomic uint64_t written;
};

/** Record n: its number, then a length of its own of bytes that follow from it. */
static size_t make_record(uint32_t n, uint8_t out[LOG_RING_RECORD_MAX])
{
    size_t len = sizeof n + n * 2654435761u % 300;

    memset(out, (int)(n % 251), len);
    memcpy(out, &n, sizeof n);
    return len;
}

static void write_records(struct crew *crew, unsigned number, void *context)
{
    struct ring_test *test = context;
    struct log_ring *ring = log_ring_attach(test->mapping, test->bytes);
    uint8_t record[LOG_RING_RECORD_MAX];

    (void)number;
    CREW_EXPECT(crew, ring != NULL);
    for (uint32_t n = 0; ring != NULL && n < RECORDS; n++) {
        size_t len = make_record(n, record);
        if (log_ring_write(ring, bytes_of(record, len)))
            atomic_fetch_add(&test->written, 1);
        else
            (void)sched_yield(); /* full: give the reader a turn */
    }
}

static void test_the_log_ring(void **state)
{
    struct ring_test test = {.bytes = log_ring_segment_bytes(LOG_RING_DATA_BYTES_MIN)};
    struct log_ring_reader reader;
    uint8_t got[LOG_RING_RECORD_MAX], expected[LOG_RING_RECORD_MAX];
    uint64_t read = 0, dropped = 0;
    int64_t last = -1;
    struct crew crew;

    (void)state;
    test.mapping = aligned_alloc(4096, test.bytes);
    assert_non_null(test.mapping);
    memset(test.mapping, 0, test.bytes);
    log_ring_reader_init(&reader, test.mapping, test.bytes);
    crew_start(&crew, 1, write_records, &test);
    while (read + dropped < RECORDS) {
        size_t len = log_ring_read(&reader, got, sizeof got);
        uint32_t n;
        if (len == 0) {
            dropped += log_ring_take_dropped(&reader);
            continue;
        }
        memcpy(&n, got, sizeof n);
        assert_true(n > last && n < RECORDS);
        assert_int_equal(make_record(n, expected), len);
        assert_memory_equal(got, expected, len);
        last = n;
        read++;
    }
    crew_join(&crew);
    assert_int_equal(read, atomic_load(&test.written));
    assert_true(read > 100);
    free(test.mapping);
}

/* ---- the rate limiter ---- */

#define ASKERS    4
#define ADDRESSES 16
#define LIMIT     250

struct rate_test {
    struct rate_table *table;
    struct shm_rate_rules rules;
    _Atomic uint32_t admitted[ADDRESSES];
};

static struct ip_addr address_number(unsigned n)
{
    return (struct ip_addr){.family = 4, .bytes = {10, 1, 2, (uint8_t)n}};
}

/** A test with an empty table; free(test->table). */
static void make_table(struct rate_test *test)
{
    static const uint64_t seed[2] = {1, 2};

    test->table = aligned_alloc(SHM_CACHE_LINE, sizeof *test->table);
    assert_non_null(test->table);
    memset(test->table, 0, sizeof *test->table);
    rate_table_init(test->table, seed);
}

static void ask(struct crew *crew, unsigned number, void *context)
{
    struct rate_test *test = context;

    for (unsigned i = 0; i < LIMIT * ADDRESSES; i++) {
        struct ip_addr addr = address_number((i + number) % ADDRESSES);
        if (rate_table_admit(test->table, &test->rules, &addr, 1000000000u))
            atomic_fetch_add(&test->admitted[(i + number) % ADDRESSES], 1);
    }
    CREW_EXPECT(crew, rate_table_used(test->table, 1000000000u) <= ADDRESSES);
}

static void test_the_rate_limiter_admits_exactly_the_limit(void **state)
{
    static struct rate_test test;
    struct crew crew;

    (void)state;
    make_table(&test);
    rate_rules_set(&test.rules, (struct rate_rule){.limit = LIMIT, .window_ms = 60000}, test.table, 1000000000u);
    crew_start(&crew, ASKERS, ask, &test);
    crew_join(&crew);
    for (unsigned i = 0; i < ADDRESSES; i++)
        assert_int_equal(atomic_load(&test.admitted[i]), LIMIT);
    free(test.table);
}

static void ask_for_ever(struct crew *crew, unsigned number, void *context)
{
    struct rate_test *test = context;

    for (unsigned i = 0; !atomic_load(&crew->is_over); i++) {
        struct ip_addr addr = address_number((i + number) % ADDRESSES);
        (void)rate_table_admit(test->table, &test->rules, &addr, 1000000000u + i * 1000ull);
    }
}

static void test_the_rate_limiter_under_changing_rules(void **state)
{
    static struct rate_test test;
    struct crew crew;

    (void)state;
    make_table(&test);
    crew_start(&crew, ASKERS, ask_for_ever, &test);
    for (unsigned i = 0; i < 10; i++) {
        rate_rules_set(&test.rules, (struct rate_rule){.limit = 1 + i % 5, .window_ms = 1000 + i}, test.table,
                       2000000000u + i);
        rate_table_sweep(test.table, &test.rules, 2000000000u + i);
        assert_true(rate_table_used(test.table, 2000000000u) <= ADDRESSES);
    }
    crew_join(&crew);
    free(test.table);
}

/* ---- counters ---- */

#define COUNTERS 3
#define COUNTS   30000u

static void count(struct crew *crew, unsigned number, void *context)
{
    struct stats_segment *segment = context;
    struct shm_listener_stats *mine = &segment->stats->workers[number].listeners[0];

    (void)crew;
    for (unsigned i = 0; i < COUNTS; i++) {
        stat_add(&mine->accepted, 1);
        stat_add(&mine->bytes_in, i);
        histogram_observe(&mine->duration, &histogram_duration, i);
        atomic_store_explicit(&segment->stats->active[0][number], i % 7, memory_order_relaxed);
    }
}

static uint64_t accepted_by_all(const struct stats_segment *segment)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < COUNTERS; i++)
        sum += stats_segment_slot_accepted(segment, i);
    return sum;
}

static void test_counters(void **state)
{
    struct stats_segment segment;
    struct crew crew;
    uint64_t before = 0;

    (void)state;
    assert_int_equal(stats_segment_init(&segment), 0);
    stats_segment_use_listener(&segment, 0);
    for (unsigned i = 0; i < COUNTERS; i++)
        stats_segment_use_slot(&segment, i);
    crew_start(&crew, COUNTERS, count, &segment);
    for (unsigned i = 0; i < 5000; i++) {
        uint64_t now = accepted_by_all(&segment);
        assert_true(now >= before && now <= (uint64_t)COUNTERS * COUNTS);
        assert_true(stats_segment_listener_active(&segment, 0) <= COUNTERS * 6ull);
        before = now;
    }
    crew_join(&crew);
    assert_int_equal(accepted_by_all(&segment), COUNTERS * COUNTS);
    stats_segment_fini(&segment);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_log_ring),
        cmocka_unit_test(test_the_rate_limiter_admits_exactly_the_limit),
        cmocka_unit_test(test_the_rate_limiter_under_changing_rules),
        cmocka_unit_test(test_counters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
