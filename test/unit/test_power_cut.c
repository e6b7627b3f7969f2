/*
 * The power goes, at every moment that matters of a thousand changes: before and behind every sync, at every acknowledgement and in
 * between. Afterwards the database opens, is sound, has every acknowledged change and no half of another. And the test bites: with
 * synchronous=OFF or NORMAL, or a folder that is never synced, it must find acknowledged changes that are lost.
 */

#include "state_fixture.h"

#include "power_disk.h"
#include "store_internal.h"

#define MUTATIONS        1000
#define NAMES            40
#define BATCH_MAX        40
#define CHECKPOINT_PAGES 40 /* often, and small files to play back */

/* ---- a thousand changes ---- */

struct history {
    struct recording recording;
    char *texts[MUTATIONS + 1]; /* what the database has behind each */
};

static int add_limit_line(const struct store_listener *listener, void *ctx)
{
    strbuf_addf(ctx, "%s limit %lld\n", listener->addr, (long long)listener->max_connections);
    return 0;
}

static int dump_store(struct store *store, char *out, size_t size, struct strbuf *why)
{
    struct strbuf lines = strbuf_init(out, size);
    int rc;

    if ((rc = store_each_route(store, add_route_line, &lines, why)) != 0 ||
        (rc = store_each_rule(store, add_rule_line, &lines, why)) != 0 ||
        (rc = store_each_listener(store, add_limit_line, &lines, why)) != 0)
        return rc;
    CHECK(!lines.overflowed);
    return 0;
}

static char *text_of_store(struct proxy *p)
{
    static char text[1 << 16];

    expect_rc(p->f, dump_store(p->state->store, text, sizeof text, &p->f->why), 0);
    char *copy = strdup(text);
    assert_non_null(copy);
    return copy;
}

static unsigned seed;

static unsigned pick(unsigned below)
{
    return (unsigned)rand_r(&seed) % below;
}

struct texts {
    char hostname[300];
    char backend[64];
};

static struct state_change random_change(struct texts *t)
{
    const char *listener = pick(2) == 0 ? FIRST : SECOND;
    unsigned kind = pick(10);

    /* Some long names, so that tables and index grow over many pages. */
    snprintf(t->hostname, sizeof t->hostname, "n%u.%s.example", pick(NAMES),
             pick(4) == 0 ? "a-rather-long-label-in-the-middle.and-another-one-that-goes-on-for-longer" : "short");
    snprintf(t->backend, sizeof t->backend, "10.0.%u.%u:443", pick(256), pick(256));
    if (kind < 5)
        return put_on(listener, t->hostname, t->backend);
    if (kind < 7)
        return allowed(remove_on(listener, t->hostname));
    snprintf(t->backend, sizeof t->backend, "192.0.2.%u", pick(60));
    return allowed(rule_change(kind < 9 ? STATE_ADD_RULE : STATE_REMOVE_RULE, STORE_RULE_IP, t->backend));
}

static void mutate(struct proxy *p)
{
    static struct texts texts[BATCH_MAX];
    struct state_change changes[BATCH_MAX];
    size_t count = pick(6) == 0 ? 2 + pick(BATCH_MAX - 2) : 1;

    if (pick(20) == 0) {
        expect_rc(p->f, state_set_max_connections(p->state, bytes_of_str(SECOND), pick(1000), &p->f->why), 0);
        return;
    }
    for (size_t i = 0; i < count; i++)
        changes[i] = random_change(&texts[i]);
    expect_rc(p->f, apply(p, changes, count), 0);
}

