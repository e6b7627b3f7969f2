/* Addresses, networks, endpoints and listener addresses: what is taken, what it becomes, and what an operator is told. */

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "addr_of.h"
#include "address.h"
#include "err.h"

#define V6_MAX_TEXT "2001:db80:1111:2222:3333:4444:5555:6666"

struct text_case {
    const char *input;
    int rc;
    const char *text; /* canonical form on 0, else the reason, or the part of it that matters */
};

typedef int (*reparse_fn)(struct bytes text, struct strbuf *canonical, struct strbuf *why);

/* Each accepted text must become the expected canonical form, and that form must stay itself. */
static void run_cases(const struct text_case *cases, size_t count, reparse_fn reparse)
{
    for (size_t i = 0; i < count; i++) {
        char canonical_text[BACKEND_TEXT_MAX];
        char again_text[BACKEND_TEXT_MAX];
        char why_text[256];
        struct strbuf canonical = STRBUF_OF(canonical_text);
        struct strbuf again = STRBUF_OF(again_text);
        struct strbuf why = STRBUF_OF(why_text);
        int rc = reparse(bytes_of_str(cases[i].input), &canonical, &why);

        if (rc != cases[i].rc)
            fail_msg("'%s': rc %d, expected %d (%s)", cases[i].input, rc, cases[i].rc, why.data);
        if (rc != 0) {
            if (strstr(why.data, cases[i].text) == NULL)
                fail_msg("'%s': reason '%s' lacks '%s'", cases[i].input, why.data, cases[i].text);
            assert_false(why.overflowed);
            continue;
        }
        if (strcmp(canonical.data, cases[i].text) != 0)
            fail_msg("'%s' became '%s', expected '%s'", cases[i].input, canonical.data, cases[i].text);
        assert_int_equal(why.len, 0);
        assert_true(canonical.len < ADDRESS_TEXT_MAX);
        assert_int_equal(reparse(bytes_of_str(canonical.data), &again, &why), 0);
        assert_string_equal(again.data, canonical.data);
    }
}
#define RUN_CASES(cases, reparse) run_cases(cases, sizeof(cases) / sizeof(cases)[0], reparse)

static int reparse_addr(struct bytes text, struct strbuf *canonical, struct strbuf *why)
{
    struct ip_addr addr;
    int rc = ip_addr_parse(text, &addr, why);
    if (rc == 0)
        ip_addr_format(&addr, canonical);
    return rc;
}

static int reparse_cidr(struct bytes text, struct strbuf *canonical, struct strbuf *why)
{
    struct ip_cidr cidr;
    int rc = ip_cidr_parse(text, &cidr, why);
    if (rc == 0)
        ip_cidr_format(&cidr, canonical);
    return rc;
}

static int reparse_listen(struct bytes text, struct strbuf *canonical, struct strbuf *why)
{
    struct listen_addr addr;
    int rc = listen_addr_parse(text, &addr, why);
    if (rc == 0)
        listen_addr_format(&addr, canonical);
    return rc;
}

