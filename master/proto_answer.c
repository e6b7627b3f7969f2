/* A long message, packed piece by piece into chunks. */

#include "proto_answer.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "proto_wire.h"

#define CHUNK_MIN_BYTES (1u << 10)
#define CHUNK_MAX_BYTES (1u << 20) /* mapped by malloc each for itself: freed means gone */

struct proto_answer_chunk {
    struct proto_answer_chunk *next;
    size_t len, capacity;
    uint8_t data[];
};

/** Room for len bytes in one piece. */
static int make_room(struct proto_answer *answer, size_t len, uint8_t **out)
{
    struct proto_answer_chunk *chunk = answer->last;

    if (len > answer->limit - answer->len)
        return ERR_TOO_LARGE;
    if (chunk == NULL || len > chunk->capacity - chunk->len) {
        size_t capacity = answer->len < CHUNK_MIN_BYTES ? CHUNK_MIN_BYTES : answer->len;
        capacity = capacity > CHUNK_MAX_BYTES ? CHUNK_MAX_BYTES : capacity;
        capacity = capacity > len ? capacity : len;
        chunk = malloc(sizeof *chunk + capacity);
        if (chunk == NULL)
            return ERR_NO_MEMORY;
        *chunk = (struct proto_answer_chunk){.capacity = capacity};
        *(answer->last == NULL ? &answer->first : &answer->last->next) = chunk;
        answer->last = chunk;
    }
    *out = chunk->data + chunk->len;
    chunk->len += len;
    answer->len += len;
    return 0;
}

int proto_answer_add_element(struct proto_answer *answer, uint32_t number, const ProtobufCMessage *element)
{
    uint8_t tag[WIRE_TAG_LEN_MAX];
    size_t len = protobuf_c_message_get_packed_size(element);
    size_t tag_len = wire_write_len(number, len, tag);
    uint8_t *room;
    int rc = make_room(answer, tag_len + len, &room);

    if (rc != 0)
        return rc;
    memcpy(room, tag, tag_len);
    CHECK(protobuf_c_message_pack(element, room + tag_len) == len);
    return 0;
}

int proto_answer_add_fields(struct proto_answer *answer, const ProtobufCMessage *fields)
{
    size_t len = protobuf_c_message_get_packed_size(fields);
    uint8_t *room;
    int rc = make_room(answer, len, &room);

    if (rc != 0)
        return rc;
    CHECK(protobuf_c_message_pack(fields, room) == len);
    return 0;
}

static struct proto_answer_chunk *take_first(struct proto_answer *answer)
{
    struct proto_answer_chunk *chunk = answer->first;

    if (chunk != NULL)
        answer->first = chunk->next;
    return chunk;
}

void proto_answer_move(struct proto_answer *answer, uint8_t *out)
{
    struct proto_answer_chunk *chunk;

    while ((chunk = take_first(answer)) != NULL) {
        memcpy(out, chunk->data, chunk->len);
        out += chunk->len;
        free(chunk);
    }
    proto_answer_fini(answer);
}

void proto_answer_fini(struct proto_answer *answer)
{
    struct proto_answer_chunk *chunk;

    while ((chunk = take_first(answer)) != NULL)
        free(chunk);
    answer->last = NULL;
    answer->len = 0;
}
