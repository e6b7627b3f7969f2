#ifndef LOG_RING_H
#define LOG_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"

/*
 * A ring of records in memory shared by one writing worker and the reading master. Neither ever waits: when the ring is full the
 * record is dropped and counted. A worker that dies in the middle of a write leaves nothing behind, because `head` moves last; its
 * successor goes on writing where head is. The reader trusts nothing it finds.
 */
struct log_ring;

/** Bytes of a mapping whose ring holds data_bytes (a power of two, at least 64 KiB). */
uint64_t log_ring_segment_bytes(uint64_t data_bytes);

/** Master: make an empty ring in a zeroed mapping of segment_bytes. */
struct log_ring *log_ring_init(void *mapping, uint64_t segment_bytes);

/** Worker: the ring in a mapping that the master made; NULL if it is none. */
struct log_ring *log_ring_attach(void *mapping, uint64_t segment_bytes);

/** Worker: append a record, or drop and count it. */
bool log_ring_write(struct log_ring *ring, struct bytes record);

/**
 * Master: copy the oldest record out. A damaged ring (a broken or hostile worker) is emptied and counts as one dropped record.
 *
 * @return the record's length, 0 when there is none
 */
size_t log_ring_read(struct log_ring *ring, uint8_t *out, size_t capacity);

/** Master: records dropped since the last call. */
uint64_t log_ring_take_dropped(struct log_ring *ring);

#endif
