/* Snapshots: where they go, what they are, what is refused, which old ones go. */

#include "state_fixture.h"

#include "snapshot.h"
#include "snapshot_names.h"

struct place {
    struct proxy *p;
    char backups[128];
    char path_text[512];
    struct strbuf path;
};

static int place_setup(void **state)
{
    struct place *l = calloc(1, sizeof *l);

    CHECK(l != NULL);
    l->p = proxy_new();
    snprintf(l->backups, sizeof l->backups, "%s/backups", l->p->f->folder);
    l->path = STRBUF_OF(l->path_text);
    must_apply(l->p, put_on(FIRST, "a.example", "10.0.0.1:1"));
    *state = l;
    return 0;
}

static void empty_folder(const char *folder)
{
    char path[512];
    DIR *dir = opendir(folder);

    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)remove(path);
    }
    if (dir != NULL)
        closedir(dir);
}

static int place_teardown(void **state)
{
    struct place *l = *state;

    empty_folder(l->backups);
    proxy_free(l->p);
    free(l);
    return 0;
}

#define PLACE_TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

static int take(struct place *l, const char *output, bool anywhere, uint32_t keep)
{
    struct state_snapshot snapshot = {
        .output_path = bytes_of_str(output), .is_anywhere_allowed = anywhere, .keep = keep};

    strbuf_reset(&l->path);
    return state_snapshot(l->p->state, &snapshot, &l->path, &l->p->f->why);
}

static void must_take(struct place *l, const char *output, bool anywhere, uint32_t keep)
{
    expect_rc(l->p->f, take(l, output, anywhere, keep), 0);
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static int count_files(const char *folder)
{
    int count = 0;
    DIR *dir = opendir(folder);

    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

/** A database that opens and has the route. */
static void expect_good_copy(struct place *l, const char *path)
{
    struct fixture *f = l->p->f;
    struct store *store = NULL;

    assert_int_equal(mode_of(path), 0600);
    expect_rc(f, store_open(path, &store, &f->why), 0);
    expect_routes(f, store, ":443 a.example 10.0.0.1:1 0\n");
    store_close(&store);
}

static void test_a_snapshot_gets_a_name_and_a_folder(void **state)
{
    struct place *l = *state;
    struct snapshot_name name;
    mode_t mask = umask(0);

    must_take(l, "", false, 0);
    umask(mask);
    assert_int_equal(mode_of(l->backups), 0700);
    assert_int_equal(strncmp(l->path_text, l->backups, strlen(l->backups)), 0);
    assert_true(snapshot_name_parse(strrchr(l->path_text, '/') + 1, &name));
    expect_good_copy(l, l->path_text);
}

static void test_snapshots_of_one_second_do_not_meet(void **state)
{
    struct place *l = *state;

    for (int i = 1; i <= 12; i++) {
        must_take(l, "", false, 0);
        assert_int_equal(count_files(l->backups), i);
    }
}

static void test_nothing_is_overwritten(void **state)
{
    struct place *l = *state;
    char path[256];

    must_take(l, "mine.db", false, 0);
    snprintf(path, sizeof path, "%s/mine.db", l->backups);
    assert_string_equal(l->path_text, path);
    uint64_t hash = hash_file(path);
    must_apply(l->p, put_on(FIRST, "b.example", "10.0.0.1:1"));
    expect_rc(l->p->f, take(l, "mine.db", false, 0), ERR_EXISTS);
    expect_rc(l->p->f, take(l, path, false, 0), ERR_EXISTS);
    expect_rc(l->p->f, take(l, l->p->f->db, true, 0), ERR_EXISTS);
    assert_int_equal(hash_file(path), hash);
    snprintf(path, sizeof path, "%s/dangling.db", l->backups);
    assert_int_equal(symlink("/nowhere/at/all", path), 0);
    expect_rc(l->p->f, take(l, "dangling.db", false, 0), ERR_EXISTS);
}

static void test_paths_outside_are_for_those_who_may(void **state)
{
    struct place *l = *state;
    char text[512];
    struct fixture *f = l->p->f;
    static const char *const outside[] = {"../x.db", "a/../../x.db", "/tmp/x.db", "..", "../backups/x.db", "/"};

    must_take(l, "first.db", false, 0); /* the folder is there */
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        int rc = take(l, outside[i], false, 0);
        assert_int_equal(strncmp(f->words, "output_path: ", 13), 0);
        assert_true(rc == ERR_RANGE || rc == ERR_INVALID);
        expect_rc(f, rc, rc);
        assert_int_equal(l->path.len, 0);
    }
    snprintf(text, sizeof text, "%s-but-longer/x.db", l->backups);
    expect_rc(f, take(l, text, false, 0), ERR_RANGE);
    snprintf(text, sizeof text, "%s/../x.db", l->backups);
    expect_rc(f, take(l, text, false, 0), ERR_RANGE);
    snprintf(text, sizeof text, "%s/x.db", f->folder);
    expect_rc(f, take(l, text, false, 0), ERR_RANGE);
    must_take(l, text, true, 0);
    assert_string_equal(l->path_text, text);
    expect_good_copy(l, text);
    must_take(l, "../y.db", true, 0);
    assert_int_equal(count_files(l->backups), 1);
}

static void test_links_do_not_lead_out(void **state)
{
    struct place *l = *state;
    char link[256];

    must_take(l, "first.db", false, 0);
    snprintf(link, sizeof link, "%s/out", l->backups);
    assert_int_equal(symlink(l->p->f->folder, link), 0);
    int rc = take(l, "out/x.db", false, 0);
    assert_non_null(strstr(l->p->f->words, "link"));
    expect_rc(l->p->f, rc, ERR_RANGE);
    strbuf_reset(&l->path);
    snprintf(link, sizeof link, "%s/out/x.db", l->backups);
    expect_rc(l->p->f, take(l, link, false, 0), ERR_RANGE);
    must_take(l, link, true, 0);
}

static void test_names_that_are_none_are_refused(void **state)
{
    struct place *l = *state;
    static const char *const bad[] = {"a/", "/", ".", "a/..", "a/.", "a\nb", "\xff.db", "\x7f"};
    static char huge[1 << 20];
    struct state_snapshot snapshot = {.is_anywhere_allowed = true};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int rc = take(l, bad[i], true, 0);
        assert_int_equal(strncmp(l->p->f->words, "output_path: ", 13), 0);
        expect_rc(l->p->f, rc, ERR_INVALID);
    }
    snapshot.output_path = bytes_of("a\0b", 3);
    expect_rc(l->p->f, state_snapshot(l->p->state, &snapshot, &l->path, &l->p->f->why), ERR_INVALID);
    memset(huge, 'a', sizeof huge);
    snapshot.output_path = bytes_of(huge, sizeof huge);
    expect_rc(l->p->f, state_snapshot(l->p->state, &snapshot, &l->path, &l->p->f->why), ERR_INVALID);
    expect_rc(l->p->f, take(l, "no/such/folder/x.db", false, 0), ERR_SYSTEM);
    expect_rc(l->p->f, take(l, "/no-such-folder/x.db", true, 0), ERR_SYSTEM);
}

