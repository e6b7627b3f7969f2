/* Fields on the wire: what is one, what is none, and where a message ends. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "err.h"
#include "proto_wire.h"

#define WIRE(literal) bytes_of(literal, sizeof(literal) - 1)

struct row {
    const char *name;
    struct bytes wire;
    int rc;
    uint32_t number;
    uint64_t value;
    size_t len;
};

static void test_table(void **state)
{
    const struct row rows[] = {
        {"the end", WIRE(""), 0, 0, 0, 0},
        {"a varint", WIRE("\x08\x96\x01"), 1, 1, 150, 0},
        {"the largest varint", WIRE("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), 1, 1, UINT64_MAX, 0},
        {"a varint of more than 64 bits", WIRE("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), ERR_PROTOCOL, 0, 0, 0},
        {"a varint of 11 bytes", WIRE("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"), ERR_PROTOCOL, 0, 0, 0},
        {"a varint that is cut", WIRE("\x08\x96"), ERR_PROTOCOL, 0, 0, 0},
        {"bytes",
         WIRE("\x12\x03"
              "abc"),
         1, 2, 0, 3},
        {"no bytes", WIRE("\x12\x00"), 1, 2, 0, 0},
        {"bytes that are cut",
         WIRE("\x12\x03"
              "ab"),
         ERR_PROTOCOL, 0, 0, 0},
        {"bytes of a length near the top",
         WIRE("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
              "a"),
         ERR_PROTOCOL, 0, 0, 0},
        {"four bytes", WIRE("\x1d\x01\x02\x03\x04"), 1, 3, 0x04030201, 0},
        {"eight bytes", WIRE("\x19\x01\x02\x03\x04\x05\x06\x07\x08"), 1, 3, 0x0807060504030201, 0},
        {"four bytes that are cut", WIRE("\x1d\x01\x02\x03"), ERR_PROTOCOL, 0, 0, 0},
        {"field 0", WIRE("\x00\x01"), ERR_PROTOCOL, 0, 0, 0},
        {"the greatest field", WIRE("\xf8\xff\xff\xff\x0f\x01"), 1, (1u << 29) - 1, 1, 0},
        {"a field beyond", WIRE("\x80\x80\x80\x80\x10\x01"), ERR_PROTOCOL, 0, 0, 0},
        {"a tag that would be another one in 32 bits", WIRE("\x8a\x80\x80\x80\x80\x02"), ERR_PROTOCOL, 0, 0, 0},
        {"a tag that is cut", WIRE("\x80"), ERR_PROTOCOL, 0, 0, 0},
        {"a group", WIRE("\x0b\x0c"), ERR_PROTOCOL, 0, 0, 0},
        {"a wire type that is none", WIRE("\x0e\x00"), ERR_PROTOCOL, 0, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct reader r = reader_of(rows[i].wire);
        struct wire_field field = {0};
        int rc = wire_next(&r, &field);
        if (rc != rows[i].rc || (rc == 1 && (field.number != rows[i].number || field.value != rows[i].value ||
                                             field.bytes.len != rows[i].len || wire_next(&r, &field) != 0)))
            fail_msg("%s: %d", rows[i].name, rc);
    }
}

static void test_fields_are_counted_up_to_what_is_none(void **state)
{
    (void)state;
    assert_int_equal(wire_count(WIRE("\x0a\x00\x12\x00\x0a\x01x\x08\x01"), 1), 3);
    assert_int_equal(wire_count(WIRE("\x0a\x00\x0a\x00\x0a\x05x"), 1), 2);
    assert_int_equal(wire_count(WIRE(""), 1), 0);
}

static void test_what_is_written_reads_back(void **state)
{
    static const size_t lens[] = {0, 1, 127, 128, 16383, 16384, 1u << 21};
    static const uint32_t numbers[] = {1, 15, 16, (1u << 29) - 1};
    uint8_t *wire = calloc(1, (1u << 21) + WIRE_TAG_LEN_MAX);

    (void)state;
    assert_non_null(wire);
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++) {
            struct wire_field field;
            size_t tag_len = wire_write_len(numbers[k], lens[i], wire);
            struct reader r = reader_of(bytes_of(wire, tag_len + lens[i]));
            assert_true(tag_len <= WIRE_TAG_LEN_MAX);
            assert_int_equal(wire_next(&r, &field), 1);
            assert_int_equal(field.number, numbers[k]);
            assert_int_equal(field.bytes.len, lens[i]);
            assert_true(reader_is_done(&r));
        }
    }
    free(wire);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_fields_are_counted_up_to_what_is_none),
        cmocka_unit_test(test_what_is_written_reads_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
