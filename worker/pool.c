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

struct pool_chunk {
    _Alignas(64) unsigned char objects[POOL_CHUNK_BYTES];
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
    pool->chunk_objects = (uint32_t)(POOL_CHUNK_BYTES / pool->object_size);
}

/** Room for one more chunk in the array. */
static int reserve_chunk(struct pool *pool)
{
    uint32_t room = pool->chunk_room > 0 ? pool->chunk_room * 2 : 16;

    if (pool->chunk_count < pool->chunk_room)
        return 0;
    struct pool_chunk **chunks = realloc(pool->chunks, room * sizeof(struct pool_chunk *));
    if (chunks == NULL)
        return -1;
    pool->chunks = chunks;
    pool->chunk_room = room;
    return 0;
}

static void *object_of(const struct pool *pool, uint32_t place)
{
    return pool->chunks[place / pool->chunk_objects]->objects + place % pool->chunk_objects * pool->object_size;
}

static int add_chunk(struct pool *pool)
{
    if (reserve_chunk(pool) != 0)
        return -1;
    struct pool_chunk *chunk = aligned_alloc(64, sizeof *chunk);
    if (chunk == NULL)
        return -1;
    pool->chunks[pool->chunk_count++] = chunk;
    pool->total += pool->chunk_objects;
    for (uint32_t i = 0; i < pool->chunk_objects; i++)
        push_free(pool, object_of(pool, pool->total - 1 - i));
    return 0;
}

void *pool_alloc(struct pool *pool)
{
    if (pool->free_list == NULL && add_chunk(pool) != 0)
        return NULL;
    void *object = pool->free_list;
    CHECK(object != NULL);
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

/** Reads what may be a free object, which the address sanitizer has been told to guard. */
__attribute__((no_sanitize("address"))) static uint32_t first_word(const void *object)
{
    return *(const volatile uint32_t *)object;
}

void *pool_at(const struct pool *pool, uint32_t place, uint32_t magic)
{
    CHECK(place < pool->total && magic % 2 == 1);
    void *object = object_of(pool, place);
    return first_word(object) == magic ? object : NULL;
}

void pool_fini(struct pool *pool)
{
    CHECK(pool->used == 0);
    for (uint32_t i = 0; i < pool->chunk_count; i++)
        free(pool->chunks[i]);
    free(pool->chunks);
    *pool = (struct pool){.name = pool->name, .object_size = pool->object_size, .chunk_objects = pool->chunk_objects};
}
