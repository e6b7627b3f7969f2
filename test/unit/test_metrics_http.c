/* Requests to the metrics endpoint: what is answered how, in whatever pieces they come. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "metrics_http.h"

#define HOST "Host: a\r\n"
#define END  "\r\n"

static const char prometheus[] =
    "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9100\r\nUser-Agent: Prometheus/2.42.0\r\n"
    "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n"
    "Accept-Encoding: gzip\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n";

static enum metrics_http_result parse(const char *bytes, size_t len, struct metrics_http_request *out)
{
    char *exact = malloc(len > 0 ? len : 1); /* so that the address sanitizer sees a read past the end */
    assert_non_null(exact);
    memcpy(exact, bytes, len);
    enum metrics_http_result result = metrics_http_parse(bytes_of(exact, len), out);
    free(exact);
    return result;
}

static void test_a_nul_is_no_part_of_a_word(void **state)
{
    static const char method[] = "G\0T /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
                      name[] = "GET /metrics HTTP/1.1\r\nHost\0: a\r\n\r\n";
    struct metrics_http_request request;

    (void)state;
    assert_int_equal(parse(method, sizeof method - 1, &request), METRICS_HTTP_DONE);
    assert_int_equal(request.status, 400);
    assert_int_equal(parse(name, sizeof name - 1, &request), METRICS_HTTP_DONE);
    assert_int_equal(request.status, 400);
}

