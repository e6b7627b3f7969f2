/* Which format a file has, and the names of fields. */

#include "row_read.h"

#include <stddef.h>
#include <string.h>

static const char *const format_names[] = {
    [ROW_FORMAT_TEXT] = "text",
    [ROW_FORMAT_CSV] = "csv",
    [ROW_FORMAT_JSON] = "json",
};

bool row_format_find(const char *name, enum row_format *out)
{
    for (unsigned i = ROW_FORMAT_TEXT; i <= ROW_FORMAT_JSON; i++) {
        if (strcmp(name, format_names[i]) == 0) {
            *out = (enum row_format)i;
            return true;
        }
    }
    return false;
}

/* ---- guessing ---- */

static struct bytes skip_blanks(struct bytes text)
{
    while (text.len > 0 && strchr(" \t\r\n", text.ptr[0]) != NULL && text.ptr[0] != '\0')
        text = bytes_of(text.ptr + 1, text.len - 1);
    return text;
}

/** '[' also begins a listener, [::1]:443: an array goes on with an object or ends. */
static bool looks_like_json(struct bytes text)
{
    if (text.len == 0 || (text.ptr[0] != '[' && text.ptr[0] != '{'))
        return false;
    if (text.ptr[0] == '{')
        return true;
    text = skip_blanks(bytes_of(text.ptr + 1, text.len - 1));
    return text.len == 0 || text.ptr[0] == '{' || text.ptr[0] == ']';
}

/** A header: the first line has a comma, and in front of it the name of a column. */
static bool looks_like_csv(struct bytes text)
{
    size_t len = 0;

    while (len < text.len && strchr(",\r\n", text.ptr[len]) == NULL)
        len++;
    struct bytes name = bytes_of(text.ptr, len);
    return (len < text.len && text.ptr[len] == ',') &&
           (row_column_find(ROW_ROUTE, name) != NULL || row_column_find(ROW_RULE, name) != NULL);
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t len = strlen(name), suffix_len = strlen(suffix);

    return len > suffix_len && strcmp(name + len - suffix_len, suffix) == 0;
}

enum row_format row_format_guess(const char *name, struct bytes text)
{
    static const struct {
        const char *suffix;
        enum row_format format;
    } suffixes[] = {
        {".csv", ROW_FORMAT_CSV},
        {".json", ROW_FORMAT_JSON},
        {".jsonl", ROW_FORMAT_JSON},
        {".ndjson", ROW_FORMAT_JSON},
    };

    for (unsigned i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        if (ends_with(name, suffixes[i].suffix))
            return suffixes[i].format;
    }
    text = skip_blanks(text);
    return looks_like_json(text) ? ROW_FORMAT_JSON : looks_like_csv(text) ? ROW_FORMAT_CSV : ROW_FORMAT_TEXT;
}

void row_read(struct row_list *list, enum row_format format, struct bytes text)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf"; /* some spreadsheets write it */

    if (text.len >= 3 && memcmp(text.ptr, byte_order_mark, 3) == 0)
        text = bytes_of(text.ptr + 3, text.len - 3);
    switch (format) {
    case ROW_FORMAT_CSV: row_read_csv(list, text); break;
    case ROW_FORMAT_JSON: row_read_json(list, text); break;
    default: row_read_text(list, text); break;
    }
}

/* ---- fields by name ---- */

static const struct row_column columns[] = {
    {"listener_addr", ROW_ROUTE, false, offsetof(struct row_fields, listener)},
    {"hostname", ROW_ROUTE, false, offsetof(struct row_fields, hostname)},
    {"backend", ROW_ROUTE, false, offsetof(struct row_fields, backend)},
    {"send_proxy_protocol", ROW_ROUTE, true, offsetof(struct row_fields, send_proxy_protocol)},
    {"type", ROW_RULE, false, offsetof(struct row_fields, type)},
    {"value", ROW_RULE, false, offsetof(struct row_fields, value)},
};

const struct row_column *row_column_find(enum row_kind kind, struct bytes name)
{
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        if (columns[i].kind == kind && bytes_equal_str(name, columns[i].name))
            return &columns[i];
    }
    return NULL;
}

static bool is_one_of(struct bytes text, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (bytes_equal_str(text, *words))
            return true;
    }
    return false;
}

bool row_column_set(const struct row_column *column, struct bytes text, struct row_fields *out)
{
    /* Spreadsheets write TRUE; nothing in the cell is no. */
    static const char *const yes[] = {"true", "TRUE", "1", "yes", "on", NULL};
    static const char *const no[] = {"false", "FALSE", "0", "no", "off", "", NULL};
    char *field = (char *)out + column->offset;

    if (!column->is_flag) {
        memcpy(field, &text, sizeof text);
        return true;
    }
    bool is_set = is_one_of(text, yes);
    memcpy(field, &is_set, sizeof is_set);
    return is_set || is_one_of(text, no);
}
