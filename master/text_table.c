/* Aligned tables for people. Cells are kept as one run of NUL-ended texts: a million rows are a few allocations. */

#include "text_table.h"

#include <inttypes.h>
#include <string.h>

#include "check.h"
#include "client_text.h"
#include "err.h"

#define CELL_TEXT_MAX 1024 /* of printable text; the longest real cell is a path of 107 bytes, each escaped */

/** Characters of printable UTF-8: every byte that does not continue one. */
static unsigned width_of(const char *text)
{
    unsigned width = 0;

    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

struct text_table text_table_of(const struct text_column *columns, unsigned column_count)
{
    struct text_table table = {.columns = columns, .column_count = column_count};

    CHECK(column_count > 0 && column_count <= TEXT_TABLE_COLUMNS_MAX);
    for (unsigned i = 0; i < column_count; i++)
        table.widths[i] = width_of(columns[i].title);
    return table;
}

void text_table_add(struct text_table *table, const char *text)
{
    char data[CELL_TEXT_MAX];
    struct strbuf cell = STRBUF_OF(data);

    client_text_add_printable(bytes_of_str(text), &cell);
    unsigned width = width_of(data);
    if (width > table->widths[table->at])
        table->widths[table->at] = width;
    grow_buf_add(&table->cells, bytes_of(data, cell.len + 1));
    if (++table->at == table->column_count)
        table->at = 0;
}

void text_table_add_number(struct text_table *table, uint64_t number)
{
    char data[24];
    struct strbuf text = STRBUF_OF(data);

    strbuf_addf(&text, "%" PRIu64, number);
    text_table_add(table, data);
}

void text_table_add_amount(struct text_table *table, uint64_t amount)
{
    char data[16];
    struct strbuf text = STRBUF_OF(data);

    client_text_add_amount(amount, &text);
    text_table_add(table, data);
}

static void print_cell(const struct text_table *table, unsigned column, const char *text, FILE *to)
{
    bool is_last = column + 1 == table->column_count;
    int pad = (int)(table->widths[column] - width_of(text));

    if (table->columns[column].is_number)
        fprintf(to, "%*s%s", pad, "", text);
    else
        fprintf(to, "%s%*s", text, is_last ? 0 : pad, "");
    fputs(is_last ? "\n" : "  ", to);
}

int text_table_print(const struct text_table *table, FILE *to)
{
    struct bytes cells = grow_buf_bytes(&table->cells);
    unsigned column = 0;

    CHECK(table->at == 0);
    if (table->cells.has_failed)
        return ERR_NO_MEMORY;
    for (unsigned i = 0; i < table->column_count; i++)
        print_cell(table, i, table->columns[i].title, to);
    for (size_t at = 0; at < cells.len;) {
        const char *text = (const char *)cells.ptr + at;
        print_cell(table, column, text, to);
        at += strlen(text) + 1;
        if (++column == table->column_count)
            column = 0;
    }
    return 0;
}

void text_table_fini(struct text_table *table)
{
    grow_buf_fini(&table->cells);
}
