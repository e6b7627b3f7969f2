/*
 * The log ring: one mapping, one writer, one reader, no lock.
 *
 *     0      struct log_ring: head and dropped (written by the worker), tail (written by the master), each on its own cache line
 *     4096   data, a power of two:   ... | length 4 | bytes | padding to 8 | length 4 | bytes ...
 *
 * head and tail count bytes from the beginning of time, so head - tail is what is in use; they are multiples of 8. A record lies in
 * one piece: where it does not fit before the end of the data, RING_SKIP stands in place of a length and the record is at offset 0.
 */

#include "log_ring.h"

#include <stdatomic.h>

#include "log_event.h"
#include "shm_layout.h"

#define RING_MAGIC       0x31474f4c504d434dull /* "MCMPLOG1" */
#define RING_DATA_OFFSET 4096
#define RING_SKIP        UINT32_MAX
#define RING_LENGTH      sizeof(uint32_t)
#define RING_ALIGN       8u

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): what two processes write lies on separate cache lines */
struct log_ring {
    uint64_t magic;
    uint64_t data_bytes;
    _Alignas(SHM_CACHE_LINE) _Atomic uint64_t head;
    _Atomic uint64_t dropped;
    _Alignas(SHM_CACHE_LINE) _Atomic uint64_t tail;
};
_Static_assert(sizeof(struct log_ring) <= RING_DATA_OFFSET, "the data begins behind the positions");
_Static_assert(LOG_RING_RECORD_MAX >= LOG_EVENT_MAX_BYTES, "every log event fits");
_Static_assert(LOG_RING_RECORD_MAX + RING_LENGTH < LOG_RING_DATA_BYTES_MIN / 2,
               "a record and a skip fit into any ring");

static uint8_t *ring_data(struct log_ring *ring)
{
    return (uint8_t *)ring + RING_DATA_OFFSET;
}

/* A record's length is loaded and stored in one piece: the reader looks at it once, whatever a hostile writer does meanwhile. */
static uint32_t load_length(struct log_ring *ring, uint64_t offset)
{
    return atomic_load_explicit((_Atomic uint32_t *)(void *)(ring_data(ring) + offset), memory_order_relaxed);
}

static void store_length(struct log_ring *ring, uint64_t offset, uint32_t length)
{
    atomic_store_explicit((_Atomic uint32_t *)(void *)(ring_data(ring) + offset), length, memory_order_relaxed);
}

/** Bytes that a record takes in the ring. */
static uint64_t framed_bytes(uint64_t record_len)
{
    return (RING_LENGTH + record_len + RING_ALIGN - 1) / RING_ALIGN * RING_ALIGN;
}

static bool is_data_size(uint64_t data_bytes)
{
    return data_bytes >= LOG_RING_DATA_BYTES_MIN && (data_bytes & (data_bytes - 1)) == 0;
}

uint64_t log_ring_segment_bytes(uint64_t data_bytes)
{
    CHECK(is_data_size(data_bytes));
    return RING_DATA_OFFSET + data_bytes;
}

/* ---- worker ---- */

/** A predecessor that ran wild may have left any positions; then begin anew at the aligned tail. The master notices and follows. */
static void settle_positions(struct log_ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);

    if (head % RING_ALIGN != 0 || head - tail > ring->data_bytes)
        atomic_store_explicit(&ring->head, tail - tail % RING_ALIGN, memory_order_release);
}

struct log_ring *log_ring_attach(void *mapping, uint64_t segment_bytes)
{
    struct log_ring *ring = mapping;

    if (segment_bytes < RING_DATA_OFFSET + LOG_RING_DATA_BYTES_MIN || ring->magic != RING_MAGIC ||
        !is_data_size(ring->data_bytes) || ring->data_bytes != segment_bytes - RING_DATA_OFFSET)
        return NULL;
    settle_positions(ring);
    return ring;
}

static bool drop_record(struct log_ring *ring)
{
    uint64_t dropped = atomic_load_explicit(&ring->dropped, memory_order_relaxed);

    atomic_store_explicit(&ring->dropped, dropped + 1, memory_order_relaxed); /* one writer: no read-modify-write */
    return false;
}

