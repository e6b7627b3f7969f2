/* Changing firewall rules: two halves, both spellings of one address, memory that runs out, replacing all rules. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "firewall_fixture.h"

static int prepare_add(struct fw_fixture *f, const char *text, struct firewall_change *out)
{
    struct firewall_rule rule = rule_of(text);
    return firewall_change_prepare_add(f->writer, &rule, out);
}

static int prepare_remove(struct fw_fixture *f, const char *text, struct firewall_change *out)
{
    struct firewall_rule rule = rule_of(text);
    return firewall_change_prepare_remove(f->writer, &rule, out);
}

static void reclaim_all(struct fw_fixture *f)
{
    while (tables_reclaim(f->tables) > 0)
        continue;
}

static void assert_counts(const struct fw_fixture *f, uint32_t ip, uint32_t cidr, uint32_t country)
{
    struct firewall_counts counts = firewall_writer_counts(f->writer);

    assert_int_equal(counts.ip, ip);
    assert_int_equal(counts.cidr, cidr);
    assert_int_equal(counts.country, country);
}

/* ---- two halves ---- */

static void nothing_shows_before_publish_and_nothing_stays_after_abort(void **state)
{
    struct fw_fixture f;
    struct firewall_change add, add_country, removal;
    struct ip_addr addr = addr_of("192.0.2.8");
    char country[] = "KP";
    (void)state;

    fw_init(&f, 64 << 20, 0);
    assert_int_equal(fw_add(&f, "192.0.2.7"), 0);
    reclaim_all(&f);
    uint64_t used = fw_used_bytes(&f);
    assert_int_equal(prepare_add(&f, "192.0.2.8", &add), 0);
    assert_int_equal(prepare_add(&f, "KP", &add_country), 0);
    assert_int_equal(prepare_remove(&f, "192.0.2.7", &removal), 0);
    assert_int_equal(fw_verdict(&f, "192.0.2.7"), FIREWALL_BLOCKED_IP);
    assert_int_equal(view_verdict(&f.tables->view, &addr, country), FIREWALL_PASS);
    firewall_change_abort(&add);
    firewall_change_abort(&add_country);
    firewall_change_abort(&removal);
    firewall_change_abort(&removal); /* once more does nothing */
    assert_int_equal(fw_verdict(&f, "192.0.2.7"), FIREWALL_BLOCKED_IP);
    assert_int_equal(view_verdict(&f.tables->view, &addr, country), FIREWALL_PASS);
    assert_counts(&f, 1, 0, 0);
    assert_int_equal(fw_used_bytes(&f), used);
    assert_int_equal(f.tables->retired.reserved, 0);
    fw_fini(&f);
}

static void a_rule_is_added_and_removed_once(void **state)
{
    static const char *const rules[] = {"192.0.2.7", "2001:db8::/32", "0.0.0.0/0", "KP"};
    struct fw_fixture f;
    struct firewall_change first, second;
    (void)state;

    fw_init(&f, 64 << 20, 0);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        assert_int_equal(fw_remove(&f, rules[i]), ERR_NOT_FOUND);
        assert_int_equal(prepare_add(&f, rules[i], &first), 0);
        assert_int_equal(prepare_add(&f, rules[i], &second), 0);
        assert_true(firewall_change_publish(&second));
        assert_false(firewall_change_publish(&first));
        assert_int_equal(fw_add(&f, rules[i]), ERR_EXISTS);
        assert_int_equal(prepare_remove(&f, rules[i], &first), 0);
        assert_int_equal(prepare_remove(&f, rules[i], &second), 0);
        assert_true(firewall_change_publish(&first));
        assert_false(firewall_change_publish(&second));
        assert_counts(&f, 0, 0, 0);
    }
    assert_int_equal(f.tables->retired.reserved, 0);
    fw_fini(&f);
}

