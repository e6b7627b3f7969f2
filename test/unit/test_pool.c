/* The object pool: zeroed objects, reuse, no overlap, counters. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pool.h"

#define OBJECTS 3000

static void objects_are_zeroed_and_do_not_overlap(void **state)
{
    static unsigned char *objects[OBJECTS];
    struct pool pool;

    (void)state;
    pool_init(&pool, "test", 250);
    srandom(2);
    for (int round = 0; round < 20000; round++) {
        unsigned i = (unsigned)random() % OBJECTS;
        if (objects[i] == NULL) {
            objects[i] = pool_alloc(&pool);
            assert_non_null(objects[i]);
            for (unsigned at = 0; at < 250; at++)
                assert_int_equal(objects[i][at], 0);
            memset(objects[i], (int)(i % 251), 250);
        } else {
            for (unsigned at = 0; at < 250; at++)
                assert_int_equal(objects[i][at], i % 251);
            pool_free(&pool, objects[i]);
            objects[i] = NULL;
        }
    }
    uint32_t used = 0;
    for (unsigned i = 0; i < OBJECTS; i++) {
        used += objects[i] != NULL;
    }
    assert_int_equal(pool.used, used);
    for (unsigned i = 0; i < OBJECTS; i++) {
        if (objects[i] != NULL)
            pool_free(&pool, objects[i]);
    }
    assert_int_equal(pool.used, 0);
    pool_fini(&pool);
}

#define MAGIC 0x12345671u

/* Objects are found at their places, each once and nothing else, however many there are and whatever was freed in between. */
static void every_object_has_a_place(void **state)
{
    static uint32_t *objects[3 * OBJECTS];
    struct pool pool;

    (void)state;
    pool_init(&pool, "test", 250);
    for (unsigned i = 0; i < 3 * OBJECTS; i++) {
        objects[i] = pool_alloc(&pool);
        assert_non_null(objects[i]);
        *objects[i] = MAGIC;
    }
    assert_true(pool.total >= 3 * OBJECTS);
    for (unsigned i = 0; i < 3 * OBJECTS; i += 3) {
        *objects[i] = 0; /* as whoever frees one does */
        pool_free(&pool, objects[i]);
        objects[i] = NULL;
    }
    unsigned found = 0;
    for (uint32_t place = 0; place < pool.total; place++) {
        uint32_t *object = pool_at(&pool, place, MAGIC);
        if (object == NULL)
            continue;
        assert_int_equal(*object, MAGIC);
        *object = MAGIC + 2; /* not found again */
        found++;
    }
    assert_int_equal(found, 2 * OBJECTS);
    for (unsigned i = 0; i < 3 * OBJECTS; i++) {
        if (objects[i] != NULL)
            pool_free(&pool, objects[i]);
    }
    pool_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(objects_are_zeroed_and_do_not_overlap),
                                       cmocka_unit_test(every_object_has_a_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
