#ifndef CONNECTION_QUERIES_H
#define CONNECTION_QUERIES_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"
#include "ctl_msg.h"

/*
 * Questions about open connections, put to one worker after the other and pulled part by part: whoever asks takes the next part when
 * he has room for it, a worker works on one part at a time, and a question costs each side next to no memory, however many connections
 * there are. Workers that retire are asked too; one that dies has no connections any more.
 */
struct connection_queries;
struct connection_query;

#define CONNECTION_QUERIES_MAX 16 /* open at once */

/** Put a query to the worker of a slot; false: there is none. Never calls back before it returns. */
typedef bool (*connection_ask_fn)(void *context, unsigned slot, const struct ctl_query *query);

/** What the one who asks is told. Each function may end its own query, and no other. */
struct connection_query_events {
    /** A part of the answer: counts, and records for ctl_answer_next(). All are borrowed. */
    void (*on_part)(void *context, const struct ctl_query_answer *answer, struct bytes records);
    /** That was all. */
    void (*on_done)(void *context);
    /** Is there room for a part? If not, connection_queries_resume() asks again. */
    bool (*has_room)(void *context);
};

/** NULL without memory. Answers to questions of an object that was there before are known, and passed over. */
struct connection_queries *connection_queries_new(connection_ask_fn ask, void *context) MUST_CHECK;
/** All queries must have ended. Accepts NULL; clears the caller's pointer. */
void connection_queries_free(struct connection_queries **queries);

/**
 * Begin a query. Nothing is called back before connection_query_run().
 *
 * @param query   query_id and cursor are set here
 * @param events  borrowed
 * @param out     connection_query_end() it, also when on_done was called
 * @return 0; ERR_FULL: there are too many; ERR_NO_MEMORY
 */
int connection_query_begin(struct connection_queries *queries, const struct ctl_query *query,
                           const struct connection_query_events *events, void *context,
                           struct connection_query **out) MUST_CHECK;

/** Put the first question. May call back, on_done too. */
void connection_query_run(struct connection_query *query);

/** End it, at any time. Accepts NULL; clears the caller's pointer. */
void connection_query_end(struct connection_query **query);

/** A worker's answer (a valid CTL_QUERY_ANSWER) to a question that it was asked. False: it answers another. */
bool connection_queries_take(struct connection_queries *queries, unsigned slot, struct bytes payload) MUST_CHECK;

/** The worker of a slot is gone. */
void connection_queries_worker_died(struct connection_queries *queries, unsigned slot);

/** Several times a second: go on where there is room again. */
void connection_queries_resume(struct connection_queries *queries);

#endif
