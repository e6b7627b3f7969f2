/* The ClientHello message: what real and built hellos say, what is malformed, and that every change of a byte ends in a verdict.
 * Every verdict here is given in one piece and byte by byte. How records are cut is in test_client_hello_records.c. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "hello_builder.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define TLS12        HELLO_VERSION_TLS12
#define TLS13        HELLO_VERSION_TLS13
#define ALL          (HELLO_VERSION_TLS10 | HELLO_VERSION_TLS11 | TLS12 | TLS13)
#define CORPUS       MCPROXY_SOURCE_DIR "/test/fuzz/corpus/client_hello/"
#define PROTOCOL_31 \
    "\x1f"          \
    "abcdefghijklmnopqrstuvwxyz01234"

static struct hello_bytes wire;

/* ---- what hellos of real clients say ---- */

static const struct real_hello {
    const char *file, *name, *alpn;
    uint8_t versions;
    bool has_ech;
} real_hellos[] = {
    {"real_openssl", "openssl.example.com", "h2,http/1.1", ALL, false},
    {"real_openssl_tls12", "openssl12.example.com", "", TLS12, false},
    {"real_openssl_noname", "", "", ALL, false},
    {"real_gnutls", "gnutls.example.com", "", ALL, false},
    {"real_curl", "curl.example.com", "h2,http/1.1", ALL, false},
    {"real_python", "python.example.com", "h2,http/1.1", ALL, false},
    {"real_chromium", "chromium.example.com", "h2,http/1.1", TLS12 | TLS13, true},
};

static void read_real(const char *file)
{
    char path[500];

    snprintf(path, sizeof path, CORPUS "%s", file);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    wire.len = fread(wire.data, 1, sizeof wire.data, f);
    fclose(f);
    assert_in_range(wire.len, 100, 16384);
}

static void test_real_hellos_are_understood(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(real_hellos); i++) {
        const struct real_hello *real = &real_hellos[i];
        struct client_hello hello;
        read_real(real->file);
        if (hello_judge(hello_all(&wire), &hello) != HELLO_OK)
            fail_msg("%s: %s", real->file, hello.reason);
        assert_string_equal(hello.name, real->name);
        assert_int_equal(hello.name_len, strlen(real->name));
        assert_string_equal(hello.alpn, real->alpn);
        assert_int_equal(hello.versions, real->versions);
        assert_int_equal(hello.has_ech, real->has_ech);
    }
}

static void test_every_strict_prefix_wants_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(real_hellos); i++) {
        struct client_hello hello;
        read_real(real_hellos[i].file);
        for (size_t len = 0; len < wire.len; len++)
            assert_int_equal(hello_parse_whole(bytes_of(wire.data, len), &hello), HELLO_MORE);
    }
}

/* Each byte takes each other value: any verdict will do, as long as it is one and touches no memory but the bytes'. */
static void test_every_changed_byte_ends_in_a_verdict(void **state)
{
    unsigned verdicts[3] = {0};
    (void)state;
    for (size_t i = 0; i < COUNT(real_hellos); i++) {
        read_real(real_hellos[i].file);
        size_t changes = wire.len < 600 ? 255 : 15; /* the long hello: fewer, or it alone takes half of the time */
        for (size_t at = 0; at < wire.len; at++) {
            uint8_t right = wire.data[at];
            for (size_t change = 1; change <= changes; change++) {
                struct client_hello hello;
                wire.data[at] = (uint8_t)(right ^ change);
                verdicts[hello_parse_whole(hello_all(&wire), &hello)]++;
            }
            wire.data[at] = right;
        }
    }
    assert_true(verdicts[HELLO_OK] > 0 && verdicts[HELLO_BAD] > 0 && verdicts[HELLO_MORE] > 0);
}

/* ---- hellos that are valid, however odd ---- */