static void make_file(const char *folder, const char *name)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    write_at(path, 0, "x", 1);
}

static bool has_file(const char *folder, const char *name)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static void test_only_old_ones_of_our_own_names_go(void **state)
{
    struct place *l = *state;
    static const char *const own[] = {"mc-proxy-20200101T000000Z.db", "mc-proxy-20200101T000000Z-2.db",
                                      "mc-proxy-20200101T000000Z-10.db", "mc-proxy-20200102T000000Z.db"};
    static const char *const others[] = {
        "mine.db",
        "mc-proxy.db",
        "mc-proxy-20200101T000000Z.db.gz",
        "mc-proxy-20200101T000000Z-1.db",
        "mc-proxy-20200101T000000Z-02.db",
        "mc-proxy-20200101T000000Z-.db",
        "mc-proxy-20200101T000000.db",
        "mc-proxy-2020O101T000000Z.db",
        "xmc-proxy-20200101T000000Z.db",
        "mc-proxy-20200101T000000Z-99999999999999999999.db",
    };

    assert_int_equal(mkdir(l->backups, 0755), 0);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        make_file(l->backups, own[i]);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        make_file(l->backups, others[i]);
    must_take(l, "", false, 0);
    assert_true(has_file(l->backups, own[0]));
    empty_folder(l->backups);

    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        make_file(l->backups, own[i]);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        make_file(l->backups, others[i]);
    must_take(l, "", false, 3);
    assert_false(has_file(l->backups, own[0]));
    assert_false(has_file(l->backups, own[1]));
    assert_true(has_file(l->backups, own[2])); /* -10 is newer than -2 */
    assert_true(has_file(l->backups, own[3]));
    assert_int_equal(access(l->path_text, F_OK), 0);
    must_take(l, "named.db", false, 1); /* has no such name: does not count, removes others all the same */
    assert_false(has_file(l->backups, own[3]));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_true(has_file(l->backups, others[i]));
}

