/* The writing side of the shared hash tables: slots, tombstones, and arrays built anew. */

#include "hash_writer.h"

#include "err.h"

#define BUCKETS_MIN 64u /* one page; also what a slab would not align to cache lines */
_Static_assert(BUCKETS_MIN * sizeof(struct shm_hash_bucket) > SHM_SMALL_MAX, "arrays get pages: aligned and zeroed");
#define SLICE_BUCKETS 2048u /* of a table of a million entries: some 8,000 records */
_Static_assert(SHM_SEGMENT_BYTES / 8 <= UINT32_MAX, "a slot has 32 bits for an offset / 8");

static uint64_t slots_of(uint32_t buckets)
{
    return (uint64_t)buckets * SHM_HASH_BUCKET_SLOTS;
}

/** The smallest number of buckets of which `entries` fill at most half of the slots; 0 if there is none. */
static uint32_t buckets_for(uint64_t entries)
{
    uint32_t buckets = BUCKETS_MIN;

    while (buckets != 0 && entries > slots_of(buckets) / 2)
        buckets *= 2; /* to 0 at last */
    return buckets;
}

int hash_writer_init(struct hash_writer *w, struct tables *t, uint64_t entries)
{
    uint32_t buckets = buckets_for(entries);
    shm_off off = 0;

    if (buckets == 0 || tables_alloc(t, slots_of(buckets) * sizeof(uint64_t), &off) != 0)
        return ERR_NO_MEMORY;
    *w = (struct hash_writer){.ref = {.buckets = off, .bucket_count = buckets}};
    return 0;
}

void hash_writer_free_now(struct hash_writer *w, struct tables *t)
{
    if (w->ref.bucket_count != 0)
        tables_free_now(t, w->ref.buckets, hash_writer_bytes(&w->ref));
    *w = (struct hash_writer){0};
}

bool hash_writer_is_full(const struct hash_writer *w, uint32_t more)
{
    uint64_t wanted = (uint64_t)w->used + w->tombstones + w->reserved + more;

    return wanted > slots_of(w->ref.bucket_count) / 4 * 3;
}

bool hash_writer_is_sparse(const struct hash_writer *w)
{
    return w->ref.bucket_count / 4 >= buckets_for((uint64_t)w->used + w->reserved);
}

/** The first slot on the tag's way that holds no record. */
static _Atomic uint64_t *find_room(const struct hash_writer *w, struct tables *t, uint32_t tag)
{
    struct shm_hash_bucket *buckets = tables_at(t, w->ref.buckets);
    uint32_t mask = w->ref.bucket_count - 1;

    /* Below the limit there always is one. */
    for (uint32_t i = tag & mask;; i = (i + 1) & mask) {
        for (unsigned k = 0; k < SHM_HASH_BUCKET_SLOTS; k++) {
            _Atomic uint64_t *slot = &buckets[i].slots[k];
            if (!shm_hash_slot_has_record(atomic_load_explicit(slot, memory_order_relaxed)))
                return slot;
        }
    }
}

int hash_writer_rebuild(const struct hash_writer *w, struct tables *t, uint32_t more, struct hash_writer *out)
{
    const struct shm_hash_bucket *from = tables_at(t, w->ref.buckets);

    if (hash_writer_init(out, t, (uint64_t)w->used + w->reserved + more) != 0)
        return ERR_NO_MEMORY;
    for (uint64_t i = 0; i < slots_of(w->ref.bucket_count); i++) {
        uint64_t slot = atomic_load_explicit(&from[i / SHM_HASH_BUCKET_SLOTS].slots[i % SHM_HASH_BUCKET_SLOTS],
                                             memory_order_relaxed);
        /* Nobody reads the new array yet; the store that publishes it comes after these. */
        if (shm_hash_slot_has_record(slot))
            atomic_store_explicit(find_room(out, t, (uint32_t)(slot >> 32)), slot, memory_order_relaxed);
    }
    out->used = w->used;
    out->reserved = w->reserved;
    return 0;
}

int hash_writer_make_room_unseen(struct hash_writer *w, struct tables *t)
{
    struct hash_writer fresh;

    if (!hash_writer_is_full(w, 1))
        return 0;
    if (hash_writer_rebuild(w, t, 1, &fresh) != 0)
        return ERR_NO_MEMORY;
    hash_writer_free_now(w, t);
    *w = fresh;
    return 0;
}

int hash_rebuild_prepare(const struct hash_writer *w, struct tables *t, uint32_t more, struct hash_rebuild *out)
{
    if (hash_writer_rebuild(w, t, more, &out->fresh) != 0)
        return ERR_NO_MEMORY;
    if (tables_retire_reserve(t, 1) != 0)
        goto free_array;
    if (tables_root_prepare(t, &out->root) == 0)
        return 0;

    tables_retire_unreserve(t, 1);
free_array:
    hash_writer_free_now(&out->fresh, t);
    return ERR_NO_MEMORY;
}

