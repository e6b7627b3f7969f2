/* Disks that fill up, disks that fail, memory that runs out: a change has happened or it has not, the answer says which, and a database
 * is never worse for it. */

#include "store_fixture.h"

#include <sys/mount.h>

#include "clock.h"
#include "config.h"
#include "fault_sweep.h"
#include "faulty_vfs.h"
#include "log_event.h"
#include "small_disk.h"

#define OLD_ROUTES ":443 a.example a:1 0\n:443 b.example b:1 0\n"

static void make_two_routes(struct fixture *f)
{
    struct store *store = must_open(f);

    store_close(&store);
    raw_sql(f->db, "INSERT INTO listeners (addr, seeded_at) VALUES (':443', 1);"
                   "INSERT INTO routes (listener_id, hostname, backend) VALUES (1, 'a.example', 'a:1');"
                   "INSERT INTO routes (listener_id, hostname, backend) VALUES (1, 'b.example', 'b:1');");
}

static void read_routes(struct fixture *f, struct store *store, char *out, size_t size)
{
    struct strbuf lines = strbuf_init(out, size);

    expect_rc(f, store_each_route(store, add_route_line, &lines, &f->why), 0);
}

static int count_folder(const char *folder)
{
    int count = 0;
    DIR *dir = opendir(folder);

    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return count;
}

/* ---- the changes that are made to fail ---- */

typedef int (*change_fn)(struct store *store, struct strbuf *why);

static int change_add(struct store *store, struct strbuf *why)
{
    return put(store, ":443", "c.example", "c:1", why);
}

static int change_replace(struct store *store, struct strbuf *why)
{
    return put(store, ":443", "a.example", "c:1", why);
}

static int change_remove(struct store *store, struct strbuf *why)
{
    return store_remove_route(store, ":443", "a.example", why);
}

/* A transaction whose every step is made, whatever the others came to: only the commit's answer counts. */
static int change_many(struct store *store, struct strbuf *why)
{
    char name[32], ignored[512];
    struct strbuf step_why = STRBUF_OF(ignored);
    int rc = store_begin(store, why);

    for (int i = 0; rc == 0 && i < 20; i++) {
        snprintf(name, sizeof name, "%s%d.example", i % 2 ? "n" : "m", i);
        (void)(put(store, ":443", name, "c:1", &step_why) == 0);
    }
    return rc == 0 ? store_commit(store, why) : rc;
}

static int change_seed(struct store *store, struct strbuf *why)
{
    static char hostname[] = "s.example", backend[] = "s:1";
    static struct config_route routes[] = {{.hostname = hostname, .backend = backend}};
    struct config_listener listener = {.routes = routes, .route_count = 1, .addr = {.is_dual_stack = true, .port = 9}};
    struct config config = {.listeners = &listener, .listener_count = 1};
    struct store_seeded seeded;

    return store_seed(store, &config, &seeded, why);
}

static const struct change {
    const char *name;
    change_fn make;
} changes[] = {
    {"add", change_add},          {"replace", change_replace}, {"remove", change_remove},
    {"transaction", change_many}, {"seed", change_seed},
};
#define CHANGE_COUNT (sizeof changes / sizeof changes[0])

/* A change and what it comes to. */
struct attempt {
    const struct change *change;
    char new_routes[4096];
};

/* What the routes are after the change, by making it on a healthy disk. */
static void learn_new_routes(struct attempt *attempt)
{
    struct fixture *f = fixture_new();
    make_two_routes(f);
    struct store *store = must_open(f);
    expect_rc(f, attempt->change->make(store, &f->why), 0);
    read_routes(f, store, attempt->new_routes, sizeof attempt->new_routes);
    store_close(&store);
    fixture_free(f);
}

/*
 * One change whose nth disk operation (or allocation) fails. The answer, the open store and the reopened one must tell one story; only
 * after a failed sync may the change be there at the next start although it was answered as failed: nobody can know.
 *
 * @return whether the fault came to strike
 */
