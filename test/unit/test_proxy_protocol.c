/* PROXY protocol version 2: every form at every cut, every malformed kind, checksums, and the headers we build. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "crc32c.h"
#include "proxy_parse_exact.h"
#include "proxy_protocol.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define HEAD_LEN  16
#define LOCAL     0x20
#define PROXY     0x21

/* A header under construction. */
struct draft {
    uint8_t data[PROXY_V2_MAX_BYTES + 64];
    size_t len;
};

static void draft_set_length(struct draft *d, size_t body_len)
{
    d->data[14] = (uint8_t)(body_len >> 8);
    d->data[15] = (uint8_t)body_len;
}

/* The head, and body_len bytes that count up from one. */
static struct draft draft_of(uint8_t command, uint8_t family, size_t body_len)
{
    struct draft d = {.len = HEAD_LEN + body_len};
    memcpy(d.data, SIGNATURE, 12);
    d.data[12] = command;
    d.data[13] = family;
    draft_set_length(&d, body_len);
    for (size_t i = 0; i < body_len; i++)
        d.data[HEAD_LEN + i] = (uint8_t)(i + 1);
    return d;
}

static void draft_add_tlv(struct draft *d, uint8_t type, size_t value_len)
{
    uint8_t head[3] = {type, (uint8_t)(value_len >> 8), (uint8_t)value_len};
    memcpy(d->data + d->len, head, 3);
    memset(d->data + d->len + 3, 0xee, value_len);
    d->len += 3 + value_len;
    draft_set_length(d, d->len - HEAD_LEN);
}

/* Put the right checksum into the CRC32C TLV whose value stands at `at`. */
static void draft_sign(struct draft *d, size_t at)
{
    memset(d->data + at, 0, 4);
    uint32_t crc = crc32c_add(0, bytes_of(d->data, d->len));
    for (int i = 0; i < 4; i++)
        d->data[at + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
}

static size_t draft_add_crc(struct draft *d)
{
    draft_add_tlv(d, 0x03, 4);
    return d->len - 4;
}

static void assert_ok_and_every_prefix_more(const struct draft *d, struct proxy_header *h)
{
    for (size_t cut = 0; cut < d->len; cut++) {
        if (parse_exact(d->data, cut, h) != PROXY_MORE)
            fail_msg("%zu of %zu bytes gave no MORE", cut, d->len);
    }
    if (parse_exact(d->data, d->len, h) != PROXY_OK)
        fail_msg("%s", h->reason);
    assert_int_equal(h->len, d->len);
    assert_int_equal(h->version, 2);

    struct draft with_data = *d; /* bytes behind the header do not count */
    memset(with_data.data + d->len, 0x16, 20);
    assert_int_equal(parse_exact(with_data.data, d->len + 20, h), PROXY_OK);
    assert_int_equal(h->len, d->len);
}

/* MORE before the byte at `first_bad`, BAD from then on whatever follows. */
static void assert_bad_from(const struct draft *d, size_t first_bad)
{
    struct proxy_header h = {.reason = NULL};
    for (size_t len = 0; len <= first_bad; len++) {
        if (parse_exact(d->data, len, &h) != PROXY_MORE)
            fail_msg("%zu bytes gave no MORE, expected BAD behind %zu", len, first_bad);
    }
    for (size_t len = first_bad + 1; len <= d->len + 40; len++) {
        h.reason = NULL;
        if (parse_exact(d->data, len, &h) != PROXY_BAD)
            fail_msg("%zu bytes are not BAD, expected behind %zu", len, first_bad);
        assert_non_null(h.reason);
    }
}

static void assert_endpoint(const struct ip_endpoint *end, const char *expected)
{
    char text[ADDRESS_TEXT_MAX];
    struct strbuf out = STRBUF_OF(text);
    ip_endpoint_format(end, &out);
    assert_string_equal(text, expected);
}

static const struct form {
    uint8_t command;
    uint8_t family;
    size_t body_len;
    const char *source; /* NULL: accepted, and the peer's own address stands */
    const char *destination;
} forms[] = {
    {PROXY, 0x11, 12, "1.2.3.4:2314", "5.6.7.8:2828"},
    {PROXY, 0x21, 36, "[102:304:506:708:90a:b0c:d0e:f10]:8482", "[1112:1314:1516:1718:191a:1b1c:1d1e:1f20]:8996"},
    {PROXY, 0x12, 12, NULL, NULL},
    {PROXY, 0x22, 36, NULL, NULL},
    {PROXY, 0x31, 216, NULL, NULL},
    {PROXY, 0x32, 216, NULL, NULL},
    {PROXY, 0x00, 0, NULL, NULL},
    {PROXY, 0x01, 0, NULL, NULL}, /* one half unspecified: the receiver is free, and ignores what the block says */
    {PROXY, 0x10, 12, NULL, NULL},
    {LOCAL, 0x00, 0, NULL, NULL},
    {LOCAL, 0x11, 12, NULL, NULL},
    {LOCAL, 0x11, 0, NULL, NULL},
    {LOCAL, 0x21, 36, NULL, NULL},
    {LOCAL, 0x31, 216, NULL, NULL},
    {LOCAL, 0xff, 7, NULL, NULL}, /* a LOCAL header's family is ignored */
};

#define FORMS (sizeof forms / sizeof forms[0])

static void assert_form(const struct form *f, const struct proxy_header *h)
{
    assert_int_equal(h->is_local, f->command == LOCAL);
    assert_int_equal(h->has_addresses, f->source != NULL);
    assert_endpoint(&h->source, f->source != NULL ? f->source : "unknown");
    assert_endpoint(&h->destination, f->destination != NULL ? f->destination : "unknown");
}

static void test_every_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < FORMS; i++) {
        struct draft d = draft_of(forms[i].command, forms[i].family, forms[i].body_len);
        struct proxy_header h;
        assert_ok_and_every_prefix_more(&d, &h);
        assert_form(&forms[i], &h);
    }
}

