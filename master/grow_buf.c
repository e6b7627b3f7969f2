/* A byte buffer on the heap for what the command line reads and sends. */

#include "grow_buf.h"

#include <stdlib.h>
#include <string.h>

#define GROW_BUF_FIRST 256

static bool make_room(struct grow_buf *b, size_t len)
{
    size_t capacity = b->capacity > 0 ? b->capacity : GROW_BUF_FIRST;

    if (b->has_failed || len > SIZE_MAX / 4 - b->len) {
        b->has_failed = true;
        return false;
    }
    while (capacity < b->len + len)
        capacity *= 2;
    if (capacity == b->capacity)
        return true;
    uint8_t *larger = realloc(b->data, capacity);
    if (larger == NULL) {
        b->has_failed = true;
        return false;
    }
    b->data = larger;
    b->capacity = capacity;
    return true;
}

uint8_t *grow_buf_extend(struct grow_buf *b, size_t len)
{
    if (!make_room(b, len))
        return NULL;
    b->len += len;
    return b->data + b->len - len;
}

void grow_buf_add(struct grow_buf *b, struct bytes bytes)
{
    uint8_t *room = grow_buf_extend(b, bytes.len);

    if (room != NULL && bytes.len > 0)
        memcpy(room, bytes.ptr, bytes.len);
}

void grow_buf_reset(struct grow_buf *b)
{
    b->len = 0;
    b->has_failed = false;
}

void grow_buf_fini(struct grow_buf *b)
{
    free(b->data);
    *b = (struct grow_buf){0};
}
