/*
 * Moving bytes both ways, unchanged. Each direction reads into the process's one buffer and writes at once; only what the receiver
 * does not take becomes a backlog of the connection's own, and nothing more is read for that receiver until it is gone:
 *
 *     source --recv--> worker_io() --send--> sink        sink slow:  rest -> sink->backlog, reading from source stops
 *
 * An end of stream is passed on when the backlog before it is gone. A reset is passed on when everything read before it was delivered.
 */

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "backlog.h"
#include "conn_answer.h"
#include "conn_io.h"
#include "conn_log.h"
#include "conn_step.h"
#include "listener.h"
#include "stats.h"
#include "worker.h"

/*
 * How much is read at once: 1 << read_shift bytes, doubled while reads are filled and the sink takes everything, halved when it does not.
 * Full reads of the largest shift are counted on, in read_shift too. A source that has done so many, none with a rest, may fill the whole
 * buffer: its peers are woken a quarter as often, and bulk costs a third less CPU time. A receiver that never reads does not get so far,
 * as sockets hold less. The rest of such a read is the connection's own memory, so nobody reads that much while slow receivers have a lot.
 */
#define READ_SHIFT_MIN  12
#define READ_SHIFT_MAX  18
#define READ_SHIFT_BULK (READ_SHIFT_MAX + 16) /* 4 MiB in full reads */
#define BULK_HELD_MAX   (16u << 20)           /* bytes of backlogs */
#define READS_PER_TURN  4                     /* one busy connection does not starve the others: */
#define BYTES_PER_TURN  (2u << 20)
_Static_assert(WORKER_IO_BYTES >= 1 << READ_SHIFT_MAX, "the largest read fits the buffer");

static bool is_to_client(const struct conn *c, const struct conn_side *sink)
{
    return sink == &c->front;
}

/**
 * Send to one side. Returns what it took, 0 if it takes nothing now, -1 if it is broken.
 *
 * The first write to a backend leaves at once under Nagle's algorithm as well (nothing is unacknowledged yet), so TCP_NODELAY is set
 * with the second: a short connection saves the call. Client sockets inherit the option from the listener.
 */
