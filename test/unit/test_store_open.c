/* Opening, refusing and checking database files: modes, locks, damage, foreign and newer files, what a crash leaves behind. Whatever is
 * refused must stay as it was, and so must whatever is only checked. */

#include "store_fixture.h"

#include <errno.h>
#include <grp.h>
#include <sys/file.h>

#include "clock.h"
#include "store_internal.h"

#define FOLDER_TEXT 8192

static void make_database(struct fixture *f)
{
    struct store *store = must_open(f);

    store_close(&store);
    raw_sql(f->db, "INSERT INTO listeners (addr, seeded_at) VALUES (':443', 1)");
}

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

/* ---- refusals ---- */

static void write_at(const char *path, off_t at, const void *data, size_t len)
{
    int fd = open(path, O_RDWR | O_CREAT, 0640);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, len, at), len);
    close(fd);
}

static void make_text_file(struct fixture *f)
{
    write_at(f->db, 0, "listen 443;\n", 12);
}

static void make_one_byte(struct fixture *f)
{
    write_at(f->db, 0, "x", 1);
}

static void make_short_header(struct fixture *f)
{
    make_database(f);
    assert_int_equal(truncate(f->db, 50), 0);
}

static void make_marked_foreign(struct fixture *f)
{
    raw_sql(f->db, "PRAGMA application_id = 252006673; CREATE TABLE t (a);");
}

static void make_unmarked_foreign(struct fixture *f)
{
    raw_sql(f->db, "CREATE TABLE t (a); INSERT INTO t VALUES (1);");
}

static void make_numbered_foreign(struct fixture *f)
{
    raw_sql(f->db, "PRAGMA user_version = 1");
}

static void make_newer(struct fixture *f)
{
    make_database(f);
    raw_sql(f->db, "PRAGMA user_version = 4711");
}

static void make_unnumbered(struct fixture *f)
{
    make_database(f);
    raw_sql(f->db, "PRAGMA user_version = 0");
}

static void make_without_a_table(struct fixture *f)
{
    make_database(f);
    raw_sql(f->db, "DROP TABLE firewall_rules");
}

static void make_without_a_column(struct fixture *f)
{
    make_database(f);
    raw_sql(f->db, "ALTER TABLE routes DROP COLUMN send_proxy_protocol; PRAGMA journal_mode = DELETE;");
}

static void make_zeroed_page(struct fixture *f)
{
    static const char zeros[4096];

    make_database(f);
    write_at(f->db, 4096, zeros, sizeof zeros);
}

static void make_half(struct fixture *f)
{
    struct stat st;

    make_database(f);
    assert_int_equal(stat(f->db, &st), 0);
    assert_int_equal(truncate(f->db, st.st_size / 2), 0);
}

static void make_bad_page_size(struct fixture *f)
{
    make_database(f);
    write_at(f->db, 16, "\x12\x34", 2);
}

static void make_symlink(struct fixture *f)
{
    char target[128];

    make_database(f);
    snprintf(target, sizeof target, "%s/target", f->folder);
    assert_int_equal(rename(f->db, target), 0);
    assert_int_equal(symlink(target, f->db), 0);
}

static void make_folder(struct fixture *f)
{
    assert_int_equal(mkdir(f->db, 0700), 0);
}

static void make_fifo(struct fixture *f)
{
    assert_int_equal(mkfifo(f->db, 0600), 0);
}

static int leave_foreign_wal(struct fixture *f)
{
    sqlite3 *db;

    if (sqlite3_open(f->db, &db) != SQLITE_OK ||
        sqlite3_exec(db, "PRAGMA journal_mode = WAL; CREATE TABLE t (a);", NULL, NULL, NULL) != SQLITE_OK)
        return 1;
    return raise(SIGKILL);
}

/* Another program's file, killed while its only table was in the -wal: the file itself looks empty. */
static void make_foreign_wal(struct fixture *f)
{
    assert_true(WIFSIGNALED(run_child(f, leave_foreign_wal)));
}

static int leave_newer_wal(struct fixture *f)
{
    sqlite3 *db;

    if (sqlite3_open(f->db, &db) != SQLITE_OK ||
        sqlite3_exec(db, "PRAGMA user_version = 4711", NULL, NULL, NULL) != SQLITE_OK)
        return 1;
    return raise(SIGKILL);
}

/* A newer version was killed right after its migration: only the -wal knows. */
static void make_newer_wal(struct fixture *f)
{
    make_database(f);
    assert_true(WIFSIGNALED(run_child(f, leave_newer_wal)));
}

