/* Names of TLS's numbers, and numbers where there is no name. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client_hello.h"
#include "tls_names.h"

static void test_versions(void **state)
{
    char buffer[TLS_NAME_MAX];

    (void)state;
    assert_string_equal(tls_version_name(0x0304, buffer), "1.3");
    assert_string_equal(tls_version_name(0x0303, buffer), "1.2");
    assert_string_equal(tls_version_name(0x0301, buffer), "1.0");
    assert_string_equal(tls_version_name(0x0300, buffer), "ssl3");
    assert_string_equal(tls_version_name(0x7f1c, buffer), "0x7f1c");
    assert_string_equal(tls_version_name(0x0305, buffer), "0x0305");
}

static void test_groups(void **state)
{
    char buffer[TLS_NAME_MAX];

    (void)state;
    assert_string_equal(tls_group_name(29, buffer), "x25519");
    assert_string_equal(tls_group_name(23, buffer), "secp256r1");
    assert_string_equal(tls_group_name(0x11ec, buffer), "x25519mlkem768");
    assert_string_equal(tls_group_name(260, buffer), "ffdhe8192");
    assert_string_equal(tls_group_name(0xfafa, buffer), "0xfafa");
    assert_string_equal(tls_group_name(0xffff, buffer), "0xffff");
    assert_string_equal(tls_group_name(1, buffer), "0x0001");
}

static void test_alerts(void **state)
{
    char buffer[TLS_NAME_MAX];
    unsigned named = 0;

    (void)state;
    assert_string_equal(tls_alert_name(0, buffer), "close_notify");
    assert_string_equal(tls_alert_name(40, buffer), "handshake_failure");
    assert_string_equal(tls_alert_name(70, buffer), "protocol_version");
    assert_string_equal(tls_alert_name(121, buffer), "ech_required");
    assert_string_equal(tls_alert_name(1, buffer), "1");
    assert_string_equal(tls_alert_name(255, buffer), "255");
    for (unsigned i = 0; i < 256; i++)
        named += tls_alert_name((uint8_t)i, buffer) != buffer;
    assert_int_equal(named, 35);
}

static void test_offered_versions(void **state)
{
    char buffer[TLS_VERSIONS_MAX];

    (void)state;
    assert_string_equal(tls_versions_text(0, buffer), "");
    assert_string_equal(tls_versions_text(HELLO_VERSION_TLS13 | HELLO_VERSION_TLS12, buffer), "1.3,1.2");
    assert_string_equal(tls_versions_text(HELLO_VERSION_TLS10, buffer), "1.0");
    assert_string_equal(tls_versions_text(0xff, buffer), "1.3,1.2,1.1,1.0,other");
}

static void test_every_outcome_has_a_word_of_its_own(void **state)
{
    (void)state;
    for (unsigned i = 0; i < HANDSHAKE_OUTCOMES; i++) {
        assert_true(strlen(handshake_outcome_word(i)) > 2);
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(handshake_outcome_word(i), handshake_outcome_word(j));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_alerts),
        cmocka_unit_test(test_offered_versions),
        cmocka_unit_test(test_every_outcome_has_a_word_of_its_own),
    };
    return cmocka_run_group_tests_name("tls_names", tests, NULL, NULL);
}
