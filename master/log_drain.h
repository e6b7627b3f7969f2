#ifndef LOG_DRAIN_H
#define LOG_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"

struct ev_loop;
struct log_output;

/*
 * The master's end of all log rings: records of the workers become lines of the output. Each call does a bounded amount of work and
 * takes the workers in turn. While the output has no room, records stay in the rings; a ring that is full drops, and at most once
 * a second that is told:
 *
 *     time=... level=WARN msg="a worker dropped log records" dropped=17 worker=2
 *
 * Lines of one worker come in its order; lines of different workers are at most one round (20 ms, 100 ms after a quiet second)
 * out of order.
 */
struct log_drain;

/** A drain without rings; output is borrowed and must outlive it. NULL without memory. log_drain_free() it. */
struct log_drain *log_drain_new(struct log_output *output) MUST_CHECK;

/** Accepts NULL; clears the caller's pointer. Rings are left as they are: log_drain_remove() them first for their last records. */
void log_drain_free(struct log_drain **d);

/** Somebody who sees the records of the workers before they become lines. */
struct log_drain_tap {
    /** A record, borrowed. False: it is to be no line. */
    bool (*on_record)(void *context, struct bytes record);
    /** Workers have dropped so many. */
    void (*on_dropped)(void *context, uint64_t count);
    void *context;
};

/** From now on; NULL: nobody any more. Borrowed. */
void log_drain_set_tap(struct log_drain *d, const struct log_drain_tap *tap);

/** Go on reading although the output has no room: the tap gets the records, and the lines are dropped and counted by the output. */
void log_drain_read_on(struct log_drain *d, bool on);

/** Drain on a timer from now on. */
void log_drain_start(struct log_drain *d, struct ev_loop *loop);
void log_drain_stop(struct log_drain *d);

/**
 * A worker slot gets a ring: makes an empty one in the mapping, which stays the caller's and must stay mapped until
 * log_drain_remove(). Before the worker is started. The ring serves all workers that this slot will have.
 *
 * @param slot           0..SHM_WORKERS_MAX-1, without a ring
 * @param segment_bytes  log_ring_segment_bytes() of the ring's size
 */
void log_drain_add(struct log_drain *d, unsigned slot, void *mapping, uint64_t segment_bytes);

/** The worker of the slot is gone: read what it left and put its ring in order for a successor. Before that one is started. */
void log_drain_worker_died(struct log_drain *d, unsigned slot);

/** The slot is given up: read what is left and let go of the mapping. No ring: does nothing. */
void log_drain_remove(struct log_drain *d, unsigned slot);

/** log_drain_remove() of all slots: at the end of the process, when the last worker is gone. */
void log_drain_end(struct log_drain *d);

/** Read what is there now, within bounds; the number of records. The timer calls this. */
unsigned log_drain_run(struct log_drain *d);

/** Records that workers dropped, since log_drain_new(). */
uint64_t log_drain_dropped(const struct log_drain *d);

#endif
