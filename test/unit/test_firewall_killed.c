/* A writer of firewall rules that is killed between any two of its stores leaves the old or the new rules, never half of a change. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "doomed_writer.h"
#include "firewall_fixture.h"

struct scenario {
    const char *name;
    const char *before[3]; /* rules at the start */
    const char *add;       /* then one of these */
    const char *remove;
    const char *load[3];
    const char *grows; /* any text: enough others first that the array is built anew */
    struct {
        const char *addr;
        enum firewall_verdict before, after;
    } looks[3];
};

#define PASS    FIREWALL_PASS
#define IP      FIREWALL_BLOCKED_IP
#define CIDR    FIREWALL_BLOCKED_CIDR
#define COUNTRY FIREWALL_BLOCKED_COUNTRY /* every address is of KP */

static const struct scenario scenarios[] = {
    {.name = "first rule of a length", .add = "192.0.2.0/24", .looks = {{"192.0.2.7", PASS, CIDR}}},
    {.name = "first rule of a long length", .add = "2001:db8::7", .looks = {{"2001:db8::7", PASS, IP}}},
    {.name = "last rule of a length",
     .before = {"192.0.2.0/24", "198.51.100.0/25"},
     .remove = "192.0.2.0/24",
     .looks = {{"192.0.2.7", CIDR, PASS}, {"198.51.100.1", CIDR, CIDR}}},
    {.name = "second spelling",
     .before = {"192.0.2.7/32"},
     .add = "192.0.2.7",
     .looks = {{"192.0.2.7", CIDR, IP}, {"192.0.2.8", PASS, PASS}}},
    {.name = "one of two spellings goes",
     .before = {"192.0.2.7/32", "192.0.2.7"},
     .remove = "192.0.2.7",
     .looks = {{"192.0.2.7", IP, CIDR}}},
    {.name = "rule inside a network",
     .before = {"192.0.2.0/24", "192.0.2.7"},
     .remove = "192.0.2.7",
     .looks = {{"192.0.2.7", IP, CIDR}, {"192.0.2.8", CIDR, CIDR}}},
    {.name = "country",
     .before = {"192.0.2.7"},
     .add = "KP",
     .looks = {{"192.0.2.7", IP, IP}, {"192.0.2.8", PASS, COUNTRY}}},
    {.name = "country goes", .before = {"KP", "IR"}, .remove = "KP", .looks = {{"192.0.2.7", COUNTRY, PASS}}},
    {.name = "growth",
     .before = {"192.0.2.0/24", "2001:db8::/32"},
     .add = "192.0.2.7",
     .grows = "yes",
     .looks = {{"192.0.2.7", CIDR, IP}, {"192.0.2.8", CIDR, CIDR}, {"2001:db8::1", CIDR, CIDR}}},
    {.name = "all replaced",
     .before = {"192.0.2.7", "2001:db8::/32"},
     .load = {"192.0.2.0/24", "2001:db8:1::1", "KP"},
     .looks = {{"192.0.2.7", IP, CIDR}, {"2001:db8:1::1", CIDR, IP}, {"2001:db8:2::1", CIDR, COUNTRY}}},
};

static void start_scenario(struct fw_fixture *f, const struct scenario *s)
{
    fw_init(f, 64 << 20, 1);
    for (unsigned i = 0; i < 3 && s->before[i] != NULL; i++)
        assert_int_equal(fw_add(f, s->before[i]), 0);
    /* One below three quarters of the smallest array's 512 slots, so that the next one makes it grow. */
    for (uint32_t i = 0; s->grows != NULL && i < 384 - 1; i++) {
        struct firewall_rule rule = rule_number(0x0a000000 + i);
        assert_int_equal(firewall_add(f->writer, &rule), 0);
    }
}

static void run_scenario(struct fw_fixture *f, const struct scenario *s)
{
    if (s->add != NULL)
        assert_int_equal(fw_add(f, s->add), 0);
    else if (s->remove != NULL)
        assert_int_equal(fw_remove(f, s->remove), 0);
    else
        fw_load(f, (const char *const[]){s->load[0], s->load[1], s->load[2], NULL});
}

/** Every address is as before or as after, and all agree once one of them is as after. Returns whether the change shows. */
static bool check_scenario(const struct fw_fixture *f, const struct scenario *s, unsigned step)
{
    struct table_view view = f->tables->view;
    char country[] = "KP";
    int shows = -1;

    view.pinned_epoch = &f->stats->workers[0].pinned_epoch;
    for (unsigned i = 0; i < 3 && s->looks[i].addr != NULL; i++) {
        struct ip_addr addr = addr_of(s->looks[i].addr);
        enum firewall_verdict got = view_verdict(&view, &addr, country);
        if (got != s->looks[i].before && got != s->looks[i].after)
            fail_msg("%s, step %u: %s has verdict %d", s->name, step, s->looks[i].addr, got);
        if (s->looks[i].before == s->looks[i].after)
            continue;
        if (shows >= 0 && shows != (got == s->looks[i].after))
            fail_msg("%s, step %u: half of the change shows", s->name, step);
        shows = got == s->looks[i].after;
    }
    return shows == 1;
}

/** Run the change in a child that dies at one of its stores; true if it came to the end. */
static bool run_and_die(struct fw_fixture *f, const struct scenario *s, unsigned step)
{
    pid_t child = fork_doomed(step);

    if (child == 0) {
        run_scenario(f, s);
        _exit(0);
    }
    return !has_died(child);
}

static void a_killed_writer_leaves_the_old_or_the_new_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        bool is_whole = false;
        bool did_show = false;
        unsigned step = 0;
        for (; !is_whole; step++) {
            struct fw_fixture f;
            start_scenario(&f, &scenarios[i]);
            assert_false(check_scenario(&f, &scenarios[i], 0));
            is_whole = run_and_die(&f, &scenarios[i], step);
            bool shows = check_scenario(&f, &scenarios[i], step);
            assert_true(shows || !did_show); /* once there, it stays */
            did_show = shows;
            fw_fini(&f);
        }
        assert_true(did_show);
        assert_in_range(step, 3, 99);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_writer_leaves_the_old_or_the_new_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
