/* The shared segment and its allocator: nothing overlaps, memory comes back, running out is an error and nothing worse. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "random_numbers.h"
#include "retire_queue.h"
#include "shm_arena.h"

#define FRONT_BYTES (64u << 10)

static uint64_t memory_of(const struct shm_arena *a)
{
    struct stat st;

    assert_int_equal(fstat(a->pages.segment.fd, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static bool is_filled(const uint8_t *at, uint64_t size, uint8_t value)
{
    for (uint64_t i = 0; i < size; i++) {
        if (at[i] != value)
            return false;
    }
    return true;
}

/* ---- random operations against a shadow ---- */

#define SHADOWS 4096

struct shadow {
    shm_off off; /* 0: free place */
    uint64_t size;
    uint8_t fill;
};

static uint64_t random_size(void)
{
    switch (rng(8)) {
    case 0: return SHM_SMALL_MAX - 2 + rng(5);
    case 1: return 1 + rng(256 << 10);
    case 2: return (uint64_t)SHM_PAGE * (1 + rng(9));
    default: return 1 + rng(200);
    }
}

static void shadow_alloc(struct shm_arena *a, struct shadow *s)
{
    s->size = random_size();
    s->fill = (uint8_t)(1 + rng(255));
    assert_int_equal(shm_arena_alloc(a, s->size, &s->off), 0);
    assert_true(s->off >= FRONT_BYTES && s->off + s->size <= a->pages.segment.bytes);
    assert_int_equal(s->off % (s->size > SHM_SMALL_MAX ? SHM_PAGE : 8), 0);
    if (s->size > SHM_SMALL_MAX)
        assert_true(is_filled(shm_arena_at(a, s->off), s->size, 0));
    memset(shm_arena_at(a, s->off), s->fill, s->size);
}

static void shadow_free(struct shm_arena *a, struct shadow *s)
{
    /* Anything that overlapped would have written its own value here. */
    assert_true(is_filled(shm_arena_at(a, s->off), s->size, s->fill));
    shm_arena_free(a, s->off, s->size);
    s->off = 0;
}

static void random_operations_never_overlap(void **state)
{
    static struct shadow shadows[SHADOWS];
    struct shm_arena a;
    (void)state;

    assert_int_equal(shm_arena_init(&a, 1 << 30, FRONT_BYTES), 0);
    for (unsigned round = 0; round < 100000; round++) {
        /* The wave makes the set grow and shrink, so that slabs empty and runs join. */
        unsigned place = rng(round / 10000 % 2 == 0 ? SHADOWS : SHADOWS / 64);
        if (shadows[place].off == 0)
            shadow_alloc(&a, &shadows[place]);
        else
            shadow_free(&a, &shadows[place]);
    }
    uint64_t full = memory_of(&a);
    for (unsigned i = 0; i < SHADOWS; i++) {
        if (shadows[i].off != 0)
            shadow_free(&a, &shadows[i]);
    }
    struct shm_arena_stats s = shm_arena_stats(&a);
    assert_int_equal(s.used_bytes, 0);
    assert_true(full > 4 << 20);
    /* What is left: one slab of each size, and what was committed ahead. */
    assert_true(s.slab_bytes <= 8ull * SHM_SIZE_CLASSES * SHM_PAGE);
    assert_true(memory_of(&a) <= s.slab_bytes + (4 << 20));
    assert_true(memory_of(&a) == s.committed_bytes);
    shm_arena_fini(&a);
}

static void every_size_gets_its_room(void **state)
{
    struct shm_arena a;
    shm_off previous = 0;
    (void)state;

    assert_int_equal(shm_arena_init(&a, 256 << 20, FRONT_BYTES), 0);
    for (uint64_t size = 1; size <= 2ull * SHM_SMALL_MAX; size++) {
        shm_off off = 0;
        uint64_t before = shm_arena_stats(&a).used_bytes;
        assert_int_equal(shm_arena_alloc(&a, size, &off), 0);
        uint64_t taken = shm_arena_stats(&a).used_bytes - before;
        assert_true(taken >= size && off != previous);
        if (size <= 64)
            assert_true(taken < size + 8);
        else if (size <= SHM_SMALL_MAX)
            assert_true(taken < size + 32);
        previous = off;
    }
    shm_arena_fini(&a);
}