bool log_ring_write(struct log_ring *ring, struct bytes record)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint64_t used = head - atomic_load_explicit(&ring->tail, memory_order_acquire);
    uint64_t offset = head & (ring->data_bytes - 1);
    uint64_t until_end = ring->data_bytes - offset;
    uint64_t need = framed_bytes(record.len);
    uint64_t skip = need > until_end ? until_end : 0;

    if (record.len == 0 || record.len > LOG_RING_RECORD_MAX || used > ring->data_bytes ||
        skip + need > ring->data_bytes - used)
        return drop_record(ring);
    if (skip > 0) {
        store_length(ring, offset, RING_SKIP);
        offset = 0;
    }
    store_length(ring, offset, (uint32_t)record.len);
    memcpy(ring_data(ring) + offset + RING_LENGTH, record.ptr, record.len);
    atomic_store_explicit(&ring->head, head + skip + need, memory_order_release);
    return true;
}

void log_ring_sink(struct bytes record, void *ring)
{
    (void)log_ring_write(ring, record); /* what was dropped is counted in the ring */
}

/* ---- master ---- */

static void publish_tail(struct log_ring_reader *r)
{
    atomic_store_explicit(&r->ring->tail, r->tail, memory_order_release);
}

void log_ring_reader_init(struct log_ring_reader *r, void *mapping, uint64_t segment_bytes)
{
    CHECK(segment_bytes > RING_DATA_OFFSET && is_data_size(segment_bytes - RING_DATA_OFFSET));
    *r = (struct log_ring_reader){.ring = mapping, .data_bytes = segment_bytes - RING_DATA_OFFSET};
    atomic_store_explicit(&r->ring->head, 0, memory_order_relaxed);
    atomic_store_explicit(&r->ring->dropped, 0, memory_order_relaxed);
    log_ring_recover(r);
}

/** Nothing in the ring can be trusted: go on behind it. */
static size_t give_up_contents(struct log_ring_reader *r, uint64_t head)
{
    r->tail = head;
    r->damaged++;
    publish_tail(r);
    return 0;
}

size_t log_ring_read(struct log_ring_reader *r, uint8_t *out, size_t capacity)
{
    CHECK(capacity >= LOG_RING_RECORD_MAX);
    uint64_t head = atomic_load_explicit(&r->ring->head, memory_order_acquire);
    uint64_t used = head - r->tail;
    uint64_t offset = r->tail & (r->data_bytes - 1);
    uint64_t skip = 0;

    if (used == 0)
        return 0;
    if (used > r->data_bytes || used % RING_ALIGN != 0 || offset % RING_ALIGN != 0)
        return give_up_contents(r, head);

    uint32_t len = load_length(r->ring, offset);
    if (len == RING_SKIP) {
        skip = r->data_bytes - offset;
        if (skip >= used) /* head never rests behind a skip */
            return give_up_contents(r, head);
        offset = 0;
        len = load_length(r->ring, 0);
    }
    if (len == 0 || len > LOG_RING_RECORD_MAX || framed_bytes(len) > used - skip ||
        framed_bytes(len) > r->data_bytes - offset)
        return give_up_contents(r, head);
    memcpy(out, ring_data(r->ring) + offset + RING_LENGTH, len);
    r->tail += skip + framed_bytes(len);
    publish_tail(r);
    return len;
}

uint64_t log_ring_take_dropped(struct log_ring_reader *r)
{
    uint64_t counter = atomic_load_explicit(&r->ring->dropped, memory_order_relaxed);
    uint64_t dropped =
        counter > r->dropped_seen ? counter - r->dropped_seen : 0; /* it falls only if a worker ran wild */

    r->dropped_seen = counter;
    dropped += r->damaged;
    r->damaged = 0;
    return dropped;
}

void log_ring_recover(struct log_ring_reader *r)
{
    uint64_t head = atomic_load_explicit(&r->ring->head, memory_order_relaxed);

    if (head - r->tail > r->data_bytes || head % RING_ALIGN != 0 || r->tail % RING_ALIGN != 0) {
        head = r->tail - r->tail % RING_ALIGN;
        r->tail = head;
        atomic_store_explicit(&r->ring->head, head, memory_order_relaxed);
    }
    r->ring->magic = RING_MAGIC;
    r->ring->data_bytes = r->data_bytes;
    publish_tail(r);
}
