/* The shared tables as a whole: segment, root, epochs. What the tables hold is written by route_writer.c, backend_set.c, ... */

#include "tables.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "err.h"

/*
 * The array of backend words has its place for good, right behind the header: 1/32 of the address space (64 million backends in
 * the usual 16 GiB), of which only what is used has memory. If it moved when it grew, a reader that still holds the older root
 * would find routes added since, whose ids mean nothing in the older array.
 */
#define BACKEND_WORDS_SHARE 32u

tables_step_fn tables_on_step;

static bool free_memory(struct retired *item)
{
    struct tables *t = item->owner;

    shm_arena_free(&t->arena, item->off, item->size);
    return true;
}

static uint64_t backend_words_bytes(uint64_t segment_bytes)
{
    return segment_bytes / BACKEND_WORDS_SHARE / SHM_PAGE * SHM_PAGE;
}

static int write_header(struct tables *t)
{
    struct shm_tables *shm = tables_at(t, 0);

    if (shm_segment_commit(&t->arena.pages.segment, 0, SHM_ARENA) != 0)
        return ERR_NO_MEMORY;
    shm->magic = SHM_TABLES_MAGIC;
    shm->layout_version = SHM_LAYOUT_VERSION;
    shm->segment_bytes = t->arena.pages.segment.bytes;
    if (getrandom(shm->hash_seed, sizeof shm->hash_seed, 0) != (ssize_t)sizeof shm->hash_seed)
        return ERR_SYSTEM;
    atomic_store_explicit(&shm->epoch, 1, memory_order_relaxed);
    t->shm = shm;
    return 0;
}

static int write_first_root(struct tables *t, uint64_t words_bytes)
{
    shm_off root = 0;
    shm_off depths = 0;
    shm_off masks = 0;

    if (shm_arena_alloc(&t->arena, sizeof(struct shm_root), &root) != 0 ||
        shm_arena_alloc(&t->arena, SHM_LISTENERS_MAX * sizeof(struct shm_route_depths), &depths) != 0 ||
        shm_arena_alloc(&t->arena, sizeof(struct shm_fw_masks), &masks) != 0)
        return ERR_NO_MEMORY;
    memset(tables_at(t, masks), 0, sizeof(struct shm_fw_masks));
    *(struct shm_root *)tables_at(t, root) = (struct shm_root){
        .generation = 1,
        .route_depths = depths,
        .fw_masks = masks,
        .backends = SHM_ARENA,
        .backend_capacity = (uint32_t)(words_bytes / sizeof(uint64_t)),
    };
    atomic_store_explicit(&t->shm->root, root, memory_order_release);
    return 0;
}

int tables_new(const struct tables_options *options, struct tables **out)
{
    struct tables *t = calloc(1, sizeof *t);
    int rc = 0;

    if (t == NULL)
        return ERR_NO_MEMORY;
    /* The reserved front depends on how much address space there is, so it is asked for in two steps. */
    if ((rc = shm_arena_init(&t->arena, options->segment_bytes, SHM_ARENA)) != 0) {
        free(t);
        return rc;
    }
    uint64_t words_bytes = backend_words_bytes(t->arena.pages.segment.bytes);
    shm_pages_skip(&t->arena.pages, words_bytes);
    retire_queue_init(&t->retired);
    t->stats = options->stats;
    t->worker_slots = options->worker_slots;
    if ((rc = write_header(t)) != 0 || (rc = write_first_root(t, words_bytes)) != 0) {
        tables_free(&t);
        return rc;
    }
    t->view = (struct table_view){.tables = t->shm, .bytes = tables_bytes(t), .pinned_epoch = &t->own_pin};
    *out = t;
    return 0;
}

void tables_free(struct tables **tables)
{
    struct tables *t = *tables;

    if (t == NULL)
        return;
    *tables = NULL;
    retire_queue_fini(&t->retired);
    shm_arena_fini(&t->arena);
    free(t);
}

int tables_worker_fd(const struct tables *t)
{
    return t->arena.pages.segment.read_only_fd;
}

uint64_t tables_bytes(const struct tables *t)
{
    return t->arena.pages.segment.bytes;
}

void tables_set_worker_slots(struct tables *t, unsigned worker_slots)
{
    CHECK(worker_slots <= SHM_WORKERS_MAX && (t->stats != NULL || worker_slots == 0));
    t->worker_slots = worker_slots;
}

void tables_clear_pin(struct tables *t, unsigned worker_slot)
{
    CHECK(t->stats != NULL && worker_slot < SHM_WORKERS_MAX);
    atomic_store_explicit(&t->stats->workers[worker_slot].pinned_epoch, 0, memory_order_seq_cst);
}