static const struct text_case addr_cases[] = {
    {"192.0.2.7", 0, "192.0.2.7"},
    {"0.0.0.0", 0, "0.0.0.0"},
    {"255.255.255.255", 0, "255.255.255.255"},
    {"::", 0, "::"},
    {"::1", 0, "::1"},
    {"2001:db8::7", 0, "2001:db8::7"},
    {"2001:0DB8:0:0:0::0007", 0, "2001:db8::7"},
    {"2001:db8:0:0:1:0:0:1", 0, "2001:db8::1:0:0:1"},    /* RFC 5952 4.2.3: the first of two equal runs */
    {"2001:0:0:1:0:0:0:1", 0, "2001:0:0:1::1"},          /* the longer run */
    {"2001:db8:0:1:1:1:1:1", 0, "2001:db8:0:1:1:1:1:1"}, /* RFC 5952 4.2.2: a single zero stays */
    {V6_MAX_TEXT, 0, V6_MAX_TEXT},
    {"64:ff9b::192.0.2.33", 0, "64:ff9b::c000:221"},
    {"::1:2", 0, "::1:2"}, /* IPv4-compatible once, RFC 4291 2.5.5.1 */
    {"::192.0.2.7", 0, "::c000:207"},
    {"::ffff:0", 0, "::ffff:0"},
    {"::ffff", 0, "::ffff"},
    {"::ffff:192.0.2.7", 0, "192.0.2.7"},
    {"::FFFF:c000:207", 0, "192.0.2.7"},
    {"0000:0000:0000:0000:0000:ffff:255.255.255.255", 0, "255.255.255.255"}, /* 45 characters, the longest */
    {"::fffe:192.0.2.7", 0, "::fffe:c000:207"},
    {"", ERR_INVALID, "missing"},
    {"192.0.2", ERR_INVALID, "four numbers"},
    {"192.0.2.", ERR_INVALID, "four numbers"},
    {".192.0.2.1", ERR_INVALID, "four numbers"},
    {"192.0.2.7.9", ERR_INVALID, "four numbers"},
    {"192.0.2.256", ERR_INVALID, "four numbers"},
    {"192.0.2.07", ERR_INVALID, "leading zeros"},
    {"00.0.2.7", ERR_INVALID, "leading zeros"},
    {"3221226003", ERR_INVALID, "four numbers"},
    {"0x7f.0.0.1", ERR_INVALID, "not an IP address"},
    {"::ffff:192.0.2.07", ERR_INVALID, "not an IPv6 address"},
    {"::ffff:092.0.2.7", ERR_INVALID, "not an IPv6 address"},
    {"+1.2.3.4", ERR_INVALID, "not an IP address"},
    {" 192.0.2.7", ERR_INVALID, "blanks"},
    {"192.0.2.7 ", ERR_INVALID, "blanks"},
    {"192.0.2.7\n", ERR_INVALID, "not an IP address"},
    {"192.0.2.0/24", ERR_INVALID, "not a network"},
    {"192.0.2.7:443", ERR_INVALID, "without port"},
    {"[::1]", ERR_INVALID, "without brackets"},
    {"fe80::1%eth0", ERR_INVALID, "zone ids"},
    {":", ERR_INVALID, "not an IPv6 address"},
    {":::", ERR_INVALID, "not an IPv6 address"},
    {"1::2::3", ERR_INVALID, "not an IPv6 address"},
    {"1:2:3:4:5:6:7", ERR_INVALID, "not an IPv6 address"},
    {"1:2:3:4:5:6:7:8:9", ERR_INVALID, "not an IPv6 address"},
    {"1:2:3:4:5:6:7::8", ERR_INVALID, "not an IPv6 address"}, /* "::" for no group at all */
    {"12345::", ERR_INVALID, "not an IPv6 address"},
    {"0000:0000:0000:0000:0000:ffff:255.255.255.2555", ERR_INVALID, "not an IPv6 address"},
    {"localhost", ERR_INVALID, "not an IP address"},
};

static void test_addr(void **state)
{
    (void)state;
    RUN_CASES(addr_cases, reparse_addr);
}

/* The text ends where its length says: a NUL inside is a wrong character and not an end. */
static void test_nul_inside_is_refused(void **state)
{
    (void)state;
    char why_text[128];
    struct strbuf why = STRBUF_OF(why_text);
    struct ip_addr addr;
    struct ip_cidr cidr;
    struct listen_addr listen;

    assert_int_equal(ip_addr_parse(bytes_of("192.0.2.7\0", 10), &addr, &why), ERR_INVALID);
    assert_int_equal(ip_addr_parse(bytes_of("::1\0", 4), &addr, &why), ERR_INVALID);
    assert_int_equal(ip_cidr_parse(bytes_of("::/0\0", 5), &cidr, &why), ERR_INVALID);
    assert_int_equal(listen_addr_parse(bytes_of(":443\0", 5), &listen, &why), ERR_INVALID);
}

