/* Hexadecimal digits, and the reader: values in network byte order, and that a read past the end fails for good and yields nothing. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bytes.h"

static const uint8_t data[] = {0x01, 0x82, 0x03, 0x84, 0x05, 0x86, 0x07, 0x88, 0x09, 0x8a};

static void test_values(void **state)
{
    (void)state;
    struct reader r = reader_of(bytes_of(data, sizeof data));
    assert_int_equal(reader_u8(&r), 0x01);
    assert_int_equal(reader_u16(&r), 0x8203);
    assert_int_equal(reader_u24(&r), 0x840586);
    assert_false(reader_is_done(&r));
    assert_int_equal(reader_u32(&r), 0x0788098a);
    assert_true(reader_is_done(&r));
}

static void test_slices_and_vectors(void **state)
{
    (void)state;
    static const uint8_t wire[] = {2, 'a', 'b', 0, 3, 'c', 'd', 'e', 0, 0, 0, 'f'};
    struct reader r = reader_of(bytes_of(wire, sizeof wire));
    assert_true(bytes_equal_str(reader_vector8(&r), "ab"));
    assert_true(bytes_equal_str(reader_vector16(&r), "cde"));
    assert_int_equal(reader_vector8(&r).len, 0);
    assert_int_equal(reader_vector16(&r).len, 0);
    assert_false(r.failed);
    assert_true(bytes_equal_str(reader_slice(&r, 1), "f"));
    assert_int_equal(reader_slice(&r, 0).len, 0);
    assert_true(reader_is_done(&r));
}

static uint32_t read_width(struct reader *r, unsigned width)
{
    switch (width) {
    case 1: return reader_u8(r);
    case 2: return reader_u16(r);
    case 3: return reader_u24(r);
    default: return reader_u32(r);
    }
}

/* Reads of every width from every shorter input, which is of exact size for the address sanitizer. */
static void test_reads_past_the_end(void **state)
{
    (void)state;
    for (unsigned width = 1; width <= 4; width++) {
        for (size_t len = 0; len < width; len++) {
            uint8_t *exact = malloc(len > 0 ? len : 1);
            assert_non_null(exact);
            memset(exact, 0xff, len);
            struct reader r = reader_of(bytes_of(exact, len));
            assert_int_equal(read_width(&r, width), 0);
            assert_true(r.failed);
            assert_int_equal(reader_u8(&r), 0); /* though a byte may be left */
            assert_int_equal(reader_slice(&r, 0).len, 0);
            assert_true(r.failed);
            assert_false(reader_is_done(&r));
            free(exact);
        }
    }
}

static void test_vectors_past_the_end(void **state)
{
    (void)state;
    static const uint8_t overrun8[] = {3, 'a', 'b'}, overrun16[] = {0xff, 0xff, 'a'}, half_length[] = {0};
    struct reader r = reader_of(bytes_of(overrun8, sizeof overrun8));
    assert_null(reader_vector8(&r).ptr);
    assert_true(r.failed);
    r = reader_of(bytes_of(overrun16, sizeof overrun16));
    assert_int_equal(reader_vector16(&r).len, 0);
    assert_true(r.failed);
    r = reader_of(bytes_of(half_length, sizeof half_length));
    assert_int_equal(reader_vector16(&r).len, 0);
    assert_true(r.failed);
    r = reader_of(bytes_of(data, sizeof data));
    assert_int_equal(reader_slice(&r, SIZE_MAX).len, 0);
    assert_true(r.failed);
}

static void test_nothing_at_all(void **state)
{
    (void)state;
    struct reader r = reader_of(bytes_of(NULL, 0));
    assert_true(reader_is_done(&r));
    assert_int_equal(reader_slice(&r, 0).len, 0);
    assert_true(reader_is_done(&r));
    assert_int_equal(reader_u8(&r), 0);
    assert_true(r.failed);
}

static void test_equal_str(void **state)
{
    (void)state;
    assert_true(bytes_equal_str(bytes_of_str("abc"), "abc"));
    assert_true(bytes_equal_str(bytes_of(NULL, 0), ""));
    assert_false(bytes_equal_str(bytes_of(NULL, 0), "a"));
    assert_false(bytes_equal_str(bytes_of_str("abc"), "ab"));
    assert_false(bytes_equal_str(bytes_of_str("ab"), "abc"));
    assert_false(bytes_equal_str(bytes_of("a\0b", 3), "a"));
    assert_false(bytes_equal_str(bytes_of_str("abd"), "abc"));
}

static void test_hexadecimal_digits(void **state)
{
    static const char digits[] = "0123456789abcdef", capitals[] = "0123456789ABCDEF";

    (void)state;
    for (unsigned byte = 0; byte <= UINT8_MAX; byte++) {
        int expected = -1;
        for (int value = 0; value < 16; value++)
            expected = byte == (uint8_t)digits[value] || byte == (uint8_t)capitals[value] ? value : expected;
        assert_int_equal(bytes_hex_value((uint8_t)byte), expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_hexadecimal_digits),
        cmocka_unit_test(test_slices_and_vectors),
        cmocka_unit_test(test_reads_past_the_end),
        cmocka_unit_test(test_vectors_past_the_end),
        cmocka_unit_test(test_nothing_at_all),
        cmocka_unit_test(test_equal_str),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