static bool try_change(struct fault *fault, struct fault arm, const void *context)
{
    const struct attempt *a = context;
    char now[4096], later[4096];

    struct fixture *f = fixture_new();
    make_two_routes(f);
    struct store *store = must_open(f);
    *fault = arm;
    int rc = a->change->make(store, &f->why);
    bool has_struck = fault_disarm(fault);
    expect_answer(f, rc, a->change->name, arm);
    store_rollback(store);
    read_routes(f, store, now, sizeof now);
    assert_string_equal(now, rc == 0 ? a->new_routes : OLD_ROUTES);
    store_close(&store);
    store = must_open(f);
    read_routes(f, store, later, sizeof later);
    if (arm.result != SQLITE_IOERR_FSYNC || strcmp(later, a->new_routes) != 0)
        assert_string_equal(later, now);
    expect_rc(f, put(store, ":443", "later.example", "a:1", &f->why), 0);
    store_close(&store);
    fixture_free(f);
    return has_struck;
}

static void sweep_changes(struct fault *fault, struct fault arm)
{
    for (size_t i = 0; i < CHANGE_COUNT; i++) {
        struct attempt attempt = {.change = &changes[i]};
        learn_new_routes(&attempt);
        sweep(try_change, &attempt, fault, arm, 1);
    }
}

static void test_every_write_of_every_change_fails_once(void **state)
{
    (void)state;
    sweep_changes(&disk_fault, (struct fault){.result = SQLITE_FULL});
    sweep_changes(&disk_fault, (struct fault){.result = SQLITE_IOERR_WRITE});
}

static void test_every_sync_of_every_change_fails_once(void **state)
{
    (void)state;
    sweep_changes(&disk_fault, (struct fault){.result = SQLITE_IOERR_FSYNC, .only_syncs = true});
}

static void test_every_allocation_of_every_change_fails_once(void **state)
{
    (void)state;
    sweep_changes(&memory_fault, (struct fault){0});
}

static void test_after_a_failed_sync_nothing_is_promised(void **state)
{
    struct fixture *f = *state;

    make_two_routes(f);
    struct store *store = must_open(f);
    /* Not the first change: a -wal that begins is synced even with synchronous=NORMAL. */
    expect_rc(f, put(store, ":443", "b.example", "b:2", &f->why), 0);
    expect_rc(f, put(store, ":443", "b.example", "b:1", &f->why), 0);
    disk_fault = (struct fault){.countdown = 1, .result = SQLITE_IOERR_FSYNC, .only_syncs = true};
    expect_rc(f, put(store, ":443", "c.example", "c:1", &f->why), ERR_UNAVAILABLE);
    disk_fault = (struct fault){0};
    int rc = put(store, ":443", "d.example", "d:1", &f->why);
    assert_non_null(strstr(f->words, "restart"));
    expect_rc(f, rc, ERR_UNAVAILABLE);
    expect_routes(f, store, OLD_ROUTES);
    store_close(&store);
    store = must_open(f);
    expect_rc(f, put(store, ":443", "d.example", "d:1", &f->why), 0);
    store_close(&store);
}

static void count_unfolded(struct bytes record, void *count)
{
    struct log_record_reader r;

    assert_int_equal(log_record_open(&r, record), 0);
    *(unsigned *)count +=
        bytes_equal_str(r.message, "the last changes stay in the -wal beside the database until the next start");
}