static const struct valid_hello {
    const char *label;
    struct hello_spec spec;
    const char *name, *alpn;
    uint8_t versions;
    bool has_ech;
} valid_hellos[] = {
    {"the usual one", {0}, "www.example.com", "", TLS12, false},
    {"no extensions", {.has_no_extensions = true}, "", "", TLS12, false},
    {"an empty list of extensions", {.extensions = HELLO_ABSENT}, "", "", TLS12, false},
    {"no session id", {.session_id = HELLO_ABSENT}, "www.example.com", "", TLS12, false},
    {"one cipher suite", {.ciphers = HELLO_LITERAL("\0\x2f")}, "www.example.com", "", TLS12, false},
    {"GREASE cipher suites",
     {.ciphers = HELLO_LITERAL("\x0a\x0a\x13\x01\xfa\xfa")},
     "www.example.com",
     "",
     TLS12,
     false},
    {"deflate before null", {.compression = HELLO_LITERAL("\1\0")}, "www.example.com", "", TLS12, false},
    {"SSL 3.0", {.version = 0x0300}, "www.example.com", "", HELLO_VERSION_OTHER, false},
    {"TLS 1.0", {.version = 0x0301}, "www.example.com", "", HELLO_VERSION_TLS10, false},
    {"TLS 1.1", {.version = 0x0302}, "www.example.com", "", HELLO_VERSION_TLS11, false},
    {"a newer legacy_version means up to 1.2", {.version = 0x0304}, "www.example.com", "", TLS12, false},
    {"a much newer one too", {.version = 0x7f7f}, "www.example.com", "", TLS12, false},
    {"upper case and a trailing dot", {.extensions = HELLO_LITERAL("\0\0\0\7\0\5\0\0\2A.")}, "a", "", TLS12, false},
    {"unknown and GREASE extensions",
     {.extensions = HELLO_LITERAL(HELLO_SNI_A "\x1a\x1a\0\0"
                                              "\xfa\xfa\0\1\0"
                                              "\xff\xff\0\2??")},
     "a",
     "",
     TLS12,
     false},
    {"pre_shared_key at the end", {.extensions = HELLO_LITERAL(HELLO_SNI_A "\0\x29\0\2xx")}, "a", "", TLS12, false},
    {"supported_versions beat legacy_version", {.extensions = HELLO_LITERAL("\0\x2b\0\3\2\3\4")}, "", "", TLS13, false},
    {"all the versions",
     {.extensions = HELLO_LITERAL("\0\x2b\0\x0d\x0c\x3a\x3a\3\4\3\3\3\2\3\1\3\0")},
     "",
     "",
     0x1f,
     false},
    {"GREASE alone is no version", {.extensions = HELLO_LITERAL("\0\x2b\0\3\2\x3a\x3a")}, "", "", 0, false},
    {"what looks like GREASE and is not",
     {.extensions = HELLO_LITERAL("\0\x2b\0\3\2\x3a\x4a")},
     "",
     "",
     HELLO_VERSION_OTHER,
     false},
    {"ECH", {.extensions = HELLO_LITERAL(HELLO_SNI_A "\xfe\x0d\0\1\0")}, "a", "", TLS12, true},
    {"a protocol", {.extensions = HELLO_LITERAL("\0\x10\0\5\0\3\2h2")}, "", "h2", TLS12, false},
    {"the shortest protocol", {.extensions = HELLO_LITERAL("\0\x10\0\4\0\2\1x")}, "", "x", TLS12, false},
    {"protocols, not all printable",
     {.extensions = HELLO_LITERAL("\0\x10\0\x11\0\x0f\2h2\1,\1\"\1 \5\0\x0a"
                                  "a\x7f\xff")},
     "",
     "h2,?,?,?,??a??",
     TLS12,
     false},
    {"protocols that just fit",
     {.extensions = HELLO_LITERAL("\0\x10\0\x42\0\x40" PROTOCOL_31 PROTOCOL_31)},
     "",
     "abcdefghijklmnopqrstuvwxyz01234,abcdefghijklmnopqrstuvwxyz01234",
     TLS12,
     false},
    {"protocols are cut at whole names",
     {.extensions = HELLO_LITERAL("\0\x10\0\x45\0\x43" PROTOCOL_31 "\x20"
                                  "abcdefghijklmnopqrstuvwxyz012345"
                                  "\1x")},
     "",
     "abcdefghijklmnopqrstuvwxyz01234",
     TLS12,
     false},
};

static void test_valid_hellos_are_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(valid_hellos); i++) {
        const struct valid_hello *v = &valid_hellos[i];
        struct client_hello hello;
        hello_build(&v->spec, &wire);
        if (hello_judge(hello_all(&wire), &hello) != HELLO_OK)
            fail_msg("%s: %s", v->label, hello.reason);
        if (strcmp(hello.name, v->name) != 0 || strcmp(hello.alpn, v->alpn) != 0 || hello.versions != v->versions ||
            hello.has_ech != v->has_ech)
            fail_msg("%s: name %s, alpn %s, versions %x", v->label, hello.name, hello.alpn, hello.versions);
    }
}

/* ---- hellos that are malformed ---- */

