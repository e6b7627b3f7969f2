/* A shared budget of bytes, with a part that only Unix sockets may use. */

#include "grpc_memory.h"

bool grpc_memory_take(struct grpc_memory *memory, bool is_local, size_t len)
{
    uint64_t limit = is_local ? memory->limit : memory->limit - memory->reserve;

    if (memory->used >= limit || len > limit - memory->used)
        return len == 0;
    memory->used += len;
    return true;
}

void grpc_memory_give(struct grpc_memory *memory, size_t len)
{
    CHECK(memory->used >= len);
    memory->used -= len;
}