static const struct text_case cidr_cases[] = {
    {"198.51.100.0/24", 0, "198.51.100.0/24"},
    {"0.0.0.0/0", 0, "0.0.0.0/0"},
    {"192.0.2.7/32", 0, "192.0.2.7/32"},
    {"128.0.0.0/1", 0, "128.0.0.0/1"},
    {"::/0", 0, "::/0"},
    {"2001:DB8:0::/48", 0, "2001:db8::/48"},
    {"2001:db8::7/128", 0, "2001:db8::7/128"},
    {"2001:db8::8000:0:0:0/65", 0, "2001:db8:0:0:8000::/65"},
    {"", ERR_INVALID, "missing"},
    {"198.51.100.0", ERR_INVALID, "prefix length is missing, write 198.51.100.0/32"},
    {"2001:db8::", ERR_INVALID, "prefix length is missing, write 2001:db8::/128"},
    {"::ffff:192.0.2.7", ERR_INVALID, "prefix length is missing, write 192.0.2.7/32"},
    {"198.51.100.0/", ERR_INVALID, "must be a number"},
    {"198.51.100.0/x", ERR_INVALID, "must be a number"},
    {"198.51.100.0/+8", ERR_INVALID, "must be a number"},
    {"198.51.100.0/-1", ERR_INVALID, "must be a number"},
    {"198.51.100.0/24 ", ERR_INVALID, "must be a number"},
    {"198.51.100.0/24/24", ERR_INVALID, "must be a number"},
    {"198.51.100.0/255.255.255.0", ERR_INVALID, "must be a number"},
    {"198.51.100.0/024", ERR_INVALID, "leading zeros"},
    {"0.0.0.0/00", ERR_INVALID, "leading zeros"},
    {"198.51.100.0/33", ERR_RANGE, "0 to 32"},
    {"198.51.100.0/4294967320", ERR_RANGE, "0 to 32"},
    {"198.51.100.0/18446744073709551640", ERR_RANGE, "0 to 32"},
    {"2001:db8::/129", ERR_RANGE, "0 to 128"},
    {"/24", ERR_INVALID, "IP address is missing"},
    {"198.51.100/24", ERR_INVALID, "four numbers"},
    {"fe80::%eth0/64", ERR_INVALID, "zone ids"},
    {"198.51.100.7/24", ERR_INVALID, "write 198.51.100.0/24"},
    {"10.255.255.255/9", ERR_INVALID, "write 10.128.0.0/9"},
    {"192.0.2.7/0", ERR_INVALID, "write 0.0.0.0/0"},
    {"2001:db8::7/64", ERR_INVALID, "write 2001:db8::/64"},
    {"2001:db8::f000/115", ERR_INVALID, "write 2001:db8::e000/115"},
    {"::ffff:192.0.2.0/120", ERR_INVALID, "write 192.0.2.0/24"},
    {"::ffff:192.0.2.7/120", ERR_INVALID, "write 192.0.2.0/24"},
    {"::ffff:192.0.2.7/128", ERR_INVALID, "write 192.0.2.7/32"},
    {"::ffff:0:0/96", ERR_INVALID, "write 0.0.0.0/0"},
    {"::ffff:0:0/80", ERR_INVALID, "write 0.0.0.0/0"},
};

static void test_cidr(void **state)
{
    (void)state;
    RUN_CASES(cidr_cases, reparse_cidr);
}

static const struct text_case listen_cases[] = {
    {":443", 0, ":443"},
    {":1", 0, ":1"},
    {":65535", 0, ":65535"},
    {"0.0.0.0:443", 0, "0.0.0.0:443"},
    {"192.0.2.1:8443", 0, "192.0.2.1:8443"},
    {"[::]:443", 0, "[::]:443"},
    {"[::1]:443", 0, "[::1]:443"},
    {"[0:0::1]:443", 0, "[::1]:443"},
    {"[" V6_MAX_TEXT "]:65535", 0, "[" V6_MAX_TEXT "]:65535"},
    {"[::ffff:192.0.2.1]:443", 0, "192.0.2.1:443"},
    {"", ERR_INVALID, "missing"},
    {"443", ERR_INVALID, "write :443"},
    {":", ERR_INVALID, "port is missing"},
    {"*:443", ERR_INVALID, "write :443"},
    {"0.0.0.0", ERR_INVALID, "port is missing, write 0.0.0.0:443"},
    {"0.0.0.0:", ERR_INVALID, "port is missing"},
    {":0", ERR_RANGE, "1 to 65535"},
    {":65536", ERR_RANGE, "1 to 65535"},
    {":4294967739", ERR_RANGE, "1 to 65535"},
    {":18446744073709552059", ERR_RANGE, "1 to 65535"},
    {":0443", ERR_INVALID, "leading zeros"},
    {":+443", ERR_INVALID, "must be a number"},
    {":443 ", ERR_INVALID, "must be a number"},
    {": 443", ERR_INVALID, "must be a number"},
    {":https", ERR_INVALID, "must be a number"},
    {"::1", ERR_INVALID, "IPv6 addresses need brackets: [2001:db8::5]:443"},
    {"2001:db8::5:443", ERR_INVALID, "IPv6 addresses need brackets: [2001:db8::5]:443"},
    {"1.2.3.4:5:6", ERR_INVALID, "more than one ':'"},
    {"[::1]", ERR_INVALID, "port is missing, write [::1]:443"},
    {"[::1]:", ERR_INVALID, "port is missing"},
    {"[::1", ERR_INVALID, "']' is missing"},
    {"[::1:443", ERR_INVALID, "']' is missing"},
    {"[::1]443", ERR_INVALID, "followed by ':'"},
    {"[::1]x:443", ERR_INVALID, "followed by ':'"},
    {"[]:443", ERR_INVALID, "IP address is missing"},
    {"[", ERR_INVALID, "']' is missing"},
    {"[192.0.2.1]:443", ERR_INVALID, "brackets are for IPv6"},
    {"[fe80::1%eth0]:443", ERR_INVALID, "zone ids"},
    {"[localhost]:443", ERR_INVALID, "not an IP address"},
    {"localhost:443", ERR_INVALID, "a listener needs an IP address, not a name"},
    {"10.0.0.256:443", ERR_INVALID, "a listener needs an IP address, not a name"},
    {"unix:/run/x.sock", ERR_INVALID, "not a Unix socket"},
    {"a\001b", ERR_INVALID, "write host:port"},
};

