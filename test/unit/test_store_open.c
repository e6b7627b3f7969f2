/* Opening and checking database files: modes, paths, new and old files, what a crash leaves behind. What is refused is in
 * test_store_refuse.c, two processes at a time in test_store_share.c. */

#include "store_fixture.h"

#include <grp.h>

#include "store_internal.h"

static void expect_mode(const char *path, const char *suffix, unsigned mode)
{
    char name[512];
    struct stat st;

    snprintf(name, sizeof name, "%s%s", path, suffix);
    assert_int_equal(stat(name, &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
}

static void test_files_have_mode_0600_under_any_umask(void **state)
{
    static const mode_t masks[] = {0, 022, 0777};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        mode_t before = umask(masks[i]);
        struct store *store = must_open(f);
        umask(before);
        expect_mode(f->db, "", 0600);
        expect_mode(f->db, "-wal", 0600);
        expect_mode(f->db, "-shm", 0600);
        store_close(&store);
        assert_int_equal(unlink(f->db), 0);
    }
}

static void test_a_closed_store_is_one_file_with_our_mark(void **state)
{
    struct fixture *f = *state;
    char text[FOLDER_TEXT];
    uint8_t header[100];

    make_database(f);
    list_folder(f->folder, text, sizeof text);
    assert_memory_equal(text, "mc-proxy.db mode=100600", 23);
    assert_ptr_equal(strchr(text, '\n'), strrchr(text, '\n'));
    int fd = open(f->db, O_RDONLY);
    assert_int_equal(read(fd, header, sizeof header), sizeof header);
    close(fd);
    assert_memory_equal(header + 68, "MCPX", 4);
    assert_int_equal(header[63], store_schema_version());
}

/* ---- paths ---- */

static void expect_bad_path(struct fixture *f, const char *path, const char *word)
{
    struct store *store = NULL;
    struct store_check_result result;

    int rc = store_open(path, &store, &f->why);
    assert_non_null(strstr(f->words, word));
    expect_rc(f, rc, ERR_SYSTEM);
    rc = store_check(path, &result, &f->why);
    assert_non_null(strstr(f->words, word));
    expect_rc(f, rc, ERR_SYSTEM);
}

static void test_paths_that_cannot_be(void **state)
{
    struct fixture *f = *state;
    char path[700];

    expect_bad_path(f, "/nonexistent/mc-proxy.db", "No such file or directory");
    /* Root may write to /proc, as far as the modes tell; only trying shows. */
    struct store *store = NULL;
    expect_rc(f, store_open("/proc/mc-proxy.db", &store, &f->why), ERR_SYSTEM);
    expect_bad_path(f, "/dev/null", "a device");
    expect_bad_path(f, "", "a folder");
    write_at(f->db, 0, "text", 4);
    snprintf(path, sizeof path, "%s/below.db", f->db);
    expect_bad_path(f, path, "Not a directory");
    snprintf(path, sizeof path, "%s/%0600d", f->folder, 1);
    expect_bad_path(f, path, "longer than");
}

/* SQLite gives a meaning to some of these; here they are names of files. */
static void test_odd_names_are_names(void **state)
{
    static const char *const names[] = {":memory:", "file:x?mode=memory", "a b?c#d%41.db", "x"};
    struct fixture *f = *state;
    char here[PATH_MAX];
    struct stat st;

    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(f->folder), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct store *store = NULL;
        struct store_check_result result;
        expect_rc(f, store_open(names[i], &store, &f->why), 0);
        store_close(&store);
        assert_int_equal(stat(names[i], &st), 0);
        assert_true(st.st_size > 0);
        expect_rc(f, store_check(names[i], &result, &f->why), 0);
        assert_false(result.is_unread);
    }
    assert_int_equal(chdir(here), 0);
}

static int open_as_nobody(struct fixture *f)
{
    struct store *store = NULL;
    struct store_check_result result;

    if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
        return 1;
    if (store_open(f->db, &store, &f->why) != ERR_SYSTEM || strstr(f->words, "Permission denied") == NULL)
        return 2;
    return store_check(f->db, &result, &f->why) == ERR_SYSTEM ? 0 : 3;
}

static void test_what_may_not_be_written_is_refused(void **state)
{
    struct fixture *f = *state;
    char before[FOLDER_TEXT], after[FOLDER_TEXT];

    assert_int_equal(chmod(f->folder, 0555), 0); /* no file yet, and none may be made */
    assert_int_equal(run_child(f, open_as_nobody), 0);
    assert_int_equal(chmod(f->folder, 0755), 0);
    make_database(f);
    list_folder(f->folder, before, sizeof before);
    assert_int_equal(chmod(f->db, 0444), 0); /* a file that may be read only */
    assert_int_equal(chmod(f->folder, 0777), 0);
    assert_int_equal(run_child(f, open_as_nobody), 0);
    assert_int_equal(chmod(f->db, 0), 0); /* not even that */
    assert_int_equal(run_child(f, open_as_nobody), 0);
    assert_int_equal(chmod(f->db, 0666), 0); /* a folder in which SQLite may make no files */
    assert_int_equal(chmod(f->folder, 0555), 0);
    assert_int_equal(run_child(f, open_as_nobody), 0);
    assert_int_equal(chmod(f->db, 0600), 0);
    assert_int_equal(chmod(f->folder, 0700), 0);
    list_folder(f->folder, after, sizeof after);
    assert_string_equal(after, before);
}

