#ifndef TABLES_H
#define TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "retire_queue.h"
#include "shm_arena.h"
#include "shm_layout.h"
#include "strbuf.h"
#include "table_view.h"

/*
 * The writing side of the shared tables: the segment, its root, and the protocol by which a change reaches the readers. Routes
 * (route_writer.h), backends (backend_set.h) and the firewall are written through it. One thread of one process, the master.
 *
 * How to change something:
 *
 *     prepare   tables_alloc() what is needed, tables_retire_reserve() a place for whatever will be unpublished; may fail
 *     commit    the caller's: SQLite
 *     publish   tables_change_begin(), the stores that make it visible, tables_retire() what they replaced, tables_change_end();
 *               cannot fail
 *
 * Memory of a retired record comes back when tables_reclaim() finds that no reader can hold it; every tables_alloc() that finds
 * none left tries that first, and the owner calls it from a timer too.
 */

struct tables_options {
    uint64_t segment_bytes; /* address space; 0: SHM_SEGMENT_BYTES */
    struct shm_stats
        *stats; /* whose workers[].pinned_epoch are the readers; borrowed; NULL: no readers but this process */
    unsigned worker_slots; /* of these, the slots in use: 0..SHM_WORKERS_MAX */
};

struct tables {
    struct shm_arena arena;
    struct shm_tables *shm;
    struct retire_queue retired;
    struct shm_stats *stats;
    unsigned worker_slots;
    bool is_changing;         /* between begin and end */
    _Atomic uint64_t own_pin; /* of view */
    struct table_view view;   /* for look-ups in this process, with the code that workers use */
};

/** Make the segment with empty tables, generation 1. 0, ERR_NO_MEMORY, or ERR_SYSTEM with errno. */
int tables_new(const struct tables_options *options, struct tables **out) MUST_CHECK;
/** Free the writers (route_writer_free(), backend_set_free()) first. */
void tables_free(struct tables **tables);

/** The descriptor that workers map read-only; it stays ours. The mapping is tables_bytes() long. */
int tables_worker_fd(const struct tables *t);
uint64_t tables_bytes(const struct tables *t);

/** More or fewer worker slots have readers. Lower it only after the last reader beyond it has gone and been cleared. */
void tables_set_worker_slots(struct tables *t, unsigned worker_slots);

/** The worker of a slot is dead: whatever it had pinned is free. */
void tables_clear_pin(struct tables *t, unsigned worker_slot);

/**
 * Free what no reader can hold any more, for a few milliseconds at most. Returns how many records that were; 0: nothing is left
 * to be freed now.
 */
size_t tables_reclaim(struct tables *t);

/** Memory of the segment, as shm_arena_alloc(); reclaims before it gives up. */
int tables_alloc(struct tables *t, uint64_t size, shm_off *off_out) MUST_CHECK;
/** The same without reclaiming: nothing else happens. */
int tables_alloc_only(struct tables *t, uint64_t size, shm_off *off_out) MUST_CHECK;
/** Free what was never published; what was is retired. */
void tables_free_now(struct tables *t, shm_off off, uint64_t size);

static inline void *tables_at(const struct tables *t, shm_off off)
{
    return shm_arena_at(&t->arena, off);
}

/** The root in force. */
static inline const struct shm_root *tables_root(const struct tables *t)
{
    return tables_at(t, atomic_load_explicit(&t->shm->root, memory_order_relaxed));
}

/** Reserve places for what a change will unpublish. 0 or ERR_NO_MEMORY. */
int tables_retire_reserve(struct tables *t, size_t places) MUST_CHECK;
void tables_retire_unreserve(struct tables *t, size_t places);

/**
 * Between begin and end, after the store that unpublished it: free_fn is called once no reader can hold it. free_fn NULL: the
 * memory is freed and that is all. Uses a reserved place.
 */
void tables_retire(struct tables *t, shm_off off, uint64_t size, retired_free_fn free_fn, void *owner);

/** The frame of every change; see shm_layout.h for the protocol. */
void tables_change_begin(struct tables *t);
void tables_change_end(struct tables *t);

/**
 * A new root, in three parts: allocate its memory while preparing (a place in the retire queue is reserved with it); between begin
 * and end copy *tables_root(), change the copy and publish it, which retires the old root; or abort. Copying happens at publishing,
 * so that of two prepared changes neither undoes the other.
 */
int tables_root_prepare(struct tables *t, shm_off *root_out) MUST_CHECK;
void tables_root_publish(struct tables *t, shm_off root, const struct shm_root *value);
void tables_root_abort(struct tables *t, shm_off root);

/** The limit of a listener's connections over all workers; 0: none. In force with the next accept. */
void tables_set_max_connections(struct tables *t, uint16_t listener, uint32_t max_connections);

/** One line of key=value: generation, epoch, what waits for readers, memory. */
void tables_dump(const struct tables *t, struct strbuf *out);

/**
 * Called, if set, between any two stores of a change with a word for the step: a test kills the writer there. NULL in production.
 */
typedef void (*tables_step_fn)(const char *step);
extern tables_step_fn tables_on_step;

static inline void tables_step(const char *step)
{
    if (__builtin_expect(tables_on_step != NULL, 0))
        tables_on_step(step);
}

#endif
