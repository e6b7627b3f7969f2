#ifndef STATS_SEGMENT_H
#define STATS_SEGMENT_H

#include <stdint.h>

#include "check.h"
#include "shm_layout.h"

/** The stats segment of shm_layout.h, made by the master and mapped by everybody; it outlives every worker. */
struct stats_segment {
    struct shm_stats *stats; /* mapped read-write */
    int fd;                  /* memfd, sealed against growing and shrinking, close-on-exec */
    uint64_t bytes;
    unsigned
        listener_end;  /* ids below this have been in use; memory behind is not touched, as reading would allocate it */
    unsigned slot_end; /* the same for worker slots */
};

/**
 * Make an empty one. It is sparse: only the listeners and workers in use take memory.
 *
 * @return 0; ERR_NO_SPACE; ERR_SYSTEM with errno
 */
int stats_segment_init(struct stats_segment *segment) MUST_CHECK;
void stats_segment_fini(struct stats_segment *segment);

/** From now on a listener of this id counts. */
void stats_segment_use_listener(struct stats_segment *segment, unsigned id);

/** From now on a slot has a worker now and then. */
void stats_segment_use_slot(struct stats_segment *segment, unsigned slot);

/**
 * Take back what a dead worker left in its slot: its open connections, its epoch pin and its pid; its counters stay, and count from
 * now on as those of earlier workers. What it had accepted and not closed counts as closed by its death (CLOSE_WORKER_DIED), so that
 * on every listener connections accepted are those closed and those open. Only when the process is gone.
 */
void stats_segment_clear_slot(struct stats_segment *segment, unsigned slot);

/** Connections that a slot's worker has accepted, over all listeners; with those of its predecessors. */
uint64_t stats_segment_slot_accepted(const struct stats_segment *segment, unsigned slot);

/** Connections that a slot's worker has open now. */
uint64_t stats_segment_slot_active(const struct stats_segment *segment, unsigned slot);

/** Of those accepted, what earlier workers of the slot have accepted. */
uint64_t stats_segment_accepted_before(const struct stats_segment *segment, unsigned slot);

/** Connections that a listener has open now, over all slots in use. */
uint64_t stats_segment_listener_active(const struct stats_segment *segment, unsigned id);

#endif
