#ifndef ROW_WRITE_H
#define ROW_WRITE_H

#include <stdio.h>

#include "row_list.h"
#include "row_read.h"

/** Write all rows so that row_read() gives the same rows again; ROW_FORMAT_GUESS writes text. Errors of `to` are the caller's. */
void row_write(const struct row_list *list, enum row_format format, FILE *to);

/** One row in the text form, without line end. */
void row_write_text(const struct row *row, FILE *to);

#endif
