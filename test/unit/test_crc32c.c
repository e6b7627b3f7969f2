/* CRC32C against the vectors of RFC 3720 B.4 and a bit-by-bit shadow. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "crc32c.h"

static void test_vectors(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0}, ones[32], rising[32], falling[32];
    for (unsigned i = 0; i < 32; i++) {
        ones[i] = 0xff;
        rising[i] = (uint8_t)i;
        falling[i] = (uint8_t)(31 - i);
    }
    /* RFC 3720 B.4: an iSCSI SCSI read (10) command PDU */
    static const uint8_t pdu[48] = {0x01, 0xc0, 0, 0, 0, 0, 0,    0, 0,    0, 0, 0,    0, 0, 0, 0,
                                    0x14, 0,    0, 0, 0, 0, 0x04, 0, 0,    0, 0, 0x14, 0, 0, 0, 0x18,
                                    0x28, 0,    0, 0, 0, 0, 0,    0, 0x02, 0, 0, 0,    0, 0, 0, 0};

    assert_int_equal(crc32c_add(0, bytes_of(zeros, 32)), 0x8a9136aa);
    assert_int_equal(crc32c_add(0, bytes_of(ones, 32)), 0x62a8ab43);
    assert_int_equal(crc32c_add(0, bytes_of(rising, 32)), 0x46dd794e);
    assert_int_equal(crc32c_add(0, bytes_of(falling, 32)), 0x113fdb5c);
    assert_int_equal(crc32c_add(0, bytes_of(pdu, 48)), 0xd9963a56);
    assert_int_equal(crc32c_add(0, bytes_of_str("123456789")), 0xe3069283);
    assert_int_equal(crc32c_add(0, bytes_of(NULL, 0)), 0);
}

static uint32_t shadow(const uint8_t *at, size_t len)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < len; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
    }
    return ~crc;
}

static void test_every_byte_value(void **state)
{
    (void)state;
    for (unsigned value = 0; value < 256; value++) {
        uint8_t byte = (uint8_t)value;
        assert_int_equal(crc32c_add(0, bytes_of(&byte, 1)), shadow(&byte, 1));
    }
}

static void test_pieces_make_the_whole(void **state)
{
    (void)state;
    uint8_t data[300];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 167 + 13);
    uint32_t whole = shadow(data, sizeof data);
    for (size_t cut = 0; cut <= sizeof data; cut++)
        assert_int_equal(crc32c_add(crc32c_add(0, bytes_of(data, cut)), bytes_of(data + cut, sizeof data - cut)),
                         whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_every_byte_value),
        cmocka_unit_test(test_pieces_make_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