static const struct {
    struct hello_spec spec;
    const char *reason; /* a part of it */
} malformed[] = {
    {{.version = 0x0200}, "legacy_version"},
    {{.version = 0x02ff}, "legacy_version"},
    {{.session_id = HELLO_LITERAL("0123456789abcdef0123456789abcdefg")}, "session id"},
    {{.ciphers = HELLO_ABSENT}, "cipher suites"},
    {{.ciphers = HELLO_LITERAL("\x13")}, "cipher suites"},
    {{.ciphers = HELLO_LITERAL("\x13\1\x13")}, "cipher suites"},
    {{.compression = HELLO_ABSENT}, "compression"},
    {{.compression = HELLO_LITERAL("\1")}, "compression"},
    {{.tail = HELLO_LITERAL("\0")}, "do not end"},
    {{.has_no_extensions = true, .tail = HELLO_LITERAL("\0")}, "do not end"},
    {{.has_no_extensions = true, .tail = HELLO_LITERAL("\0\1")}, "do not end"},
    {{.has_no_extensions = true, .tail = HELLO_LITERAL("\0\0\0")}, "do not end"},
    {{.has_no_extensions = true, .tail = HELLO_LITERAL("\0\0" HELLO_SNI_A)}, "do not end"},
#define BAD_EXT(literal, reason)                       \
    {                                                  \
        {.extensions = HELLO_LITERAL(literal)}, reason \
    }
    /* extensions in general */
    BAD_EXT("\0", "cut short"),
    BAD_EXT("\0\x0b\0", "cut short"),
    BAD_EXT("\0\x0b\0\1", "cut short"),
    BAD_EXT("\0\x0b\xff\xff"
            "abc",
            "cut short"),
    BAD_EXT(HELLO_SNI_A "\0", "cut short"),
    BAD_EXT("\0\x0b\0\0"
            "\0\x0b\0\0",
            "twice"),
    BAD_EXT("\x0a\x0a\0\0"
            "\xff\xff\0\0" HELLO_SNI_A "\xff\xff\0\0",
            "twice"),
    BAD_EXT(HELLO_SNI_A HELLO_SNI_A, "twice"),
    BAD_EXT("\0\x29\0\0" HELLO_SNI_A, "pre_shared_key"),
    BAD_EXT(HELLO_SNI_A "\0\x29\0\0"
                        "\0\x17\0\0",
            "pre_shared_key"),
    BAD_EXT(HELLO_SNI_A "\0\x29\0\0"
                        "\0",
            "pre_shared_key"),
    /* server_name */
    BAD_EXT("\0\0\0\0", "server_name: malformed list"),
    BAD_EXT("\0\0\0\1\0", "server_name: malformed list"),
    BAD_EXT("\0\0\0\2\0\0", "server_name: malformed list"),
    BAD_EXT("\0\0\0\6\0\3\0\0\1a", "server_name: malformed list"),
    BAD_EXT("\0\0\0\6\0\5\0\0\1a", "server_name: malformed list"),
    BAD_EXT("\0\0\0\7\0\4\0\0\1ab", "server_name: malformed list"),
    BAD_EXT("\0\0\0\3\0\1\0", "server_name: not exactly one name"),
    BAD_EXT("\0\0\0\4\0\2\0\0", "server_name: not exactly one name"),
    BAD_EXT("\0\0\0\6\0\4\0\0\2a", "server_name: not exactly one name"),
    BAD_EXT("\0\0\0\7\0\5\0\0\1ab", "server_name: not exactly one name"),
    BAD_EXT("\0\0\0\6\0\4\1\0\1a", "server_name: unknown type"),
    BAD_EXT("\0\0\0\x0a\0\x08\0\0\1a\0\0\1b", "server_name: not exactly one name"),
    BAD_EXT("\0\0\0\x0a\0\x08\0\0\1a\1\0\1b", "server_name: not exactly one name"),
    BAD_EXT("\0\0\0\5\0\3\0\0\0", "server_name: not a hostname"),
    BAD_EXT("\0\0\0\6\0\4\0\0\1\0", "server_name: not a hostname"),
    BAD_EXT("\0\0\0\6\0\4\0\0\1.", "server_name: not a hostname"),
    BAD_EXT("\0\0\0\6\0\4\0\0\1*", "server_name: not a hostname"),
    BAD_EXT("\0\0\0\7\0\5\0\0\2a ", "server_name: not a hostname"),
    BAD_EXT("\0\0\0\7\0\5\0\0\2a\0", "server_name: not a hostname"),
    BAD_EXT("\0\0\0\x08\0\6\0\0\3a\0b", "server_name: not a hostname"),
    BAD_EXT("\0\0\0\7\0\5\0\0\2\xc3\xa4", "server_name: not a hostname"),
    /* ALPN */
    BAD_EXT("\0\x10\0\0", "ALPN: malformed list"),
    BAD_EXT("\0\x10\0\2\0\0", "ALPN: malformed list"),
    BAD_EXT("\0\x10\0\5\0\2\2h2", "ALPN: malformed list"),
    BAD_EXT("\0\x10\0\5\0\4\2h2", "ALPN: malformed list"),
    BAD_EXT("\0\x10\0\3\0\1\0", "ALPN: malformed protocol name"),
    BAD_EXT("\0\x10\0\3\0\1\1", "ALPN: malformed protocol name"),
    BAD_EXT("\0\x10\0\5\0\3\3h2", "ALPN: malformed protocol name"),
    BAD_EXT("\0\x10\0\6\0\4\2h2\0", "ALPN: malformed protocol name"),
    /* supported_versions */
    BAD_EXT("\0\x2b\0\0", "supported_versions"),
    BAD_EXT("\0\x2b\0\1\0", "supported_versions"),
    BAD_EXT("\0\x2b\0\2\1\3", "supported_versions"),
    BAD_EXT("\0\x2b\0\4\3\3\4\3", "supported_versions"),
    BAD_EXT("\0\x2b\0\4\2\3\4\3", "supported_versions"),
    BAD_EXT("\0\x2b\0\2\2\3", "supported_versions"),
};

