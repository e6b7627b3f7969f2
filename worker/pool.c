/* Objects of one size from chunks, with a free list threaded through the unused ones. Under the address sanitizer each object is
 * an allocation of its own, so that a use after its end is seen. */

#include "pool.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

#define POOL_CHUNK_BYTES 65536

struct chunk {
    struct chunk *next;
    _Alignas(64) unsigned char objects[];
};

void pool_init(struct pool *pool, const char *name, size_t object_size)
{
    CHECK(object_size >= sizeof(void *) && object_size < POOL_CHUNK_BYTES / 8);
    *pool = (struct pool){.name = name, .object_size = (object_size + 15) / 16 * 16};
}

#ifdef MCPROXY_SANITIZED

void *pool_alloc(struct pool *pool)
{
    void *object = calloc(1, pool->object_size);

    if (object != NULL)
        pool->used++;
    return object;
}

void pool_free(struct pool *pool, void *object)
{
    CHECK(pool->used > 0);
    pool->used--;
    free(object);
}

#else

static int add_chunk(struct pool *pool)
{
    struct chunk *chunk = aligned_alloc(64, POOL_CHUNK_BYTES);
    if (chunk == NULL)
        return -1;
    chunk->next = pool->chunks;
    pool->chunks = chunk;
    size_t count = (POOL_CHUNK_BYTES - sizeof *chunk) / pool->object_size;
    for (size_t i = count; i-- > 0;) {
        void *object = chunk->objects + i * pool->object_size;
        memcpy(object, &pool->free_list, sizeof(void *));
        pool->free_list = object;
    }
    pool->total += (uint32_t)count;
    return 0;
}

void *pool_alloc(struct pool *pool)
{
    if (pool->free_list == NULL && add_chunk(pool) != 0)
        return NULL;
    void *object = pool->free_list;
    memcpy(&pool->free_list, object, sizeof(void *));
    pool->used++;
    return memset(object, 0, pool->object_size);
}

void pool_free(struct pool *pool, void *object)
{
    CHECK(pool->used > 0);
    pool->used--;
    memcpy(object, &pool->free_list, sizeof(void *));
    pool->free_list = object;
}

#endif

void pool_fini(struct pool *pool)
{
    CHECK(pool->used == 0);
    for (struct chunk *chunk = pool->chunks, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    pool->chunks = NULL;
    pool->free_list = NULL;
}