static void test_check_of_nothing_makes_nothing(void **state)
{
    struct fixture *f = *state;
    struct store_check_result result;
    char text[FOLDER_TEXT];

    expect_rc(f, store_check(f->db, &result, &f->why), 0);
    assert_true(result.is_missing);
    list_folder(f->folder, text, sizeof text);
    assert_string_equal(text, "");
}

/* ---- new, old and interrupted ---- */

static void test_an_empty_file_is_a_new_database(void **state)
{
    struct fixture *f = *state;
    struct store_check_result result;

    write_at(f->db, 0, "", 0);
    expect_rc(f, store_check(f->db, &result, &f->why), 0);
    assert_false(result.is_missing || result.is_unread);
    struct store *store = must_open(f);
    expect_mode(f->db, "", 0600); /* it had 0640 */
    expect_routes(f, store, "");
    store_close(&store);
}

static void test_schema_zero_is_upgraded(void **state)
{
    struct fixture *f = *state;
    struct store_check_result result;

    raw_sql(f->db, "PRAGMA application_id = 1296257112; VACUUM;");
    expect_rc(f, store_check(f->db, &result, &f->why), 0);
    struct store *store = must_open(f);
    expect_routes(f, store, "");
    store_close(&store);
}

static int query_version(const char *path)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int version = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return version;
}

/* Each step is one transaction with its number: what has been reached stays, what fails leaves nothing. */
static void test_a_migration_that_fails_changes_nothing(void **state)
{
    static const struct store_migration steps[] = {
        {1, "one", "CREATE TABLE one (a)"},
        {2, "two", "CREATE TABLE two (a); INSERT INTO one VALUES (2)"},
        {3, "three", "CREATE TABLE three (a); INSERT INTO one VALUES (3); INSERT INTO nowhere VALUES (1)"},
    };
    struct fixture *f = *state;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(f->db, &db), SQLITE_OK);
    expect_rc(f, store_migrate(db, f->db, steps, 1, &f->why), 0);
    int rc = store_migrate(db, f->db, steps, 3, &f->why);
    assert_non_null(strstr(f->words, "schema 3 (three)"));
    expect_rc(f, rc, ERR_CORRUPT);
    sqlite3_close(db);
    assert_int_equal(query_version(f->db), 2);
    raw_sql(f->db, "CREATE TABLE three (a); INSERT INTO two VALUES (1);"); /* fails if there is one, or no two */
}

/** A check changes nothing in the folder, in which there is a file that ends so ("": any); says whether it could read the database. */
static bool check_leaves_all_as_it_was(struct fixture *f, const char *ending)
{
    struct store_check_result result;
    char before[FOLDER_TEXT], after[FOLDER_TEXT];

    list_folder(f->folder, before, sizeof before);
    assert_non_null(strstr(before, ending));
    expect_rc(f, store_check(f->db, &result, &f->why), 0);
    list_folder(f->folder, after, sizeof after);
    assert_string_equal(after, before);
    return !result.is_unread;
}

static void test_a_killed_server_loses_nothing(void **state)
{
    struct fixture *f = *state;

    make_database(f);
    for (int round = 0; round < 2; round++) { /* the second begins from a hot -wal */
        assert_true(WIFSIGNALED(run_child(f, put_and_die)));
        assert_true(check_leaves_all_as_it_was(f, "-wal"));
    }
    struct store *store = must_open(f);
    expect_routes(f, store, ":443 a.example a:1 0\n");
    store_close(&store);
}

/* The -wal alone, as after a power cut: no -shm, and check makes none. */
static void test_a_wal_without_shm_is_read_without_making_one(void **state)
{
    struct fixture *f = *state;
    char shm[128];

    make_database(f);
    assert_true(WIFSIGNALED(run_child(f, put_and_die)));
    snprintf(shm, sizeof shm, "%s-shm", f->db);
    assert_int_equal(unlink(shm), 0);
    assert_true(check_leaves_all_as_it_was(f, "-wal"));
    struct store *store = must_open(f);
    expect_routes(f, store, ":443 a.example a:1 0\n");
    store_close(&store);
}

static void test_an_unfinished_change_is_rolled_back(void **state)
{
    struct fixture *f = *state;

    make_database(f);
    assert_true(WIFSIGNALED(run_child(f, leave_hot_journal)));
    assert_false(check_leaves_all_as_it_was(f, "-journal"));
    struct store *store = must_open(f);
    expect_rc(f, put(store, ":443", "a.example", "a:1", &f->why), 0);
    store_close(&store);
    raw_sql(f->db, "CREATE UNIQUE INDEX empty ON t (1)"); /* fails with two rows or more */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_files_have_mode_0600_under_any_umask),
        TEST(test_a_closed_store_is_one_file_with_our_mark),
        TEST(test_paths_that_cannot_be),
        TEST(test_odd_names_are_names),
        TEST(test_what_may_not_be_written_is_refused),
        TEST(test_check_of_nothing_makes_nothing),
        TEST(test_an_empty_file_is_a_new_database),
        TEST(test_schema_zero_is_upgraded),
        TEST(test_a_migration_that_fails_changes_nothing),
        TEST(test_a_killed_server_loses_nothing),
        TEST(test_a_wal_without_shm_is_read_without_making_one),
        TEST(test_an_unfinished_change_is_rolled_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