/* ---- memory goes back to the system ---- */

static void large_ones_give_their_memory_back(void **state)
{
    struct shm_arena a;
    shm_off off = 0;
    (void)state;

    assert_int_equal(shm_arena_init(&a, 1 << 30, FRONT_BYTES), 0);
    assert_int_equal(shm_arena_alloc(&a, 64 << 20, &off), 0);
    assert_true(memory_of(&a) >= 64 << 20);
    memset(shm_arena_at(&a, off), 7, 64 << 20);
    shm_arena_free(&a, off, 64 << 20);
    assert_true(memory_of(&a) < 1 << 20);

    /* The address range is used again, reads as zeros, and what is left of it joins up again. */
    shm_off first = off;
    shm_off parts[4];
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(shm_arena_alloc(&a, 16 << 20, &parts[i]), 0);
        assert_true(parts[i] >= first && parts[i] < first + (64 << 20));
        assert_true(is_filled(shm_arena_at(&a, parts[i]), 16 << 20, 0));
    }
    const unsigned order[] = {2, 0, 3, 1};
    for (unsigned i = 0; i < 4; i++)
        shm_arena_free(&a, parts[order[i]], 16 << 20);
    assert_int_equal(shm_arena_alloc(&a, 64 << 20, &off), 0);
    assert_int_equal(off, first);
    shm_arena_fini(&a);
}

static void empty_slabs_give_their_memory_back(void **state)
{
    enum { COUNT = 100000 };
    struct shm_arena a;
    shm_off *offs = calloc(COUNT, sizeof *offs);
    (void)state;

    assert_non_null(offs);
    assert_int_equal(shm_arena_init(&a, 1 << 30, FRONT_BYTES), 0);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(shm_arena_alloc(&a, 40, &offs[i]), 0);
    uint64_t full = memory_of(&a);
    assert_true(full >= COUNT * 40ull && full < COUNT * 44ull + (1 << 20));
    for (unsigned i = 0; i < COUNT; i++)
        shm_arena_free(&a, offs[i], 40);
    assert_true(memory_of(&a) < 1 << 20);
    free(offs);
    shm_arena_fini(&a);
}

/* ---- running out ---- */

static void no_memory_is_an_error_and_changes_nothing(void **state)
{
    struct shm_arena a;
    shm_off off = 0;
    (void)state;

    assert_int_equal(shm_arena_init(&a, 256 << 20, FRONT_BYTES), 0);
    assert_int_equal(shm_arena_alloc(&a, 40, &off), 0);
    shm_arena_free(&a, off, 40);
    struct shm_arena_stats before = shm_arena_stats(&a);
    a.pages.segment.commit_limit = before.committed_bytes;
    assert_int_equal(shm_arena_alloc(&a, 1 << 20, &off), ERR_NO_MEMORY);
    struct shm_arena_stats after = shm_arena_stats(&a);
    assert_memory_equal(&before, &after, sizeof before);

    /* What is committed already still serves, to the last byte of it; then it is over. */
    unsigned count = 0;
    while (shm_arena_alloc(&a, 1024, &off) == 0) {
        memset(shm_arena_at(&a, off), 1, 1024);
        count++;
    }
    assert_true(count >= 64 && count * 1024ull <= before.committed_bytes);
    a.pages.segment.commit_limit = UINT64_MAX;
    assert_int_equal(shm_arena_alloc(&a, 1 << 20, &off), 0);
    shm_arena_fini(&a);
}

static void freed_ranges_need_memory_again(void **state)
{
    struct shm_arena a;
    shm_off off = 0;
    (void)state;

    assert_int_equal(shm_arena_init(&a, 256 << 20, FRONT_BYTES), 0);
    assert_int_equal(shm_arena_alloc(&a, 8 << 20, &off), 0);
    shm_arena_free(&a, off, 8 << 20);
    a.pages.segment.commit_limit = shm_arena_stats(&a).committed_bytes;
    uint64_t free_runs = shm_arena_stats(&a).free_run_bytes;
    assert_int_equal(shm_arena_alloc(&a, 8 << 20, &off), ERR_NO_MEMORY);
    assert_int_equal(shm_arena_stats(&a).free_run_bytes, free_runs);
    a.pages.segment.commit_limit = UINT64_MAX;
    assert_int_equal(shm_arena_alloc(&a, 8 << 20, &off), 0);
    shm_arena_fini(&a);
}

