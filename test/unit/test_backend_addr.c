/* Backend addresses: IP, name or Unix socket, and the mistakes that must not become a name. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "address.h"
#include "err.h"
#include "hostname.h"

#define LABEL_63 "abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789"

static int parse(struct bytes text, struct backend_addr *out, char why_text[256])
{
    struct strbuf why = strbuf_init(why_text, 256);
    return backend_addr_parse(text, out, &why);
}

static void test_accepted(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum backend_kind kind;
        uint16_t port;
        const char *canonical;
    } cases[] = {
        {"10.0.0.5:8443", BACKEND_IP, 8443, "10.0.0.5:8443"},
        {"[2001:db8::5]:443", BACKEND_IP, 443, "[2001:db8::5]:443"},
        {"[2001:DB8:0:0::5]:443", BACKEND_IP, 443, "[2001:db8::5]:443"},
        {"[::ffff:10.0.0.5]:1", BACKEND_IP, 1, "10.0.0.5:1"},
        {"app.internal:443", BACKEND_NAME, 443, "app.internal:443"},
        {"App.Internal.:65535", BACKEND_NAME, 65535, "app.internal:65535"},
        {"localhost:80", BACKEND_NAME, 80, "localhost:80"},
        {"my_app-1:80", BACKEND_NAME, 80, "my_app-1:80"},
        {"1.2.3.4.example:80", BACKEND_NAME, 80, "1.2.3.4.example:80"},
        {"10.0.0.5a:80", BACKEND_NAME, 80, "10.0.0.5a:80"},
        {"0xyz:80", BACKEND_NAME, 80, "0xyz:80"},
        {"unixes:80", BACKEND_NAME, 80, "unixes:80"},
        {"unix:/run/app.sock", BACKEND_UNIX, 0, "unix:/run/app.sock"},
        {"unix:/a:443 b", BACKEND_UNIX, 0, "unix:/a:443 b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char why[256], text[BACKEND_TEXT_MAX], again_text[BACKEND_TEXT_MAX];
        struct strbuf out = STRBUF_OF(text), again_out = STRBUF_OF(again_text);
        struct backend_addr addr, again;

        if (parse(bytes_of_str(cases[i].text), &addr, why) != 0)
            fail_msg("'%s': %s", cases[i].text, why);
        assert_int_equal(addr.kind, cases[i].kind);
        assert_int_equal(addr.port, cases[i].port);
        backend_addr_format(&addr, &out);
        assert_string_equal(text, cases[i].canonical);
        assert_int_equal(parse(bytes_of_str(text), &again, why), 0);
        backend_addr_format(&again, &again_out);
        assert_string_equal(again_text, text);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        const char *reason;
    } cases[] = {
        {"", ERR_INVALID, "address is missing"},
        {"10.0.0.5", ERR_INVALID, "port is missing, write 10.0.0.5:443"},
        {"app.internal", ERR_INVALID, "port is missing, write app.internal:443"},
        {"app internal", ERR_INVALID, "port is missing, write host:port"},
        {"App-1_a.internal", ERR_INVALID, "port is missing, write App-1_a.internal:443"},
        {"app\\", ERR_INVALID, "port is missing, write host:port"},
        {"app~", ERR_INVALID, "port is missing, write host:port"},
        {"2001:db8::5", ERR_INVALID, "IPv6 addresses need brackets: [2001:db8::5]:443"},
        {"[2001:db8::5]", ERR_INVALID, "port is missing, write [2001:db8::5]:443"},
        {"app:http", ERR_INVALID, "must be a number"},
        {"https://app:443", ERR_INVALID, "more than one ':'"},
        {"app:0", ERR_RANGE, "1 to 65535"},
        {"app:65536", ERR_RANGE, "1 to 65535"},
        {"app:080", ERR_INVALID, "leading zeros"},
        {"10.0.0.5:", ERR_INVALID, "port is missing behind ':'"},
        {":443", ERR_INVALID, "host is missing"},
        {"10.0.0.256:1", ERR_INVALID, "reads like an IPv4 address"},
        {"1.2.3:4", ERR_INVALID, "reads like an IPv4 address"},
        {"10.0.0.05:1", ERR_INVALID, "reads like an IPv4 address"},
        {"10.0.0.5.:1", ERR_INVALID, "reads like an IPv4 address"},
        {"1.2.3.4.5:1", ERR_INVALID, "reads like an IPv4 address"},
        {"167772165:1", ERR_INVALID, "reads like an IPv4 address"},
        {"0x0A000005:1", ERR_INVALID, "reads like an IPv4 address"},
        {"0x7f.1:1", ERR_INVALID, "reads like an IPv4 address"},
        {"127.0x1:1", ERR_INVALID, "reads like an IPv4 address"},
        {"0x:1", ERR_INVALID, "reads like an IPv4 address"},
        {"app..internal:1", ERR_INVALID, "neither an IP address nor a valid name"},
        {"*.internal:1", ERR_INVALID, "neither an IP address nor a valid name"},
        {LABEL_63 "x:1", ERR_INVALID, "neither an IP address nor a valid name"},
        {"b\xc3\xbc"
         "cher:1",
         ERR_INVALID, "neither an IP address nor a valid name"},
        {"unix:", ERR_INVALID, "absolute path"},
        {"unix:run/app.sock", ERR_INVALID, "absolute path"},
        {"unix:443", ERR_INVALID, "absolute path"},
        {"unix:@abstract", ERR_INVALID, "absolute path"},
        {"UNIX:443", ERR_INVALID, "cannot be called unix"},
        {"unix.:443", ERR_INVALID, "cannot be called unix"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char why[256];
        struct backend_addr addr = {.port = 4711};
        int rc = parse(bytes_of_str(cases[i].text), &addr, why);

        if (rc != cases[i].rc || strstr(why, cases[i].reason) == NULL)
            fail_msg("'%s': rc %d, reason '%s'", cases[i].text, rc, why);
        assert_int_equal(addr.port, 4711);
    }
}

static void test_unix_path_limits(void **state)
{
    (void)state;
    char text[256], why[256], formatted[BACKEND_TEXT_MAX];
    struct strbuf in = STRBUF_OF(text), out = STRBUF_OF(formatted);
    struct backend_addr addr;

    strbuf_add(&in, "unix:/");
    while (!in.overflowed)
        strbuf_add_char(&in, 'x');
    assert_int_equal(parse(bytes_of(text, 5 + BACKEND_UNIX_PATH_MAX), &addr, why), 0);
    assert_int_equal(strlen(addr.path), BACKEND_UNIX_PATH_MAX);
    backend_addr_format(&addr, &out);
    assert_int_equal(out.len, 5 + BACKEND_UNIX_PATH_MAX);
    assert_memory_equal(formatted, text, out.len);

    assert_int_equal(parse(bytes_of(text, 5 + BACKEND_UNIX_PATH_MAX + 1), &addr, why), ERR_RANGE);
    assert_non_null(strstr(why, "at most 107 bytes"));
    assert_int_equal(parse(bytes_of("unix:/a\0b", 9), &addr, why), ERR_INVALID);
    assert_non_null(strstr(why, "NUL"));
    assert_int_equal(parse(bytes_of("unix:/\0", 7), &addr, why), ERR_INVALID);
}

static void test_longest_name_fits(void **state)
{
    (void)state;
    char text[512], why[256], formatted[BACKEND_TEXT_MAX];
    struct strbuf in = STRBUF_OF(text), out = STRBUF_OF(formatted);
    struct backend_addr addr;

    for (size_t i = 0; i < HOSTNAME_MAX; i++)
        strbuf_add_char(&in, i % 50 == 49 ? '.' : 'n');
    strbuf_add(&in, ":65535");
    assert_int_equal(parse(bytes_of(text, in.len), &addr, why), 0);
    backend_addr_format(&addr, &out);
    assert_false(out.overflowed);
    assert_string_equal(formatted, text);

    in.len = HOSTNAME_MAX;
    strbuf_add(&in, "n:65535");
    assert_int_equal(parse(bytes_of(text, in.len), &addr, why), ERR_INVALID);
}

static void test_nul_in_name_is_refused(void **state)
{
    (void)state;
    char why[256];
    struct backend_addr addr;
    assert_int_equal(parse(bytes_of("app\0:443", 8), &addr, why), ERR_INVALID);
    assert_int_equal(parse(bytes_of("10.0.0.5\0:443", 13), &addr, why), ERR_INVALID);
    assert_int_equal(parse(bytes_of("app:443\0", 8), &addr, why), ERR_INVALID);
    assert_int_equal(parse(bytes_of(NULL, 0), &addr, why), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_unix_path_limits),
        cmocka_unit_test(test_longest_name_fits),
        cmocka_unit_test(test_nul_in_name_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
