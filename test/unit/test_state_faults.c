/* Disks that fail under a change: the answer is UNAVAILABLE, and neither the database nor what workers find has changed; when the disk is
 * well again it works again, except after a sync that failed. */

#include "state_fixture.h"

#include "clock.h"
#include "fault_sweep.h"
#include "small_disk.h"
#include "store_internal.h"

#define OLD ":443 a.example 10.0.0.1:1 0\nip 192.0.2.7\n"

static void make_old(struct proxy *p)
{
    must_apply(p, put_on(FIRST, "a.example", "10.0.0.1:1"));
    must_apply(p, rule_change(STATE_ADD_RULE, STORE_RULE_IP, "192.0.2.7"));
}

static void expect_old_tables(struct proxy *p)
{
    expect_route(p, FIRST, "a.example", "10.0.0.1:1");
    expect_route(p, FIRST, "b.example", "");
    assert_int_equal(verdict_on(p, "192.0.2.7"), FIREWALL_BLOCKED_IP);
    assert_int_equal(verdict_on(p, "192.0.2.8"), FIREWALL_PASS);
    assert_int_equal(state_route_count(p->state, id_of_listener(p, FIRST)), 1);
    assert_int_equal(state_rule_count(p->state), 1);
    assert_int_equal(state_max_connections(p->state, id_of_listener(p, SECOND)), 7);
}

/* ---- the changes that are made to fail ---- */

typedef int (*change_fn)(struct proxy *p);

static int change_add(struct proxy *p)
{
    return apply_one(p, put_on(FIRST, "b.example", "10.0.0.2:1"));
}

static int change_replace(struct proxy *p)
{
    return apply_one(p, put_on(FIRST, "a.example", "name.example:1"));
}

static int change_remove(struct proxy *p)
{
    return apply_one(p, remove_on(FIRST, "a.example"));
}

static int change_rules(struct proxy *p)
{
    return apply_one(p, rule_change(STATE_ADD_RULE, STORE_RULE_IP, "192.0.2.8"));
}

static int change_limit(struct proxy *p)
{
    return state_set_max_connections(p->state, bytes_of_str(SECOND), 3, &p->f->why);
}

static int change_list(struct proxy *p)
{
    static char names[200][32];
    struct state_change changes[203] = {
        put_on(FIRST, "a.example", "10.0.0.9:1"),
        rule_change(STATE_REMOVE_RULE, STORE_RULE_IP, "192.0.2.7"),
        rule_change(STATE_ADD_RULE, STORE_RULE_IP, "192.0.2.8"),
    };

    for (size_t i = 0; i < 200; i++) {
        snprintf(names[i], sizeof names[i], "n%zu.example", i * 7919 % 200);
        changes[3 + i] = put_on(FIRST, names[i], "10.0.0.2:1");
    }
    return apply(p, changes, 203);
}

static const struct change {
    const char *name;
    change_fn make;
    size_t count; /* what `failed` is when the disk is to blame; 0: not set */
} changes[] = {
    {"add", change_add, 1},    {"replace", change_replace, 1}, {"remove", change_remove, 1},
    {"rule", change_rules, 1}, {"limit", change_limit, 0},     {"list", change_list, 203},
};
#define CHANGE_COUNT (sizeof changes / sizeof changes[0])

/** One change whose nth operation fails. Returns whether the fault came to strike. */
static bool try_change(struct fault *fault, struct fault arm, const void *context)
{
    const struct change *change = context;
    struct proxy *p = proxy_new();
    bool is_sync = arm.only_syncs;

    make_old(p);
    if (arm.countdown % 2 == 0) /* each other time the -wal is about to be folded in behind the commit */
        p->state->store->checkpoint_pages = 1;
    uint64_t generation = state_generation(p->state);
    *fault = arm;
    int rc = change->make(p);
    bool has_struck = fault_disarm(fault);
    expect_answer(p->f, rc, change->name, arm);
    if (rc != 0) {
        if (change->count > 0)
            assert_int_equal(p->failed, change->count);
        expect_old_tables(p);
        expect_database(p, OLD);
        assert_int_equal(state_generation(p->state), generation);
        assert_true(state_is_settled(p->state));
        if (!is_sync)
            expect_rc(p->f, change->make(p), 0); /* the disk is well again */
    } else {
        assert_int_equal(state_generation(p->state), generation + 1);
    }
    proxy_free(p);
    return has_struck;
}

static void sweep_changes(struct fault *fault, struct fault arm)
{
    for (size_t i = 0; i < CHANGE_COUNT; i++)
        sweep(try_change, &changes[i], fault, arm, 37); /* a long list has thousands of allocations */
}

static void test_every_write_of_every_change_fails_once(void **state)
{
    (void)state;
    sweep_changes(&disk_fault, (struct fault){.result = SQLITE_FULL});
    sweep_changes(&disk_fault, (struct fault){.result = SQLITE_IOERR_WRITE});
    sweep_changes(&disk_fault, (struct fault){.result = SQLITE_READONLY});
}

static void test_every_sync_of_every_change_fails_once(void **state)
{
    (void)state;
    sweep_changes(&disk_fault, (struct fault){.result = SQLITE_IOERR_FSYNC, .only_syncs = true});
}

static void test_every_allocation_of_the_database_fails_once(void **state)
{
    (void)state;
    sweep_changes(&memory_fault, (struct fault){0});
}

