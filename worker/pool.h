#ifndef POOL_H
#define POOL_H

#include <stddef.h>
#include <stdint.h>

struct pool_chunk;

/**
 * A pool of objects of one size, carved from larger chunks, with counters. Objects are zeroed when they are handed out. Chunks
 * stay with the pool: what a peak needed once it will need again.
 */
struct pool {
    const char *name;   /* for dumps */
    size_t object_size; /* at least a pointer */
    void *free_list;
    struct pool_chunk **chunks; /* in the order in which they were needed, so that a place keeps its number */
    uint32_t chunk_count;
    uint32_t chunk_room; /* of the array */
    uint32_t chunk_objects;
    uint32_t used;
    uint32_t total;
};

/** A pool for objects of object_size bytes; name is static. Takes no memory yet. */
void pool_init(struct pool *pool, const char *name, size_t object_size);

/** An object, all zero; NULL when memory is short. */
void *pool_alloc(struct pool *pool);

/** Give an object back; its memory may be handed out again at once. */
void pool_free(struct pool *pool, void *object);

/**
 * The object at a place, for those who look at all: places are 0 .. pool->total - 1, and an object stays at its own.
 *
 * @param magic  what an object in use begins with: odd, so that no free one does, which begins with an aligned pointer
 * @return NULL: it is free, or begins with something else
 */
void *pool_at(const struct pool *pool, uint32_t place, uint32_t magic);

/** Free all chunks. Every object must have come back. */
void pool_fini(struct pool *pool);

#endif