static void test_every_form_with_tlvs(void **state)
{
    (void)state;
    for (size_t i = 0; i < FORMS; i++) {
        struct draft d = draft_of(forms[i].command, forms[i].family, forms[i].body_len);
        struct proxy_header h;
        draft_add_tlv(&d, 0x04, 0); /* NOOP */
        draft_add_tlv(&d, 0x02, 11);
        size_t crc_at = draft_add_crc(&d);
        draft_add_tlv(&d, 0xff, 300);
        draft_sign(&d, crc_at);
        assert_ok_and_every_prefix_more(&d, &h);
        assert_form(&forms[i], &h);
    }
}

static void test_ipv4_mapped_is_ipv4(void **state)
{
    (void)state;
    struct draft d = draft_of(PROXY, 0x21, 36);
    struct proxy_header h;
    memset(d.data + HEAD_LEN, 0, 10);
    memset(d.data + HEAD_LEN + 10, 0xff, 2);
    assert_ok_and_every_prefix_more(&d, &h);
    assert_endpoint(&h.source, "13.14.15.16:8482");
    assert_int_equal(h.destination.addr.family, 6);
}

static void test_every_wrong_byte_of_the_head(void **state)
{
    (void)state;
    for (size_t at = 0; at < 14; at++) {
        for (unsigned value = 0; value < 256; value++) {
            struct draft d = draft_of(PROXY, 0x11, 12);
            uint8_t high = (uint8_t)(value >> 4), low = (uint8_t)(value & 0x0f);
            bool is_good = at < 12 ? value == d.data[at] : at == 12 ? high == 2 && low <= 1 : high <= 3 && low <= 2;
            d.data[at] = (uint8_t)value;
            if (is_good || (at == 0 && value == 'P'))
                continue;
            assert_bad_from(&d, at);
        }
    }
}

static void test_length_limits(void **state)
{
    (void)state;
    static const struct {
        uint8_t family;
        size_t smallest;
    } cases[] = {{0x11, 12}, {0x12, 12}, {0x21, 36}, {0x22, 36}, {0x31, 216}, {0x32, 216}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t len = 0; len < cases[i].smallest; len++) {
            struct draft d = draft_of(PROXY, cases[i].family, len);
            assert_bad_from(&d, 15);
        }
    }
    struct draft longest = draft_of(LOCAL, 0x00, PROXY_V2_MAX_BYTES - HEAD_LEN);
    struct draft longest_tlv = draft_of(PROXY, 0x11, 12);
    struct proxy_header h;
    draft_add_tlv(&longest_tlv, 0x04, PROXY_V2_MAX_BYTES - longest_tlv.len - 3);
    assert_ok_and_every_prefix_more(&longest, &h);
    assert_ok_and_every_prefix_more(&longest_tlv, &h);
    assert_int_equal(h.len, PROXY_V2_MAX_BYTES);

    struct draft too_long = draft_of(LOCAL, 0x00, PROXY_V2_MAX_BYTES - HEAD_LEN);
    draft_set_length(&too_long, PROXY_V2_MAX_BYTES - HEAD_LEN + 1); /* 0x0ff1: only the low byte shows it */
    too_long.len = HEAD_LEN;
    assert_bad_from(&too_long, 15);
    draft_set_length(&too_long, 0x1000); /* the high byte alone does */
    assert_bad_from(&too_long, 14);
    draft_set_length(&too_long, 0xffff);
    assert_bad_from(&too_long, 14);
}

