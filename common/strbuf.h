#ifndef STRBUF_H
#define STRBUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "bytes.h"
#include "check.h"

/**
 * Text built into a caller's buffer, with a sticky overflow flag that is checked once at the end. Always NUL-terminated; what
 * does not fit is cut and `overflowed` says so.
 *
 *     data[0 .. len)  text      data[len]  NUL      capacity >= 1 counts the NUL
 */
struct strbuf {
    char *data;
    size_t capacity;
    size_t len;
    bool overflowed;
};

/** A strbuf over an array: struct strbuf s = STRBUF_OF(array); */
#define STRBUF_OF(array) strbuf_init((array), sizeof(array))

/** Wraps data (borrowed, at least one byte) as an empty text. */
static inline struct strbuf strbuf_init(char *data, size_t capacity)
{
    CHECK(capacity > 0);
    data[0] = '\0';
    return (struct strbuf){.data = data, .capacity = capacity};
}

static inline void strbuf_reset(struct strbuf *s)
{
    s->len = 0;
    s->overflowed = false;
    s->data[0] = '\0';
}

/** Take back what was added since the text had this length. */
static inline void strbuf_cut(struct strbuf *s, size_t len)
{
    CHECK(len <= s->len);
    s->len = len;
    s->data[len] = '\0';
}

void strbuf_add(struct strbuf *s, const char *text);
void strbuf_add_bytes(struct strbuf *s, struct bytes b);
void strbuf_add_char(struct strbuf *s, char c);
void strbuf_addf(struct strbuf *s, const char *format, ...) PRINTF_LIKE(2, 3);
void strbuf_addv(struct strbuf *s, const char *format, va_list args) PRINTF_LIKE(2, 0);

#endif