static void test_what_a_request_deserves(void **state)
{
    static const struct {
        const char *text;
        unsigned status;
        bool may_stay;
        bool is_head;
    } cases[] = {
        {prometheus, 200, true, false},
        {"GET /metrics HTTP/1.1\r\n" HOST END, 200, true, false},
        {"HEAD /metrics HTTP/1.1\r\n" HOST END, 200, true, true},
        {"GET /metrics?collect=x HTTP/1.1\r\n" HOST END, 200, true, false},
        {"GET http://a:9100/metrics HTTP/1.1\r\n" HOST END, 200, true, false},
        {"GET HTTP://a/metrics?x=/y HTTP/1.1\r\n" HOST END, 200, true, false},
        {"\r\n\r\nGET /metrics HTTP/1.1\r\n" HOST END, 200, true, false},
        {"GET /metrics HTTP/1.1\r\nhOsT:a\r\n" END, 200, true, false},
        {"GET /metrics HTTP/1.1\r\nHost:\r\n" END, 200, true, false},
        {"GET /metrics HTTP/1.7\r\n" HOST END, 200, true, false},
        {"GET /metrics HTTP/1.1\r\nHost: \xe4\xff\t x \r\n" END, 200, true, false},
        {"GET /metrics HTTP/1.1\r\n" HOST "Content-Length: 0\r\n" END, 200, true, false},
        {"GET /metrics HTTP/1.1\r\n" HOST "Content-Length: 000\r\n" END, 200, true, false},
        /* who stays */
        {"GET /metrics HTTP/1.1\r\n" HOST "Connection: close\r\n" END, 200, false, false},
        {"GET /metrics HTTP/1.1\r\n" HOST "Connection: x, CLOSE ,y\r\n" END, 200, false, false},
        {"GET /metrics HTTP/1.1\r\n" HOST "Connection: keep-alive\r\nConnection: close\r\n" END, 200, false, false},
        {"GET /metrics HTTP/1.1\r\n" HOST "Connection: closed\r\n" END, 200, true, false},
        {"GET /metrics HTTP/1.0\r\n" END, 200, false, false},
        {"GET /metrics HTTP/1.0\r\nConnection: Keep-Alive\r\n" END, 200, true, false},
        {"HEAD /metrics HTTP/1.0\r\n" END, 200, false, true},
        /* other paths and methods */
        {"GET / HTTP/1.1\r\n" HOST END, 404, true, false},
        {"GET /metrics/ HTTP/1.1\r\n" HOST END, 404, true, false},
        {"GET /metric HTTP/1.1\r\n" HOST END, 404, true, false},
        {"GET /Metrics HTTP/1.1\r\n" HOST END, 404, true, false},
        {"GET /%6detrics HTTP/1.1\r\n" HOST END, 404, true, false},
        {"HEAD /x HTTP/1.1\r\n" HOST END, 404, true, true},
        {"GET * HTTP/1.1\r\n" HOST END, 404, true, false},
        {"GET http:// HTTP/1.1\r\n" HOST END, 404, true, false},
        {"GET http://metrics HTTP/1.1\r\n" HOST END, 404, true, false},
        {"GET https://a/metrics HTTP/1.1\r\n" HOST END, 404, true, false},
        {"CONNECT a:443 HTTP/1.1\r\n" HOST END, 404, true, false},
        {"POST /metrics HTTP/1.1\r\n" HOST END, 405, true, false},
        {"POST /metrics HTTP/1.1\r\n" HOST "Content-Length: 3\r\n" END "abc", 405, false, false},
        {"get /metrics HTTP/1.1\r\n" HOST END, 405, true, false},
        {"OPTIONS /metrics HTTP/1.1\r\n" HOST END, 405, true, false},
        {"GET /metrics HTTP/1.1\r\n" HOST "Content-Length: 10\r\n" END, 413, false, false},
        {"GET /metrics HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END, 413, false, false},
        {"GET /metrics HTTP/2.0\r\n" HOST END, 505, false, false},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, false, false},
        /* malformed */
        {"GET /metrics HTTP/1.1\r\n" END, 400, false, false},
        {"GET /metrics HTTP/1.1\r\n" HOST HOST END, 400, false, false},
        {"GET /metrics HTTP/1.0\r\n" HOST HOST END, 400, false, false},
        {"GET  /metrics HTTP/1.1\r\n" HOST END, 400, false, false},
        {"GET /metrics  HTTP/1.1\r\n" HOST END, 400, false, false},
        {"GET /metrics HTTP/1.1 \r\n" HOST END, 400, false, false},
        {" GET /metrics HTTP/1.1\r\n" HOST END, 400, false, false},
        {"GET /metrics\r\n" HOST END, 400, false, false},
        {"GET\r\n" HOST END, 400, false, false},
        {"GET /metrics HTTP/11\r\n" HOST END, 400, false, false},
        {"GET /metrics HTTP/a.1\r\n" HOST END, 400, false, false},
        {"GET /metrics http/1.1\r\n" HOST END, 400, false, false},
        {"GET /metrics HTTP/1.1\r\n" HOST "no colon\r\n" END, 400, false, false},
        {"GET /metrics HTTP/1.1\r\n" HOST ": empty\r\n" END, 400, false, false},
        {"GET /metrics HTTP/1.1\r\n" HOST "A : b\r\n" END, 400, false, false},
        {"GET /metrics HTTP/1.1\r\n" HOST " continued: x\r\n" END, 400, false, false},
        {"GET /metrics HTTP/1.1\r\n" HOST "Content-Length: x\r\n" END, 400, false, false},
        {"GET /metrics HTTP/1.1\r\n" HOST "Content-Length:\r\n" END, 400, false, false},
        {"GET /metrics HTTP/1.1\r\n" HOST "Content-Length: -1\r\n" END, 400, false, false},
        {"G\xe4T /metrics HTTP/1.1\r\n" HOST END, 400, false, false},
        {"GET /m\xe4trics HTTP/1.1\r\n" HOST END, 400, false, false},
        {"GET /metrics HTTP/1.1\n" HOST END, 400, false, false},
        {"GET /metrics HTTP/1.1\r" HOST END, 400, false, false},
        {"GET /metrics HTTP/1.1\r\n" HOST "A: b\rc\r\n" END, 400, false, false},
        {"GET /metrics HTTP/1.1\r\n" HOST "A: \x01\r\n" END, 400, false, false},
        {"\n", 400, false, false},
        {"\x16\x03\x01", 400, false, false},
        {"GET /metrics HTTP/1.1\r\nHost: a\x7f", 400, false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct metrics_http_request request;
        if (parse(cases[i].text, strlen(cases[i].text), &request) != METRICS_HTTP_DONE)
            fail_msg("case %zu wants more", i);
        if (request.status != cases[i].status || request.may_stay != cases[i].may_stay ||
            request.is_head != cases[i].is_head)
            fail_msg("case %zu (%s): %u, stays %d, HEAD %d", i, cases[i].text, request.status, request.may_stay,
                     request.is_head);
        assert_string_not_equal(metrics_http_reason(request.status), "");
    }
}

static void test_every_strict_prefix_wants_more(void **state)
{
    struct metrics_http_request request;

    (void)state;
    for (size_t len = 0; len < sizeof prometheus - 1; len++)
        assert_int_equal(parse(prometheus, len, &request), METRICS_HTTP_MORE);
    assert_int_equal(parse(prometheus, sizeof prometheus - 1, &request), METRICS_HTTP_DONE);
}

static void test_what_comes_behind_a_request_is_left_alone(void **state)
{
    char two[2 * sizeof prometheus];
    struct metrics_http_request request;
    size_t len = sizeof prometheus - 1;

    (void)state;
    memcpy(two, prometheus, len);
    for (unsigned c = 0; c < 256; c++) {
        two[len] = (char)c; /* the next request is looked at when it is its turn */
        assert_int_equal(parse(two, len + 1, &request), METRICS_HTTP_DONE);
        assert_int_equal(request.status, 200);
        assert_int_equal(request.len, len);
    }
    memcpy(two + len, prometheus, len);
    assert_int_equal(parse(two, 2 * len, &request), METRICS_HTTP_DONE);
    assert_int_equal(request.len, len);
}

static void test_every_changed_byte_ends_in_a_verdict(void **state)
{
    char copy[sizeof prometheus];
    struct metrics_http_request request;

    (void)state;
    for (size_t at = 0; at < sizeof prometheus - 1; at++) {
        memcpy(copy, prometheus, sizeof copy);
        for (unsigned c = 0; c < 256; c++) {
            copy[at] = (char)c;
            if (parse(copy, sizeof copy - 1, &request) == METRICS_HTTP_DONE)
                assert_in_range(request.len, 1, sizeof copy - 1);
            else
                assert_true(at >= sizeof prometheus - 5 && c >= ' '); /* the empty line is none any more */
        }
    }
}

static void test_a_request_of_8192_bytes_is_taken_and_more_is_too_much(void **state)
{
    static char text[METRICS_HTTP_MAX_BYTES + 1];
    static const char begin[] = "GET /metrics HTTP/1.1\r\n" HOST "X: ";
    struct metrics_http_request request;

    (void)state;
    memset(text, 'x', sizeof text);
    memcpy(text, begin, sizeof begin - 1);
    memcpy(text + METRICS_HTTP_MAX_BYTES - 4, "\r\n\r\n", 4);
    assert_int_equal(parse(text, METRICS_HTTP_MAX_BYTES - 1, &request), METRICS_HTTP_MORE);
    assert_int_equal(parse(text, METRICS_HTTP_MAX_BYTES, &request), METRICS_HTTP_DONE);
    assert_int_equal(request.status, 200);
    assert_int_equal(request.len, METRICS_HTTP_MAX_BYTES);
    text[METRICS_HTTP_MAX_BYTES - 1] = 'x';
    text[METRICS_HTTP_MAX_BYTES - 2] = 'x';
    assert_int_equal(parse(text, METRICS_HTTP_MAX_BYTES, &request), METRICS_HTTP_DONE);
    assert_int_equal(request.status, 431);
    assert_false(request.may_stay);
    for (size_t i = 0; i < METRICS_HTTP_MAX_BYTES; i += 2)
        memcpy(text + i, "\r\n", 2);
    assert_int_equal(parse(text, METRICS_HTTP_MAX_BYTES, &request), METRICS_HTTP_DONE);
    assert_int_equal(request.status, 431);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_nul_is_no_part_of_a_word),
        cmocka_unit_test(test_what_a_request_deserves),
        cmocka_unit_test(test_every_strict_prefix_wants_more),
        cmocka_unit_test(test_what_comes_behind_a_request_is_left_alone),
        cmocka_unit_test(test_every_changed_byte_ends_in_a_verdict),
        cmocka_unit_test(test_a_request_of_8192_bytes_is_taken_and_more_is_too_much),
    };
    return cmocka_run_group_tests_name("metrics_http", tests, NULL, NULL);
}
