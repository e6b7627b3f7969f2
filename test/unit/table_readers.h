#ifndef TABLE_READERS_H
#define TABLE_READERS_H

/* Readers of the tables in processes of their own, over a read-only mapping as workers have it; include behind cmocka.h. */

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fork_child.h"
#include "tables_fixture.h"

#define READERS     2
#define SEGMENT     (256ull << 20)
#define REPORT_SIZE 200

/* What readers tell the test: shared memory. */
struct report {
    _Atomic uint32_t stop;
    _Atomic uint64_t rounds[READERS];
    _Atomic uint32_t is_failed;
    char what[REPORT_SIZE];
};

static inline struct report *new_report(void)
{
    void *map = mmap(NULL, sizeof(struct report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    return map;
}

#define READER_EXPECT(report, cond, ...)                              \
    do {                                                              \
        if (!(cond) && atomic_exchange(&(report)->is_failed, 1) == 0) \
            (void)snprintf((report)->what, REPORT_SIZE, __VA_ARGS__); \
    } while (0)

/** Map the tables as a worker does. */
static inline struct table_view open_view(const struct tables_fixture *f, unsigned slot)
{
    uint64_t bytes = tables_bytes(f->tables);
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, tables_worker_fd(f->tables), 0);

    if (map == MAP_FAILED)
        _exit(3);
    return (struct table_view){.tables = map, .bytes = bytes, .pinned_epoch = &f->stats->workers[slot].pinned_epoch};
}

typedef void (*reader_fn)(const struct table_view *view, struct report *report, void *context, unsigned slot);

static inline pid_t start_reader(const struct tables_fixture *f, struct report *report, unsigned slot, reader_fn fn,
                                 void *context)
{
    pid_t pid = fork_child();

    if (pid > 0)
        return pid;
    struct table_view view = open_view(f, slot);
    while (atomic_load(&report->stop) == 0) {
        fn(&view, report, context, slot);
        atomic_fetch_add(&report->rounds[slot], 1);
    }
    _exit(0);
}

/** Every reader has begun and finished a whole round after this call began. */
static inline void await_rounds(struct report *report, unsigned readers)
{
    for (unsigned i = 0; i < readers; i++) {
        uint64_t now = atomic_load(&report->rounds[i]);
        while (atomic_load(&report->rounds[i]) < now + 2 && atomic_load(&report->is_failed) == 0)
            sched_yield();
    }
}

static inline void stop_reader(struct report *report, pid_t pid)
{
    int status = 0;

    atomic_store(&report->stop, 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (atomic_load(&report->is_failed) != 0)
        fail_msg("%s", report->what);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/** Is the backend's record whole: do text, kind and address say the same? */
static inline bool backend_is_whole(const struct shm_backend *b)
{
    char text[BACKEND_TEXT_MAX];
    struct bytes have = shm_backend_text(b);

    if (b->kind == BACKEND_NAME) /* its addresses all carry one number */
        return bytes_equal_str(have, "app.internal:443") && b->addr_count <= SHM_BACKEND_ADDRS_MAX &&
               (b->addr_count == 0 || b->addrs[0].addr.bytes[3] == b->addrs[b->addr_count - 1].addr.bytes[3]);
    const uint8_t *a = b->addrs[0].addr.bytes;
    (void)snprintf(text, sizeof text, "10.%u.%u.%u:8443", a[1], a[2], a[3]);
    return b->kind == BACKEND_IP && b->addr_count == 1 && bytes_equal_str(have, text);
}

#endif
