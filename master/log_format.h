#ifndef LOG_FORMAT_H
#define LOG_FORMAT_H

#include "bytes.h"
#include "strbuf.h"

/*
 * A log record as one line of text. Whatever a record holds, the line is printable ASCII on one line: bytes from outside are
 * escaped, so that nobody can forge a line or move a terminal's cursor.
 *
 *     LOG_FORMAT_TEXT   time=2026-11-22T10:00:00.123Z level=INFO msg="closed" sni=www.example.com bytes_in=517
 *     LOG_FORMAT_JSON   {"time":"2026-11-22T10:00:00.123Z","level":"INFO","msg":"closed","sni":"www.example.com","bytes_in":517}
 *
 * In text, a value stands bare if it consists of letters, digits and -_.:/@+,*[]% only; otherwise in quotes, with \" and \\ escaped
 * and every byte that is not printable ASCII as \xNN. In JSON such a byte is \u00NN: one escape stands for one byte, not for a
 * character. A key that comes twice in one record is taken once.
 */
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/** The longest line of a record of LOG_EVENT_MAX_BYTES: every byte six characters, and all keys. */
#define LOG_LINE_MAX_BYTES 16384

/**
 * Append the line, without a newline. Of a damaged record the line shows what could be read, and ends in damaged=true.
 *
 * @param record  of any bytes and length: workers are not trusted
 * @param out     room for LOG_LINE_MAX_BYTES and a NUL is enough for every record
 */
void log_format_record(struct bytes record, enum log_format format, struct strbuf *out);

#endif
