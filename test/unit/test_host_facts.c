/* What a worker reads of its host before its sandbox. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host_facts.h"

static void test_ranges_of_ports(void **state)
{
    static const struct {
        const char *line;
        bool is_range;
        uint16_t first, last;
    } cases[] = {
        {"32768\t60999\n", true, 32768, 60999},
        {"1 65535", true, 1, 65535},
        {"5 5\n", true, 5, 5},
        {"", false, 7, 8},
        {"32768", false, 7, 8},
        {"60999 32768", false, 7, 8},
        {"0 10", false, 7, 8},
        {"1 65536", false, 7, 8},
        {"a b", false, 7, 8},
        {"99999999999 1", false, 7, 8},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct host_facts facts = {.first_port = 7, .last_port = 8};
        assert_int_equal(host_facts_parse_ports(cases[i].line, &facts), cases[i].is_range);
        assert_int_equal(facts.first_port, cases[i].first);
        assert_int_equal(facts.last_port, cases[i].last);
    }
}

static void test_this_host(void **state)
{
    struct host_facts facts = {0};

    (void)state;
    host_facts_read(&facts);
    assert_true(facts.first_port >= 1 && facts.first_port <= facts.last_port);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges_of_ports),
        cmocka_unit_test(test_this_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
