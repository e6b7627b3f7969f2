#ifndef LOG_LINES_H
#define LOG_LINES_H

/* What was logged, as text that a test can search; include behind cmocka.h. */

#include "log_event.h"
#include "strbuf.h"

struct log_lines {
    char text[65536]; /* "message key=value ...\n" of each record, NUL-terminated */
    size_t len;
};

/** A sink; its context is a struct log_lines. */
static inline void log_lines_add(struct bytes record, void *context)
{
    struct log_lines *lines = context;
    struct log_record_reader r;
    struct log_field field;
    struct strbuf line = strbuf_init(lines->text + lines->len, sizeof lines->text - lines->len);

    assert_int_equal(log_record_open(&r, record), 0);
    strbuf_add_bytes(&line, r.message);
    while (log_record_next(&r, &field) == 1) {
        strbuf_addf(&line, " %s=", log_key_word(field.key));
        if (field.type == LOG_VALUE_STR)
            strbuf_add_bytes(&line, field.str);
        else
            strbuf_addf(&line, "%lld", (long long)field.u64);
    }
    strbuf_add(&line, "\n");
    lines->len += line.len;
}

#endif