static uint64_t min_pin(uint64_t least, const _Atomic uint64_t *cell)
{
    uint64_t pin = atomic_load_explicit(cell, memory_order_acquire);
    return pin != 0 && pin < least ? pin : least;
}

size_t tables_reclaim(struct tables *t)
{
    if (t->retired.count == 0)
        return 0;
    /* Pairs with the fence of table_pin(): either we see its pin here, or it sees what was published before here. */
    atomic_thread_fence(memory_order_seq_cst);
    uint64_t least = min_pin(UINT64_MAX, &t->own_pin);
    for (unsigned i = 0; i < t->worker_slots; i++)
        least = min_pin(least, &t->stats->workers[i].pinned_epoch);
    return retire_queue_reclaim(&t->retired, least);
}

int tables_alloc_only(struct tables *t, uint64_t size, shm_off *off_out)
{
    return shm_arena_alloc(&t->arena, size, off_out);
}

int tables_alloc(struct tables *t, uint64_t size, shm_off *off_out)
{
    do {
        if (shm_arena_alloc(&t->arena, size, off_out) == 0)
            return 0;
    } while (tables_reclaim(t) > 0);
    return ERR_NO_MEMORY;
}

void tables_free_now(struct tables *t, shm_off off, uint64_t size)
{
    shm_arena_free(&t->arena, off, size);
}

int tables_retire_reserve(struct tables *t, size_t places)
{
    return retire_queue_reserve(&t->retired, places);
}

void tables_retire_unreserve(struct tables *t, size_t places)
{
    retire_queue_unreserve(&t->retired, places);
}

void tables_retire(struct tables *t, shm_off off, uint64_t size, retired_free_fn free_fn, void *owner)
{
    CHECK(t->is_changing);
    retire_queue_push(&t->retired, (struct retired){
                                       .epoch = atomic_load_explicit(&t->shm->epoch, memory_order_relaxed),
                                       .off = off,
                                       .size = size,
                                       .free_fn = free_fn != NULL ? free_fn : free_memory,
                                       .owner = free_fn != NULL ? owner : t,
                                   });
}

void tables_change_begin(struct tables *t)
{
    CHECK(!t->is_changing);
    t->is_changing = true;
    atomic_fetch_add_explicit(&t->shm->epoch, 1, memory_order_seq_cst);
    tables_step("begun");
}

void tables_change_end(struct tables *t)
{
    CHECK(t->is_changing);
    tables_step("before_end");
    atomic_fetch_add_explicit(&t->shm->epoch, 1, memory_order_seq_cst);
    t->is_changing = false;
    tables_step("ended");
}

int tables_root_prepare(struct tables *t, shm_off *root_out)
{
    int rc = tables_retire_reserve(t, 1);

    if (rc == 0 && (rc = tables_alloc(t, sizeof(struct shm_root), root_out)) != 0)
        tables_retire_unreserve(t, 1);
    return rc;
}

void tables_root_publish(struct tables *t, shm_off root, const struct shm_root *value)
{
    shm_off old = atomic_load_explicit(&t->shm->root, memory_order_relaxed);
    struct shm_root *fresh = tables_at(t, root);

    *fresh = *value;
    fresh->generation = tables_root(t)->generation + 1;
    tables_step("root_written");
    atomic_store_explicit(&t->shm->root, root, memory_order_release);
    tables_step("root_published");
    tables_retire(t, old, sizeof(struct shm_root), NULL, NULL);
}

void tables_root_abort(struct tables *t, shm_off root)
{
    tables_free_now(t, root, sizeof(struct shm_root));
    tables_retire_unreserve(t, 1);
}

void tables_set_max_connections(struct tables *t, uint16_t listener, uint32_t max_connections)
{
    CHECK(listener < SHM_LISTENERS_MAX);
    tables_step("max_connections");
    atomic_store_explicit(&t->shm->listeners[listener].max_connections, max_connections, memory_order_release);
    tables_step("max_connections_set");
}

void tables_dump(const struct tables *t, struct strbuf *out)
{
    strbuf_addf(out, "generation=%" PRIu64 " epoch=%" PRIu64 " retired=%zu retired_bytes=%" PRIu64 " ",
                tables_root(t)->generation, (uint64_t)atomic_load_explicit(&t->shm->epoch, memory_order_relaxed),
                t->retired.count, t->retired.waiting_bytes);
    shm_arena_dump(&t->arena, out);
}
