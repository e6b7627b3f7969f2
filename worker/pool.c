/* Objects of one size from chunks, with a free list threaded through the unused ones. The address sanitizer is told which objects
 * are free, so that a use after an object's end is seen. */

#include "pool.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

#ifdef MCPROXY_SANITIZED
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size)   ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

#define POOL_CHUNK_BYTES 65536

struct chunk {
    struct chunk *next;
    _Alignas(64) unsigned char objects[];
};

static void push_free(struct pool *pool, void *object)
{
    memcpy(object, &pool->free_list, sizeof(void *));
    pool->free_list = object;
    ASAN_POISON_MEMORY_REGION(object, pool->object_size);
}

void pool_init(struct pool *pool, const char *name, size_t object_size)
{
    CHECK(object_size >= sizeof(void *) && object_size < POOL_CHUNK_BYTES / 8);
    *pool = (struct pool){.name = name, .object_size = (object_size + 15) / 16 * 16};
}

static int add_chunk(struct pool *pool)
{
    struct chunk *chunk = aligned_alloc(64, POOL_CHUNK_BYTES);
    if (chunk == NULL)
        return -1;
    chunk->next = pool->chunks;
    pool->chunks = chunk;
    size_t count = (POOL_CHUNK_BYTES - sizeof *chunk) / pool->object_size;
    CHECK(count > 0);
    for (size_t i = count; i-- > 0;)
        push_free(pool, chunk->objects + i * pool->object_size);
    pool->total += (uint32_t)count;
    return 0;
}

void *pool_alloc(struct pool *pool)
{
    if (pool->free_list == NULL && add_chunk(pool) != 0)
        return NULL;
    void *object = pool->free_list;
    ASAN_UNPOISON_MEMORY_REGION(object, pool->object_size);
    memcpy(&pool->free_list, object, sizeof(void *));
    pool->used++;
    return memset(object, 0, pool->object_size);
}

void pool_free(struct pool *pool, void *object)
{
    CHECK(pool->used > 0);
    pool->used--;
    push_free(pool, object);
}

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
