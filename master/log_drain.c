/* Rounds over the workers' log rings: a timer whose pace follows what it finds. */

#include "log_drain.h"

#include <ev.h>
#include <stdbool.h>
#include <stdlib.h>

#include "clock.h"
#include "log_event.h"
#include "log_output.h"
#include "log_ring.h"
#include "shm_layout.h"

#define LOG_DRAIN_MAGIC 0x4e415244 /* "DRAN" */
#define TURN_RECORDS    128        /* from one ring before it is the next one's turn */
#define RUN_RECORDS     2048       /* in one run: some milliseconds of the master's time */
#define REPORT_MS       1000
#define QUIET_MS        1000 /* without a record for so long: slow down */
#define PACE_AT_ONCE_S  0.001
#define PACE_BUSY_S     0.02
#define PACE_QUIET_S    0.1

struct drain_slot {
    bool is_used; /* has a ring */
    struct log_ring_reader ring;
    uint64_t dropped; /* not reported yet */
};

struct log_drain {
    uint32_t magic;
    struct log_output *output;
    const struct log_drain_tap *tap; /* NULL: nobody looks */
    bool reads_on;                   /* also without room */
    struct ev_loop *loop;            /* NULL: not started */
    ev_timer timer;
    unsigned slot_end; /* slots from here on have neither a ring nor a count */
    unsigned next;     /* whose turn it is */
    uint64_t last_record_ms;
    uint64_t last_report_ms;
    uint64_t dropped_total;
    struct drain_slot slots[SHM_WORKERS_MAX];
    uint8_t record[LOG_RING_RECORD_MAX];
};

static struct log_drain *drain_check(void *object)
{
    struct log_drain *d = object;
    CHECK_MAGIC(d, LOG_DRAIN_MAGIC);
    return d;
}

static struct drain_slot *slot_check(struct log_drain *d, unsigned slot)
{
    CHECK(slot < SHM_WORKERS_MAX);
    return &d->slots[slot];
}

static bool may_read(const struct log_drain *d)
{
    return d->reads_on || log_output_has_room(d->output);
}

static void take_record(struct log_drain *d, struct bytes record)
{
    if (d->tap == NULL || d->tap->on_record(d->tap->context, record))
        log_output_sink(record, d->output);
}

/** Up to max records of one ring; their number. */
static unsigned read_ring(struct log_drain *d, struct drain_slot *s, unsigned max)
{
    unsigned count = 0;
    size_t len;

    while (count < max && may_read(d) && (len = log_ring_read(&s->ring, d->record, sizeof d->record)) > 0) {
        take_record(d, bytes_of(d->record, len));
        count++;
    }
    uint64_t dropped = log_ring_take_dropped(&s->ring);
    s->dropped += dropped;
    d->dropped_total += dropped;
    if (dropped > 0 && d->tap != NULL)
        d->tap->on_dropped(d->tap->context, dropped);
    return count;
}

static void report_slot(struct log_drain *d, unsigned slot)
{
    struct drain_slot *s = &d->slots[slot];
    struct log_event e;

    if (s->dropped == 0)
        return;
    log_event_begin_always(&e, LOG_WARN, "a worker dropped log records");
    log_event_u64(&e, LOG_KEY_DROPPED, s->dropped);
    log_event_u64(&e, LOG_KEY_WORKER, slot);
    log_output_sink(log_event_record(&e), d->output);
    s->dropped = 0;
}

/** What could not be told for want of room is told later: the counts stay. */
static void report_dropped(struct log_drain *d, uint64_t now_ms)
{
    if (now_ms - d->last_report_ms < REPORT_MS)
        return;
    for (unsigned slot = 0; slot < d->slot_end && log_output_has_room(d->output); slot++) {
        if (d->slots[slot].dropped > 0) {
            report_slot(d, slot);
            d->last_report_ms = now_ms;
        }
    }
}

unsigned log_drain_run(struct log_drain *d)
{
    unsigned total = 0;
    unsigned empty = 0; /* rings in a row that had less than a turn's worth */

    while (empty < d->slot_end && total < RUN_RECORDS) {
        struct drain_slot *s = &d->slots[d->next];
        unsigned count = s->is_used ? read_ring(d, s, TURN_RECORDS) : 0;

        total += count;
        empty = count == TURN_RECORDS ? 0 : empty + 1;
        d->next = (d->next + 1) % d->slot_end;
    }
    uint64_t now_ms = clock_monotonic_ms();
    if (total > 0)
        d->last_record_ms = now_ms;
    report_dropped(d, now_ms);
    return total;
}

