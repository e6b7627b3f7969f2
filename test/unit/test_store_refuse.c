/* Database files that are refused: damaged, foreign, newer, no files at all. Whatever is refused must stay as it was, byte for byte, and
 * so must its folder; the check must come to the same verdict as the start. */

#include "store_fixture.h"

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
        assert_null(strstr(f->words, "***")); /* SQLite's heading: no word of what is wrong */
        expect_rc(f, opened, opened);
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

/* A disk that breaks under a running server, which goes on serving what it has in memory: a restart would end that. */
static void test_damage_found_while_it_is_in_use_ends_changes_and_says_what_to_save(void **state)
{
    static const char zeros[65536];
    struct fixture *f = *state;
    struct stat st;

    make_database(f);
    struct store *store = must_open(f);
    assert_int_equal(stat(f->db, &st), 0);
    write_at(f->db, 4096, zeros, (size_t)st.st_size - 4096); /* all but the first page */
    int rc = put(store, ":443", "new.example", "a:1", &f->why);
    assert_non_null(strstr(f->words, "damaged"));
    expect_rc(f, rc, ERR_CORRUPT);
    for (int i = 0; i < 2; i++) {
        rc = put(store, ":443", "new.example", "a:1", &f->why);
        assert_non_null(strstr(f->words, "routes export"));
        assert_null(strstr(f->words, "disk error"));
        expect_rc(f, rc, ERR_UNAVAILABLE);
    }
    store_close(&store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_files_stay_as_they_were),
        TEST(test_every_flipped_byte_ends_in_a_verdict),
        TEST(test_damage_found_while_it_is_in_use_ends_changes_and_says_what_to_save),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
