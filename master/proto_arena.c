/* A bump allocator over chunks that double. */

#include "proto_arena.h"

#include <stdlib.h>

#include "check.h"

#define CHUNK_MIN_BYTES (4u << 10)
#define CHUNK_MAX_BYTES (1u << 20)
#define ALIGNMENT       16u

struct proto_arena_chunk {
    struct proto_arena_chunk *next;
    size_t bytes;
    _Alignas(ALIGNMENT) uint8_t data[];
};

static size_t chunk_bytes(const struct proto_arena *arena, size_t wanted)
{
    size_t bytes = arena->bytes < CHUNK_MIN_BYTES ? CHUNK_MIN_BYTES : arena->bytes;

    bytes = bytes > CHUNK_MAX_BYTES ? CHUNK_MAX_BYTES : bytes;
    return bytes > wanted ? bytes : wanted;
}

static struct proto_arena_chunk *add_chunk(struct proto_arena *arena, size_t wanted)
{
    size_t bytes = chunk_bytes(arena, wanted);

    if (bytes > arena->limit - arena->bytes)
        return NULL;
    struct proto_arena_chunk *chunk = malloc(sizeof *chunk + bytes);
    if (chunk == NULL)
        return NULL;
    chunk->next = arena->chunks;
    chunk->bytes = bytes;
    arena->chunks = chunk;
    arena->bytes += bytes;
    arena->at = 0;
    return chunk;
}

static void *take(struct proto_arena *arena, size_t size)
{
    struct proto_arena_chunk *chunk = arena->chunks;

    if (size > arena->limit)
        return NULL;
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if ((chunk == NULL || size > chunk->bytes - arena->at) && (chunk = add_chunk(arena, size)) == NULL)
        return NULL;
    void *taken = chunk->data + arena->at;
    arena->at += size;
    return taken;
}

static void *on_alloc(void *data, size_t size)
{
    struct proto_arena *arena = data;
    void *taken = take(arena, size);

    arena->is_exhausted |= taken == NULL;
    return taken;
}

static void on_free(void *data, void *taken)
{
    (void)data;
    (void)taken; /* with the whole */
}

void proto_arena_init(struct proto_arena *arena, size_t limit)
{
    *arena = (struct proto_arena){.limit = limit};
    arena->allocator = (ProtobufCAllocator){.alloc = on_alloc, .free = on_free, .allocator_data = arena};
}

void proto_arena_reset(struct proto_arena *arena)
{
    CHECK(arena->allocator.allocator_data == arena);
    while (arena->chunks != NULL) {
        struct proto_arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        free(chunk);
    }
    arena->at = 0;
    arena->bytes = 0;
    arena->is_exhausted = false;
}
