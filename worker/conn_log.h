#ifndef CONN_LOG_H
#define CONN_LOG_H

#include <stdint.h>

#include "close_reason.h"

struct conn;
struct conn_side;
struct log_event;
struct worker;

/** Nothing more comes from a side: who finished first ended the connection. */
void conn_note_end(const struct conn *c, const struct conn_side *side);

/**
 * All that is known of a connection, as fields of a log record. Those without a value are left out, but for listener, client, sni,
 * backend, bytes_in, bytes_out, duration_ms and worker.
 *
 * @param age_us  conn_age_us()
 */
void conn_describe(struct log_event *e, const struct conn *c, uint64_t age_us);

/** Write the access line, which is that and why it ended. */
void conn_log(const struct conn *c, enum close_reason reason, uint64_t age_us);

/** A line for each reason of which rejected connections had none; once a second, and at the end. */
void conn_log_held_back(struct worker *w);

#endif
