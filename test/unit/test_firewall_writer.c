/* Changing firewall rules: two halves, both spellings of one address, memory that runs out, replacing all rules, a writer that is
 * killed between any two stores, and readers who look meanwhile. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "firewall_fixture.h"

#ifdef MCPROXY_SANITIZED
#define ROUNDS 2000u
#else
#define ROUNDS 20000u
#endif

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

static struct firewall_rule rule_number(uint32_t n)
{
    struct firewall_rule rule = {.kind = FIREWALL_RULE_IP, .prefix = {.addr = {.family = 4}, .prefix_len = 32}};

    for (unsigned i = 0; i < 4; i++)
        rule.prefix.addr.bytes[i] = (uint8_t)(n >> (24 - 8 * i));
    return rule;
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

static void load(struct fw_fixture *f, const char *const *rules)
{
    struct firewall_bulk *bulk = NULL;

    assert_int_equal(firewall_bulk_begin(f->writer, 0, 0, &bulk), 0);
    for (; *rules != NULL; rules++) {
        struct firewall_rule rule = rule_of(*rules);
        assert_int_equal(firewall_bulk_add(bulk, &rule), 0);
    }
    firewall_bulk_publish(&bulk);
    assert_null(bulk);
}

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
    load(&f, first);
    assert_counts(&f, 1, 2, 1);
    assert_int_equal(view_verdict(&f.tables->view, &addr, country), FIREWALL_BLOCKED_COUNTRY);
    assert_int_equal(firewall_bulk_begin(f.writer, 10, 10, &bulk), 0);
    struct firewall_rule rule = rule_of("203.0.113.1");
    assert_int_equal(firewall_bulk_add(bulk, &rule), 0);
    assert_int_equal(fw_verdict(&f, "203.0.113.1"), FIREWALL_PASS);
    firewall_bulk_abort(&bulk);
    firewall_bulk_abort(&bulk);
    load(&f, second);
    assert_counts(&f, 1, 2, 1);
    assert_int_equal(fw_verdict(&f, "192.0.2.7"), FIREWALL_BLOCKED_IP);
    assert_int_equal(fw_verdict(&f, "198.51.100.1"), FIREWALL_PASS);
    assert_int_equal(fw_verdict(&f, "2001:db8:1::1"), FIREWALL_BLOCKED_CIDR);
    assert_int_equal(fw_verdict(&f, "2001:db8:2::1"), FIREWALL_PASS);
    assert_int_equal(view_verdict(&f.tables->view, &addr, country), FIREWALL_PASS);
    assert_int_equal(fw_remove(&f, "2001:db8:1::/48"), 0); /* the counts came along */
    assert_int_equal(fw_verdict(&f, "2001:db8:1::1"), FIREWALL_PASS);
    load(&f, none);
    reclaim_all(&f);
    uint64_t used = fw_used_bytes(&f);
    load(&f, first);
    load(&f, none);
    reclaim_all(&f);
    assert_int_equal(fw_used_bytes(&f), used);
    assert_int_equal(f.tables->retired.reserved, 0);
    fw_fini(&f);
}

/* ---- readers who look while rules change ---- */

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
    memcpy(iso_code_out, "KP", 2);
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

    load(f, sets[round % 4]);
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

/* ---- a writer that is killed between any two stores ---- */

static unsigned steps_left;

static void die_at_step(const char *step)
{
    (void)step;
    if (--steps_left == 0)
        raise(SIGKILL);
}

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
        load(f, (const char *const[]){s->load[0], s->load[1], s->load[2], NULL});
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

/** Run the change in a child that dies at its step-th store; true if it came to the end. */
static bool run_and_die(struct fw_fixture *f, const struct scenario *s, unsigned step)
{
    pid_t parent = getpid();
    pid_t child = fork();
    int status = 0;

    assert_true(child >= 0);
    if (child == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
            _exit(2);
        steps_left = step;
        tables_on_step = die_at_step;
        run_scenario(f, s);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGKILL);
    return WIFEXITED(status);
}

static void a_killed_writer_leaves_the_old_or_the_new_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        bool is_whole = false;
        bool did_show = false;
        unsigned step = 1;
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
        assert_in_range(step, 4, 100);
    }
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
        cmocka_unit_test(an_address_blocked_by_changing_rules_never_passes),
        cmocka_unit_test(a_look_up_that_was_overtaken_looks_again),
        cmocka_unit_test(a_look_up_goes_on_in_the_tables_it_began_in),
        cmocka_unit_test(growing_never_lets_a_blocked_address_pass),
        cmocka_unit_test(replacing_all_rules_never_lets_a_blocked_address_pass),
        cmocka_unit_test(a_killed_writer_leaves_the_old_or_the_new_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
