/* Routes and rules out of CSV, as spreadsheets write it (RFC 4180): fields in quotes may hold commas, quotes and line ends. */

#include "row_read.h"

#include <string.h>

#include "grow_buf.h"

#define FIELDS_MAX 16

struct csv {
    struct row_list *list;
    struct bytes rest;
    unsigned line;          /* of what is read next */
    struct grow_buf record; /* the fields of the current record, decoded, one behind the other */
    size_t begins[FIELDS_MAX];
    size_t lens[FIELDS_MAX];
    unsigned count;
    const char *problem; /* with the current record; NULL: none */
    const struct row_column *columns[FIELDS_MAX];
    unsigned column_count;
};

static bool at_end_of_line(const struct csv *c)
{
    return c->rest.len == 0 || c->rest.ptr[0] == '\n' ||
           (c->rest.ptr[0] == '\r' && (c->rest.len == 1 || c->rest.ptr[1] == '\n'));
}

static void skip(struct csv *c, size_t len)
{
    c->rest = bytes_of(c->rest.ptr + len, c->rest.len - len);
}

static void skip_line_end(struct csv *c)
{
    if (c->rest.len > 0 && c->rest.ptr[0] == '\r')
        skip(c, 1);
    if (c->rest.len > 0)
        skip(c, 1);
    c->line++;
}

static void read_quoted(struct csv *c)
{
    skip(c, 1);
    for (;;) {
        const uint8_t *quote = c->rest.len > 0 ? memchr(c->rest.ptr, '"', c->rest.len) : NULL;
        size_t len = quote != NULL ? (size_t)(quote - c->rest.ptr) : c->rest.len;
        for (size_t i = 0; i < len; i++)
            c->line += c->rest.ptr[i] == '\n';
        grow_buf_add(&c->record, bytes_of(c->rest.ptr, len));
        skip(c, len);
        if (quote == NULL) {
            c->problem = "a quote has no end";
            return;
        }
        skip(c, 1);
        if (c->rest.len == 0 || c->rest.ptr[0] != '"')
            return;
        grow_buf_add(&c->record, bytes_of("\"", 1)); /* two quotes are one */
        skip(c, 1);
    }
}

static void read_plain(struct csv *c)
{
    size_t len = 0;

    while (len < c->rest.len && c->rest.ptr[len] != ',' && c->rest.ptr[len] != '\n' &&
           !(c->rest.ptr[len] == '\r' && (len + 1 == c->rest.len || c->rest.ptr[len + 1] == '\n')))
        len++;
    grow_buf_add(&c->record, bytes_of(c->rest.ptr, len));
    skip(c, len);
}

static void read_field(struct csv *c)
{
    size_t begin = c->record.len;

    if (c->rest.len > 0 && c->rest.ptr[0] == '"')
        read_quoted(c);
    else
        read_plain(c);
    if (!at_end_of_line(c) && c->rest.ptr[0] != ',') {
        c->problem = "a comma is missing behind a quote";
        read_plain(c);
    }
    if (c->count < FIELDS_MAX) {
        c->begins[c->count] = begin;
        c->lens[c->count] = c->record.len - begin;
    }
    c->count++;
}

/** Read one record; its line is that of its begin. */
static unsigned read_record(struct csv *c)
{
    unsigned line = c->line;

    grow_buf_reset(&c->record);
    c->count = 0;
    c->problem = NULL;
    read_field(c);
    while (!at_end_of_line(c)) {
        skip(c, 1); /* the comma */
        read_field(c);
    }
    skip_line_end(c);
    c->list->is_out_of_memory = c->list->is_out_of_memory || c->record.has_failed; /* GCOVR_EXCL_BR_LINE: no memory */
    if (c->count > FIELDS_MAX && c->problem == NULL)
        c->problem = "there are too many fields";
    if (c->problem != NULL)
        row_list_problem(c->list, line, "%s", c->problem);
    return line;
}

static struct bytes field(const struct csv *c, unsigned i)
{
    return bytes_of(c->record.data + c->begins[i], c->lens[i]);
}

/* ---- meaning ---- */

static bool read_header(struct csv *c)
{
    unsigned line = read_record(c);

    for (unsigned i = 0; i < c->count && c->problem == NULL; i++) {
        struct bytes name = field(c, i);
        const struct row_column *column = row_column_find(c->list->kind, name);
        for (unsigned j = 0; j < i && column != NULL; j++) {
            if (c->columns[j] == column)
                column = NULL;
        }
        if (column == NULL) {
            row_list_problem(c->list, line, "the header has a column %.*s; expected each once: %s",
                             (int)(name.len < 100 ? name.len : 100), (const char *)name.ptr,
                             c->list->kind == ROW_ROUTE ? "listener_addr,hostname,backend,send_proxy_protocol"
                                                        : "type,value");
            return false;
        }
        c->columns[c->column_count++] = column;
    }
    return c->problem == NULL;
}

static void take_record(struct csv *c)
{
    struct row_fields fields = {0};
    unsigned line = read_record(c);

    if (c->problem != NULL || (c->count == 1 && c->lens[0] == 0)) /* an empty line */
        return;
    if (c->count != c->column_count) {
        row_list_problem(c->list, line, "it has %u fields, the header %u", c->count, c->column_count);
        return;
    }
    for (unsigned i = 0; i < c->count; i++) {
        if (!row_column_set(c->columns[i], field(c, i), &fields)) {
            row_list_problem(c->list, line, "%s: expected true or false", c->columns[i]->name);
            return;
        }
    }
    row_list_add(c->list, line, &fields);
}

void row_read_csv(struct row_list *list, struct bytes text)
{
    struct csv c = {.list = list, .rest = text, .line = 1};

    if (text.len == 0 || !read_header(&c))
        c.rest = bytes_of(NULL, 0);
    while (c.rest.len > 0 && !list->is_out_of_memory) /* GCOVR_EXCL_BR_LINE: no memory */
        take_record(&c);
    grow_buf_fini(&c.record);
}