static void test_malformed_tlvs(void **state)
{
    (void)state;
    for (size_t rest = 1; rest <= 2; rest++) { /* less than a TLV's head: known from the length alone */
        struct draft d = draft_of(PROXY, 0x11, 12 + rest);
        assert_bad_from(&d, 15);
    }
    struct draft overrun = draft_of(PROXY, 0x21, 36);
    draft_add_tlv(&overrun, 0x02, 5);
    overrun.data[overrun.len - 6] = 6;
    assert_bad_from(&overrun, overrun.len - 6);

    struct draft huge = draft_of(PROXY, 0x12, 12);
    draft_add_tlv(&huge, 0x04, 5);
    huge.data[huge.len - 7] = 0xff;
    assert_bad_from(&huge, huge.len - 6);

    for (size_t len = 0; len < 9; len++) {
        struct draft crc = draft_of(PROXY, 0x31, 216);
        draft_add_tlv(&crc, 0x03, len);
        if (len != 4)
            assert_bad_from(&crc, HEAD_LEN + 216 + 2);
    }
    struct draft two = draft_of(PROXY, 0x11, 12);
    size_t first = draft_add_crc(&two);
    draft_add_crc(&two);
    draft_sign(&two, first);
    assert_bad_from(&two, two.len - 5);
}

/* The spec has the receiver skip what LOCAL and UNSPEC headers carry: no bytes are malformed there. */
static void test_skipped_blocks_may_hold_anything(void **state)
{
    (void)state;
    static const uint8_t heads[][2] = {{LOCAL, 0x00}, {LOCAL, 0x11}, {LOCAL, 0x21}, {LOCAL, 0xff}, {PROXY, 0x00}};

    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        for (size_t len = 1; len < 60; len++) {
            struct draft d = draft_of(heads[i][0], heads[i][1], len);
            struct proxy_header h;
            memset(d.data + HEAD_LEN, 0x03, len);
            assert_ok_and_every_prefix_more(&d, &h);
            assert_false(h.has_addresses);
        }
    }
}

/* Every bit of a header with a checksum: it is BAD, or MORE where the length grew, or a skipped block lost its TLVs. */
static void test_checksum_covers_every_bit(void **state)
{
    (void)state;
    for (size_t i = 0; i < FORMS; i++) {
        struct draft good = draft_of(forms[i].command, forms[i].family, forms[i].body_len);
        draft_add_tlv(&good, 0x04, 2);
        size_t crc_at = draft_add_crc(&good);
        draft_add_tlv(&good, 0x01, 3);
        draft_sign(&good, crc_at);

        bool is_walked = forms[i].command == PROXY && forms[i].family >> 4 != 0 && (forms[i].family & 0x0f) != 0;
        for (size_t bit = 0; is_walked && bit < good.len * 8; bit++) {
            struct draft d = good;
            struct proxy_header h;
            d.data[bit / 8] ^= (uint8_t)(0x80U >> bit % 8);
            enum proxy_result result = parse_exact(d.data, d.len, &h);
            bool is_skipped_now =
                result == PROXY_OK && (h.is_local || d.data[13] >> 4 == 0 || (d.data[13] & 0x0f) == 0);
            bool is_longer_now = (size_t)(d.data[14] << 8 | d.data[15]) + HEAD_LEN > good.len;
            /* Another type, or another length before it, and it is no checksum any more. */
            bool is_unsigned_now =
                bit / 8 == crc_at - 3 || (bit / 8 >= HEAD_LEN + forms[i].body_len && bit / 8 < crc_at);
            if (result == PROXY_MORE ? !is_longer_now : result == PROXY_OK && !is_skipped_now && !is_unsigned_now)
                fail_msg("form %zu, bit %zu: result %d", i, bit, result);
        }
    }
}

static void test_wrong_checksum(void **state)
{
    (void)state;
    for (size_t i = 0; i < FORMS; i++) {
        if (forms[i].family == 0x10) /* where the TLVs of AF_INET with an unspecified transport begin is not defined */
            continue;
        struct draft d = draft_of(forms[i].command, forms[i].family, forms[i].body_len);
        if (forms[i].family == 0xff)
            d = draft_of(LOCAL, 0xff, 0);
        size_t crc_at = draft_add_crc(&d);
        draft_sign(&d, crc_at);
        d.data[crc_at + 3] ^= 1;
        assert_bad_from(&d, d.len - 1);
    }
}

static void test_not_a_header(void **state)
{
    (void)state;
    struct proxy_header h;
    assert_int_equal(proxy_header_parse(bytes_of(NULL, 0), &h), PROXY_MORE);
    for (unsigned value = 0; value < 256; value++) {
        uint8_t byte = (uint8_t)value;
        bool may_be = value == 'P' || value == '\r';
        assert_int_equal(parse_exact(&byte, 1, &h), may_be ? PROXY_MORE : PROXY_BAD);
    }
}

