#ifndef BYTES_H
#define BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** Borrowed bytes: a pointer never travels without its length. ptr may be NULL only when len is 0. */
struct bytes {
    const uint8_t *ptr;
    size_t len;
};

static inline struct bytes bytes_of(const void *ptr, size_t len)
{
    return (struct bytes){.ptr = ptr, .len = len};
}

static inline struct bytes bytes_of_str(const char *text)
{
    return bytes_of(text, strlen(text));
}

/** Is b exactly the NUL-terminated text? */
static inline bool bytes_equal_str(struct bytes b, const char *text)
{
    return strlen(text) == b.len && (b.len == 0 || memcmp(b.ptr, text, b.len) == 0);
}

/** What a hexadecimal digit stands for, 0 to 15; -1: it is none. */
static inline int bytes_hex_value(uint8_t digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/**
 * A cursor over borrowed bytes for wire formats in network byte order. Bounds are checked here and nowhere else: a read past
 * the end sets `failed`, yields zero (or an empty slice), and every later read fails too, so that a parser may read a whole
 * structure and ask once.
 */
struct reader {
    const uint8_t *at;
    size_t left;
    bool failed;
};

static inline struct reader reader_of(struct bytes in)
{
    return (struct reader){.at = in.ptr, .left = in.len, .failed = false};
}

/** Take the next len bytes; borrowed from the reader's input. */
static inline struct bytes reader_slice(struct reader *r, size_t len)
{
    if (r->failed || len > r->left) {
        r->failed = true;
        return bytes_of(NULL, 0);
    }
    struct bytes out = bytes_of(r->at, len);
    if (len > 0)
        r->at += len;
    r->left -= len;
    return out;
}

static inline uint8_t reader_u8(struct reader *r)
{
    struct bytes b = reader_slice(r, 1);
    return b.len == 1 ? b.ptr[0] : 0;
}

static inline uint16_t reader_u16(struct reader *r)
{
    struct bytes b = reader_slice(r, 2);
    return (uint16_t)(b.len == 2 ? b.ptr[0] << 8 | b.ptr[1] : 0);
}

static inline uint32_t reader_u24(struct reader *r)
{
    struct bytes b = reader_slice(r, 3);
    return b.len == 3 ? (uint32_t)b.ptr[0] << 16 | (uint32_t)b.ptr[1] << 8 | b.ptr[2] : 0;
}

static inline uint32_t reader_u32(struct reader *r)
{
    struct bytes b = reader_slice(r, 4);
    return b.len == 4 ? (uint32_t)b.ptr[0] << 24 | (uint32_t)b.ptr[1] << 16 | (uint32_t)b.ptr[2] << 8 | b.ptr[3] : 0;
}

/** A vector with an 8-bit (16-bit) length in front, as TLS writes them (RFC 8446 3.4). */
static inline struct bytes reader_vector8(struct reader *r)
{
    size_t len = reader_u8(r);
    return reader_slice(r, len);
}

static inline struct bytes reader_vector16(struct reader *r)
{
    size_t len = reader_u16(r);
    return reader_slice(r, len);
}

/** Has everything been read, and nothing beyond? */
static inline bool reader_is_done(const struct reader *r)
{
    return !r->failed && r->left == 0;
}

#endif
