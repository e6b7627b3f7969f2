/* Unpublished memory on its way back to the arena: a ring in the order of epochs. */

#include "retire_queue.h"

#include <stdlib.h>

#include "err.h"

#define CAPACITY_MIN 64

void retire_queue_init(struct retire_queue *q)
{
    *q = (struct retire_queue){0};
}

void retire_queue_fini(struct retire_queue *q)
{
    free(q->ring);
    *q = (struct retire_queue){0};
}

static struct retired *place_of(const struct retire_queue *q, size_t index)
{
    return &q->ring[(q->first + index) & (q->capacity - 1)];
}

static int grow(struct retire_queue *q, size_t needed)
{
    size_t capacity = q->capacity > 0 ? q->capacity : CAPACITY_MIN;

    while (capacity < needed)
        capacity *= 2;
    struct retired *ring = calloc(capacity, sizeof *ring);
    if (ring == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < q->count; i++)
        ring[i] = *place_of(q, i);
    free(q->ring);
    q->ring = ring;
    q->capacity = capacity;
    q->first = 0;
    return 0;
}

int retire_queue_reserve(struct retire_queue *q, size_t places)
{
    size_t needed = q->count + q->reserved + places;

    if (needed > q->capacity && grow(q, needed) != 0)
        return ERR_NO_MEMORY;
    q->reserved += places;
    return 0;
}

void retire_queue_unreserve(struct retire_queue *q, size_t places)
{
    CHECK(q->reserved >= places);
    q->reserved -= places;
}

void retire_queue_push(struct retire_queue *q, struct retired item)
{
    CHECK(q->reserved > 0);
    CHECK(q->count == 0 || place_of(q, q->count - 1)->epoch <= item.epoch);
    q->reserved--;
    *place_of(q, q->count) = item;
    q->count++;
    q->waiting_bytes += item.size;
}

size_t retire_queue_reclaim(struct retire_queue *q, uint64_t min_pinned_epoch)
{
    size_t freed = 0;

    while (q->count > 0 && q->ring[q->first].epoch < min_pinned_epoch && freed < RETIRE_BATCH) {
        struct retired *item = &q->ring[q->first];
        freed++;
        if (!item->free_fn(item))
            break;
        q->waiting_bytes -= item->size;
        q->first = (q->first + 1) & (q->capacity - 1);
        q->count--;
    }
    return freed;
}
