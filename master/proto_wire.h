#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"

/* The wire format of protocol buffers (protobuf.dev, "Encoding"), field by field, for what protobuf-c does not do. Pure. */

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LEN = 2, WIRE_FIXED32 = 5 }; /* 3 and 4 are groups: refused */

struct wire_field {
    uint32_t number; /* 1..2^29-1 */
    enum wire_type type;
    uint64_t value;     /* of all but WIRE_LEN */
    struct bytes bytes; /* WIRE_LEN: borrowed from the reader's input */
};

/** The next field of a message: 1 and *out, 0 at its end, ERR_PROTOCOL if what follows is no field. */
int wire_next(struct reader *r, struct wire_field *out) MUST_CHECK;

/** How often a field stands in a message, up to where it ends or is no message any more. */
size_t wire_count(struct bytes message, uint32_t number);

#define WIRE_TAG_LEN_MAX 15 /* a tag and a length */

/** Write the tag of a WIRE_LEN field and the length of what follows; returns the number of bytes, at most WIRE_TAG_LEN_MAX. */
size_t wire_write_len(uint32_t number, size_t len, uint8_t out[WIRE_TAG_LEN_MAX]);

#endif