static void the_end_of_the_segment_is_an_error(void **state)
{
    struct shm_arena a;
    shm_off off = 0;
    (void)state;

    assert_int_equal(shm_arena_init(&a, 1 << 20, FRONT_BYTES), 0);
    assert_int_equal(shm_arena_alloc(&a, 2 << 20, &off), ERR_NO_MEMORY);
    assert_int_equal(shm_arena_alloc(&a, UINT64_MAX, &off), ERR_NO_MEMORY);
    assert_int_equal(shm_arena_alloc(&a, (1 << 20) - FRONT_BYTES, &off), 0);
    memset(shm_arena_at(&a, off), 1, (1 << 20) - FRONT_BYTES);
    assert_int_equal(shm_arena_alloc(&a, 1, &off), ERR_NO_MEMORY);
    shm_arena_fini(&a);
}

/* The kernel says no: fallocate on a descriptor that may not write fails like one without memory. */
static void a_failing_fallocate_is_an_error(void **state)
{
    struct shm_segment s;
    (void)state;

    assert_int_equal(shm_segment_init(&s, "test", 1 << 20), 0);
    int fd = s.fd;
    s.fd = s.read_only_fd;
    assert_int_equal(shm_segment_commit(&s, 0, SHM_PAGE), ERR_NO_MEMORY);
    assert_int_equal(s.committed_bytes, 0);
    s.fd = fd;
    assert_int_equal(shm_segment_commit(&s, 0, SHM_PAGE), 0);
    memset(s.base, 1, SHM_PAGE);
    /* And where holes cannot be punched the range reads as zeros all the same. */
    s.fd = s.read_only_fd;
    shm_segment_discard(&s, 0, SHM_PAGE);
    assert_true(is_filled((const uint8_t *)s.base, SHM_PAGE, 0));
    s.fd = fd;
    shm_segment_fini(&s);
}

/* ---- the file ---- */

static void too_much_address_space_is_halved(void **state)
{
    const uint64_t want = 1ull << 50; /* more than there is */
    struct shm_segment s;
    (void)state;

    assert_int_equal(shm_segment_init(&s, "test", want), 0);
    assert_true(s.bytes < want && s.bytes >= SHM_SEGMENT_BYTES_MIN);
    assert_int_equal(s.bytes & (s.bytes - 1), 0);
    shm_segment_fini(&s);
}

