/* Text built into a fixed buffer; overflow is remembered, never acted on half-way. */

#include "strbuf.h"

#include <stdio.h>
#include <string.h>

void strbuf_add_bytes(struct strbuf *s, struct bytes b)
{
    size_t room = s->capacity - 1 - s->len;
    size_t n = b.len;

    if (n > room) {
        n = room;
        s->overflowed = true;
    }
    if (n > 0)
        memcpy(s->data + s->len, b.ptr, n);
    s->len += n;
    s->data[s->len] = '\0';
}

void strbuf_add(struct strbuf *s, const char *text)
{
    strbuf_add_bytes(s, bytes_of_str(text));
}

void strbuf_add_char(struct strbuf *s, char c)
{
    strbuf_add_bytes(s, bytes_of(&c, 1));
}

void strbuf_addv(struct strbuf *s, const char *format, va_list args)
{
    size_t room = s->capacity - s->len;
    int n = vsnprintf(s->data + s->len, room, format, args);

    if (n < 0) {
        s->overflowed = true;
        s->data[s->len] = '\0';
    } else if ((size_t)n >= room) {
        s->overflowed = true;
        s->len = s->capacity - 1;
    } else {
        s->len += (size_t)n;
    }
}

void strbuf_addf(struct strbuf *s, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    strbuf_addv(s, format, args);
    va_end(args);
}
