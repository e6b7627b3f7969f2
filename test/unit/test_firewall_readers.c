/* Look-ups while firewall rules change: an address that is blocked all the time, in changing ways, never passes. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <unistd.h>

#include "firewall_fixture.h"

#ifdef MCPROXY_SANITIZED
#define ROUNDS 2000u
#else
#define ROUNDS 20000u
#endif

struct watch {
    struct table_view view;
    struct ip_addr addr;
    char country[3];
    _Atomic bool stop;
    _Atomic uint64_t looks;
    _Atomic uint64_t passed;
};

static void *keep_looking(void *arg)
{
    struct watch *w = arg;

    while (!atomic_load(&w->stop)) {
        if (view_verdict(&w->view, &w->addr, w->country) == FIREWALL_PASS)
            atomic_fetch_add(&w->passed, 1);
        atomic_fetch_add(&w->looks, 1);
    }
    return NULL;
}

/** Run change() many times while another thread looks at an address that is blocked all the time, in changing ways. */
static void watch_changes(struct fw_fixture *f, void (*change)(struct fw_fixture *f, uint32_t round), uint32_t rounds)
{
    static struct watch w;
    pthread_t thread;

    w = (struct watch){.view = f->tables->view, .addr = addr_of("192.0.2.7"), .country = "KP"};
    w.view.pinned_epoch = &f->stats->workers[0].pinned_epoch;
    assert_int_equal(pthread_create(&thread, NULL, keep_looking, &w), 0);
    while (atomic_load(&w.looks) == 0)
        usleep(100);
    for (uint32_t round = 0; round < rounds; round++)
        change(f, round);
    atomic_store(&w.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(atomic_load(&w.passed), 0);
}

/* The next rule comes before the last one goes; IP, both networks and the country take turns. */
static void change_in_turn(struct fw_fixture *f, uint32_t round)
{
    static const char *const turns[] = {"192.0.2.7", "192.0.2.0/24", "KP", "192.0.2.7/32", "128.0.0.0/1", "0.0.0.0/0"};
    const unsigned count = sizeof turns / sizeof turns[0];

    assert_int_equal(fw_add(f, turns[(round + 1) % count]), 0);
    assert_int_equal(fw_remove(f, turns[round % count]), 0);
}

static void an_address_blocked_by_changing_rules_never_passes(void **state)
{
    struct fw_fixture f;
    (void)state;

    fw_init(&f, 64 << 20, 1);
    assert_int_equal(fw_add(&f, "192.0.2.7"), 0);
    watch_changes(&f, change_in_turn, ROUNDS);
    fw_fini(&f);
}

/* The same without chance: two changes while the look-up is between the addresses and the countries. */
static bool change_twice(void *context, const struct ip_addr *addr, char iso_code_out[2])
{
    struct fw_fixture *f = context;

    (void)addr;
    assert_int_equal(fw_add(f, "192.0.2.7"), 0);
    assert_int_equal(fw_remove(f, "KP"), 0);
    iso_code_out[0] = 'K';
    iso_code_out[1] = 'P';
    return true;
}

static void a_look_up_that_was_overtaken_looks_again(void **state)
{
    struct fw_fixture f;
    struct ip_addr addr = addr_of("192.0.2.7");
    (void)state;

    fw_init(&f, 64 << 20, 0);
    assert_int_equal(fw_add(&f, "KP"), 0);
    assert_int_equal(fw_add(&f, "198.51.100.1"), 0); /* so that nothing has to grow */
    const struct shm_root *root = table_pin(&f.tables->view);
    assert_int_equal(firewall_match(f.tables->shm, root, &addr, change_twice, &f), FIREWALL_BLOCKED_IP);
    table_release(&f.tables->view);
    fw_fini(&f);
}

/* And when the table grows meanwhile, the look-up goes on in the old one, which still has the country. */
static void a_look_up_goes_on_in_the_tables_it_began_in(void **state)
{
    struct fw_fixture f;
    struct ip_addr addr = addr_of("192.0.2.7");
    (void)state;

    fw_init(&f, 64 << 20, 0);
    assert_int_equal(fw_add(&f, "KP"), 0);
    const struct shm_root *root = table_pin(&f.tables->view);
    assert_int_equal(firewall_match(f.tables->shm, root, &addr, change_twice, &f), FIREWALL_BLOCKED_COUNTRY);
    assert_ptr_not_equal(tables_root(f.tables), root);
    table_release(&f.tables->view);
    fw_fini(&f);
}

/* With arrays built anew in between: what is asked for is in the table that grows and shrinks. */
static void change_and_grow(struct fw_fixture *f, uint32_t round)
{
    change_in_turn(f, round);
    for (uint32_t i = 0; i < 1200; i++) { /* past three quarters of the smallest arrays, and back */
        struct firewall_rule rule = rule_number(0x0a000000 + i);
        assert_int_equal(round % 2 == 0 ? firewall_add(f->writer, &rule) : firewall_remove(f->writer, &rule), 0);
    }
}

static void growing_never_lets_a_blocked_address_pass(void **state)
{
    struct fw_fixture f;
    (void)state;

    fw_init(&f, 64 << 20, 1);
    assert_int_equal(fw_add(&f, "192.0.2.7"), 0);
    uint64_t generation = tables_root(f.tables)->generation;
    watch_changes(&f, change_and_grow, ROUNDS / 100);
    assert_true(tables_root(f.tables)->generation > generation + ROUNDS / 200);
    fw_fini(&f);
}

static void replace_all(struct fw_fixture *f, uint32_t round)
{
    static const char *const sets[][4] = {{"192.0.2.7", "2001:db8::/32", NULL},
                                          {"192.0.0.0/16", "10.0.0.0/8", NULL},
                                          {"KP", NULL},
                                          {"0.0.0.0/0", "IR", NULL}};

    fw_load(f, sets[round % 4]);
}

static void replacing_all_rules_never_lets_a_blocked_address_pass(void **state)
{
    struct fw_fixture f;
    (void)state;

    fw_init(&f, 64 << 20, 1);
    replace_all(&f, 3);
    watch_changes(&f, replace_all, ROUNDS / 10);
    fw_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_blocked_by_changing_rules_never_passes),
        cmocka_unit_test(a_look_up_that_was_overtaken_looks_again),
        cmocka_unit_test(a_look_up_goes_on_in_the_tables_it_began_in),
        cmocka_unit_test(growing_never_lets_a_blocked_address_pass),
        cmocka_unit_test(replacing_all_rules_never_lets_a_blocked_address_pass),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
