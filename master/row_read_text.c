/* Routes and rules one per line, as the configuration writes them. */

#include "row_read.h"

#include <string.h>

#define WORDS_MAX 5 /* one more than any line has */
#define WORD_MAX  1024

/** A line cut into words; those in quotes are decoded into `decoded`, one behind the other. */
struct words {
    struct bytes words[WORDS_MAX];
    unsigned count;
    uint8_t decoded[WORD_MAX];
    size_t decoded_len;
    const char *problem; /* NULL: none */
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/** One byte behind a backslash; returns how many bytes it took, 0 if it is no escape. */
static size_t decode_escape(struct bytes text, uint8_t *out)
{
    if (text.len >= 1 && (text.ptr[0] == '"' || text.ptr[0] == '\\')) {
        *out = text.ptr[0];
        return 1;
    }
    if (text.len >= 3 && text.ptr[0] == 'x' && bytes_hex_value(text.ptr[1]) >= 0 && bytes_hex_value(text.ptr[2]) >= 0) {
        *out = (uint8_t)(bytes_hex_value(text.ptr[1]) << 4 | bytes_hex_value(text.ptr[2]));
        return 3;
    }
    return 0;
}

/** The text behind a quote; returns how many bytes it took with the second quote, 0 on a problem. */
static size_t take_quoted(struct words *w, struct bytes text, struct bytes *out)
{
    size_t begin = w->decoded_len, at = 0;

    while (at < text.len && text.ptr[at] != '"') {
        size_t taken = 1;
        uint8_t byte = text.ptr[at];
        if (byte == '\\') {
            taken = decode_escape(bytes_of(text.ptr + at + 1, text.len - at - 1), &byte);
            w->problem = taken == 0 ? "behind a backslash come \", \\ or xNN" : NULL;
            taken += taken > 0;
        }
        if (w->decoded_len == sizeof w->decoded)
            w->problem = "the line is too long";
        if (w->problem != NULL)
            return 0;
        w->decoded[w->decoded_len++] = byte;
        at += taken;
    }
    *out = bytes_of(w->decoded + begin, w->decoded_len - begin);
    if (at == text.len)
        w->problem = "a quote has no end";
    else if (at + 1 < text.len && !is_blank(text.ptr[at + 1]))
        w->problem = "a blank is missing behind a quote";
    return w->problem == NULL ? at + 1 : 0;
}

static size_t take_plain(struct bytes text, struct bytes *out)
{
    size_t len = 0;

    while (len < text.len && !is_blank(text.ptr[len]))
        len++;
    *out = bytes_of(text.ptr, len);
    return len;
}

static void split(struct bytes line, struct words *out)
{
    size_t at = 0;

    out->count = 0;
    out->decoded_len = 0;
    out->problem = NULL;
    while (at < line.len && out->problem == NULL) {
        struct bytes rest = bytes_of(line.ptr + at, line.len - at);
        bool is_quoted = rest.ptr[0] == '"';
        struct bytes word;
        if (is_blank(rest.ptr[0])) {
            at++;
            continue;
        }
        if (rest.ptr[0] == '#' || rest.ptr[0] == ';')
            return;
        if (out->count == WORDS_MAX)
            return; /* too many in any case */
        at += is_quoted ? 1 + take_quoted(out, bytes_of(rest.ptr + 1, rest.len - 1), &word) : take_plain(rest, &word);
        out->words[out->count++] = word;
    }
}

/* ---- lines ---- */

/** Hostnames have no ':', listeners always have one. */
static bool is_listener(struct bytes word)
{
    return word.len > 0 && memchr(word.ptr, ':', word.len) != NULL;
}

static void add_route(struct row_list *list, unsigned line, const struct words *w)
{
    struct row_fields fields = {0};
    unsigned at = 0;

    if (is_listener(w->words[0]))
        fields.listener = w->words[at++];
    if (at < w->count)
        fields.hostname = w->words[at++];
    if (at < w->count)
        fields.backend = w->words[at++];
    if (at < w->count && bytes_equal_str(w->words[at], "send_proxy_protocol")) {
        fields.send_proxy_protocol = true;
        at++;
    }
    if (at < w->count)
        row_list_problem(list, line,
                         "%.*s is one word too many: expected LISTENER HOSTNAME BACKEND [send_proxy_protocol]",
                         (int)(w->words[at].len < 100 ? w->words[at].len : 100), (const char *)w->words[at].ptr);
    else
        row_list_add(list, line, &fields);
}

static void add_rule(struct row_list *list, unsigned line, const struct words *w)
{
    struct row_fields fields = {.value = w->words[0]};

    if (w->count == 2)
        fields = (struct row_fields){.type = w->words[0], .value = w->words[1]};
    if (w->count > 2)
        row_list_problem(list, line, "there are more than two words: expected TYPE VALUE");
    else
        row_list_add(list, line, &fields);
}

static void read_line(struct row_list *list, unsigned line, struct bytes text)
{
    struct words words;

    split(text, &words);
    if (words.problem != NULL)
        row_list_problem(list, line, "%s", words.problem);
    else if (words.count > 0 && list->kind == ROW_ROUTE)
        add_route(list, line, &words);
    else if (words.count > 0)
        add_rule(list, line, &words);
}

void row_read_text(struct row_list *list, struct bytes text)
{
    for (unsigned line = 1; text.len > 0; line++) {
        const uint8_t *end = memchr(text.ptr, '\n', text.len);
        size_t len = end != NULL ? (size_t)(end - text.ptr) : text.len;
        read_line(list, line, bytes_of(text.ptr, len));
        size_t taken = len + (end != NULL);
        text = bytes_of(text.ptr + taken, text.len - taken);
    }
}