/** A clock that was set back does not make the newest one the first to go. */
static void test_the_one_just_made_stays(void **state)
{
    struct place *l = *state;

    assert_int_equal(mkdir(l->backups, 0755), 0);
    make_file(l->backups, "mc-proxy-29990101T000000Z.db");
    must_take(l, "", false, 1);
    expect_good_copy(l, l->path_text);
    assert_false(has_file(l->backups, "mc-proxy-29990101T000000Z.db"));
}

/** Names that were given away within a second are not given again in it: the newest could not be told. */
static void test_the_newest_stay_however_fast_they_are_made(void **state)
{
    enum { KEEP = 2, COUNT = 12 };
    struct place *l = *state;
    char made[COUNT][sizeof l->path_text];

    for (int i = 0; i < COUNT; i++) {
        must_take(l, "", false, KEEP);
        memcpy(made[i], l->path_text, sizeof made[i]);
        for (int earlier = 0; earlier < i; earlier++) {
            assert_string_not_equal(made[earlier], made[i]);
            assert_int_equal(access(made[earlier], F_OK) == 0, earlier > i - KEEP);
        }
    }
}

static void test_a_folder_or_link_of_such_a_name_stays(void **state)
{
    struct place *l = *state;
    char path[256];

    assert_int_equal(mkdir(l->backups, 0755), 0);
    snprintf(path, sizeof path, "%s/mc-proxy-20200101T000000Z.db", l->backups);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/mc-proxy-20200102T000000Z.db", l->backups);
    assert_int_equal(symlink("/nowhere", path), 0);
    must_take(l, "", false, 1);
    assert_int_equal(count_files(l->backups), 3);
}

static void test_without_a_server_it_is_the_same(void **state)
{
    struct place *l = *state;
    struct fixture *f = l->p->f;
    struct state_snapshot snapshot = {.is_anywhere_allowed = true, .keep = 1};
    struct store *store = NULL;

    state_close(&l->p->state);
    expect_rc(f, store_open(f->db, &store, &f->why), 0);
    for (int i = 0; i < 3; i++) {
        strbuf_reset(&l->path);
        expect_rc(f, snapshot_write(store, f->db, &snapshot, &l->path, &f->why), 0);
    }
    store_close(&store);
    assert_int_equal(count_files(l->backups), 1);
    expect_good_copy(l, l->path_text);
}

static void test_names_sort_by_time_and_number(void **state)
{
    char name[SNAPSHOT_NAME_MAX];
    struct snapshot_name parsed;

    (void)state;
    snapshot_name_format(1795372200, 1, name);
    assert_string_equal(name, "mc-proxy-20261122T183000Z.db");
    assert_true(snapshot_name_parse(name, &parsed));
    assert_string_equal(parsed.when, "20261122T183000Z");
    assert_int_equal(parsed.number, 1);
    snapshot_name_format(1795372200, 17, name);
    assert_string_equal(name, "mc-proxy-20261122T183000Z-17.db");
    assert_true(snapshot_name_parse(name, &parsed));
    assert_int_equal(parsed.number, 17);
    for (size_t len = 0; len < strlen(name); len++) { /* every strict prefix is none */
        char cut[SNAPSHOT_NAME_MAX];
        snprintf(cut, sizeof cut, "%.*s", (int)len, name);
        assert_false(snapshot_name_parse(cut, &parsed));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACE_TEST(test_a_snapshot_gets_a_name_and_a_folder),
        PLACE_TEST(test_snapshots_of_one_second_do_not_meet),
        PLACE_TEST(test_nothing_is_overwritten),
        PLACE_TEST(test_paths_outside_are_for_those_who_may),
        PLACE_TEST(test_links_do_not_lead_out),
        PLACE_TEST(test_names_that_are_none_are_refused),
        PLACE_TEST(test_only_old_ones_of_our_own_names_go),
        PLACE_TEST(test_the_one_just_made_stays),
        PLACE_TEST(test_the_newest_stay_however_fast_they_are_made),
        PLACE_TEST(test_a_folder_or_link_of_such_a_name_stays),
        PLACE_TEST(test_without_a_server_it_is_the_same),
        cmocka_unit_test(test_names_sort_by_time_and_number),
    };

    if (access("/dev/shm", W_OK) == 0)
        fixture_root = "/dev/shm";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
