#ifndef ROW_READ_H
#define ROW_READ_H

#include "bytes.h"
#include "check.h"
#include "row_list.h"

/*
 * Routes and rules out of a file's text.
 *
 *     text   :443 www.example.com 10.0.0.5:8443 send_proxy_protocol      [LISTENER] HOSTNAME BACKEND [send_proxy_protocol]
 *            cidr 198.51.100.0/24                                        [TYPE] VALUE
 *            empty lines, and comments: from a '#' or ';' at the begin of a word to the end of the line. A word with blanks, quotes
 *            or backslashes stands in "", with \" and \\ and \xNN for any byte
 *     csv    RFC 4180, with a header: listener_addr,hostname,backend,send_proxy_protocol or type,value, in any order
 *     json   an array of objects with those keys, or such objects one after another
 *
 * Pure but for the memory of the list; every problem is told with its line (see row_list.h).
 */

enum row_format { ROW_FORMAT_GUESS, ROW_FORMAT_TEXT, ROW_FORMAT_CSV, ROW_FORMAT_JSON };

/** False: no format has this name ("text", "csv", "json"). */
bool row_format_find(const char *name, enum row_format *out) MUST_CHECK;

/** What a file is by the end of its name (.csv, .json, .jsonl, .ndjson), or else by its first bytes. */
enum row_format row_format_guess(const char *name, struct bytes text);

void row_read(struct row_list *list, enum row_format format, struct bytes text);

/* Each of them; for row_read(). */
void row_read_text(struct row_list *list, struct bytes text);
void row_read_csv(struct row_list *list, struct bytes text);
void row_read_json(struct row_list *list, struct bytes text);

/* ---- what CSV and JSON share: fields by name ---- */

/** Which of the fields a column or key means; NULL: none of this kind of row has that name. */
struct row_column {
    const char *name;
    enum row_kind kind;
    bool is_flag;  /* true or false */
    size_t offset; /* in struct row_fields */
};

const struct row_column *row_column_find(enum row_kind kind, struct bytes name);
/** Set a field from text. False: it is a flag, and text says neither true nor false. */
bool row_column_set(const struct row_column *column, struct bytes text, struct row_fields *out) MUST_CHECK;

#endif