/* "192.0.2.7" and "192.0.2.7/32" are two rules about one address. */
static void both_spellings_of_an_address_live_apart(void **state)
{
    static const char *const spellings[][2] = {{"192.0.2.7", "192.0.2.7/32"}, {"2001:db8::7", "2001:db8::7/128"}};
    struct fw_fixture f;
    struct firewall_change change;
    (void)state;

    fw_init(&f, 64 << 20, 0);
    for (unsigned i = 0; i < 4; i++) {
        const char *first = spellings[i / 2][i % 2];
        const char *second = spellings[i / 2][1 - i % 2];
        const char *addr = spellings[i / 2][0];
        enum firewall_verdict of_first = i % 2 == 0 ? FIREWALL_BLOCKED_IP : FIREWALL_BLOCKED_CIDR;
        enum firewall_verdict of_second = i % 2 == 0 ? FIREWALL_BLOCKED_CIDR : FIREWALL_BLOCKED_IP;
        assert_int_equal(fw_add(&f, first), 0);
        assert_int_equal(fw_verdict(&f, addr), of_first);
        assert_int_equal(fw_remove(&f, second), ERR_NOT_FOUND);
        assert_int_equal(fw_add(&f, second), 0);
        assert_int_equal(fw_verdict(&f, addr), FIREWALL_BLOCKED_IP);
        assert_counts(&f, 1, 1, 0);
        assert_int_equal(fw_remove(&f, first), 0);
        assert_int_equal(fw_verdict(&f, addr), of_second);
        /* The other spelling goes between the halves of adding one, and the record has to be a new one. */
        assert_int_equal(prepare_add(&f, first, &change), 0);
        assert_int_equal(fw_remove(&f, second), 0);
        assert_int_equal(fw_verdict(&f, addr), FIREWALL_PASS);
        assert_true(firewall_change_publish(&change));
        assert_int_equal(fw_verdict(&f, addr), of_first);
        assert_int_equal(fw_remove(&f, first), 0);
        assert_counts(&f, 0, 0, 0);
    }
    fw_fini(&f);
}

static void many_changes_may_be_under_way_while_the_array_grows(void **state)
{
    enum { CHANGES = 3000 };
    static struct firewall_change changes[CHANGES];
    struct fw_fixture f;
    (void)state;

    fw_init(&f, 64 << 20, 0);
    for (uint32_t i = 0; i < CHANGES; i++) {
        struct firewall_rule rule = rule_number(i);
        assert_int_equal(firewall_change_prepare_add(f.writer, &rule, &changes[i]), 0);
    }
    for (uint32_t i = CHANGES; i-- > 0;) {
        if (i % 3 == 0)
            firewall_change_abort(&changes[i]);
        else
            assert_true(firewall_change_publish(&changes[i]));
    }
    for (uint32_t i = 0; i < CHANGES; i++) {
        struct firewall_rule rule = rule_number(i);
        assert_int_equal(view_verdict(&f.tables->view, &rule.prefix.addr, NULL),
                         i % 3 == 0 ? FIREWALL_PASS : FIREWALL_BLOCKED_IP);
    }
    assert_counts(&f, CHANGES / 3 * 2, 0, 0);
    assert_int_equal(f.tables->retired.reserved, 0);
    fw_fini(&f);
}

static void all_memory_comes_back(void **state)
{
    struct fw_fixture f;
    uint64_t used_before = 0;
    (void)state;

    fw_init(&f, 64 << 20, 0);
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 20000; i++) {
            struct firewall_rule rule = rule_number(i * 977);
            assert_int_equal(firewall_add(f.writer, &rule), 0);
        }
        for (uint32_t i = 0; i < 20000; i++) {
            struct firewall_rule rule = rule_number(i * 977);
            assert_int_equal(firewall_remove(f.writer, &rule), 0);
        }
        reclaim_all(&f);
        if (round > 0)
            assert_int_equal(fw_used_bytes(&f), used_before);
        used_before = fw_used_bytes(&f);
    }
    fw_fini(&f);
}

