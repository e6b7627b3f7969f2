#ifndef PROTO_ARENA_H
#define PROTO_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * The memory of one unpacked message at a time: taken piece by piece, given back as a whole, and no more than a limit however few
 * bytes on the wire (two, for an empty element of a list) become however many in memory.
 */
struct proto_arena_chunk;

struct proto_arena {
    ProtobufCAllocator allocator; /* for protobuf_c_message_unpack(); its free does nothing */
    struct proto_arena_chunk *chunks;
    size_t at;         /* in the first chunk */
    size_t bytes;      /* of all chunks */
    size_t limit;      /* of bytes */
    bool is_exhausted; /* something was asked for that was not to be had */
};

/** An empty one. It must not move while it is in use. */
void proto_arena_init(struct proto_arena *arena, size_t limit);

/** Everything that was taken is gone; what it took goes back to the system. */
void proto_arena_reset(struct proto_arena *arena);

#endif