/* ---- after a failed sync ---- */

static void expect_refused_until_restart(struct proxy *p)
{
    struct state_change change = put_on(FIRST, "z.example", "10.0.0.2:1");
    struct state_page page = {.limit = 10};
    char text[256];
    struct strbuf lines = STRBUF_OF(text);

    for (int i = 0; i < 3; i++) {
        int rc = apply_one(p, change);
        assert_non_null(strstr(p->f->words, "restart"));
        expect_rc(p->f, rc, ERR_UNAVAILABLE);
    }
    expect_rc(p->f, state_apply(p->state, &change, 1, true, &p->applied, &p->failed, &p->f->why), ERR_UNAVAILABLE);
    expect_rc(p->f, state_set_max_connections(p->state, bytes_of_str(FIRST), 1, &p->f->why), ERR_UNAVAILABLE);
    expect_rc(p->f, state_each_rule(p->state, &page, add_rule_line, &lines, &p->f->why), 0); /* reading goes on */
    assert_string_equal(text, "ip 192.0.2.7\n");
    change.hostname = bytes_of_str("..");
    expect_rc(p->f, apply_one(p, change), ERR_INVALID); /* what is wrong anyway is said first */
    proxy_reopen(p);
    must_apply(p, put_on(FIRST, "z.example", "10.0.0.2:1"));
}

static void test_a_failed_sync_of_a_commit_stops_changes(void **state)
{
    struct proxy *p = *state;

    make_old(p);
    disk_fault = (struct fault){.countdown = 1, .result = SQLITE_IOERR_FSYNC, .only_syncs = true};
    expect_rc(p->f, change_add(p), ERR_UNAVAILABLE);
    disk_fault = (struct fault){0};
    expect_old_tables(p);
    expect_refused_until_restart(p);
}

/** The commit's own sync is well, the one behind it, of the -wal or the file being folded in, is not. */
static void test_a_failed_sync_behind_a_commit_stops_the_next_change(void **state)
{
    struct proxy *p = *state;

    make_old(p);
    p->state->store->checkpoint_pages = 1;
    disk_fault = (struct fault){.countdown = 2, .result = SQLITE_IOERR_FSYNC, .only_syncs = true};
    expect_rc(p->f, change_add(p), 0);
    assert_true(disk_fault.has_struck);
    disk_fault = (struct fault){0};
    expect_route(p, FIRST, "b.example", "10.0.0.2:1");
    expect_refused_until_restart(p);
    expect_route(p, FIRST, "b.example", "10.0.0.2:1");
}

/* ---- a real disk ---- */

/** Changes until the disk is full; returns how many were made. */
static unsigned change_until_full(struct proxy *p, int *rc_out)
{
    char name[32];
    unsigned made = 0;

    for (*rc_out = 0; *rc_out == 0 && made < 5000; made += *rc_out == 0) {
        snprintf(name, sizeof name, "n%u.example", made);
        *rc_out = apply_one(p, put_on(FIRST, name, "10.0.0.1:1"));
    }
    return made;
}

static int on_full_disk(struct fixture *f)
{
    struct proxy p = {.f = f, .loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV)};
    struct state_options options = {.loop = p.loop};
    struct config_listener listener = {.addr_text = FIRST, .addr = {.is_dual_stack = true, .port = 443}};
    struct config config = {.listeners = &listener, .listener_count = 1};
    struct state_loaded loaded;
    int rc;

    if ((rc = mount_small_disk(f)) != 0)
        return rc;
    options.stats =
        mmap(NULL, sizeof *p.stats, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (state_open(f->db, &options, &p.state, &f->why) != 0 || state_load(p.state, &config, &loaded, &f->why) != 0)
        return 1;
    fill_disk(f);
    uint64_t start = clock_monotonic_ms();
    unsigned made = change_until_full(&p, &rc);
    if (rc != ERR_UNAVAILABLE || strstr(f->words, "full") == NULL || clock_monotonic_ms() - start > 10000)
        return 2;
    if (state_route_count(p.state, 0) != made)
        return 3;
    empty_disk(f);
    unsigned more = change_until_full(&p, &rc); /* replaces the same ones first: works again without a restart */
    if (more <= made || state_route_count(p.state, 0) != more)
        return 4;
    state_close(&p.state);
    if (state_open(f->db, &options, &p.state, &f->why) != 0 || state_load(p.state, &config, &loaded, &f->why) != 0)
        return 5;
    bool is_same = loaded.routes == more;
    state_close(&p.state);
    ev_loop_destroy(p.loop);
    return is_same ? 0 : 6;
}

static void test_a_full_disk_refuses_changes_and_recovers(void **state)
{
    run_on_small_disk(*state, on_full_disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_write_of_every_change_fails_once),
        cmocka_unit_test(test_every_sync_of_every_change_fails_once),
        cmocka_unit_test(test_every_allocation_of_the_database_fails_once),
        PROXY_TEST(test_a_failed_sync_of_a_commit_stops_changes),
        PROXY_TEST(test_a_failed_sync_behind_a_commit_stops_the_next_change),
        cmocka_unit_test_setup_teardown(test_a_full_disk_refuses_changes_and_recovers, fixture_setup, fixture_teardown),
    };

    if (!faults_install())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