static void schedule(struct log_drain *d, double after_s)
{
    ev_timer_set(&d->timer, after_s, 0.);
    ev_timer_start(d->loop, &d->timer);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct log_drain *d = drain_check(w->data);

    (void)loop, (void)revents;
    if (log_drain_run(d) >= RUN_RECORDS)
        schedule(d, PACE_AT_ONCE_S);
    else if (clock_monotonic_ms() - d->last_record_ms < QUIET_MS)
        schedule(d, PACE_BUSY_S);
    else
        schedule(d, PACE_QUIET_S);
}

struct log_drain *log_drain_new(struct log_output *output)
{
    struct log_drain *d = calloc(1, sizeof *d);

    if (d == NULL)
        return NULL;
    d->magic = LOG_DRAIN_MAGIC;
    d->output = output;
    ev_timer_init(&d->timer, on_timer, PACE_BUSY_S, 0.);
    d->timer.data = d;
    return d;
}

void log_drain_free(struct log_drain **d)
{
    if (*d == NULL)
        return;
    log_drain_stop(*d);
    (*d)->magic = 0;
    free(*d);
    *d = NULL;
}

void log_drain_set_tap(struct log_drain *d, const struct log_drain_tap *tap)
{
    d->tap = tap;
}

void log_drain_read_on(struct log_drain *d, bool on)
{
    d->reads_on = on;
}

void log_drain_start(struct log_drain *d, struct ev_loop *loop)
{
    CHECK(d->loop == NULL);
    d->loop = loop;
    schedule(d, PACE_BUSY_S);
}

void log_drain_stop(struct log_drain *d)
{
    if (d->loop == NULL)
        return;
    ev_timer_stop(d->loop, &d->timer);
    d->loop = NULL;
}

void log_drain_add(struct log_drain *d, unsigned slot, void *mapping, uint64_t segment_bytes)
{
    struct drain_slot *s = slot_check(d, slot);

    CHECK(!s->is_used);
    s->is_used = true;
    log_ring_reader_init(&s->ring, mapping, segment_bytes);
    if (slot >= d->slot_end)
        d->slot_end = slot + 1;
}

/** A ring of any size ends: every record takes 8 bytes or more, and nobody writes any more. */
static void read_all(struct log_drain *d, struct drain_slot *s)
{
    (void)read_ring(d, s, (unsigned)(s->ring.data_bytes / 8));
}

/** What the output had no room for goes with the ring, but not uncounted. */
static void count_rest(struct log_drain *d, struct drain_slot *s)
{
    for (uint64_t bound = s->ring.data_bytes / 8; bound > 0; bound--) {
        if (log_ring_read(&s->ring, d->record, sizeof d->record) == 0)
            return;
        s->dropped++;
        d->dropped_total++;
    }
}

void log_drain_worker_died(struct log_drain *d, unsigned slot)
{
    struct drain_slot *s = slot_check(d, slot);

    CHECK(s->is_used);
    read_all(d, s);
    log_ring_recover(&s->ring);
}

void log_drain_remove(struct log_drain *d, unsigned slot)
{
    struct drain_slot *s = slot_check(d, slot);

    if (!s->is_used)
        return;
    read_all(d, s);
    count_rest(d, s);
    if (log_output_has_room(d->output))
        report_slot(d, slot);
    *s = (struct drain_slot){.dropped = s->dropped}; /* told later, if there was no room */
    while (d->slot_end > 0 && !d->slots[d->slot_end - 1].is_used && d->slots[d->slot_end - 1].dropped == 0)
        d->slot_end--;
    if (d->next >= d->slot_end)
        d->next = 0;
}

void log_drain_end(struct log_drain *d)
{
    for (unsigned slot = 0; slot < SHM_WORKERS_MAX; slot++)
        log_drain_remove(d, slot);
}

uint64_t log_drain_dropped(const struct log_drain *d)
{
    return d->dropped_total;
}
