#ifndef GROW_BUF_H
#define GROW_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

/**
 * Bytes that grow on the heap, with a sticky failure flag that is checked once at the end: once memory ran out, what is added is
 * dropped. A zeroed struct is empty.
 */
struct grow_buf {
    uint8_t *data;
    size_t len;
    size_t capacity;
    bool has_failed;
};

/** Room for `len` more bytes at the end, which count at once; NULL without memory. */
uint8_t *grow_buf_extend(struct grow_buf *b, size_t len);
void grow_buf_add(struct grow_buf *b, struct bytes bytes);
/** Empty again; keeps the memory, forgets a failure. */
void grow_buf_reset(struct grow_buf *b);
void grow_buf_fini(struct grow_buf *b);

static inline struct bytes grow_buf_bytes(const struct grow_buf *b)
{
    return bytes_of(b->data, b->len);
}

#endif