/** Somebody who reads the old state keeps the -wal from being folded in. */
static void test_changes_that_stay_in_the_wal_are_told(void **state)
{
    struct fixture *f = *state;
    unsigned told = 0;
    sqlite3 *reader;

    make_two_routes(f);
    log_set_sink(count_unfolded, &told);
    struct store *store = must_open(f);
    assert_int_equal(sqlite3_open(f->db, &reader), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT * FROM routes", NULL, NULL, NULL), SQLITE_OK);
    expect_rc(f, put(store, ":443", "c.example", "c:1", &f->why), 0);
    store_close(&store);
    assert_int_equal(told, 1);
    assert_int_equal(sqlite3_close(reader), SQLITE_OK); /* the last one folds it in */
    store = must_open(f);
    expect_rc(f, put(store, ":443", "d.example", "d:1", &f->why), 0);
    store_close(&store);
    assert_int_equal(told, 1);
    assert_int_equal(count_folder(f->folder), 1);
    log_set_sink(NULL, NULL);
}

/* ---- opening ---- */

/* A new database: all of it or no file at all. */
static bool try_new(struct fault *fault, struct fault arm, const void *context)
{
    struct store *store = NULL;

    (void)context;
    struct fixture *f = fixture_new();
    *fault = arm;
    int rc = store_open(f->db, &store, &f->why);
    bool has_struck = fault_disarm(fault);
    expect_rc(f, rc, rc);
    store_close(&store);
    assert_int_equal(count_folder(f->folder), rc == 0 ? 1 : 0);
    store = must_open(f);
    expect_routes(f, store, "");
    store_close(&store);
    fixture_free(f);
    return has_struck;
}

static int die_with_a_wal(struct fixture *f)
{
    struct store *store = NULL;

    if (store_open(f->db, &store, &f->why) != 0 || put(store, ":443", "c.example", "c:1", &f->why) != 0)
        return 1;
    return raise(SIGKILL);
}

static void copy_file(const char *from_folder, const char *to_folder, const char *name)
{
    char path[256];
    static char content[1 << 20];

    snprintf(path, sizeof path, "%s/%s", from_folder, name);
    int in = open(path, O_RDONLY);
    ssize_t len = read(in, content, sizeof content);
    snprintf(path, sizeof path, "%s/%s", to_folder, name);
    int out = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(len > 0 && (size_t)len < sizeof content);
    assert_int_equal(write(out, content, (size_t)len), len);
    close(in);
    close(out);
}

/* A copy of what a killed server left: what was in its -wal is there after the failure too. */
static bool try_recovery(struct fault *fault, struct fault arm, const void *context)
{
    const struct fixture *killed = context;
    struct store *store = NULL;
    struct store_check_result result;

    struct fixture *f = fixture_new();
    copy_file(killed->folder, f->folder, "mc-proxy.db");
    copy_file(killed->folder, f->folder, "mc-proxy.db-wal");
    *fault = arm;
    int rc = store_check(f->db, &result, &f->why);
    expect_rc(f, rc, rc);
    if (rc == 0) {
        rc = store_open(f->db, &store, &f->why);
        expect_rc(f, rc, rc);
    }
    store_close(&store);
    bool has_struck = fault_disarm(fault);
    store = must_open(f);
    expect_routes(f, store, OLD_ROUTES ":443 c.example c:1 0\n");
    store_close(&store);
    fixture_free(f);
    return has_struck;
}

static void sweep_recovery(struct fixture *f, struct fault *fault, struct fault arm, int stride)
{
    if (access(f->db, F_OK) != 0) {
        make_two_routes(f);
        assert_true(WIFSIGNALED(run_child(f, die_with_a_wal)));
    }
    sweep(try_recovery, f, fault, arm, stride);
}

static void test_every_disk_operation_of_opening_fails_once(void **state)
{
    sweep(try_new, NULL, &disk_fault, (struct fault){.result = SQLITE_FULL}, 1);
    sweep(try_new, NULL, &disk_fault, (struct fault){.result = SQLITE_IOERR_FSYNC, .only_syncs = true}, 1);
    sweep_recovery(*state, &disk_fault, (struct fault){.result = SQLITE_IOERR_WRITE}, 1);
    sweep_recovery(*state, &disk_fault, (struct fault){.result = SQLITE_FULL}, 1);
}

static void test_allocations_of_opening_fail(void **state)
{
    sweep(try_new, NULL, &memory_fault, (struct fault){0}, 1);
    /* A few thousand, most of them those of a new database again: every fifth of them is enough. */
    sweep_recovery(*state, &memory_fault, (struct fault){0}, 5);
}

static bool try_snapshot(struct fault *fault, struct fault arm, const void *context)
{
    char copy[128];

    (void)context;
    struct fixture *f = fixture_new();
    snprintf(copy, sizeof copy, "%s/copy.db", f->folder);
    make_two_routes(f);
    struct store *store = must_open(f);
    *fault = arm;
    int rc = store_snapshot(store, copy, &f->why);
    bool has_struck = fault_disarm(fault);
    expect_rc(f, rc, rc);
    assert_int_equal(access(copy, F_OK) == 0, rc == 0);
    expect_routes(f, store, OLD_ROUTES);
    store_close(&store);
    fixture_free(f);
    return has_struck;
}

static void test_a_snapshot_that_fails_leaves_no_file(void **state)
{
    (void)state;
    sweep(try_snapshot, NULL, &disk_fault, (struct fault){.result = SQLITE_FULL}, 1);
    sweep(try_snapshot, NULL, &memory_fault, (struct fault){0}, 1);
}

/* ---- a real disk ---- */

static int count_routes(const struct store_route *route, void *ctx)
{
    (void)route;
    ++*(int *)ctx;
    return 0;
}

static int on_full_disk(struct fixture *f)
{
    struct store *store = NULL;
    struct store_seeded seeded;
    struct config_listener listener = {.addr = {.is_dual_stack = true, .port = 443}};
    struct config config = {.listeners = &listener, .listener_count = 1};
    char name[32];
    int made = 0, there = 0, rc;

    if ((rc = mount_small_disk(f)) != 0)
        return rc;
    if (store_open(f->db, &store, &f->why) != 0 || store_seed(store, &config, &seeded, &f->why) != 0)
        return 1;
    fill_disk(f);
    uint64_t start = clock_monotonic_ms();
    do { /* what is left of the -wal's last page may take a few */
        snprintf(name, sizeof name, "n%d.example", made);
        rc = put(store, ":443", name, "a:1", &f->why);
        made += rc == 0;
    } while (rc == 0 && made < 1000);
    if (rc != ERR_UNAVAILABLE || strstr(f->words, "full") == NULL || clock_monotonic_ms() - start > 10000)
        return 2;
    if (store_each_route(store, count_routes, &there, &f->why) != 0 || there != made)
        return 3;
    empty_disk(f); /* space again: it works again, without a restart */
    if (put(store, ":443", name, "a:1", &f->why) != 0)
        return 4;
    store_close(&store);
    there = 0;
    if (store_open(f->db, &store, &f->why) != 0 || store_each_route(store, count_routes, &there, &f->why) != 0)
        return 5;
    store_close(&store);
    return there == made + 1 ? 0 : 6;
}

static int on_read_only_disk(struct fixture *f)
{
    struct store *store = NULL;
    struct store_check_result result;
    int rc;

    if ((rc = mount_small_disk(f)) != 0)
        return rc;
    if (store_open(f->db, &store, &f->why) != 0)
        return 1;
    store_close(&store);
    if (mount(NULL, f->folder, NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0)
        return NOT_PERMITTED;
    if (store_open(f->db, &store, &f->why) != ERR_SYSTEM || strstr(f->words, "Read-only file system") == NULL)
        return 2;
    return store_check(f->db, &result, &f->why) == ERR_SYSTEM ? 0 : 3;
}

static int on_full_disk_from_the_start(struct fixture *f)
{
    struct store *store = NULL;
    int rc;

    if ((rc = mount_small_disk(f)) != 0)
        return rc;
    fill_disk(f);
    if (store_open(f->db, &store, &f->why) != ERR_UNAVAILABLE || strstr(f->words, "full") == NULL)
        return 1;
    if (access(f->db, F_OK) == 0)
        return 2;
    empty_disk(f);
    if (store_open(f->db, &store, &f->why) != 0)
        return 3;
    store_close(&store);
    fill_disk(f); /* a later start: what SQLite lacks room for is the -shm, and to it that is an I/O error */
    strbuf_reset(&f->why);
    if (store_open(f->db, &store, &f->why) != ERR_UNAVAILABLE || strstr(f->words, "the disk is full") == NULL)
        return 4;
    return 0;
}

static void test_a_full_disk_refuses_changes_and_recovers(void **state)
{
    run_on_small_disk(*state, on_full_disk);
}

static void test_a_full_disk_at_the_first_start(void **state)
{
    run_on_small_disk(*state, on_full_disk_from_the_start);
}

static void test_a_read_only_disk_is_refused(void **state)
{
    run_on_small_disk(*state, on_read_only_disk);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_write_of_every_change_fails_once),
        cmocka_unit_test(test_every_sync_of_every_change_fails_once),
        cmocka_unit_test(test_every_allocation_of_every_change_fails_once),
        TEST(test_after_a_failed_sync_nothing_is_promised),
        TEST(test_changes_that_stay_in_the_wal_are_told),
        TEST(test_every_disk_operation_of_opening_fails_once),
        TEST(test_allocations_of_opening_fail),
        cmocka_unit_test(test_a_snapshot_that_fails_leaves_no_file),
        TEST(test_a_full_disk_refuses_changes_and_recovers),
        TEST(test_a_full_disk_at_the_first_start),
        TEST(test_a_read_only_disk_is_refused),
    };

    if (!faults_install())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
