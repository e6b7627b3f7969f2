#ifndef GRPC_MEMORY_H
#define GRPC_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"

/**
 * A budget of bytes that all connections share. Part of it is kept for Unix sockets, so that whoever is on the machine can still ask
 * what is going on when strangers have used up the rest.
 */
struct grpc_memory {
    uint64_t limit;
    uint64_t reserve; /* of limit */
    uint64_t used;
};

/** Take len bytes, or none. */
bool grpc_memory_take(struct grpc_memory *memory, bool is_local, size_t len) MUST_CHECK;
void grpc_memory_give(struct grpc_memory *memory, size_t len);

#endif
