#ifndef LOG_OUTPUT_H
#define LOG_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"
#include "log_format.h"

struct ev_loop;

/*
 * Where the master's log lines go: through a bounded buffer to standard error, without ever blocking. What does not fit is dropped
 * by whole lines and counted; as soon as there is room again, a line of its own says how many are missing at this place:
 *
 *     time=... level=WARN msg="log lines were dropped" dropped=17
 *
 * Before log_output_start() every line is written at once, as far as the descriptor takes it; with a loop, once per loop turn.
 * Started by systemd with standard error connected to the journal, records go there with their fields instead (journal.h), each at once.
 * While the journal is behind, one record waits and there is no room for others, so that workers' records wait in their rings; after a
 * second, or when the journal cannot be reached, records take the way of the text, which the journal reads too, until that is empty.
 *
 * A descriptor that fails (nobody reads the pipe any more, the disk is full) loses what was buffered and is tried again every second.
 */
struct log_output;

#define LOG_OUTPUT_BUFFER_BYTES (1024ull * 1024)

/** An output to fd, which stays the caller's and must stay open. NULL without memory. log_output_free() it. */
struct log_output *log_output_new(int fd) MUST_CHECK;

/** Accepts NULL; clears the caller's pointer. What is still in the buffer is lost: log_output_flush() first. */
void log_output_free(struct log_output **o);

/** Send records to the journal, if that is where the descriptor leads. */
void log_output_find_journal(struct log_output *o);

/** From now on write when the loop turns. Watchers are active only while there is something to write. */
void log_output_start(struct log_output *o, struct ev_loop *loop);

/** Back to writing at once. */
void log_output_stop(struct log_output *o);

/** LOG_FORMAT_TEXT at first. For lines to come; those in the buffer stay as they are. */
void log_output_set_format(struct log_output *o, enum log_format format);

/** Format a record and add the line; the shape of a log_sink_fn: log_set_sink(log_output_sink, output). */
void log_output_sink(struct bytes record, void *output);

/** Add a line of at most LOG_LINE_MAX_BYTES, given without its newline and holding none. */
void log_output_line(struct log_output *o, struct bytes line);

/** Is there room for a line at the moment? Who has lines waiting elsewhere can leave them there instead of having them dropped. */
bool log_output_has_room(const struct log_output *o);

/**
 * For the end of the process: write what is in the buffer, waiting up to timeout_ms for a reader.
 *
 * @return true if everything was written
 */
bool log_output_flush(struct log_output *o, unsigned timeout_ms);

/** Lines dropped since log_output_new(). */
uint64_t log_output_dropped(const struct log_output *o);

#endif
