#ifndef SHM_HASH_H
#define SHM_HASH_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "shm_layout.h"

/*
 * The reading side of the shared hash tables (routes, firewall prefixes): a keyed hash, and a walk over the records whose tag
 * fits. Buckets of eight slots are one cache line, a search begins in bucket (tag mod bucket_count) and goes on to the next one
 * only when all eight slots are used or tombstones, so nearly every look-up touches one line and the record itself.
 *
 * A tag is also all that is needed to find an entry's bucket in an array of another size: growing never reads a record. Equal
 * tags of different keys are rare but allowed; the caller compares the record.
 *
 *     struct shm_hash_probe p = shm_hash_probe_begin(tables, &root->fw4, tag);
 *     for (shm_off off; (off = shm_hash_probe_next(&p)) != 0;)
 *         if (record_matches(shm_at(tables, off), key))
 *             return true;
 */

/** What lies at an offset. Offsets come from the tables alone, which only the master writes. */
static inline const void *shm_at(const struct shm_tables *tables, shm_off off)
{
    return (const char *)tables + off;
}

/**
 * A keyed hash (SipHash-1-3) of a name, absorbed from its right end in words of eight bytes, so that one pass yields the hash of
 * every suffix: the hash of "example.com" inside "www.example.com" is the hash of "example.com" alone.
 */
struct shm_hash_name {
    uint64_t v[4];
    struct bytes name;
    size_t absorbed; /* bytes from the right end, a multiple of 8 */
};

/** Begin with the tables' hash_seed; name is borrowed. */
void shm_hash_name_init(struct shm_hash_name *h, const uint64_t seed[2], struct bytes name);

/**
 * The tag of the last suffix_len bytes of the name (0..name.len, never less than at the call before).
 *
 * @param context  what else distinguishes the key (listener and kind of route)
 */
uint32_t shm_hash_name_suffix(struct shm_hash_name *h, size_t suffix_len, uint32_t context);

/** The tag of a key of fixed width, for example an address and its prefix length. */
uint32_t shm_hash_words(const uint64_t seed[2], const uint64_t *words, unsigned count);

/** The same with all 64 bits, where there is no record to compare with (rate_limit.c). */
uint64_t shm_hash_words64(const uint64_t seed[2], const uint64_t *words, unsigned count);

/** A walk over the records with one tag. Fields are shm_hash.h's and the master's hash writer's business. */
struct shm_hash_probe {
    const struct shm_hash_bucket *buckets;
    uint32_t tag;
    uint32_t mask;   /* bucket count - 1 */
    uint32_t bucket; /* where we are */
    uint32_t left;   /* buckets not begun yet, so that a walk ends even when no slot is empty */
    unsigned slot;   /* next slot to look at */
    bool saw_empty;  /* this bucket never overflowed into the next */
};

static inline struct shm_hash_probe shm_hash_probe_begin(const struct shm_tables *tables,
                                                         const struct shm_hash_ref *ref, uint32_t tag)
{
    uint32_t mask = ref->bucket_count - 1; /* of no buckets: unused, as the walk is over at once */

    return (struct shm_hash_probe){
        .buckets = shm_at(tables, ref->buckets),
        .tag = tag,
        .mask = mask,
        .bucket = tag & mask,
        .left = ref->bucket_count,
        .slot = SHM_HASH_BUCKET_SLOTS,
        .saw_empty = ref->bucket_count == 0,
    };
}

/** Ask for the first bucket's cache line early, when several look-ups are to follow. */
static inline void shm_hash_prefetch(const struct shm_tables *tables, const struct shm_hash_ref *ref, uint32_t tag)
{
    if (ref->bucket_count != 0)
        __builtin_prefetch((const struct shm_hash_bucket *)shm_at(tables, ref->buckets) +
                           (tag & (ref->bucket_count - 1)));
}

static inline bool shm_hash_slot_has_record(uint64_t slot)
{
    return (uint32_t)slot > SHM_HASH_TOMBSTONE;
}

/** The next record with this tag; 0 when there is none left. */
static inline shm_off shm_hash_probe_next(struct shm_hash_probe *p)
{
    for (;;) {
        if (p->slot == SHM_HASH_BUCKET_SLOTS) {
            if (p->saw_empty || p->left == 0)
                return 0;
            /* The first bucket is the tag's own; `left` tells the first from the following ones. */
            p->bucket = p->left == p->mask + 1 ? p->bucket : (p->bucket + 1) & p->mask;
            p->left--;
            p->slot = 0;
        }
        uint64_t slot = atomic_load_explicit(&p->buckets[p->bucket].slots[p->slot++], memory_order_acquire);
        if (slot == SHM_HASH_EMPTY)
            p->saw_empty = true;
        else if (slot >> 32 == p->tag && shm_hash_slot_has_record(slot))
            return (shm_off)(uint32_t)slot * 8;
    }
}

#endif
