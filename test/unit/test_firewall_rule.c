/* Firewall rules in text: one canonical form for every spelling, and a reason for what is no rule. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "firewall_fixture.h"

struct rule_case {
    enum firewall_rule_kind kind;
    const char *text;
    const char *canonical; /* NULL: refused */
};

static const struct rule_case cases[] = {
    {FIREWALL_RULE_IP, "192.0.2.7", "192.0.2.7"},
    {FIREWALL_RULE_IP, "::ffff:192.0.2.7", "192.0.2.7"},
    {FIREWALL_RULE_IP, "2001:DB8:0::7", "2001:db8::7"},
    {FIREWALL_RULE_IP, "192.0.2.7/32", NULL},
    {FIREWALL_RULE_IP, "192.0.2.256", NULL},
    {FIREWALL_RULE_IP, "", NULL},
    {FIREWALL_RULE_CIDR, "198.51.100.0/24", "198.51.100.0/24"},
    {FIREWALL_RULE_CIDR, "192.0.2.7/32", "192.0.2.7/32"},
    {FIREWALL_RULE_CIDR, "0.0.0.0/0", "0.0.0.0/0"},
    {FIREWALL_RULE_CIDR, "::/0", "::/0"},
    {FIREWALL_RULE_CIDR, "2001:DB8::/32", "2001:db8::/32"},
    {FIREWALL_RULE_CIDR, "198.51.100.1/24", NULL},
    {FIREWALL_RULE_CIDR, "::ffff:192.0.2.0/120", NULL},
    {FIREWALL_RULE_CIDR, "192.0.2.7", NULL},
    {FIREWALL_RULE_CIDR, "192.0.2.0/33", NULL},
    {FIREWALL_RULE_COUNTRY, "KP", "KP"},
    {FIREWALL_RULE_COUNTRY, "ZZ", "ZZ"},
    {FIREWALL_RULE_COUNTRY, "kp", NULL},
    {FIREWALL_RULE_COUNTRY, "PRK", NULL},
    {FIREWALL_RULE_COUNTRY, "K", NULL},
    {FIREWALL_RULE_COUNTRY, "", NULL},
    {FIREWALL_RULE_COUNTRY, "K1", NULL},
};

static void rules_have_one_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char why_text[160];
        char text[FIREWALL_RULE_TEXT_MAX];
        struct strbuf why = STRBUF_OF(why_text);
        struct strbuf out = STRBUF_OF(text);
        struct firewall_rule rule;
        int rc = firewall_rule_parse(cases[i].kind, bytes_of_str(cases[i].text), &rule, &why);
        if ((rc == 0) != (cases[i].canonical != NULL))
            fail_msg("'%s': %d %s", cases[i].text, rc, why_text);
        if (rc != 0) {
            assert_true((rc == ERR_INVALID || rc == ERR_RANGE) && why.len > 0);
            continue;
        }
        assert_int_equal(rule.kind, cases[i].kind);
        firewall_rule_format(&rule, &out);
        assert_false(out.overflowed);
        assert_string_equal(text, cases[i].canonical);
    }
}

static void a_single_address_is_a_whole_prefix(void **state)
{
    (void)state;
    assert_int_equal(rule_of("192.0.2.7").prefix.prefix_len, 32);
    assert_int_equal(rule_of("::ffff:192.0.2.7").prefix.addr.family, 4);
    assert_int_equal(rule_of("2001:db8::7").prefix.prefix_len, 128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_have_one_text),
        cmocka_unit_test(a_single_address_is_a_whole_prefix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