static ssize_t send_some(struct conn *c, struct conn_side *sink, const uint8_t *bytes, size_t len)
{
    static const int on = 1;

    if (!is_to_client(c, sink) && !c->is_nodelay_set) {
        c->is_nodelay_set = true;
        /* A Unix socket has no such option and no need of it. */
        (void)setsockopt(sink->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    ssize_t n = conn_send(sink, bytes, len);
    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    if (n > 0) {
        conn_touch(c);
        if (is_to_client(c, sink))
            conn_count_out(c, (size_t)n);
    }
    return n;
}

/** A side that no longer takes bytes: whatever waited for it is lost. What it sent before is still read and delivered. */
static void mark_broken(struct conn_side *side)
{
    side->is_broken = true;
    side->is_write_done = true;
    side->is_readable = !side->is_read_done;
    backlog_free(&side->backlog);
}

/** Try to get rid of a backlog. */
static void flush_backlog(struct conn *c, struct conn_side *sink)
{
    struct backlog *b = sink->backlog;
    ssize_t n = send_some(c, sink, b->data + b->start, b->end - b->start);

    if (n < 0) {
        mark_broken(sink);
        return;
    }
    b->start += (uint32_t)n;
    if (b->start == b->end)
        backlog_free(&sink->backlog);
}

/** Without what was counted beyond the largest. */
static unsigned shift_of(const struct conn_side *source)
{
    return source->read_shift < READ_SHIFT_MAX ? source->read_shift : READ_SHIFT_MAX;
}

/** How much may be read from this side now. */
static size_t read_limit(const struct conn_side *source)
{
    if (source->read_shift == READ_SHIFT_BULK && backlog_held() < BULK_HELD_MAX)
        return WORKER_IO_BYTES;
    return (size_t)1 << shift_of(source);
}

/** Pass on what was just read. False if reading should stop for now (or there was no memory: *failed_out). */
static bool deliver(struct conn *c, struct conn_side *source, struct conn_side *sink, size_t len, bool *failed_out)
{
    const uint8_t *bytes = worker_io(conn_worker(c));
    ssize_t n = send_some(c, sink, bytes, len);

    if (n < 0) {
        mark_broken(sink);
        return false;
    }
    if ((size_t)n == len) {
        if (source->read_shift < READ_SHIFT_BULK && len >> shift_of(source) != 0)
            source->read_shift++;
        return true;
    }
    /* A slow receiver: keep the rest, and read less at a time, so that less needs keeping. */
    source->read_shift = (uint8_t)shift_of(source);
    if (source->read_shift > READ_SHIFT_MIN)
        source->read_shift--;
    sink->backlog = backlog_new(bytes_of(bytes + n, len - (size_t)n));
    *failed_out = sink->backlog == NULL;
    return false;
}

/** Nothing more comes from this side: it ended, or it was reset. */
static void note_end(struct conn *c, struct conn_side *source, bool is_reset)
{
    source->is_read_done = true;
    conn_note_end(c, source);
    source->is_readable = false;
    source->is_broken |= is_reset;
    wheel_remove(&c->timeout); /* half_close_timeout holds from now on */
}

/** Read from source and write to sink as far as both go, within the bounds of one turn. False: no memory. */
static bool pump(struct conn *c, struct conn_side *source, struct conn_side *sink)
{
    uint8_t *buffer = worker_io(conn_worker(c));
    size_t moved = 0;
    bool failed = false;

    for (int i = 0; i < READS_PER_TURN && moved < BYTES_PER_TURN && source->is_readable; i++) {
        ssize_t n = conn_recv(source, buffer, read_limit(source));
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0) {
            note_end(c, source, n < 0);
            return true;
        }
        moved += (size_t)n;
        conn_touch(c);
        if (!is_to_client(c, sink))
            conn_count_in(c, (size_t)n);
        else if (c->awaits_answer)
            conn_take_answer(c, bytes_of(buffer, (size_t)n));
        if (!deliver(c, source, sink, (size_t)n, &failed))
            return !failed;
    }
    return !source->is_readable || conn_io_report_again(c, source);
}

/** One direction of the relay. False: no memory. */
static bool relay_direction(struct conn *c, struct conn_side *source, struct conn_side *sink)
{
    if (sink->backlog != NULL && sink->is_writable)
        flush_backlog(c, sink);
    return !source->is_readable || source->is_read_done || sink->backlog != NULL || sink->is_broken ||
           pump(c, source, sink);
}

/** Tell sink that source has ended, once everything before that was delivered. */
static void pass_on_end(struct conn *c, struct conn_side *source, struct conn_side *sink)
{
    if (!source->is_read_done || source->is_broken || sink->is_write_done || sink->backlog != NULL)
        return;
    sink->is_write_done = true;
    if (sink->is_read_done)
        return; /* both have ended: closing says it */
    if (shutdown(sink->fd, SHUT_WR) != 0)
        mark_broken(sink);
    conn_touch(c);
}

/** A side was reset and has nothing more to give: reset the other one as soon as it has everything. */
static enum conn_next begin_flush(struct conn *c, struct conn_side *broken, enum close_reason reason)
{
    struct conn_side *other = broken == &c->front ? &c->back : &c->front;

    conn_side_close(broken);
    other->is_reset_on_close = true;
    c->broken_reason = (uint8_t)reason;
    conn_touch(c); /* unless that limit runs already, because it was noticed before everything was read */
    c->limit_tick = wheel_tick_after(c->active_tick, CONN_CUT_TIMEOUT_MS);
    c->is_hurried = false;
    return conn_enter(c, CONN_STEP_FLUSH);
}

/** The reset of a side that had ended before is found by no read. */
static void notice_reset(struct conn_side *side)
{
    if (side->is_reset_announced && side->is_read_done && !side->is_broken)
        mark_broken(side);
}

static bool is_gone(const struct conn_side *side)
{
    return side->is_reset_announced || side->is_broken;
}

/** One side is gone, but the other has not taken yet what is left of it: it may not take as long as a connection of two. */
static void hurry(struct conn *c)
{
    if (c->is_hurried || (!is_gone(&c->front) && !is_gone(&c->back)))
        return;
    conn_touch(c); /* from now, however long ago a byte moved last */
    c->is_hurried = true;
    wheel_remove(&c->timeout); /* CONN_CUT_TIMEOUT_MS holds from now on */
}

void conn_close_cut(struct conn *c)
{
    c->front.is_reset_on_close = c->back.is_reset_on_close = true;
    conn_close(c, is_gone(&c->back) ? CLOSE_BACKEND_RESET : CLOSE_CLIENT_RESET);
}

/** Reset, and everything it had sent before is read. */
static bool is_over(const struct conn_side *side)
{
    return side->is_broken && side->is_read_done;
}

enum conn_next conn_step_relay(struct conn *c)
{
    notice_reset(&c->front);
    notice_reset(&c->back);
    if (!relay_direction(c, &c->front, &c->back) || !relay_direction(c, &c->back, &c->front))
        return conn_end(c, CLOSE_NO_MEMORY);
    pass_on_end(c, &c->front, &c->back);
    pass_on_end(c, &c->back, &c->front);
    if (is_over(&c->back))
        return begin_flush(c, &c->back, CLOSE_BACKEND_RESET);
    if (is_over(&c->front))
        return begin_flush(c, &c->front, CLOSE_CLIENT_RESET);
    if (c->front.is_read_done && c->back.is_read_done && c->front.is_write_done && c->back.is_write_done)
        return conn_end(c, CLOSE_FINISHED);
    hurry(c);
    return CONN_WAIT;
}

/** Bytes the kernel still holds for a side, sent or not, that it has not acknowledged. */
static int unacknowledged(const struct conn_side *side)
{
    int bytes = 0;

    return ioctl(side->fd, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

enum conn_next conn_step_flush(struct conn *c)
{
    struct conn_side *side = c->front.fd >= 0 ? &c->front : &c->back;

    if (side->backlog != NULL && side->is_writable)
        flush_backlog(c, side);
    bool is_done = is_gone(side) || (side->backlog == NULL && unacknowledged(side) == 0);
    if (is_done || (int32_t)(conn_worker(c)->wheel.now - c->limit_tick) >= 0)
        return conn_end(c, (enum close_reason)c->broken_reason);
    conn_touch(c);
    return CONN_WAIT;
}
