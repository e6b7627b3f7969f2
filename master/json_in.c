/* JSON into tokens. */

#include "json_in.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

void json_in_init(struct json_in *in, struct bytes text)
{
    in->rest = text;
    in->line = 1;
    in->text = bytes_of(NULL, 0);
    in->problem = NULL;
}

static enum json_token bad(struct json_in *in, const char *problem)
{
    in->problem = problem;
    in->rest = bytes_of(NULL, 0);
    return JSON_BAD;
}

static void skip(struct json_in *in, size_t len)
{
    in->rest = bytes_of(in->rest.ptr + len, in->rest.len - len);
}

static void skip_blanks(struct json_in *in)
{
    while (in->rest.len > 0) {
        uint8_t c = in->rest.ptr[0];
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n')
            return;
        in->line += c == '\n';
        skip(in, 1);
    }
}

/* ---- strings ---- */

/** "\uXXXX" at the front of rest, without taking it: the number, or -1. */
static long peek_unit(const struct json_in *in)
{
    long unit = 0;

    if (in->rest.len < 6 || in->rest.ptr[0] != '\\' || in->rest.ptr[1] != 'u')
        return -1;
    for (size_t i = 2; i < 6; i++) {
        int digit = bytes_hex_value(in->rest.ptr[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/** One character of one or two \uXXXX; -1: it is none. */
static long take_character(struct json_in *in)
{
    long high = peek_unit(in), low;

    if (high < 0 || (high >= 0xdc00 && high <= 0xdfff))
        return -1;
    skip(in, 6);
    if (high < 0xd800 || high > 0xdbff)
        return high;
    low = peek_unit(in);
    if (low < 0xdc00 || low > 0xdfff)
        return -1; /* half of a surrogate pair */
    skip(in, 6);
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static size_t encode_utf8(long c, uint8_t out[4])
{
    static const uint8_t first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

    for (size_t i = len - 1; i > 0; i--, c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
    out[0] = (uint8_t)(first[len == 1 ? 0 : len] | c);
    return len;
}

/** What stands behind a backslash at the front of rest; the number of bytes put into out, 0: it is no escape. */
static size_t take_escape(struct json_in *in, uint8_t out[4])
{
    static const char names[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    const char *name;

    if (in->rest.len < 2 || in->rest.ptr[1] == '\0')
        return 0;
    if (in->rest.ptr[1] == 'u') {
        long c = take_character(in);
        return c < 0 ? 0 : encode_utf8(c, out);
    }
    if ((name = strchr(names, in->rest.ptr[1])) == NULL)
        return 0;
    out[0] = (uint8_t)bytes[name - names];
    skip(in, 2);
    return 1;
}

static enum json_token take_string(struct json_in *in)
{
    size_t len = 0;

    skip(in, 1);
    while (in->rest.len > 0 && in->rest.ptr[0] != '"') {
        uint8_t piece[4] = {in->rest.ptr[0]};
        size_t piece_len = 1;
        if (piece[0] < 0x20)
            return bad(in, "a control character stands in a string; is its end missing?");
        if (piece[0] == '\\')
            piece_len = take_escape(in, piece);
        else
            skip(in, 1);
        if (piece_len == 0)
            return bad(in, "there is a wrong escape in a string");
        if (len + piece_len > sizeof in->decoded)
            return bad(in, "a string is too long");
        memcpy(in->decoded + len, piece, piece_len);
        len += piece_len;
    }
    if (in->rest.len == 0)
        return bad(in, "a string has no end");
    skip(in, 1);
    in->text = bytes_of(in->decoded, len);
    return JSON_STRING;
}

/* ---- the rest ---- */

static size_t count_digits(struct bytes text, size_t at)
{
    size_t digits = 0;

    while (at + digits < text.len && text.ptr[at + digits] >= '0' && text.ptr[at + digits] <= '9')
        digits++;
    return digits;
}

/** RFC 8259 6: [-] int [frac] [exp], no zeros in front. */
static enum json_token take_number(struct json_in *in)
{
    size_t at = in->rest.ptr[0] == '-', digits = count_digits(in->rest, at);
    bool is_good = digits > 0 && (digits == 1 || in->rest.ptr[at] != '0');

    at += digits;
    if (is_good && at < in->rest.len && in->rest.ptr[at] == '.') {
        digits = count_digits(in->rest, at + 1);
        is_good = digits > 0;
        at += 1 + digits;
    }
    if (is_good && at < in->rest.len && (in->rest.ptr[at] | 0x20) == 'e') {
        at++;
        at += at < in->rest.len && (in->rest.ptr[at] == '+' || in->rest.ptr[at] == '-');
        digits = count_digits(in->rest, at);
        is_good = digits > 0;
        at += digits;
    }
    if (!is_good)
        return bad(in, "there is a wrong number");
    skip(in, at);
    return JSON_NUMBER;
}

static enum json_token take_word(struct json_in *in)
{
    static const struct {
        const char *word;
        enum json_token token;
    } words[] = {
        {"{", JSON_OPEN_OBJECT}, {"}", JSON_CLOSE_OBJECT}, {"[", JSON_OPEN_ARRAY},
        {"]", JSON_CLOSE_ARRAY}, {":", JSON_COLON},        {",", JSON_COMMA},
        {"true", JSON_TRUE},     {"false", JSON_FALSE},    {"null", JSON_NULL},
    };

    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t len = strlen(words[i].word);
        if (in->rest.len < len || memcmp(in->rest.ptr, words[i].word, len) != 0)
            continue;
        skip(in, len);
        return words[i].token;
    }
    return bad(in, "this is no JSON");
}

enum json_token json_in_next(struct json_in *in)
{
    if (in->problem != NULL)
        return JSON_BAD;
    skip_blanks(in);
    if (in->rest.len == 0)
        return JSON_END;
    if (in->rest.ptr[0] == '"')
        return take_string(in);
    if (in->rest.ptr[0] == '-' || (in->rest.ptr[0] >= '0' && in->rest.ptr[0] <= '9'))
        return take_number(in);
    return take_word(in);
}
