/*
 * Requests of the admin API: what the scan lets pass, protobuf-c refuses or unpacks within its memory, and its strings hold neither a
 * NUL nor what is no UTF-8: packed again they pass again, and unpack to the same.
 */

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "proto_arena.h"
#include "proto_scan.h"

#define TYPE (&mc_proxy__v1__apply_changes_request__descriptor)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int scan(struct bytes message)
{
    char text[512];
    struct strbuf why = STRBUF_OF(text);
    size_t index;
    int rc = proto_scan(TYPE, message, 5, &index, &why);

    CHECK(rc == 0 || rc == ERR_INVALID || rc == ERR_PROTOCOL);
    CHECK((rc == ERR_INVALID) == (why.len > 0) && !why.overflowed);
    CHECK(index == 0 || (rc == ERR_INVALID && index >= 5));
    return rc;
}

/** Packed again, it is what it was. */
static void check_packed(const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *first = malloc(len + 1), *second = malloc(len + 1);
    struct proto_arena arena;

    CHECK(first != NULL && second != NULL);
    CHECK(protobuf_c_message_pack(message, first) == len);
    CHECK(scan(bytes_of(first, len)) == 0);
    proto_arena_init(&arena, 64u << 20);
    ProtobufCMessage *again = protobuf_c_message_unpack(TYPE, &arena.allocator, len, first);
    CHECK(again != NULL && protobuf_c_message_get_packed_size(again) == len);
    CHECK(protobuf_c_message_pack(again, second) == len && memcmp(first, second, len) == 0);
    proto_arena_reset(&arena);
    free(first);
    free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proto_arena arena;

    if (scan(bytes_of(data, size)) != 0)
        return 0;
    proto_arena_init(&arena, 64u << 20);
    ProtobufCMessage *message = protobuf_c_message_unpack(TYPE, &arena.allocator, size, data);
    CHECK(arena.bytes <= arena.limit);
    if (message != NULL)
        check_packed(message);
    proto_arena_reset(&arena);
    return 0;
}