static int leave_hot_journal(struct fixture *f)
{
    sqlite3 *db;

    if (sqlite3_open(f->db, &db) != SQLITE_OK ||
        sqlite3_exec(db,
                     "PRAGMA journal_mode = DELETE; CREATE TABLE IF NOT EXISTS t (a); BEGIN;"
                     "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
                     " SELECT randomblob(100) FROM n;",
                     NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_db_cacheflush(db) != SQLITE_OK)
        return 1;
    return raise(SIGKILL);
}

static void make_foreign_journal(struct fixture *f)
{
    assert_true(WIFSIGNALED(run_child(f, leave_hot_journal)));
}

static const struct refusal {
    const char *name;
    void (*make)(struct fixture *f);
    int rc;
    const char *word; /* in the message */
} refusals[] = {
    {"a text file", make_text_file, ERR_FOREIGN, "not an SQLite file"},
    {"one byte", make_one_byte, ERR_FOREIGN, "not an SQLite file"},
    {"a cut header", make_short_header, ERR_CORRUPT, "damaged"},
    {"another application_id", make_marked_foreign, ERR_FOREIGN, "0x0f055111"},
    {"tables without application_id", make_unmarked_foreign, ERR_FOREIGN, "not made by mc-proxy"},
    {"user_version without application_id", make_numbered_foreign, ERR_FOREIGN, "not made by mc-proxy"},
    {"a newer schema", make_newer, ERR_NEWER, "4711"},
    {"no schema number", make_unnumbered, ERR_CORRUPT, "damaged"},
    {"a table is missing", make_without_a_table, ERR_CORRUPT, "firewall_rules"},
    {"a column is missing", make_without_a_column, ERR_CORRUPT, "routes"},
    {"a page of zeros", make_zeroed_page, ERR_CORRUPT, "damaged"},
    {"cut in half", make_half, ERR_CORRUPT, "damaged"},
    {"an impossible page size", make_bad_page_size, ERR_CORRUPT, "damaged"},
    {"a symbolic link", make_symlink, ERR_SYSTEM, "symbolic link"},
    {"a folder", make_folder, ERR_SYSTEM, "folder"},
    {"a pipe", make_fifo, ERR_SYSTEM, "pipe"},
    {"another program's -wal", make_foreign_wal, ERR_FOREIGN, "not made by mc-proxy"},
    {"a newer schema in the -wal", make_newer_wal, ERR_NEWER, "4711"},
    {"another program's journal", make_foreign_journal, ERR_FOREIGN, "not made by mc-proxy"},
};

static void expect_refusal(struct fixture *f, const struct refusal *row, int rc)
{
    if (rc != row->rc || strstr(f->words, row->word) == NULL || strstr(f->words, f->db) == NULL)
        fail_msg("%s: got %d (%s): %s", row->name, rc, err_text(rc), f->words);
    expect_rc(f, rc, row->rc);
}

static void test_refused_files_stay_as_they_were(void **state)
{
    char before[FOLDER_TEXT], after[FOLDER_TEXT];

    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct store *store = NULL;
        struct store_check_result result;
        struct fixture *f = fixture_new();
        refusals[i].make(f);
        list_folder(f->folder, before, sizeof before);
        expect_refusal(f, &refusals[i], store_open(f->db, &store, &f->why));
        assert_null(store);
        list_folder(f->folder, after, sizeof after);
        assert_string_equal(after, before);
        expect_refusal(f, &refusals[i], store_check(f->db, &result, &f->why));
        list_folder(f->folder, after, sizeof after);
        assert_string_equal(after, before);
        fixture_free(f);
    }
    (void)state;
}

static void copy_file(const char *from, const char *to)
{
    char chunk[65536];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(in >= 0 && out >= 0);
    for (ssize_t n; (n = read(in, chunk, sizeof chunk)) > 0;)
        assert_int_equal(write(out, chunk, (size_t)n), n);
    close(in);
    close(out);
}

