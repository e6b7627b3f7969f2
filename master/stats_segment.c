/* The stats segment: its making, and the taking back of what a dead worker counted. */

#include "stats_segment.h"

#include <sys/mman.h>
#include <unistd.h>

#include "shared_file.h"
#include "stats.h"

int stats_segment_init(struct stats_segment *segment)
{
    void *mapping;
    int rc = shared_file_make("mc-proxy-stats", sizeof(struct shm_stats), &segment->fd, &mapping);

    if (rc != 0)
        return rc;
    segment->bytes = sizeof(struct shm_stats);
    segment->listener_end = 0;
    segment->slot_end = 0;
    segment->stats = mapping;
    segment->stats->magic = SHM_STATS_MAGIC;
    segment->stats->layout_version = SHM_LAYOUT_VERSION;
    return 0;
}

void stats_segment_fini(struct stats_segment *segment)
{
    munmap(segment->stats, segment->bytes);
    close(segment->fd);
    *segment = (struct stats_segment){.fd = -1};
}

void stats_segment_use_listener(struct stats_segment *segment, unsigned id)
{
    CHECK(id < SHM_LISTENERS_MAX);
    if (segment->listener_end <= id)
        segment->listener_end = id + 1;
}

void stats_segment_use_slot(struct stats_segment *segment, unsigned slot)
{
    CHECK(slot < SHM_WORKERS_MAX);
    if (segment->slot_end <= slot)
        segment->slot_end = slot + 1;
}

/* Not by what it had open: a worker may die between two of its stores. What it had accepted is certain. */
static void count_cut(struct shm_listener_stats *l)
{
    uint64_t closed = 0;

    for (unsigned reason = 0; reason < CLOSE_REASON_COUNT; reason++)
        closed += stat_get(&l->closed[reason]);
    if (stat_get(&l->accepted) > closed)
        stat_add(&l->closed[CLOSE_WORKER_DIED], stat_get(&l->accepted) - closed);
}

void stats_segment_clear_slot(struct stats_segment *segment, unsigned slot)
{
    struct shm_worker_stats *w = &segment->stats->workers[slot];

    CHECK(slot < SHM_WORKERS_MAX);
    for (unsigned id = 0; id < segment->listener_end; id++) {
        atomic_store_explicit(&segment->stats->active[id][slot], 0, memory_order_relaxed);
        count_cut(&w->listeners[id]);
    }
    atomic_store_explicit(&w->conn_cap, 0, memory_order_relaxed);
    atomic_store_explicit(&w->accepted_before, stats_segment_slot_accepted(segment, slot), memory_order_relaxed);
    atomic_store_explicit(&w->pid, 0, memory_order_relaxed);
    atomic_store_explicit(&w->pinned_epoch, 0, memory_order_release);
}

uint64_t stats_segment_slot_accepted(const struct stats_segment *segment, unsigned slot)
{
    const struct shm_worker_stats *w = &segment->stats->workers[slot];
    uint64_t sum = 0;

    for (unsigned id = 0; id < segment->listener_end; id++)
        sum += atomic_load_explicit(&w->listeners[id].accepted, memory_order_relaxed);
    return sum;
}

uint64_t stats_segment_slot_active(const struct stats_segment *segment, unsigned slot)
{
    uint64_t sum = 0;

    for (unsigned id = 0; id < segment->listener_end; id++)
        sum += atomic_load_explicit(&segment->stats->active[id][slot], memory_order_relaxed);
    return sum;
}

uint64_t stats_segment_accepted_before(const struct stats_segment *segment, unsigned slot)
{
    return atomic_load_explicit(&segment->stats->workers[slot].accepted_before, memory_order_relaxed);
}

uint64_t stats_segment_listener_active(const struct stats_segment *segment, unsigned id)
{
    uint64_t sum = 0;

    for (unsigned slot = 0; slot < segment->slot_end; slot++)
        sum += atomic_load_explicit(&segment->stats->active[id][slot], memory_order_relaxed);
    return sum;
}
