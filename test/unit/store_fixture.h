#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H

/* What the tests of the store share: a folder of their own, raw access to the file, and a look at every byte of the folder. */

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "fork_child.h"
#include "store.h"

struct fixture {
    char folder[64];
    char db[96];
    char words[1024];
    struct strbuf why;
};

static const char *fixture_root = "/tmp"; /* where the folders are made */

static inline int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    snprintf(f->folder, sizeof f->folder, "%s/mc-proxy-store-XXXXXX", fixture_root);
    if (mkdtemp(f->folder) == NULL)
        return -1;
    snprintf(f->db, sizeof f->db, "%s/mc-proxy.db", f->folder);
    f->why = STRBUF_OF(f->words);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    char path[512];
    DIR *dir = opendir(f->folder);

    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", f->folder, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)remove(path);
    }
    if (dir != NULL)
        closedir(dir);
    int rc = rmdir(f->folder);
    free(f);
    return rc;
}

/* A fixture within a test, for those that need many. */
static inline struct fixture *fixture_new(void)
{
    void *state = NULL;

    assert_int_equal(fixture_setup(&state), 0);
    CHECK(state != NULL);
    return state;
}

static inline void fixture_free(struct fixture *f)
{
    void *state = f;

    assert_int_equal(fixture_teardown(&state), 0);
}

/* Open what must open. */
static inline struct store *must_open(struct fixture *f)
{
    struct store *store = NULL;

    strbuf_reset(&f->why);
    if (store_open(f->db, &store, &f->why) != 0)
        fail_msg("store_open: %s", f->words);
    assert_int_equal(f->why.len, 0);
    return store;
}

/* Assert a result, and that an error came with words. */
static inline void expect_rc(struct fixture *f, int rc, int expected)
{
    if (rc != expected)
        fail_msg("got %d (%s), expected %d: %s", rc, err_text(rc), expected, f->words);
    assert_int_equal(expected != 0, f->why.len > 0);
    assert_null(strchr(f->words, '\n'));
    strbuf_reset(&f->why);
}

/* Run SQL on the file by a handle of our own; never while this process has the store open. */
static inline void raw_sql(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    char *error = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s: %s", sql, error);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static inline int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline uint64_t hash_file(const char *path)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    uint8_t chunk[4096];
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);

    for (ssize_t n; fd >= 0 && (n = read(fd, chunk, sizeof chunk)) > 0;) {
        for (ssize_t i = 0; i < n; i++)
            hash = (hash ^ chunk[i]) * 1099511628211u;
    }
    if (fd >= 0)
        close(fd);
    return hash;
}

/* Everything in the folder: names, modes, sizes, times of change, contents. Not while this process has the store open. */
static inline void list_folder(const char *folder, char *out, size_t size)
{
    char *names[64];
    size_t count = 0;
    struct strbuf text = strbuf_init(out, size);
    DIR *dir = opendir(folder);

    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        assert_true(count < 64);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            names[count++] = strdup(entry->d_name);
    }
    closedir(dir);
    qsort(names, count, sizeof names[0], compare_names);
    for (size_t i = 0; i < count; i++) {
        char path[512];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        assert_int_equal(lstat(path, &st), 0);
        strbuf_addf(&text, "%s mode=%o size=%lld changed=%lld.%09ld hash=%llx\n", names[i], st.st_mode,
                    (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                    (unsigned long long)hash_file(path));
        free(names[i]);
    }
    assert_false(text.overflowed);
}

/* Run body in a child; returns its wait status. Children report by exit code and never use cmocka. */
typedef int (*child_fn)(struct fixture *f);

static inline pid_t start_child(struct fixture *f, child_fn body)
{
    pid_t pid = fork_child();

    if (pid == 0)
        _exit(body(f));
    return pid;
}

static inline int wait_child(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        ;
    return status;
}

static inline int run_child(struct fixture *f, child_fn body)
{
    return wait_child(start_child(f, body));
}

static inline int put(struct store *store, const char *listener, const char *hostname, const char *backend,
                      struct strbuf *why)
{
    struct store_route route = {.listener = listener, .hostname = hostname, .backend = backend};
    enum store_put put_as;

    return store_put_route(store, &route, &put_as, why);
}

/* Routes as text, "listener hostname backend flag\n" each. */
static inline int add_route_line(const struct store_route *route, void *ctx)
{
    strbuf_addf(ctx, "%s %s %s %d\n", route->listener, route->hostname, route->backend, route->send_proxy_protocol);
    return 0;
}

static inline void expect_routes(struct fixture *f, struct store *store, const char *expected)
{
    char text[4096];
    struct strbuf lines = STRBUF_OF(text);

    expect_rc(f, store_each_route(store, add_route_line, &lines, &f->why), 0);
    assert_string_equal(text, expected);
}

#define FOLDER_TEXT 8192 /* room for list_folder() */

/* A closed database with one listener, ":443". */
static inline void make_database(struct fixture *f)
{
    struct store *store = must_open(f);

    store_close(&store);
    raw_sql(f->db, "INSERT INTO listeners (addr, seeded_at) VALUES (':443', 1)");
}

static inline void write_at(const char *path, off_t at, const void *data, size_t len)
{
    int fd = open(path, O_RDWR | O_CREAT, 0640);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, len, at), len);
    close(fd);
}

/* In a child: be killed right after a change, with the -wal as it is. */
static inline int put_and_die(struct fixture *f)
{
    struct store *store = NULL;

    if (store_open(f->db, &store, &f->why) != 0 || put(store, ":443", "a.example", "a:1", &f->why) != 0)
        return 1;
    return raise(SIGKILL);
}

/* In a child: be killed within a change under a rollback journal. */
static inline int leave_hot_journal(struct fixture *f)
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

#endif