void hash_rebuild_abort(struct hash_rebuild *r, struct tables *t)
{
    tables_root_abort(t, r->root);
    tables_retire_unreserve(t, 1);
    hash_writer_free_now(&r->fresh, t);
}

void hash_rebuild_publish(struct hash_rebuild *r, struct hash_writer *w, struct tables *t, const struct shm_root *root)
{
    struct shm_hash_ref old = w->ref;

    tables_root_publish(t, r->root, root);
    if (old.bucket_count != 0)
        tables_retire(t, old.buckets, hash_writer_bytes(&old), NULL, NULL);
    else
        tables_retire_unreserve(t, 1);
    *w = r->fresh;
}

static void free_records(const struct shm_hash_bucket *bucket, hash_record_free_fn free_record, void *owner)
{
    for (unsigned k = 0; k < SHM_HASH_BUCKET_SLOTS; k++) {
        uint64_t slot = atomic_load_explicit(&bucket->slots[k], memory_order_relaxed);
        if (shm_hash_slot_has_record(slot))
            free_record(owner, (shm_off)(uint32_t)slot * 8);
    }
}

bool hash_array_free_slice(struct tables *t, struct retired *item, hash_record_free_fn free_record)
{
    const struct shm_hash_bucket *buckets = tables_at(t, item->off);
    uint64_t count = item->size / sizeof *buckets;
    uint64_t end = item->progress + SLICE_BUCKETS < count ? item->progress + SLICE_BUCKETS : count;

    for (; item->progress < end; item->progress++)
        free_records(&buckets[item->progress], free_record, item->owner);
    if (end < count)
        return false;
    tables_free_now(t, item->off, item->size);
    return true;
}

void hash_array_free_now(struct tables *t, const struct shm_hash_ref *ref, hash_record_free_fn free_record, void *owner)
{
    struct retired item = {.off = ref->buckets, .size = hash_writer_bytes(ref), .owner = owner};

    while (!hash_array_free_slice(t, &item, free_record))
        continue;
}

void hash_writer_reserve(struct hash_writer *w)
{
    CHECK(!hash_writer_is_full(w, 1));
    w->reserved++;
}

void hash_writer_unreserve(struct hash_writer *w)
{
    CHECK(w->reserved > 0);
    w->reserved--;
}

_Atomic uint64_t *hash_writer_slot(const struct hash_writer *w, struct tables *t, const struct shm_hash_probe *found)
{
    struct shm_hash_bucket *buckets = tables_at(t, w->ref.buckets);

    return &buckets[found->bucket].slots[found->slot - 1];
}

static uint64_t slot_of(uint32_t tag, shm_off off)
{
    return (uint64_t)tag << 32 | off / 8;
}

void hash_writer_insert(struct hash_writer *w, struct tables *t, uint32_t tag, shm_off off)
{
    CHECK(!hash_writer_is_full(w, 0));
    _Atomic uint64_t *slot = find_room(w, t, tag);

    if (atomic_load_explicit(slot, memory_order_relaxed) == SHM_HASH_TOMBSTONE)
        w->tombstones--;
    w->used++;
    atomic_store_explicit(slot, slot_of(tag, off), memory_order_release);
}

void hash_writer_replace(_Atomic uint64_t *slot, uint32_t tag, shm_off off)
{
    atomic_store_explicit(slot, slot_of(tag, off), memory_order_release);
}

/** Has the bucket of this slot an empty one? Then no search ever went on from it, and none needs to. */
static bool bucket_has_empty(const struct hash_writer *w, struct tables *t, const _Atomic uint64_t *slot)
{
    const struct shm_hash_bucket *buckets = tables_at(t, w->ref.buckets);
    const struct shm_hash_bucket *own = &buckets[(slot - buckets[0].slots) / SHM_HASH_BUCKET_SLOTS];

    for (unsigned k = 0; k < SHM_HASH_BUCKET_SLOTS; k++) {
        if (atomic_load_explicit(&own->slots[k], memory_order_relaxed) == SHM_HASH_EMPTY)
            return true;
    }
    return false;
}

void hash_writer_erase(struct hash_writer *w, struct tables *t, _Atomic uint64_t *slot)
{
    bool to_empty = bucket_has_empty(w, t, slot);

    CHECK(w->used > 0);
    w->used--;
    if (!to_empty)
        w->tombstones++;
    atomic_store_explicit(slot, to_empty ? SHM_HASH_EMPTY : SHM_HASH_TOMBSTONE, memory_order_release);
}