static void test_listen(void **state)
{
    (void)state;
    RUN_CASES(listen_cases, reparse_listen);
}

static void test_output_is_untouched_on_error(void **state)
{
    (void)state;
    char why_text[128];
    struct strbuf why = STRBUF_OF(why_text);
    struct ip_addr addr = {.family = 99};
    struct ip_cidr cidr = {.prefix_len = 99};
    struct listen_addr listen = {.port = 99};

    assert_int_equal(ip_addr_parse(bytes_of_str("::g"), &addr, &why), ERR_INVALID);
    assert_int_equal(addr.family, 99);
    assert_int_equal(ip_cidr_parse(bytes_of_str("::1/64"), &cidr, &why), ERR_INVALID);
    assert_int_equal(cidr.prefix_len, 99);
    assert_int_equal(listen_addr_parse(bytes_of_str("[::1]:0"), &listen, &why), ERR_RANGE);
    assert_int_equal(listen.port, 99);
}

static struct ip_cidr cidr_of(const char *text)
{
    char why_text[128];
    struct strbuf why = STRBUF_OF(why_text);
    struct ip_cidr cidr;
    assert_int_equal(ip_cidr_parse(bytes_of_str(text), &cidr, &why), 0);
    return cidr;
}

static void test_covers(void **state)
{
    (void)state;
    static const struct {
        const char *cidr;
        const char *addr;
        bool covers;
    } cases[] = {
        {"198.51.100.0/24", "198.51.100.255", true},
        {"198.51.100.0/24", "198.51.101.0", false},
        {"10.128.0.0/9", "10.128.0.0", true},
        {"10.128.0.0/9", "10.127.255.255", false},
        {"192.0.2.7/32", "192.0.2.7", true},
        {"192.0.2.7/32", "192.0.2.6", false},
        {"192.0.2.6/31", "192.0.2.7", true},
        {"0.0.0.0/0", "255.255.255.255", true},
        {"0.0.0.0/0", "::", false},
        {"0.0.0.0/0", "::ffff:1.2.3.4", true},
        {"::/0", "ffff::", true},
        {"::/0", "1.2.3.4", false},
        {"2001:db8::/33", "2001:db8:7fff::", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"2001:db8::1/128", "2001:db8::1", true},
        {"2001:db8::1/128", "2001:db8::", false},
        {"2001:db8::/127", "2001:db8::1", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ip_cidr cidr = cidr_of(cases[i].cidr);
        struct ip_addr addr = addr_of(cases[i].addr);
        if (ip_cidr_covers(&cidr, &addr) != cases[i].covers)
            fail_msg("%s covers %s", cases[i].cidr, cases[i].addr);
    }
}

/* Bit by bit: flipping bit n of an address leaves a network of prefix p exactly when n < p. */
static void test_covers_every_bit(void **state)
{
    (void)state;
    static const char *const bases[] = {"170.85.170.85", "aa55:aa55:aa55:aa55:aa55:aa55:aa55:aa55"};

    for (size_t b = 0; b < 2; b++) {
        struct ip_addr base = addr_of(bases[b]);
        unsigned bits = base.family == 4 ? 32 : 128;
        for (unsigned prefix = 0; prefix <= bits; prefix++) {
            struct ip_cidr cidr = {.addr = base, .prefix_len = (uint8_t)prefix};
            for (unsigned bit = prefix; bit < bits; bit++)
                cidr.addr.bytes[bit / 8] &= (uint8_t) ~(0x80U >> bit % 8);
            for (unsigned bit = 0; bit < bits; bit++) {
                struct ip_addr flipped = base;
                flipped.bytes[bit / 8] ^= (uint8_t)(0x80U >> bit % 8);
                assert_int_equal(ip_cidr_covers(&cidr, &flipped), bit >= prefix);
            }
        }
    }
}

static void test_endpoint_of_sockaddr(void **state)
{
    (void)state;
    static const struct {
        const char *addr;
        const char *text;
        socklen_t len;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1:5000", sizeof(struct sockaddr_in)},
        {"2001:db8::1", "[2001:db8::1]:5000", sizeof(struct sockaddr_in6)},
    };
    for (size_t i = 0; i < 2; i++) {
        char text[ADDRESS_TEXT_MAX];
        struct strbuf out = STRBUF_OF(text);
        struct sockaddr_storage ss;
        struct ip_endpoint end = {.addr = addr_of(cases[i].addr), .port = 5000};

        assert_int_equal(ip_endpoint_to_sockaddr(&end, &ss), cases[i].len);
        struct ip_endpoint back = ip_endpoint_of_sockaddr(&ss);
        assert_true(ip_addr_equal(&back.addr, &end.addr));
        assert_int_equal(back.port, 5000);
        ip_endpoint_format(&back, &out);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_endpoint_of_other_sockaddrs(void **state)
{
    (void)state;
    char text[ADDRESS_TEXT_MAX];
    struct strbuf out = STRBUF_OF(text);
    struct sockaddr_storage ss = {0};
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = htons(7)};

    assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.1", &mapped.sin6_addr), 1);
    memcpy(&ss, &mapped, sizeof mapped);
    struct ip_endpoint end = ip_endpoint_of_sockaddr(&ss);
    ip_endpoint_format(&end, &out);
    assert_string_equal(text, "192.0.2.1:7");

    memset(&ss, 0xff, sizeof ss);
    ss.ss_family = AF_UNIX;
    end = ip_endpoint_of_sockaddr(&ss);
    assert_int_equal(end.addr.family, 0);
    assert_int_equal(end.port, 0);
    strbuf_reset(&out);
    ip_endpoint_format(&end, &out);
    assert_string_equal(text, "unknown");
}

static void test_equal(void **state)
{
    (void)state;
    struct ip_addr v4 = addr_of("192.0.2.1"), same = addr_of("::ffff:192.0.2.1"), v6 = addr_of("c000:201::");
    assert_true(ip_addr_equal(&v4, &same));
    assert_false(ip_addr_equal(&v4, &v6)); /* the same sixteen bytes, another family */

    struct listen_addr dual = {.is_dual_stack = true, .port = 443};
    struct listen_addr any = {.addr = addr_of("0.0.0.0"), .port = 443};
    struct listen_addr other_port = {.is_dual_stack = true, .port = 444};
    assert_true(listen_addr_equal(&dual, &dual));
    assert_true(listen_addr_equal(&any, &any));
    assert_false(listen_addr_equal(&dual, &any));
    assert_false(listen_addr_equal(&dual, &other_port));
    struct listen_addr one = {.addr = addr_of("127.0.0.1"), .port = 443};
    assert_false(listen_addr_equal(&any, &one));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addr),
        cmocka_unit_test(test_nul_inside_is_refused),
        cmocka_unit_test(test_cidr),
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_output_is_untouched_on_error),
        cmocka_unit_test(test_covers),
        cmocka_unit_test(test_covers_every_bit),
        cmocka_unit_test(test_endpoint_of_sockaddr),
        cmocka_unit_test(test_endpoint_of_other_sockaddrs),
        cmocka_unit_test(test_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
