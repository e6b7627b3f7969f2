#ifndef CONFIG_READER_H
#define CONFIG_READER_H

#include "bytes.h"
#include "check.h"

/*
 * INI text into sections and pairs, with the line of each. inih does the splitting; what it would silently cut, join or skip is
 * refused here with the right line number:
 *
 *   - lines longer than its buffer, section names and keys longer than 49 bytes, NUL and other control bytes;
 *   - "[section" without "]" (inih would stay in the section before), and text behind "]" (inih would drop it);
 *   - lines that are neither section, comment nor pair; pairs without a key;
 *   - " #" behind a value: inih knows only " ;" there, and the comment would become part of the value.
 *
 * Leading blanks are taken off, so an indented line is an ordinary line: inih's continuation of values does not exist.
 */

#define CONFIG_READER_NAME_MAX 49 /* of a section or key, inih's MAX_SECTION and MAX_NAME less the NUL */

/** Whom the reader tells. All texts are borrowed until the call returns; lines count from 1. */
struct config_reader_events {
    /** A section line: first with NULL, as the section before ends here whatever follows, then with the name if it has a
     *  proper one; else pairs follow that belong to nobody. */
    void (*on_section)(void *context, unsigned line, const char *name);
    void (*on_pair)(void *context, unsigned line, const char *key, const char *value);
    /** Something is wrong with a line; text is a sentence without full stop. */
    void (*on_problem)(void *context, unsigned line, const char *text);
};

/** Read a whole file's text (borrowed). Pure, apart from the calls it makes. */
void config_reader_run(struct bytes text, const struct config_reader_events *events, void *context);

#endif