/* A segment that is too small: each refusal leaves everything as it was, and what is in stays in. */
static void out_of_memory_changes_nothing(void **state)
{
    struct fw_fixture f;
    uint32_t added = 0;
    struct firewall_bulk *bulk = NULL;
    (void)state;

    fw_init(&f, 1 << 20, 0);
    for (;; added++) {
        struct firewall_rule rule = rule_number(added);
        uint64_t generation = tables_root(f.tables)->generation;
        int rc = firewall_add(f.writer, &rule);
        if (rc != 0) {
            assert_int_equal(rc, ERR_NO_MEMORY);
            assert_int_equal(tables_root(f.tables)->generation, generation);
            break;
        }
    }
    assert_in_range(added, 1000, 200000);
    assert_int_equal(f.tables->retired.reserved, 0);
    for (uint32_t i = 0; i <= added; i++) {
        struct firewall_rule rule = rule_number(i);
        assert_int_equal(view_verdict(&f.tables->view, &rule.prefix.addr, NULL),
                         i < added ? FIREWALL_BLOCKED_IP : FIREWALL_PASS);
    }
    assert_int_equal(firewall_bulk_begin(f.writer, 1 << 20, 0, &bulk), ERR_NO_MEMORY);
    assert_int_equal(firewall_bulk_begin(f.writer, 0, 1 << 20, &bulk), ERR_NO_MEMORY);
    assert_int_equal(f.tables->retired.reserved, 0);
    for (uint32_t i = 0; i < added; i++) {
        struct firewall_rule rule = rule_number(i);
        assert_int_equal(firewall_remove(f.writer, &rule), 0);
    }
    assert_counts(&f, 0, 0, 0);
    fw_fini(&f);
}

/* ---- replacing all rules ---- */

static void a_bulk_load_replaces_everything(void **state)
{
    static const char *const first[] = {"192.0.2.7", "198.51.100.0/24", "2001:db8::/32", "KP", NULL};
    static const char *const second[] = {"192.0.2.7", "192.0.2.7/32", "192.0.2.7", "2001:db8:1::/48", "IR", NULL};
    static const char *const none[] = {NULL};
    struct fw_fixture f;
    struct firewall_bulk *bulk = NULL;
    struct ip_addr addr = addr_of("203.0.113.1");
    char country[] = "KP";
    (void)state;

    fw_init(&f, 64 << 20, 0);
    fw_load(&f, first);
    assert_counts(&f, 1, 2, 1);
    assert_int_equal(view_verdict(&f.tables->view, &addr, country), FIREWALL_BLOCKED_COUNTRY);
    assert_int_equal(firewall_bulk_begin(f.writer, 10, 10, &bulk), 0);
    struct firewall_rule rule = rule_of("203.0.113.1");
    assert_int_equal(firewall_bulk_add(bulk, &rule), 0);
    assert_int_equal(fw_verdict(&f, "203.0.113.1"), FIREWALL_PASS);
    firewall_bulk_abort(&bulk);
    firewall_bulk_abort(&bulk);
    fw_load(&f, second);
    assert_counts(&f, 1, 2, 1);
    assert_int_equal(fw_verdict(&f, "192.0.2.7"), FIREWALL_BLOCKED_IP);
    assert_int_equal(fw_verdict(&f, "198.51.100.1"), FIREWALL_PASS);
    assert_int_equal(fw_verdict(&f, "2001:db8:1::1"), FIREWALL_BLOCKED_CIDR);
    assert_int_equal(fw_verdict(&f, "2001:db8:2::1"), FIREWALL_PASS);
    assert_int_equal(view_verdict(&f.tables->view, &addr, country), FIREWALL_PASS);
    assert_int_equal(fw_remove(&f, "2001:db8:1::/48"), 0); /* the counts came along */
    assert_int_equal(fw_verdict(&f, "2001:db8:1::1"), FIREWALL_PASS);
    fw_load(&f, none);
    reclaim_all(&f);
    uint64_t used = fw_used_bytes(&f);
    fw_load(&f, first);
    fw_load(&f, none);
    reclaim_all(&f);
    assert_int_equal(fw_used_bytes(&f), used);
    assert_int_equal(f.tables->retired.reserved, 0);
    fw_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_shows_before_publish_and_nothing_stays_after_abort),
        cmocka_unit_test(a_rule_is_added_and_removed_once),
        cmocka_unit_test(both_spellings_of_an_address_live_apart),
        cmocka_unit_test(many_changes_may_be_under_way_while_the_array_grows),
        cmocka_unit_test(all_memory_comes_back),
        cmocka_unit_test(out_of_memory_changes_nothing),
        cmocka_unit_test(a_bulk_load_replaces_everything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
