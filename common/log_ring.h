#ifndef LOG_RING_H
#define LOG_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"

/*
 * A ring of records in memory shared by one writing worker and the reading master. Neither ever waits: when the ring is full the
 * record is dropped and counted. A worker that dies in the middle of a write leaves nothing behind, because `head` moves last; its
 * successor goes on writing where head is. The master trusts nothing it finds in the mapping: where it stands and how large the
 * ring is, it knows from memory of its own (struct log_ring_reader).
 */
struct log_ring;

#define LOG_RING_RECORD_MAX     2048 /* bytes of a record; at least one */
#define LOG_RING_DATA_BYTES_MIN (64ull * 1024)

/** Bytes of a mapping whose ring holds data_bytes (a power of two, at least LOG_RING_DATA_BYTES_MIN). */
uint64_t log_ring_segment_bytes(uint64_t data_bytes);

/* ---- worker ---- */

/** The ring in a mapping that the master made; NULL if it is none. A position that makes no sense is put right. */
struct log_ring *log_ring_attach(void *mapping, uint64_t segment_bytes) MUST_CHECK;

/** Append a record and return true; or drop it, count it and return false (no room, empty, or longer than LOG_RING_RECORD_MAX). */
bool log_ring_write(struct log_ring *ring, struct bytes record);

/** log_ring_write() in the shape of a log_sink_fn: log_set_sink(log_ring_sink, ring). */
void log_ring_sink(struct bytes record, void *ring);

/* ---- master ---- */

/** The master's end of a ring. Embedded by the caller; all fields belong to log_ring.c. */
struct log_ring_reader {
    struct log_ring *ring; /* the mapping, writable by a worker that may be broken or hostile; borrowed */
    uint64_t data_bytes;
    uint64_t tail;         /* where the next record begins; the mapping has a copy for the writer */
    uint64_t dropped_seen; /* the worker's counter when it was last looked at */
    uint64_t damaged;      /* times the ring had to be emptied, since the last log_ring_take_dropped() */
};

/** Make an empty ring in a mapping of segment_bytes (log_ring_segment_bytes()) that no worker uses yet. */
void log_ring_reader_init(struct log_ring_reader *r, void *mapping, uint64_t segment_bytes);

/**
 * Copy the oldest record out. A damaged ring (a broken or hostile worker) is emptied and counts as one dropped record. Work is
 * bounded by one record whatever the mapping holds.
 *
 * @param capacity  at least LOG_RING_RECORD_MAX
 * @return the record's length, 0 when there is none
 */
size_t log_ring_read(struct log_ring_reader *r, uint8_t *out, size_t capacity) MUST_CHECK;

/** Records dropped since the last call. */
uint64_t log_ring_take_dropped(struct log_ring_reader *r);

/**
 * The worker is gone: put the mapping right whatever it did to it, so that its successor can attach. Records that were not read
 * yet stay, if the positions make sense.
 */
void log_ring_recover(struct log_ring_reader *r);

#endif
