/* A page of text that is renewed in place on a terminal (ECMA-48 sequences, which every terminal of today has). */

#include "screen.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define GO_HOME        "\033[H"
#define CLEAR_LINE     "\033[K"
#define CLEAR_BELOW    "\033[J"
#define FALLBACK_ROWS  24
#define FALLBACK_WIDTH 80

/** The bytes of a line's first `columns` characters. */
static size_t bytes_of_columns(const char *line, size_t len, unsigned columns)
{
    size_t at = 0;

    for (; at < len; at++) {
        if (((unsigned char)line[at] & 0xc0) != 0x80 && columns-- == 0)
            break;
    }
    return at;
}

void screen_paint(const char *text, unsigned rows, unsigned columns, FILE *to)
{
    fputs(GO_HOME, to);
    for (unsigned row = 1; row <= rows && *text != '\0'; row++) {
        size_t len = strcspn(text, "\n");
        fwrite(text, 1, bytes_of_columns(text, len, columns), to);
        text += len + (text[len] == '\n');
        /* No line end on the last row: it would scroll. */
        fputs(row < rows ? CLEAR_LINE "\n" : CLEAR_LINE, to);
    }
    fputs(CLEAR_BELOW, to);
}

bool screen_size(int fd, unsigned *rows_out, unsigned *columns_out)
{
    struct winsize size;

    if (isatty(fd) == 0)
        return false;
    if (ioctl(fd, TIOCGWINSZ, &size) != 0)
        size = (struct winsize){0};
    *rows_out = size.ws_row > 0 ? size.ws_row : FALLBACK_ROWS;
    *columns_out = size.ws_col > 0 ? size.ws_col : FALLBACK_WIDTH;
    return true;
}
