#ifndef SCREEN_H
#define SCREEN_H

#include <stdbool.h>
#include <stdio.h>

/**
 * Show text in place of what was shown before: over the terminal's first lines, each cut where the terminal ends, the rest of the
 * screen blank. Nothing is cleared first, so that nothing flickers. Pure but for writing to `to`.
 *
 * @param text     lines of printable UTF-8
 * @param rows     of the terminal, 1 and up
 * @param columns  of the terminal, 1 and up
 */
void screen_paint(const char *text, unsigned rows, unsigned columns, FILE *to);

/** The size of the terminal behind a descriptor; false if there is none. */
bool screen_size(int fd, unsigned *rows_out, unsigned *columns_out);

#endif
