/* Long messages, packed row by row: the same bytes as if they had been packed at once. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "err.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "proto_answer.h"

#define ROWS 20000u

static void fill_answer(struct proto_answer *answer, unsigned rows)
{
    McProxy__V1__ListRoutesResponse rest;
    char token[] = "77";

    mc_proxy__v1__list_routes_response__init(&rest);
    for (unsigned i = 0; i < rows; i++) {
        McProxy__V1__Route route;
        char name[300], backend[] = "10.0.0.1:1";
        mc_proxy__v1__route__init(&route);
        snprintf(name, sizeof name, "%u.%0*u", i, (int)(1 + i % 200), 7u);
        route.hostname = name;
        route.backend = backend;
        route.send_proxy_protocol = i % 2 == 1;
        assert_int_equal(proto_answer_add_element(answer, 1, &route.base), 0);
    }
    rest.next_page_token = token;
    assert_int_equal(proto_answer_add_fields(answer, &rest.base), 0);
}

static void test_rows_come_out_in_their_order(void **state)
{
    struct proto_answer answer = proto_answer_of(1u << 30);

    (void)state;
    fill_answer(&answer, ROWS);
    size_t len = answer.len;
    uint8_t *wire = malloc(len);
    assert_non_null(wire);
    proto_answer_move(&answer, wire);
    assert_int_equal(answer.len, 0);
    McProxy__V1__ListRoutesResponse *list = mc_proxy__v1__list_routes_response__unpack(NULL, len, wire);
    assert_non_null(list);
    assert_int_equal(list->n_routes, ROWS);
    assert_string_equal(list->next_page_token, "77");
    for (unsigned i = 0; i < ROWS; i++) {
        assert_int_equal(strtoul(list->routes[i]->hostname, NULL, 10), i);
        assert_int_equal(list->routes[i]->send_proxy_protocol, i % 2 == 1);
    }
    mc_proxy__v1__list_routes_response__free_unpacked(list, NULL);
    free(wire);
}

static void test_an_empty_one_is_an_empty_message(void **state)
{
    struct proto_answer answer = proto_answer_of(100);
    uint8_t wire[1];

    (void)state;
    assert_int_equal(answer.len, 0);
    proto_answer_move(&answer, wire);
}

static void test_the_limit_holds(void **state)
{
    McProxy__V1__Route route;
    struct proto_answer answer = proto_answer_of(100);
    char name[] = "www.example.com";
    unsigned rows = 0;

    mc_proxy__v1__route__init(&route);
    (void)state;
    route.hostname = name;
    while (proto_answer_add_element(&answer, 1, &route.base) == 0)
        rows++;
    assert_int_equal(rows, 100 / 19);
    assert_int_equal(proto_answer_add_element(&answer, 1, &route.base), ERR_TOO_LARGE);
    proto_answer_fini(&answer);
    assert_int_equal(answer.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_come_out_in_their_order),
        cmocka_unit_test(test_an_empty_one_is_an_empty_message),
        cmocka_unit_test(test_the_limit_holds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
