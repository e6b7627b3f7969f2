/* Two processes at one database: a second server, a check, somebody's sqlite3. */

#include "store_fixture.h"

#include <sys/file.h>

#include "clock.h"

static int said[2], told[2]; /* pipes: child to parent, parent to child */

static void open_pipes(void)
{
    assert_int_equal(pipe(said), 0);
    assert_int_equal(pipe(told), 0);
}

static void close_pipes(void)
{
    for (int i = 0; i < 2; i++) {
        close(said[i]);
        close(told[i]);
    }
}

/* In the child: say that we are there, and wait to be told to go. */
static int meet(void)
{
    char c = '!';

    return write(said[1], &c, 1) == 1 && read(told[0], &c, 1) == 1 ? 0 : 9;
}

static pid_t start_and_meet(struct fixture *f, child_fn body)
{
    char c = 0;

    open_pipes();
    pid_t pid = start_child(f, body);
    assert_int_equal(read(said[0], &c, 1), 1);
    return pid;
}

static void let_go(pid_t pid)
{
    assert_int_equal(write(told[1], "!", 1), 1);
    assert_int_equal(wait_child(pid), 0);
    close_pipes();
}

static int hold_store(struct fixture *f)
{
    struct store *store = NULL;

    if (store_open(f->db, &store, &f->why) != 0 || put(store, ":443", "a.example", "a:1", &f->why) != 0)
        return 1;
    int rc = meet();
    store_close(&store);
    return rc;
}

static void test_a_second_server_is_refused(void **state)
{
    struct fixture *f = *state;
    struct store *store = NULL;
    struct store_check_result result;
    char before[FOLDER_TEXT], after[FOLDER_TEXT], pid_text[32];

    make_database(f);
    pid_t pid = start_and_meet(f, hold_store);
    list_folder(f->folder, before, sizeof before);
    uint64_t start = clock_monotonic_ms();
    int rc = store_open(f->db, &store, &f->why);
    assert_in_range(clock_monotonic_ms() - start, 900, 20000);
    snprintf(pid_text, sizeof pid_text, "(pid %d)", (int)pid);
    assert_non_null(strstr(f->words, pid_text));
    expect_rc(f, rc, ERR_IN_USE);
    expect_rc(f, store_check(f->db, &result, &f->why), 0);
    assert_true(result.is_in_use && result.is_unread && !result.is_missing);
    list_folder(f->folder, after, sizeof after);
    assert_string_equal(after, before);
    let_go(pid);
    store = must_open(f);
    expect_routes(f, store, ":443 a.example a:1 0\n");
    store_close(&store);
}

static int hold_as_check(struct fixture *f)
{
    int fd = open(f->db, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || flock(fd, LOCK_SH) != 0 || write(said[1], "!", 1) != 1)
        return 1;
    usleep(1500000); /* longer than a server would wait for a server */
    return 0;
}

static void test_a_server_waits_for_a_check(void **state)
{
    struct fixture *f = *state;

    make_database(f);
    pid_t pid = start_and_meet(f, hold_as_check);
    struct store *store = must_open(f);
    store_close(&store);
    let_go(pid);
}

static int read_beside(struct fixture *f)
{
    sqlite3 *db;

    if (sqlite3_open(f->db, &db) != SQLITE_OK ||
        sqlite3_exec(db, "SELECT * FROM routes", NULL, NULL, NULL) != SQLITE_OK)
        return 1;
    int rc = meet();
    return sqlite3_close(db) == SQLITE_OK ? rc : 2;
}

/* Somebody's sqlite3 that is open, with and without a -wal of a killed server, does not keep a server from starting. */
static void test_a_reader_is_no_obstacle(void **state)
{
    struct fixture *f = *state;
    struct store_check_result result;

    make_database(f);
    for (int round = 0; round < 2; round++) {
        if (round == 1)
            assert_true(WIFSIGNALED(run_child(f, put_and_die)));
        pid_t pid = start_and_meet(f, read_beside);
        expect_rc(f, store_check(f->db, &result, &f->why), 0);
        assert_false(result.is_in_use);
        struct store *store = must_open(f);
        expect_rc(f, put(store, ":443", "b.example", "b:1", &f->why), 0);
        store_close(&store);
        let_go(pid);
    }
}

static int write_beside(struct fixture *f)
{
    sqlite3 *db;

    if (sqlite3_open(f->db, &db) != SQLITE_OK || sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return 1;
    int rc = meet();
    return sqlite3_close(db) == SQLITE_OK ? rc : 2;
}

static void test_a_foreign_write_lock_makes_changes_unavailable(void **state)
{
    struct fixture *f = *state;

    make_database(f);
    struct store *store = must_open(f);
    pid_t pid = start_and_meet(f, write_beside);
    uint64_t start = clock_monotonic_ms();
    expect_rc(f, put(store, ":443", "a.example", "a:1", &f->why), ERR_UNAVAILABLE);
    assert_true(clock_monotonic_ms() - start < 20000);
    expect_routes(f, store, "");
    let_go(pid);
    expect_rc(f, put(store, ":443", "a.example", "a:1", &f->why), 0);
    store_close(&store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_second_server_is_refused),
        TEST(test_a_server_waits_for_a_check),
        TEST(test_a_reader_is_no_obstacle),
        TEST(test_a_foreign_write_lock_makes_changes_unavailable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