/** Record a thousand changes, the making of the database included. */
static void record_history(struct history *h, const char *pragma)
{
    *h = (struct history){0};
    assert_int_equal(sqlite3_vfs_register(&faulty_vfs, 1), SQLITE_OK);
    struct proxy *p = calloc(1, sizeof *p);
    CHECK(p != NULL);
    p->f = fixture_new();
    p->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    p->stats = mmap(NULL, sizeof *p->stats, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    h->recording.path_len = strlen(p->f->db);
    power_recording = &h->recording;
    disk_observer = power_observe;
    seed = 20261122;
    power_mark(MARK_BEGIN); /* mutation 0: the making of it, seeds included */
    power_observe(&(struct disk_op){.kind = DISK_CREATE, .name = p->f->db}); /* by the store itself, without SQLite */
    proxy_open(p);
    power_mark(MARK_DONE);
    p->state->store->checkpoint_pages = CHECKPOINT_PAGES;
    if (pragma != NULL)
        assert_int_equal(sqlite3_exec(p->state->store->db, pragma, NULL, NULL, NULL), SQLITE_OK);
    h->texts[0] = text_of_store(p);
    for (int i = 1; i <= MUTATIONS; i++) {
        power_mark(MARK_BEGIN);
        mutate(p);
        power_mark(MARK_DONE);
        h->texts[i] = text_of_store(p);
    }
    disk_observer = NULL;
    proxy_free(p);
    assert_int_equal(sqlite3_vfs_register(real_vfs, 1), SQLITE_OK);
}

static void history_fini(struct history *h)
{
    for (int i = 0; i <= MUTATIONS; i++)
        free(h->texts[i]);
    recording_fini(&h->recording);
}

/* ---- after the cut ---- */

struct after {
    const struct history *history;
    struct fixture *f;
    int begun, done; /* mutations at the time of the cut; -1: not even the making of the database */
    unsigned cuts, lost;
    char verdict[2048]; /* the first that was wrong */
};

static void note_wrong(struct after *a, size_t at, const char *what)
{
    if (a->lost++ == 0)
        snprintf(a->verdict, sizeof a->verdict, "cut at operation %zu, %d changes acknowledged, %d begun: %s", at,
                 a->done, a->begun, what);
}

static bool is_sound(struct store *store)
{
    sqlite3_stmt *stmt = NULL;
    bool is_ok = sqlite3_prepare_v2(store->db, "PRAGMA integrity_check", -1, &stmt, NULL) == SQLITE_OK &&
                 sqlite3_step(stmt) == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") == 0;

    sqlite3_finalize(stmt);
    return is_ok;
}

/** Is it what it was behind the last acknowledged change, or behind the one under way? */
static bool is_expected(const struct after *a, const char *text)
{
    if (a->done >= 0 && strcmp(text, a->history->texts[a->done]) == 0)
        return true;
    if (a->begun > a->done && strcmp(text, a->history->texts[a->begun]) == 0)
        return true;
    return a->done < 0 && text[0] == '\0'; /* made, but not yet seeded */
}

static void look(struct after *a, size_t at)
{
    static char text[1 << 16];
    struct store *store = NULL;

    strbuf_reset(&a->f->why);
    a->cuts++;
    if (store_open(a->f->db, &store, &a->f->why) != 0) {
        note_wrong(a, at, a->f->words);
        return;
    }
    if (!is_sound(store))
        note_wrong(a, at, "integrity_check failed");
    else if (dump_store(store, text, sizeof text, &a->f->why) != 0)
        note_wrong(a, at, a->f->words);
    else if (!is_expected(a, text))
        note_wrong(a, at, "neither the acknowledged changes nor those and the one under way");
    store_close(&store);
}

static void cut(struct after *a, struct power_disk *disk, size_t at, enum power_luck luck)
{
    power_disk_cut(disk, luck, a->f->db);
    look(a, at);
}

/** Just before a sync everything since the last one is at stake; with a stricter disk also in the middle. */
static void cut_around(struct after *a, struct power_disk *disk, size_t at, const struct record *next)
{
    static const enum power_luck lucks[] = {POWER_SECTORS_512, POWER_SECTORS_4096, POWER_GARBAGE};

    if (next->mark == MARK_DONE || next->op.kind == DISK_SYNC || next->op.kind == DISK_SYNC_FOLDER ||
        next->op.kind == DISK_DELETE) {
        cut(a, disk, at, lucks[at % 3]);
        cut(a, disk, at, at % 2 == 0 ? POWER_LOSES_ALL : POWER_KEEPS_ALL);
    } else if (next->mark == MARK_NONE && power_random(disk, 4) == 0) {
        cut(a, disk, at, lucks[power_random(disk, 3)]);
    }
}

/** Play a history back and cut the power again and again. Stops at the first loss. */
static void play(struct after *a, const struct history *h, bool forgets_folders)
{
    struct power_disk disk;

    power_disk_init(&disk, 88172645463325252u);
    a->history = h;
    a->f = fixture_new();
    a->begun = a->done = -1;
    for (size_t i = 0; i < h->recording.count && a->lost == 0; i++) {
        const struct record *record = &h->recording.items[i];
        a->done += record->mark == MARK_DONE; /* the acknowledgement is out, and then the power goes */
        cut_around(a, &disk, i, record);
        a->begun += record->mark == MARK_BEGIN;
        bool is_forgotten = forgets_folders && record->op.kind == DISK_SYNC_FOLDER;
        if (record->mark == MARK_NONE && !is_forgotten)
            power_disk_play(&disk, record);
    }
    power_disk_fini(&disk);
    fixture_free(a->f);
}

static unsigned count_ops(const struct history *h, enum disk_op_kind kind)
{
    unsigned count = 0;

    for (size_t i = 0; i < h->recording.count; i++)
        count += h->recording.items[i].mark == MARK_NONE && h->recording.items[i].op.kind == kind;
    return count;
}

/* ---- the tests ---- */

static void test_no_acknowledged_change_is_lost(void **state)
{
    static struct history history;
    struct after after = {0};

    (void)state;
    record_history(&history, NULL);
    play(&after, &history, false);
    print_message("%u cuts, %zu operations, %u syncs\n", after.cuts, history.recording.count,
                  count_ops(&history, DISK_SYNC));
    if (after.lost > 0)
        fail_msg("%s", after.verdict);
    assert_true(count_ops(&history, DISK_SYNC) > MUTATIONS / 2); /* there was something to be cut */
    assert_true(count_ops(&history, DISK_SYNC_FOLDER) > 0);
    assert_true(after.cuts > 2 * MUTATIONS);
    history_fini(&history);
}

static void expect_loss(const char *pragma, bool forgets_folders)
{
    static struct history history;
    struct after after = {0};

    record_history(&history, pragma);
    play(&after, &history, forgets_folders);
    print_message("%s\n", after.lost > 0 ? after.verdict : "nothing lost");
    assert_int_equal(after.lost, 1);
    history_fini(&history);
}

static void test_without_syncs_the_loss_is_found(void **state)
{
    (void)state;
    expect_loss("PRAGMA synchronous = OFF", false);
}

static void test_with_syncs_at_checkpoints_only_the_loss_is_found(void **state)
{
    (void)state;
    expect_loss("PRAGMA synchronous = NORMAL", false);
}

static void test_a_name_that_was_never_synced_is_found_missing(void **state)
{
    (void)state;
    expect_loss(NULL, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_acknowledged_change_is_lost),
        cmocka_unit_test(test_without_syncs_the_loss_is_found),
        cmocka_unit_test(test_with_syncs_at_checkpoints_only_the_loss_is_found),
        cmocka_unit_test(test_a_name_that_was_never_synced_is_found_missing),
    };

    if (access("/dev/shm", W_OK) == 0)
        fixture_root = "/dev/shm";
    if (faulty_vfs_install() != SQLITE_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
