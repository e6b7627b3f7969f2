/* Memory for one message: as much as the limit allows, aligned, and all of it given back. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mc_proxy/v1/admin.pb-c.h"
#include "proto_arena.h"

static void test_pieces_do_not_overlap(void **state)
{
    struct proto_arena arena;
    uint8_t *pieces[1000];

    (void)state;
    proto_arena_init(&arena, 16u << 20);
    for (size_t i = 0; i < 1000; i++) {
        pieces[i] = arena.allocator.alloc(&arena, i * 7 % 5000);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)(i % 251), i * 7 % 5000);
    }
    for (size_t i = 0; i < 1000; i++) {
        for (size_t at = 0; at < i * 7 % 5000; at++)
            assert_int_equal(pieces[i][at], i % 251);
    }
    proto_arena_reset(&arena);
    assert_int_equal(arena.bytes, 0);
    assert_non_null(arena.allocator.alloc(&arena, 1));
    proto_arena_reset(&arena);
}

static void test_the_limit_holds(void **state)
{
    struct proto_arena arena;
    size_t taken = 0;

    (void)state;
    proto_arena_init(&arena, 1u << 20);
    assert_null(arena.allocator.alloc(&arena, (1u << 20) + 1));
    assert_null(arena.allocator.alloc(&arena, SIZE_MAX));
    assert_true(arena.is_exhausted);
    proto_arena_reset(&arena);
    assert_false(arena.is_exhausted);
    while (arena.allocator.alloc(&arena, 1000) != NULL)
        taken += 1000;
    assert_true(arena.is_exhausted);
    assert_in_range(taken, 1u << 19, 1u << 20);
    proto_arena_reset(&arena);
}

/** Two bytes on the wire are an object of a hundred in memory. */
static void test_a_message_that_grows_ends_at_the_limit(void **state)
{
    size_t len = 1u << 20;
    uint8_t *wire = malloc(len);
    struct proto_arena arena;

    (void)state;
    assert_non_null(wire);
    for (size_t i = 0; i < len; i += 2) {
        wire[i] = 0x0a;
        wire[i + 1] = 0;
    }
    proto_arena_init(&arena, 16u << 20);
    assert_null(
        protobuf_c_message_unpack(&mc_proxy__v1__apply_changes_request__descriptor, &arena.allocator, len, wire));
    assert_true(arena.is_exhausted);
    assert_true(arena.bytes <= arena.limit);
    proto_arena_reset(&arena);
    free(wire);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_do_not_overlap),
        cmocka_unit_test(test_the_limit_holds),
        cmocka_unit_test(test_a_message_that_grows_ends_at_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