static void test_malformed_hellos_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(malformed); i++) {
        struct client_hello hello;
        hello_build(&malformed[i].spec, &wire);
        if (hello_judge(hello_all(&wire), &hello) != HELLO_BAD)
            fail_msg("case %zu was not refused (%s)", i, malformed[i].reason);
        if (strstr(hello.reason, malformed[i].reason) == NULL)
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, hello.reason, malformed[i].reason);
        assert_false(hello.is_too_large);
    }
}

/* A message that ends early inside its fixed fields, or says so itself, at each place. */
static void test_a_message_that_ends_early_is_refused(void **state)
{
    static struct hello_bytes message;
    struct client_hello hello;
    (void)state;
    hello_build_message(&(struct hello_spec){0}, &message);
    size_t fixed = 4 + 2 + 32 + 33 + 6 + 2; /* up to here a hello without extensions */
    for (size_t len = 4; len < message.len; len++) {
        message.data[2] = (uint8_t)((len - 4) >> 8);
        message.data[3] = (uint8_t)(len - 4);
        wire.len = 0;
        hello_put_record(&wire, bytes_of(message.data, len));
        assert_int_equal(hello_judge(hello_all(&wire), &hello), len == fixed ? HELLO_OK : HELLO_BAD);
    }
}

/* Names of each length: 253 is the limit, 254 with a trailing dot; 255 the most that the extension may hold. */
static void test_names_of_every_length(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 300; len++) {
        static struct hello_bytes body, list, extensions;
        struct client_hello hello;
        body.len = list.len = extensions.len = 0;
        for (size_t i = 0; i < len; i++)
            hello_put_number(&body, 1, i % 50 == 49 && i + 1 < len ? '.' : 'n');
        if (len == 254)
            body.data[253] = '.';
        hello_put_number(&list, 1, 0);
        hello_put_vector(&list, 2, hello_all(&body));
        hello_put_number(&extensions, 2, 0);
        hello_put_number(&extensions, 2, list.len + 2);
        hello_put_vector(&extensions, 2, hello_all(&list));
        hello_build(&(struct hello_spec){.extensions = hello_all(&extensions)}, &wire);
        bool is_name = len > 0 && len <= 254;
        assert_int_equal(hello_judge(hello_all(&wire), &hello), is_name ? HELLO_OK : HELLO_BAD);
        if (is_name)
            assert_int_equal(hello.name_len, len == 254 ? 253 : len);
    }
}

/* Every type of extension once: the marks of all 65536 are made and taken back; one more of any type is one too many. */
static void test_duplicates_are_found_among_many(void **state)
{
    static struct hello_bytes extensions, message;
    struct client_hello hello;
    (void)state;
    extensions.len = 0;
    for (size_t type = 0x4000; type < 0x4000 + 16000; type++) {
        hello_put_number(&extensions, 2, type);
        hello_put_number(&extensions, 2, 0);
    }
    for (size_t twice = 0x3fff; twice < 0x4000 + 16000; twice += 1000) {
        extensions.len = (size_t)16000 * 4;
        hello_put_number(&extensions, 2, twice);
        hello_put_number(&extensions, 2, 0);
        hello_build_message(&(struct hello_spec){.extensions = hello_all(&extensions)}, &message);
        wire.len = 0;
        hello_put_records(&wire, hello_all(&message), 16384, 16384);
        assert_int_equal(hello_parse_whole(hello_all(&wire), &hello), twice == 0x3fff ? HELLO_OK : HELLO_BAD);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_hellos_are_understood),
        cmocka_unit_test(test_every_strict_prefix_wants_more),
        cmocka_unit_test(test_every_changed_byte_ends_in_a_verdict),
        cmocka_unit_test(test_valid_hellos_are_taken),
        cmocka_unit_test(test_malformed_hellos_are_refused),
        cmocka_unit_test(test_a_message_that_ends_early_is_refused),
        cmocka_unit_test(test_names_of_every_length),
        cmocka_unit_test(test_duplicates_are_found_among_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
