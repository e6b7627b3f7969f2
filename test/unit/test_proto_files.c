/* Descriptors: our own files, found by name and by everything they declare. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "descriptor_set.h"
#include "err.h"
#include "proto_files.h"
#include "strbuf.h"

#define ADMIN "mc_proxy/v1/admin.proto"

static struct bytes own_set(void)
{
    return bytes_of(proto_descriptor_set, proto_descriptor_set_len);
}

static void test_symbols(void **state)
{
    static const struct {
        const char *name;
        const char *file; /* NULL: not declared */
        enum proto_symbol symbol;
    } rows[] = {
        {"mc_proxy.v1.ProxyAdminService", ADMIN, PROTO_SYMBOL_SERVICE},
        {"mc_proxy.v1.ProxyAdminService.AddRoute", ADMIN, PROTO_SYMBOL_MEMBER},
        {"mc_proxy.v1.Route", ADMIN, PROTO_SYMBOL_MESSAGE},
        {"mc_proxy.v1.Route.hostname", ADMIN, PROTO_SYMBOL_MEMBER},
        {"mc_proxy.v1.Change.change", ADMIN, PROTO_SYMBOL_MEMBER},
        {"mc_proxy.v1.FirewallRuleType", ADMIN, PROTO_SYMBOL_ENUM},
        {"mc_proxy.v1.FIREWALL_RULE_TYPE_IP", ADMIN, PROTO_SYMBOL_MEMBER},
        {"google.protobuf.Timestamp", "google/protobuf/timestamp.proto", PROTO_SYMBOL_MESSAGE},
        {"grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc/health/v1/health.proto", PROTO_SYMBOL_ENUM},
        {"grpc.health.v1.HealthCheckResponse.SERVING", "grpc/health/v1/health.proto", PROTO_SYMBOL_MEMBER},
        {"grpc.health.v1.Health.Watch", "grpc/health/v1/health.proto", PROTO_SYMBOL_MEMBER},
        {"grpc.reflection.v1.ServerReflection", "grpc/reflection/v1/reflection.proto", PROTO_SYMBOL_SERVICE},
        {"grpc.reflection.v1alpha.ErrorResponse", "grpc/reflection/v1alpha/reflection.proto", PROTO_SYMBOL_MESSAGE},
        {"", NULL, 0},
        {"mc_proxy", NULL, 0},
        {"mc_proxy.v1", NULL, 0},
        {"mc_proxy.v1.", NULL, 0},
        {".mc_proxy.v1.Route", NULL, 0},
        {"mc_proxy.v1.Rout", NULL, 0},
        {"mc_proxy.v1.Routes", NULL, 0},
        {"mc_proxy.v1.Route.", NULL, 0},
        {"mc_proxy.v1.Route.hostname.x", NULL, 0},
        {"mc_proxy.v1.FirewallRuleType.FIREWALL_RULE_TYPE_IP", NULL, 0},
        {"Route", NULL, 0},
    };
    struct proto_files *files;

    (void)state;
    assert_int_equal(proto_files_new(own_set(), &files), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned index, wanted;
        enum proto_symbol symbol;
        int rc = proto_files_find_symbol(files, bytes_of_str(rows[i].name), &index, &symbol);
        if (rows[i].file == NULL
                ? rc != ERR_NOT_FOUND
                : rc != 0 || symbol != rows[i].symbol ||
                      proto_files_find(files, bytes_of_str(rows[i].file), &wanted) != 0 || wanted != index)
            fail_msg("%s: %d", rows[i].name, rc);
    }
    proto_files_free(&files);
}

static void test_imports_come_along(void **state)
{
    struct proto_files *files;
    unsigned admin, timestamp, health;

    (void)state;
    assert_int_equal(proto_files_new(own_set(), &files), 0);
    assert_int_equal(proto_files_find(files, bytes_of_str(ADMIN), &admin), 0);
    assert_int_equal(proto_files_find(files, bytes_of_str("google/protobuf/timestamp.proto"), &timestamp), 0);
    assert_int_equal(proto_files_find(files, bytes_of_str("grpc/health/v1/health.proto"), &health), 0);
    assert_int_equal(proto_files_find(files, bytes_of_str("admin.proto"), &health), ERR_NOT_FOUND);
    assert_int_equal(proto_files_with_imports(files, admin), 1ull << admin | 1ull << timestamp);
    assert_int_equal(proto_files_with_imports(files, health), 1ull << health);
    assert_true(proto_files_content(files, admin).len > 1000);
    proto_files_free(&files);
}

static void note_service(struct bytes package, struct bytes name, void *context)
{
    struct strbuf *names = context;

    strbuf_add_bytes(names, package);
    strbuf_add_char(names, '.');
    strbuf_add_bytes(names, name);
    strbuf_add_char(names, ' ');
}

static void test_services(void **state)
{
    struct proto_files *files;
    char names[512];
    struct strbuf text = STRBUF_OF(names);

    (void)state;
    assert_int_equal(proto_files_new(own_set(), &files), 0);
    proto_files_each_service(files, note_service, &text);
    assert_non_null(strstr(names, "mc_proxy.v1.ProxyAdminService "));
    assert_non_null(strstr(names, "grpc.health.v1.Health "));
    assert_non_null(strstr(names, "grpc.reflection.v1.ServerReflection "));
    assert_non_null(strstr(names, "grpc.reflection.v1alpha.ServerReflection "));
    proto_files_free(&files);
}

static void test_what_is_no_set_is_refused(void **state)
{
    struct proto_files *files;

    (void)state;
    assert_int_equal(proto_files_new(bytes_of("\x12\x00", 2), &files), ERR_PROTOCOL); /* no file */
    assert_int_equal(proto_files_new(bytes_of("\x0a\x03\x1a\x01x", 5), &files),
                     ERR_PROTOCOL); /* its import is missing */
    for (size_t len = 1; len < proto_descriptor_set_len; len += 97) {
        if (proto_files_new(bytes_of(proto_descriptor_set, len), &files) == 0) /* cut between two files */
            proto_files_free(&files);
    }
    uint8_t many[2 * (PROTO_FILES_MAX + 1)];
    for (size_t i = 0; i < sizeof many; i += 2) {
        many[i] = 0x0a;
        many[i + 1] = 0;
    }
    assert_int_equal(proto_files_new(bytes_of(many, sizeof many), &files), ERR_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_symbols),
        cmocka_unit_test(test_imports_come_along),
        cmocka_unit_test(test_services),
        cmocka_unit_test(test_what_is_no_set_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