/* Every byte of the header and a sample of the rest: a verdict each time, and no change to what is refused. */
static void test_every_flipped_byte_ends_in_a_verdict(void **state)
{
    struct fixture *f = *state;
    char good[128], before[FOLDER_TEXT], after[FOLDER_TEXT];
    struct stat st;
    int refused = 0;

    make_database(f);
    snprintf(good, sizeof good, "%s/good", f->folder);
    assert_int_equal(rename(f->db, good), 0);
    assert_int_equal(stat(good, &st), 0);
    for (off_t at = 0; at < st.st_size; at += at < 100 ? 1 : 61) {
        struct store_check_result result;
        struct store *store = NULL;
        uint8_t byte;
        copy_file(good, f->db);
        int fd = open(f->db, O_RDONLY);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        close(fd);
        byte ^= 0xff;
        write_at(f->db, at, &byte, 1);
        list_folder(f->folder, before, sizeof before);
        int checked = store_check(f->db, &result, &f->why);
        expect_rc(f, checked, checked);
        list_folder(f->folder, after, sizeof after);
        assert_string_equal(after, before);
        int opened = store_open(f->db, &store, &f->why);
        if (opened != checked)
            fail_msg("at %d: %d %d %s", (int)at, opened, checked, f->words);
        expect_rc(f, opened, opened);
        if (opened != checked)
            fail_msg("at %d: %d %d", (int)at, opened, checked);
        store_close(&store);
        if (opened != 0) {
            list_folder(f->folder, after, sizeof after);
            assert_string_equal(after, before);
            assert_true(opened == ERR_FOREIGN || opened == ERR_NEWER || opened == ERR_CORRUPT);
            refused++;
        }
    }
    assert_true(refused > 40);
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
    make_text_file(f);
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

static int put_and_die(struct fixture *f)
{
    struct store *store = NULL;

    if (store_open(f->db, &store, &f->why) != 0 || put(store, ":443", "a.example", "a:1", &f->why) != 0)
        return 1;
    return raise(SIGKILL);
}

static void test_a_killed_server_loses_nothing(void **state)
{
    struct fixture *f = *state;
    struct store_check_result result;
    char before[FOLDER_TEXT], after[FOLDER_TEXT];

    make_database(f);
    for (int round = 0; round < 2; round++) { /* the second begins from a hot -wal */
        assert_true(WIFSIGNALED(run_child(f, put_and_die)));
        list_folder(f->folder, before, sizeof before);
        assert_non_null(strstr(before, "-wal"));
        expect_rc(f, store_check(f->db, &result, &f->why), 0);
        assert_false(result.is_unread);
        list_folder(f->folder, after, sizeof after);
        assert_string_equal(after, before);
    }
    struct store *store = must_open(f);
    expect_routes(f, store, ":443 a.example a:1 0\n");
    store_close(&store);
}

/* The -wal alone, as after a power cut: no -shm, and check makes none. */
static void test_a_wal_without_shm_is_read_without_making_one(void **state)
{
    struct fixture *f = *state;
    struct store_check_result result;
    char shm[128], before[FOLDER_TEXT], after[FOLDER_TEXT];

    make_database(f);
    assert_true(WIFSIGNALED(run_child(f, put_and_die)));
    snprintf(shm, sizeof shm, "%s-shm", f->db);
    assert_int_equal(unlink(shm), 0);
    list_folder(f->folder, before, sizeof before);
    expect_rc(f, store_check(f->db, &result, &f->why), 0);
    assert_false(result.is_unread);
    list_folder(f->folder, after, sizeof after);
    assert_string_equal(after, before);
    struct store *store = must_open(f);
    expect_routes(f, store, ":443 a.example a:1 0\n");
    store_close(&store);
}

static void test_an_unfinished_change_is_rolled_back(void **state)
{
    struct fixture *f = *state;
    struct store_check_result result;
    char before[FOLDER_TEXT], after[FOLDER_TEXT];

    make_database(f);
    assert_true(WIFSIGNALED(run_child(f, leave_hot_journal)));
    list_folder(f->folder, before, sizeof before);
    assert_non_null(strstr(before, "-journal"));
    expect_rc(f, store_check(f->db, &result, &f->why), 0);
    assert_true(result.is_unread);
    list_folder(f->folder, after, sizeof after);
    assert_string_equal(after, before);
    struct store *store = must_open(f);
    expect_rc(f, put(store, ":443", "a.example", "a:1", &f->why), 0);
    store_close(&store);
    raw_sql(f->db, "CREATE UNIQUE INDEX empty ON t (1)"); /* fails with two rows or more */
}

/* ---- two at a time ---- */

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
    assert_in_range(clock_monotonic_ms() - start, 900, 5000);
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
    assert_true(clock_monotonic_ms() - start < 5000);
    expect_routes(f, store, "");
    let_go(pid);
    expect_rc(f, put(store, ":443", "a.example", "a:1", &f->why), 0);
    store_close(&store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_files_have_mode_0600_under_any_umask),
        TEST(test_a_closed_store_is_one_file_with_our_mark),
        cmocka_unit_test(test_refused_files_stay_as_they_were),
        TEST(test_every_flipped_byte_ends_in_a_verdict),
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
        TEST(test_a_second_server_is_refused),
        TEST(test_a_server_waits_for_a_check),
        TEST(test_a_reader_is_no_obstacle),
        TEST(test_a_foreign_write_lock_makes_changes_unavailable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
