/* Lines for people and programs out of log records. Both formats come from one table of punctuation, so they always say the same. */

#include "log_format.h"

#include <time.h>

#include "clock.h"
#include "log_event.h"

struct syntax {
    const char *open;
    const char *before_key; /* of every key but the first */
    const char *key_quote;
    const char *before_value;
    const char *byte_escape; /* two hexadecimal digits follow */
    const char *close;
    bool always_quotes; /* strings stand in quotes even where they need none */
};

/* clang-format off */
static const struct syntax syntaxes[] = {
    [LOG_FORMAT_TEXT] = {"",  " ", "",   "=", "\\x",   "",  false},
    [LOG_FORMAT_JSON] = {"{", ",", "\"", ":", "\\u00", "}", true},
};
/* clang-format on */

/** Characters that may stand in a value without quotes. */
static const bool is_bare[256] = {
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['-'] = true, ['_'] = true,
    ['.'] = true,         [':'] = true,         ['/'] = true,         ['@'] = true, ['+'] = true,
    [','] = true,         ['*'] = true,         ['['] = true,         [']'] = true, ['%'] = true,
};

/** May c stand for itself between quotes? */
static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static bool needs_quotes(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_bare[text.ptr[i]])
            return true;
    }
    return text.len == 0;
}

static void add_escape(const struct syntax *syntax, uint8_t c, struct strbuf *out)
{
    static const char digits[] = "0123456789abcdef";

    if (c == '"' || c == '\\') {
        strbuf_add_char(out, '\\');
        strbuf_add_char(out, (char)c);
        return;
    }
    strbuf_add(out, syntax->byte_escape);
    strbuf_add_char(out, digits[c >> 4]);
    strbuf_add_char(out, digits[c & 15]);
}

static void add_quoted(const struct syntax *syntax, struct bytes text, struct strbuf *out)
{
    size_t at = 0;

    strbuf_add_char(out, '"');
    while (at < text.len) {
        size_t run = at;
        while (run < text.len && is_plain(text.ptr[run]))
            run++;
        strbuf_add_bytes(out, bytes_of(text.ptr + at, run - at));
        if (run < text.len)
            add_escape(syntax, text.ptr[run++], out);
        at = run;
    }
    strbuf_add_char(out, '"');
}

static void add_string(const struct syntax *syntax, struct bytes text, struct strbuf *out)
{
    if (syntax->always_quotes || needs_quotes(text))
        add_quoted(syntax, text, out);
    else
        strbuf_add_bytes(out, text);
}

static void add_key(const struct syntax *syntax, const char *key, struct strbuf *out)
{
    strbuf_add(out, syntax->before_key);
    strbuf_add(out, syntax->key_quote);
    strbuf_add(out, key);
    strbuf_add(out, syntax->key_quote);
    strbuf_add(out, syntax->before_value);
}

/** Decimal, with zeros in front up to min_digits; printf was a third of the time that a line takes. */
static void add_number(uint64_t value, size_t min_digits, struct strbuf *out)
{
    char digits[20]; /* UINT64_MAX */
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + value % 10);
    while ((value /= 10) > 0 || sizeof digits - at < min_digits);
    strbuf_add_bytes(out, bytes_of(digits + at, sizeof digits - at));
}

static void add_signed(int64_t value, struct strbuf *out)
{
    if (value < 0)
        strbuf_add_char(out, '-');
    add_number(value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 1, out);
}

static void add_endpoint(const struct syntax *syntax, const struct ip_endpoint *endpoint, struct strbuf *out)
{
    char text[ADDRESS_TEXT_MAX];
    struct strbuf s = STRBUF_OF(text);

    ip_endpoint_format(endpoint, &s);
    add_string(syntax, bytes_of(text, s.len), out);
}

static void add_value(const struct syntax *syntax, const struct log_field *field, struct strbuf *out)
{
    switch (field->type) {
    case LOG_VALUE_STR: add_string(syntax, field->str, out); break;
    case LOG_VALUE_U64: add_number(field->u64, 1, out); break;
    case LOG_VALUE_I64: add_signed((int64_t)field->u64, out); break;
    case LOG_VALUE_BOOL: strbuf_add(out, field->u64 != 0 ? "true" : "false"); break;
    case LOG_VALUE_ENDPOINT: add_endpoint(syntax, &field->endpoint, out); break;
    }
}

/** "2026-11-22T10:00:00.123Z" */
static void format_time(uint64_t time_ms, struct strbuf *out)
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm tm = {0};

    gmtime_r(&seconds, &tm); /* cannot fail: log_record_open() lets no time beyond the year 9999 pass */
    const struct {
        int value;
        unsigned digits;
        char behind;
    } parts[] = {{tm.tm_year + 1900, 4, '-'},    {tm.tm_mon + 1, 2, '-'}, {tm.tm_mday, 2, 'T'},
                 {tm.tm_hour, 2, ':'},           {tm.tm_min, 2, ':'},     {tm.tm_sec, 2, '.'},
                 {(int)(time_ms % 1000), 3, 'Z'}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        add_number((uint64_t)parts[i].value, parts[i].digits, out);
        strbuf_add_char(out, parts[i].behind);
    }
}

static void add_head(const struct syntax *syntax, const struct log_record_reader *r, struct strbuf *out)
{
    char text[40];
    struct strbuf time = STRBUF_OF(text);

    format_time(r->time_ms, &time);
    strbuf_add(out, syntax->open);
    strbuf_add(out, syntax->key_quote);
    strbuf_add(out, "time");
    strbuf_add(out, syntax->key_quote);
    strbuf_add(out, syntax->before_value);
    add_string(syntax, bytes_of(text, time.len), out);
    add_key(syntax, "level", out);
    add_string(syntax, bytes_of_str(log_level_word(r->level)), out);
    add_key(syntax, "msg", out);
    add_quoted(syntax, r->message, out);
}

/** All fields to the end or to where the record is damaged; the reader's last word. */
static int add_fields(const struct syntax *syntax, struct log_record_reader *r, struct strbuf *out)
{
    bool seen[LOG_KEY_END] = {[LOG_KEY_DAMAGED] = true}; /* ours to say */
    struct log_field field;
    int rc;

    while ((rc = log_record_next(r, &field)) == 1) {
        if (seen[field.key])
            continue; /* an object with a name twice is no JSON that everybody reads alike (RFC 8259 4) */
        seen[field.key] = true;
        add_key(syntax, log_key_word(field.key), out);
        add_value(syntax, &field, out);
    }
    return rc;
}

void log_format_record(struct bytes record, enum log_format format, struct strbuf *out)
{
    const struct syntax *syntax = &syntaxes[format];
    struct log_record_reader r;
    int rc = log_record_open(&r, record);

    if (rc != 0) {
        r = (struct log_record_reader){
            .level = LOG_WARN,
            .time_ms = clock_realtime_ms(),
            .message = bytes_of_str("a log record cannot be read"),
        };
    }
    add_head(syntax, &r, out);
    if (rc == 0)
        rc = add_fields(syntax, &r, out);
    if (rc != 0) {
        add_key(syntax, log_key_word(LOG_KEY_DAMAGED), out);
        strbuf_add(out, "true");
    }
    strbuf_add(out, syntax->close);
}
