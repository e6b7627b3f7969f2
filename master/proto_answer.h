#ifndef PROTO_ANSWER_H
#define PROTO_ANSWER_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"

/*
 * A message that is too long to be there twice: a list of rows, packed one by one as they are read. Lies in chunks until its length
 * is known; moving it out gives each chunk back when it was copied, so that no more than one copy takes memory.
 */
struct proto_answer_chunk;

struct proto_answer {
    struct proto_answer_chunk *first, *last;
    size_t len;
    size_t limit; /* of len */
};

/** An empty one. */
static inline struct proto_answer proto_answer_of(size_t limit)
{
    return (struct proto_answer){.limit = limit};
}

/** Append one element of a repeated message field. 0; ERR_TOO_LARGE, ERR_NO_MEMORY: the answer is of no use any more. */
int proto_answer_add_element(struct proto_answer *answer, uint32_t number, const ProtobufCMessage *element) MUST_CHECK;

/** Append fields: those that are set in a message of the answer's own type. The same errors. */
int proto_answer_add_fields(struct proto_answer *answer, const ProtobufCMessage *fields) MUST_CHECK;

/** Write all of it, answer->len bytes, and empty it. */
void proto_answer_move(struct proto_answer *answer, uint8_t *out);

/** Drop what is in it. */
void proto_answer_fini(struct proto_answer *answer);

#endif