static struct ip_endpoint endpoint_of(const char *addr, uint16_t port)
{
    char why_text[64];
    struct strbuf why = STRBUF_OF(why_text);
    struct ip_endpoint end = {.port = port};
    if (addr != NULL)
        assert_int_equal(ip_addr_parse(bytes_of_str(addr), &end.addr, &why), 0);
    return end;
}

static void test_build_exact_bytes(void **state)
{
    (void)state;
    static const struct {
        bool is_local;
        const char *source;
        const char *destination;
        const char *bytes; /* behind the signature */
        size_t len;
    } cases[] = {
        {false, "192.0.2.1", "198.51.100.2", "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x12\x34\x01\xbb", 16},
        {false, "2001:db8::1", "::2",
         "\x21\x21\x00\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
         "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\x12\x34\x01\xbb",
         40},
        {false, "192.0.2.1", "::2",
         "\x21\x21\x00\x24\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"
         "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\x12\x34\x01\xbb",
         40},
        {false, "::2", "192.0.2.1",
         "\x21\x21\x00\x24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02"
         "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01\x12\x34\x01\xbb",
         40},
        {true, "192.0.2.1", "198.51.100.2", "\x20\x00\x00\x00", 4},
        {true, NULL, NULL, "\x20\x00\x00\x00", 4},
        {false, NULL, NULL, "\x21\x00\x00\x00", 4},
        {false, "192.0.2.1", NULL, "\x21\x00\x00\x00", 4},
        {false, NULL, "::2", "\x21\x00\x00\x00", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t out[PROXY_HEADER_OUT_MAX_BYTES + 1];
        struct ip_endpoint source = endpoint_of(cases[i].source, 0x1234);
        struct ip_endpoint destination = endpoint_of(cases[i].destination, 443);

        memset(out, 0xaa, sizeof out);
        size_t len = proxy_header_build(cases[i].is_local, &source, &destination, out);
        assert_int_equal(len, 12 + cases[i].len);
        assert_memory_equal(out, SIGNATURE, 12);
        assert_memory_equal(out + 12, cases[i].bytes, cases[i].len);
        assert_int_equal(out[len], 0xaa); /* nothing written behind it */
    }
}

static void test_build_and_parse_back(void **state)
{
    (void)state;
    static const char *const addrs[] = {NULL, "0.0.0.0", "192.0.2.1", "::", "2001:db8::1", "::ffff:1.2.3.4"};
    static const uint16_t ports[] = {0, 1, 443, 65535};

    for (size_t i = 0; i < 1152; i++) { /* 6 * 6 addresses, 4 * 4 ports, LOCAL or not */
        uint8_t out[PROXY_HEADER_OUT_MAX_BYTES];
        struct ip_endpoint source = endpoint_of(addrs[i % 6], ports[i / 36 % 4]);
        struct ip_endpoint destination = endpoint_of(addrs[i / 6 % 6], ports[i / 144 % 4]);
        bool is_local = i / 576 == 1;
        bool has_addresses = !is_local && source.addr.family != 0 && destination.addr.family != 0;
        struct proxy_header h;

        size_t len = proxy_header_build(is_local, &source, &destination, out);
        for (size_t cut = 0; cut < len; cut++)
            assert_int_equal(parse_exact(out, cut, &h), PROXY_MORE);
        assert_int_equal(parse_exact(out, len, &h), PROXY_OK);
        assert_int_equal(h.len, len);
        assert_int_equal(h.is_local, is_local);
        assert_int_equal(h.has_addresses, has_addresses);
        if (!has_addresses)
            continue;
        assert_true(ip_addr_equal(&h.source.addr, &source.addr));
        assert_true(ip_addr_equal(&h.destination.addr, &destination.addr));
        assert_int_equal(h.source.port, source.port);
        assert_int_equal(h.destination.port, destination.port);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_form),
        cmocka_unit_test(test_every_form_with_tlvs),
        cmocka_unit_test(test_ipv4_mapped_is_ipv4),
        cmocka_unit_test(test_every_wrong_byte_of_the_head),
        cmocka_unit_test(test_length_limits),
        cmocka_unit_test(test_malformed_tlvs),
        cmocka_unit_test(test_skipped_blocks_may_hold_anything),
        cmocka_unit_test(test_checksum_covers_every_bit),
        cmocka_unit_test(test_wrong_checksum),
        cmocka_unit_test(test_not_a_header),
        cmocka_unit_test(test_build_exact_bytes),
        cmocka_unit_test(test_build_and_parse_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
