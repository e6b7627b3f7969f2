/* Counting: every value in one bucket, the right one, and in the sum. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "stats.h"

static const struct histogram_scale *const scales[] = {&histogram_latency, &histogram_duration};

/* The bucket of a value as a reader of the bounds would find it. */
static unsigned bucket_of(const struct histogram_scale *scale, uint64_t value_us)
{
    struct shm_histogram h = {0};
    unsigned found = SHM_HISTOGRAM_BUCKETS;

    histogram_observe(&h, scale, value_us);
    assert_int_equal(stat_get(&h.sum_us), value_us);
    for (unsigned i = 0; i < SHM_HISTOGRAM_BUCKETS; i++) {
        if (stat_get(&h.buckets[i]) == 0)
            continue;
        assert_int_equal(stat_get(&h.buckets[i]), 1);
        assert_int_equal(found, SHM_HISTOGRAM_BUCKETS);
        found = i;
    }
    return found;
}

static void test_scales_ascend_and_fit(void **state)
{
    (void)state;
    for (unsigned s = 0; s < sizeof scales / sizeof scales[0]; s++) {
        assert_in_range(scales[s]->bound_count, 1, SHM_HISTOGRAM_BUCKETS - 1);
        for (unsigned i = 1; i < scales[s]->bound_count; i++)
            assert_true(scales[s]->bounds_us[i] > scales[s]->bounds_us[i - 1]);
    }
}

static void test_a_bound_belongs_to_its_bucket_and_one_more_to_the_next(void **state)
{
    (void)state;
    for (unsigned s = 0; s < sizeof scales / sizeof scales[0]; s++) {
        assert_int_equal(bucket_of(scales[s], 0), 0);
        for (unsigned i = 0; i < scales[s]->bound_count; i++) {
            assert_int_equal(bucket_of(scales[s], scales[s]->bounds_us[i]), i);
            assert_int_equal(bucket_of(scales[s], scales[s]->bounds_us[i] + 1), i + 1);
        }
        assert_int_equal(bucket_of(scales[s], UINT64_MAX), scales[s]->bound_count);
    }
}

static void test_values_add_up(void **state)
{
    struct shm_histogram h = {0};

    (void)state;
    for (uint64_t us = 0; us < 1000; us++)
        histogram_observe(&h, &histogram_latency, us);
    assert_int_equal(stat_get(&h.buckets[0]), 251);
    assert_int_equal(stat_get(&h.buckets[1]), 250);
    assert_int_equal(stat_get(&h.buckets[2]), 499);
    assert_int_equal(stat_get(&h.sum_us), 499500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scales_ascend_and_fit),
        cmocka_unit_test(test_a_bound_belongs_to_its_bucket_and_one_more_to_the_next),
        cmocka_unit_test(test_values_add_up),
    };
    return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
