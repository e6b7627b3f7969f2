/* Which connections an operator means: what passes a filter, and what is none. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "access_record.h"
#include "connection_filter.h"
#include "err.h"
#include "log_event.h"
#include "strbuf.h"

static const struct ip_endpoint client = {.addr = {.family = 4, .bytes = {192, 0, 2, 1}}, .port = 5000};

static void test_names_as_routes_match_them(void **state)
{
    static const struct {
        const char *pattern, *sni;
        bool passes;
    } cases[] = {
        {"www.example.com", "www.example.com", true},
        {"WWW.Example.com.", "www.example.com", true},
        {"www.example.com", "ww.example.com", false},
        {"www.example.com", "", false},
        {"*.example.com", "a.example.com", true},
        {"*.example.com", "a.b.example.com", true},
        {"*.example.com", "example.com", false},
        {"*.example.com", "xexample.com", false},
        {"*.example.com", "", false},
        {"*", "", true},
        {"*", "a.example.com", true},
    };
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct strbuf why = STRBUF_OF(text);
        struct connection_filter filter = {0};
        struct connection_traits traits = {.sni = bytes_of_str(cases[i].sni)};
        assert_int_equal(connection_filter_set_sni(&filter, cases[i].pattern, &why), 0);
        assert_int_equal(connection_filter_passes(&filter, &traits), cases[i].passes);
    }
}

static void test_all_that_is_set_must_fit(void **state)
{
    struct log_event e;
    struct connection_traits traits;
    struct connection_filter filter = {0}, none = {0};
    char text[256];
    struct strbuf why = STRBUF_OF(text);

    (void)state;
    log_event_begin_always(&e, LOG_INFO, ACCESS_RECORD_MESSAGE);
    log_event_endpoint(&e, LOG_KEY_CLIENT, &client);
    log_event_cstr(&e, LOG_KEY_LISTENER, ":443");
    log_event_cstr(&e, LOG_KEY_REASON, "no_route");
    assert_true(connection_traits_of(log_event_record(&e), &traits));
    assert_true(connection_filter_passes(&none, &traits));
    assert_int_equal(connection_filter_parse_client("192.0.2.0/24", &filter.client, &why), 0);
    assert_int_equal(connection_filter_set_reason(&filter, "no_route", &why), 0);
    memcpy(filter.listener, ":443", 5);
    assert_true(connection_filter_passes(&filter, &traits));
    filter.listener[1] = '5';
    assert_false(connection_filter_passes(&filter, &traits));
    filter.listener[1] = '4';
    assert_int_equal(connection_filter_set_reason(&filter, "finished", &why), 0);
    assert_false(connection_filter_passes(&filter, &traits));
    assert_int_equal(connection_filter_set_reason(&filter, "no_route", &why), 0);
    assert_int_equal(connection_filter_parse_client("192.0.2.2", &filter.client, &why), 0);
    assert_false(connection_filter_passes(&filter, &traits));
    log_event_begin_always(&e, LOG_INFO, "worker ready");
    assert_false(connection_traits_of(log_event_record(&e), &traits));
}

static void test_what_is_no_filter_is_said(void **state)
{
    char text[256], route[256];
    struct strbuf why = STRBUF_OF(text), out = STRBUF_OF(route);
    struct connection_filter filter = {0};

    (void)state;
    assert_int_equal(connection_filter_set_reason(&filter, "", &why), ERR_INVALID);
    assert_memory_equal(text, "reason: ", 8);
    assert_null(filter.reason);
    strbuf_reset(&why);
    assert_int_equal(connection_filter_parse_client("192.0.2.1/24", &filter.client, &why), ERR_INVALID);
    assert_memory_equal(text, "client_cidr: ", 13);
    strbuf_reset(&why);
    assert_int_equal(connection_filter_set_sni(&filter, "a\x01..b", &why), ERR_INVALID);
    assert_memory_equal(text, "sni_pattern: ", 13);
    assert_null(strchr(text, 1));
    strbuf_reset(&why);
    assert_int_equal(connection_filter_parse_route("*.Example.COM.", &out, &why), 0);
    assert_string_equal(route, "*.example.com");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_as_routes_match_them),
        cmocka_unit_test(test_all_that_is_set_must_fit),
        cmocka_unit_test(test_what_is_no_filter_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
