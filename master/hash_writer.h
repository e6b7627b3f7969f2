#ifndef HASH_WRITER_H
#define HASH_WRITER_H

#include <stdint.h>

#include "check.h"
#include "shm_hash.h"
#include "tables.h"

/**
 * The writing side of one shared hash table (shm_hash.h), for routes and for firewall prefixes. It knows slots, tags and offsets;
 * records and their keys are the caller's, who finds a slot by walking it with the readers' own probe.
 *
 * Entries never move within an array, so a reader meets each at most once. When used slots and tombstones pass 3/4 of an array, a
 * new one is built aside from the tags alone, with entries in at most half of its slots.
 */
struct hash_writer {
    struct shm_hash_ref ref;
    uint32_t used;
    uint32_t tombstones;
    uint32_t reserved; /* insertions that were promised room */
};

/** Room for `entries` in a new array that is not visible yet. 0 or ERR_NO_MEMORY. */
int hash_writer_init(struct hash_writer *w, struct tables *t, uint64_t entries) MUST_CHECK;

/** Free an array that was never visible. */
void hash_writer_free_now(struct hash_writer *w, struct tables *t);

/** Bytes of an array, as it is to be retired. */
static inline uint64_t hash_writer_bytes(const struct shm_hash_ref *ref)
{
    return (uint64_t)ref->bucket_count * sizeof(struct shm_hash_bucket);
}

/** Must the array be rebuilt before `more` entries besides the reserved ones may be added? */
bool hash_writer_is_full(const struct hash_writer *w, uint32_t more);

/** Would a rebuilt array take at most a quarter of the memory? */
bool hash_writer_is_sparse(const struct hash_writer *w);

/**
 * Build a copy of *w without tombstones and with room for `more` entries, aside: *w stays as it is and in force. Moves no record
 * and reads none. 0 or ERR_NO_MEMORY.
 */
int hash_writer_rebuild(const struct hash_writer *w, struct tables *t, uint32_t more,
                        struct hash_writer *out) MUST_CHECK;

/** The same for an array that nobody sees yet, in its place, if it is full. 0, or ERR_NO_MEMORY and nothing has changed. */
int hash_writer_make_room_unseen(struct hash_writer *w, struct tables *t) MUST_CHECK;

/** An array built anew that is to replace the one in force, with all that showing it needs. Embedded; fields are ours. */
struct hash_rebuild {
    struct hash_writer fresh;
    shm_off root;
};

/** hash_writer_rebuild(), memory for a root, and a place for the old array in the retire queue. 0 or ERR_NO_MEMORY. */
int hash_rebuild_prepare(const struct hash_writer *w, struct tables *t, uint32_t more,
                         struct hash_rebuild *out) MUST_CHECK;
void hash_rebuild_abort(struct hash_rebuild *r, struct tables *t);

/**
 * Between tables_change_begin() and _end(), with nothing changed in *w since: publish a root, which the caller has made of
 * *tables_root() and r->fresh.ref, and let *w go on with the new array. Cannot fail.
 */
void hash_rebuild_publish(struct hash_rebuild *r, struct hash_writer *w, struct tables *t, const struct shm_root *root);

/** What becomes of a record whose array is freed. */
typedef void (*hash_record_free_fn)(void *owner, shm_off record);

/**
 * The work of a retired_free_fn: free the records of a retired array (of hash_writer_bytes() bytes) by free_record(item->owner, ...),
 * some thousands at a time, and at last the array. Returns true when all is done.
 */
bool hash_array_free_slice(struct tables *t, struct retired *item, hash_record_free_fn free_record);

/** The same at once, for an array that nobody has seen. */
void hash_array_free_now(struct tables *t, const struct shm_hash_ref *ref, hash_record_free_fn free_record,
                         void *owner);

/** Keep room for an insertion, which hash_writer_is_full(w, 1) must have said is there. */
void hash_writer_reserve(struct hash_writer *w);
void hash_writer_unreserve(struct hash_writer *w);

/** The slot that shm_hash_probe_next() has just found, to replace or erase its entry. */
_Atomic uint64_t *hash_writer_slot(const struct hash_writer *w, struct tables *t, const struct shm_hash_probe *found);

/** Make a complete record visible in the first free slot on its way. Cannot fail: there is always room below the limit. */
void hash_writer_insert(struct hash_writer *w, struct tables *t, uint32_t tag, shm_off off);

/** Let a slot show another record of the same key. */
void hash_writer_replace(_Atomic uint64_t *slot, uint32_t tag, shm_off off);

/** Take an entry out of sight. */
void hash_writer_erase(struct hash_writer *w, struct tables *t, _Atomic uint64_t *slot);

#endif
