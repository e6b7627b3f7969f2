/* Strings on the wire: a NUL and what is no UTF-8 are found wherever a string may stand, and named by their place. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "err.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "proto_scan.h"

#define WIRE(literal) bytes_of(literal, sizeof(literal) - 1)
#define ADD_ROUTE     (&mc_proxy__v1__add_route_request__descriptor)
#define APPLY         (&mc_proxy__v1__apply_changes_request__descriptor)

struct row {
    const char *name;
    const ProtobufCMessageDescriptor *type;
    struct bytes wire;
    size_t first_index;
    int rc;
    size_t index;
    const char *why;
};

static void test_table(void **state)
{
    const struct row rows[] = {
        {"nothing", ADD_ROUTE, WIRE(""), 0, 0, 0, ""},
        {"a string", ADD_ROUTE, WIRE("\x0a\x04:443"), 0, 0, 0, ""},
        {"a NUL", ADD_ROUTE, WIRE("\x0a\x05:44\x00\x33"), 0, ERR_INVALID, 0, "listener_addr: contains a NUL"},
        {"a NUL alone", ADD_ROUTE, WIRE("\x0a\x01\x00"), 0, ERR_INVALID, 0, "listener_addr: contains a NUL"},
        {"no UTF-8", ADD_ROUTE, WIRE("\x0a\x01\xff"), 0, ERR_INVALID, 0, "listener_addr: is not UTF-8"},
        {"UTF-8", ADD_ROUTE, WIRE("\x0a\x02\xc3\xb6"), 0, 0, 0, ""},
        {"within", ADD_ROUTE, WIRE("\x12\x03\x0a\x01\x00"), 0, ERR_INVALID, 0, "route.hostname: contains a NUL"},
        {"a second one overrules the first", ADD_ROUTE, WIRE("\x12\x03\x12\x01\x00\x12\x03\x12\x01x"), 0, ERR_INVALID,
         0, "route.backend: contains a NUL"},
        {"in an unknown field", ADD_ROUTE, WIRE("\x7a\x01\x00"), 0, 0, 0, ""},
        {"a string's field as a number", ADD_ROUTE, WIRE("\x08\x00"), 0, 0, 0, ""},
        {"a list", APPLY, WIRE("\x0a\x00\x0a\x09\x0a\x07\x12\x05\x0a\x03w\x00w\x0a\x00"), 0, ERR_INVALID, 1,
         "changes[1].put_route.route.hostname: contains a NUL"},
        {"a list that goes on", APPLY, WIRE("\x0a\x00\x10\x01\x0a\x05\x12\x03\x0a\x01\xfe"), 100, ERR_INVALID, 101,
         "changes[101].remove_route.listener_addr: is not UTF-8"},
        {"no message", ADD_ROUTE, WIRE("\x0a\x05xx"), 0, ERR_PROTOCOL, 0, ""},
        {"no message within", ADD_ROUTE, WIRE("\x12\x02\x0a\x05"), 0, ERR_PROTOCOL, 0, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[256];
        struct strbuf why = STRBUF_OF(text);
        size_t index = 99;
        int rc = proto_scan(rows[i].type, rows[i].wire, rows[i].first_index, &index, &why);
        if (rc != rows[i].rc || index != rows[i].index || strcmp(text, rows[i].why) != 0)
            fail_msg("%s: %d %zu \"%s\"", rows[i].name, rc, index, text);
    }
}

/** What the scan lets pass, protobuf-c either refuses or unpacks to strings as long as they were. */
static void test_no_changed_byte_gets_a_cut_string_through(void **state)
{
    static const uint8_t wire[] = "\x0a\x04:443\x12\x16\x0a\x08www.a.de\x12\x0a"
                                  "10.0.0.1:1\x18\x01";
    size_t len = sizeof wire - 1, passed = 0;

    (void)state;
    for (size_t at = 0; at < len; at++) {
        for (unsigned value = 0; value < 256; value++) {
            char text[256];
            struct strbuf why = STRBUF_OF(text);
            uint8_t *copy = malloc(len);
            size_t index;
            memcpy(copy, wire, len);
            copy[at] = (uint8_t)value;
            if (proto_scan(ADD_ROUTE, bytes_of(copy, len), 0, &index, &why) == 0) {
                McProxy__V1__AddRouteRequest *r = mc_proxy__v1__add_route_request__unpack(NULL, len, copy);
                if (r != NULL && at >= 2 && at < 6 && strlen(r->listener_addr) != 4)
                    fail_msg("byte %zu, value %u: \"%s\"", at, value, r->listener_addr);
                passed += r != NULL;
                if (r != NULL)
                    mc_proxy__v1__add_route_request__free_unpacked(r, NULL);
            }
            free(copy);
        }
    }
    assert_true(passed > 1000);
}

static void test_every_prefix_ends_in_a_verdict(void **state)
{
    static const uint8_t wire[] = "\x0a\x04:443\x12\x16\x0a\x08www.a.de\x12\x0a"
                                  "10.0.0.1:1\x18\x01";

    (void)state;
    for (size_t len = 0; len < sizeof wire; len++) {
        char text[256];
        struct strbuf why = STRBUF_OF(text);
        uint8_t *copy = malloc(len + 1);
        size_t index;
        memcpy(copy, wire, len);
        int rc = proto_scan(ADD_ROUTE, bytes_of(len == 0 ? NULL : copy, len), 0, &index, &why);
        assert_true(rc == 0 || rc == ERR_PROTOCOL);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_no_changed_byte_gets_a_cut_string_through),
        cmocka_unit_test(test_every_prefix_ends_in_a_verdict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