static void the_default_is_sparse(void **state)
{
    struct shm_segment s;
    struct stat st;
    (void)state;

    assert_int_equal(shm_segment_init(&s, "test", 0), 0);
    assert_int_equal(fstat(s.fd, &st), 0);
    assert_int_equal(s.bytes, SHM_SEGMENT_BYTES);
    assert_int_equal(st.st_size, SHM_SEGMENT_BYTES);
    assert_int_equal(st.st_blocks, 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    shm_segment_fini(&s);
}

static void the_file_neither_grows_nor_shrinks(void **state)
{
    struct shm_segment s;
    (void)state;

    assert_int_equal(shm_segment_init(&s, "test", 1 << 20), 0);
    assert_int_equal(ftruncate(s.fd, 0), -1);
    assert_int_equal(ftruncate(s.fd, 2 << 20), -1);
    assert_int_equal(fcntl(s.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    assert_true((fcntl(s.fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_true((fcntl(s.read_only_fd, F_GETFD) & FD_CLOEXEC) != 0);
    shm_segment_fini(&s);
}

static void the_workers_descriptor_cannot_write(void **state)
{
    struct shm_segment s;
    (void)state;

    assert_int_equal(shm_segment_init(&s, "test", 1 << 20), 0);
    assert_int_equal(shm_segment_commit(&s, 0, SHM_PAGE), 0);
    s.base[0] = 42;
    assert_true(mmap(NULL, s.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s.read_only_fd, 0) == MAP_FAILED);
    assert_int_equal(errno, EACCES);
    char *map = mmap(NULL, s.bytes, PROT_READ, MAP_SHARED, s.read_only_fd, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(map[0], 42);
    assert_int_equal(mprotect(map, s.bytes, PROT_READ | PROT_WRITE), -1);
    assert_int_equal(errno, EACCES);
    assert_int_equal(pwrite(s.read_only_fd, "x", 1, 0), -1);
    assert_int_equal(fallocate(s.read_only_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SHM_PAGE), -1);
    assert_int_equal(map[0], 42);
    munmap(map, s.bytes);
    shm_segment_fini(&s);
}

/* ---- what waits for readers ---- */

struct freed_log {
    unsigned count;
    shm_off last;
};

static bool log_freed(struct retired *item)
{
    struct freed_log *log = item->owner;

    assert_int_equal(item->off, log->last + 8); /* oldest first */
    log->last = item->off;
    log->count++;
    return true;
}

static void retired_memory_waits_for_its_epoch(void **state)
{
    struct retire_queue q;
    struct freed_log log = {0};
    shm_off next = 8;
    (void)state;

    retire_queue_init(&q);
    for (uint64_t epoch = 1; epoch <= 500; epoch++) {
        assert_int_equal(retire_queue_reserve(&q, 3), 0);
        for (unsigned i = 0; i < 3; i++, next += 8)
            retire_queue_push(
                &q, (struct retired){.epoch = epoch, .off = next, .size = 8, .free_fn = log_freed, .owner = &log});
        /* A reader pinned 100 epochs back holds all from there on; the ring turns over meanwhile. */
        retire_queue_reclaim(&q, epoch > 100 ? epoch - 100 : 0);
        assert_int_equal(log.count, epoch > 101 ? 3 * (epoch - 101) : 0);
        assert_int_equal(q.waiting_bytes, 8 * q.count);
    }
    assert_int_equal(retire_queue_reclaim(&q, 500), 3 * 100);
    assert_int_equal(retire_queue_reclaim(&q, 501), 3);
    assert_int_equal(q.count, 0);
    retire_queue_fini(&q);
}

static bool free_in_three_slices(struct retired *item)
{
    ++*(unsigned *)item->owner;
    return ++item->progress == 3;
}

static void what_takes_long_is_freed_in_slices(void **state)
{
    struct retire_queue q;
    unsigned calls = 0;
    (void)state;

    retire_queue_init(&q);
    assert_int_equal(retire_queue_reserve(&q, 2), 0);
    for (unsigned i = 0; i < 2; i++)
        retire_queue_push(&q, (struct retired){.epoch = 1, .off = 8, .free_fn = free_in_three_slices, .owner = &calls});
    assert_int_equal(retire_queue_reclaim(&q, 1), 0);
    assert_int_equal(retire_queue_reclaim(&q, 2), 1);
    assert_int_equal(calls, 1);
    assert_int_equal(retire_queue_reclaim(&q, 2), 1);
    assert_int_equal(retire_queue_reclaim(&q, 2), 2); /* the end of the first, the beginning of the second */
    assert_int_equal(q.count, 1);
    while (retire_queue_reclaim(&q, 2) > 0)
        continue;
    assert_int_equal(calls, 6);
    assert_int_equal(q.count, 0);
    retire_queue_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_never_overlap),
        cmocka_unit_test(every_size_gets_its_room),
        cmocka_unit_test(large_ones_give_their_memory_back),
        cmocka_unit_test(empty_slabs_give_their_memory_back),
        cmocka_unit_test(no_memory_is_an_error_and_changes_nothing),
        cmocka_unit_test(freed_ranges_need_memory_again),
        cmocka_unit_test(the_end_of_the_segment_is_an_error),
        cmocka_unit_test(a_failing_fallocate_is_an_error),
        cmocka_unit_test(too_much_address_space_is_halved),
        cmocka_unit_test(the_default_is_sparse),
        cmocka_unit_test(the_file_neither_grows_nor_shrinks),
        cmocka_unit_test(the_workers_descriptor_cannot_write),
        cmocka_unit_test(retired_memory_waits_for_its_epoch),
        cmocka_unit_test(what_takes_long_is_freed_in_slices),
    };
    return cmocka_run_group_tests_name("shm_arena", tests, NULL, NULL);
}
