#ifndef TEXT_TABLE_H
#define TEXT_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bytes.h"
#include "grow_buf.h"

#define TEXT_TABLE_COLUMNS_MAX 12

/** Of a table for people. */
struct text_column {
    const char *title;
    bool is_number; /* aligned to the right */
};

/**
 * A table for people: a header, columns as wide as their widest cell, two blanks between them, nothing behind the last. Cells are
 * made printable (see client_text_add_printable()). Memory running out is remembered and told by text_table_print().
 */
struct text_table {
    const struct text_column *columns;       /* borrowed */
    unsigned column_count;                   /* 1..TEXT_TABLE_COLUMNS_MAX */
    unsigned widths[TEXT_TABLE_COLUMNS_MAX]; /* in characters */
    unsigned at;                             /* the column of the next cell */
    struct grow_buf cells;                   /* each ended by a NUL, row by row */
};

struct text_table text_table_of(const struct text_column *columns, unsigned column_count);

/* The next cell of the current row; after the last one a new row begins. */
void text_table_add(struct text_table *table, const char *text);
void text_table_add_number(struct text_table *table, uint64_t number);
void text_table_add_amount(struct text_table *table, uint64_t amount); /* client_text_add_amount() */

/** Print header and rows. The last row must be complete. @return 0 or ERR_NO_MEMORY (then nothing is printed) */
int text_table_print(const struct text_table *table, FILE *to);

void text_table_fini(struct text_table *table);

#endif
