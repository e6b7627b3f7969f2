/* The five bytes in front of a message. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "grpc_frame.h"

struct frame_case {
    uint8_t in[GRPC_PREFIX_BYTES];
    bool is_compressed;
    uint32_t len;
};

static const struct frame_case cases[] = {
    {{0, 0, 0, 0, 0}, false, 0},
    {{0, 0, 0, 0, 1}, false, 1},
    {{1, 0, 0, 1, 0}, true, 256},
    {{0, 0, 0x40, 0, 0}, false, 4u << 20},
    {{0, 0x12, 0x34, 0x56, 0x78}, false, 0x12345678},
    {{0, 0xff, 0xff, 0xff, 0xff}, false, UINT32_MAX},
};
#define CASES (sizeof cases / sizeof cases[0])

static void whole_prefixes_are_read(void **state)
{
    struct grpc_prefix prefix;

    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        assert_int_equal(grpc_frame_parse(bytes_of(cases[i].in, sizeof cases[i].in), &prefix), GRPC_FRAME_OK);
        assert_int_equal(prefix.is_compressed, cases[i].is_compressed);
        assert_int_equal(prefix.len, cases[i].len);
    }
}

static void every_strict_part_gives_more(void **state)
{
    struct grpc_prefix prefix;

    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        for (size_t len = 0; len < GRPC_PREFIX_BYTES; len++)
            assert_int_equal(grpc_frame_parse(bytes_of(cases[i].in, len), &prefix), GRPC_FRAME_MORE);
    }
}

static void any_other_flag_is_bad_at_once(void **state)
{
    struct grpc_prefix prefix;

    (void)state;
    for (unsigned flag = 2; flag < 256; flag++) {
        uint8_t in[GRPC_PREFIX_BYTES] = {(uint8_t)flag};
        for (size_t len = 1; len <= sizeof in; len++)
            assert_int_equal(grpc_frame_parse(bytes_of(in, len), &prefix), GRPC_FRAME_BAD);
    }
}

static void what_is_written_is_read_back(void **state)
{
    static const uint32_t lens[] = {0, 1, 255, 256, 65535, 65536, 1u << 24, 0xfffffffe, UINT32_MAX};
    struct grpc_prefix prefix;
    uint8_t out[GRPC_PREFIX_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        grpc_frame_write(out, lens[i]);
        assert_int_equal(grpc_frame_parse(bytes_of(out, sizeof out), &prefix), GRPC_FRAME_OK);
        assert_int_equal(prefix.len, lens[i]);
        assert_false(prefix.is_compressed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_prefixes_are_read),
        cmocka_unit_test(every_strict_part_gives_more),
        cmocka_unit_test(any_other_flag_is_bad_at_once),
        cmocka_unit_test(what_is_written_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
