/*
 * The master's log output: a ring of whole lines between those who log and a descriptor that may be slow, stuck or gone.
 *
 *     tail                                        head
 *      | rest of a line | line\n | line\n | ... \n |          both count bytes from the beginning of time
 *
 * Only whole lines are added, and only whole lines that were not begun are taken back, so the reader never sees half of one. While
 * lines are missing, nothing is added before the notice that says so; the notice stays in hand until its last byte is written,
 * because one that is lost with the rest must be made good by the next.
 */

#include "log_output.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>

#include "clock.h"
#include "err.h"
#include "journal.h"
#include "log_event.h"
#include "log_fd.h"

#define LOG_OUTPUT_MAGIC 0x5455504f /* "OPUT" */
#define BUFFER_MASK      (LOG_OUTPUT_BUFFER_BYTES - 1)
#define NOTICE_ROOM \
    (64ull * 1024) /* after drops, go on when this much is free: a notice for many lines, not for each */
#define RETRY_MS        1000
#define JOURNAL_PACE_MS 5    /* between tries to send what the journal did not take */
#define JOURNAL_WAIT_MS 1000 /* then it goes as text */
_Static_assert((LOG_OUTPUT_BUFFER_BYTES & BUFFER_MASK) == 0, "positions are masked");
_Static_assert(NOTICE_ROOM > 2ull * (LOG_LINE_MAX_BYTES + 1), "a notice and a line fit");

enum output_state {
    OUTPUT_READY,   /* the descriptor took everything so far */
    OUTPUT_BLOCKED, /* it takes nothing at the moment */
    OUTPUT_FAILED,  /* writing failed; tried again at retry_at_ms */
};

struct log_output {
    uint32_t magic;
    enum output_state state;
    struct log_fd fd;
    enum log_format format;
    struct ev_loop *loop; /* NULL: write at once */
    ev_prepare turn_end;  /* active: READY, buffer not empty */
    ev_io writable;       /* active: BLOCKED */
    ev_timer retry;       /* active: FAILED */
    uint64_t retry_at_ms;

    uint64_t head;
    uint64_t tail;
    uint64_t lines;      /* in the buffer, with one that was begun */
    bool is_mid_line;    /* the first line in the buffer was begun */
    uint64_t dropped;    /* lines missing that no notice in the buffer speaks of */
    uint64_t noticed;    /* lines that the notice in the buffer speaks of; 0: there is none */
    uint64_t notice_end; /* position behind that notice */
    uint64_t dropped_total;

    struct journal journal; /* fd -1: none */
    ev_timer journal_retry; /* active: an entry waits */
    size_t entry_len;       /* of the one that waits; 0: none does */
    size_t line_len;        /* of the same as text, in waiting[] */
    uint64_t entry_since_ms;

    char line[LOG_LINE_MAX_BYTES + 1];
    char waiting[LOG_LINE_MAX_BYTES];
    char entry[JOURNAL_ENTRY_MAX];
    uint8_t buffer[LOG_OUTPUT_BUFFER_BYTES];
};

static struct log_output *output_check(void *object)
{
    struct log_output *o = object;
    CHECK_MAGIC(o, LOG_OUTPUT_MAGIC);
    CHECK(o->head - o->tail <= LOG_OUTPUT_BUFFER_BYTES);
    return o;
}

/* ---- the buffer ---- */

static uint64_t buffer_room(const struct log_output *o)
{
    return LOG_OUTPUT_BUFFER_BYTES - (o->head - o->tail);
}

static void buffer_add(struct log_output *o, struct bytes b)
{
    size_t at = o->head & BUFFER_MASK;
    size_t first = LOG_OUTPUT_BUFFER_BYTES - at < b.len ? LOG_OUTPUT_BUFFER_BYTES - at : b.len;

    if (b.len == 0)
        return;
    memcpy(o->buffer + at, b.ptr, first);
    memcpy(o->buffer, b.ptr + first, b.len - first);
    o->head += b.len;
}

static void buffer_add_line(struct log_output *o, struct bytes line)
{
    buffer_add(o, line);
    buffer_add(o, bytes_of("\n", 1));
    o->lines++;
}

/** The bytes at the front that lie in one piece. */
static struct bytes buffer_front(const struct log_output *o)
{
    size_t at = o->tail & BUFFER_MASK;
    uint64_t used = o->head - o->tail;

    return bytes_of(o->buffer + at, used < LOG_OUTPUT_BUFFER_BYTES - at ? used : LOG_OUTPUT_BUFFER_BYTES - at);
}

static void buffer_written(struct log_output *o, size_t len)
{
    struct bytes written = bytes_of(buffer_front(o).ptr, len);

    o->is_mid_line = written.ptr[len - 1] != '\n';
    for (const uint8_t *at = written.ptr; (at = memchr(at, '\n', len - (size_t)(at - written.ptr))) != NULL; at++)
        o->lines--;
    o->tail += len;
    if (o->tail >= o->notice_end)
        o->noticed = 0;
}

/* ---- what is missing ---- */

static void count_dropped(struct log_output *o, uint64_t lines)
{
    o->dropped += lines;
    o->dropped_total += lines;
}

/** Put the notice of missing lines at their place, if there are any and it is time. */
static void add_notice(struct log_output *o)
{
    struct log_event e;
    char text[512];
    struct strbuf line = STRBUF_OF(text);

    if (o->dropped == 0 || o->noticed > 0 || buffer_room(o) < NOTICE_ROOM)
        return;
    log_event_begin_always(&e, LOG_WARN, "log lines were dropped");
    log_event_u64(&e, LOG_KEY_DROPPED, o->dropped);
    log_format_record(log_event_record(&e), o->format, &line);
    buffer_add_line(o, bytes_of(text, line.len));
    o->noticed = o->dropped;
    o->notice_end = o->head;
    o->dropped = 0;
}

/** Bytes left of a line that was begun: without them the next line would be glued to its first half. */
static uint64_t mid_line_bytes(const struct log_output *o)
{
    uint64_t at = o->tail;

    while (o->is_mid_line && at < o->head && o->buffer[at++ & BUFFER_MASK] != '\n')
        ;
    return at - o->tail;
}

static void discard_buffer(struct log_output *o)
{
    uint64_t kept = o->is_mid_line ? 1 : 0;
    uint64_t lost = o->lines - kept;

    o->head = o->tail + mid_line_bytes(o);
    o->lines = kept;
    if (o->noticed > 0 && o->notice_end > o->head) { /* the notice is among the lost: its lines are to be told again */
        o->dropped += o->noticed;
        o->noticed = 0;
        lost--;
    }
    count_dropped(o, lost);
}

/* ---- writing ---- */

static void set_failed(struct log_output *o)
{
    discard_buffer(o);
    o->state = OUTPUT_FAILED;
    o->retry_at_ms = clock_monotonic_ms() + RETRY_MS;
}

/** Write until the buffer is empty or the descriptor takes no more. Ends: what is added here is one notice per NOTICE_ROOM written. */
static void write_out(struct log_output *o)
{
    for (;;) {
        add_notice(o);
        struct bytes front = buffer_front(o);
        ssize_t n = front.len > 0 ? log_fd_write(&o->fd, front) : 0;

        if (n > 0) {
            buffer_written(o, (size_t)n);
        } else if (n == 0) {
            o->state = OUTPUT_READY;
            return;
        } else if (errno == EAGAIN) {
            o->state = OUTPUT_BLOCKED;
            return;
        } else if (errno != EINTR) {
            set_failed(o);
            return;
        }
    }
}

static bool has_work(const struct log_output *o)
{
    return o->head != o->tail || o->dropped > 0;
}

/** The one place where watchers are armed, from state and buffer. */
static void arm(struct log_output *o)
{
    if (o->loop == NULL)
        return;
    if (o->state == OUTPUT_READY && has_work(o))
        ev_prepare_start(o->loop, &o->turn_end);
    else
        ev_prepare_stop(o->loop, &o->turn_end);
    if (o->state == OUTPUT_BLOCKED)
        ev_io_start(o->loop, &o->writable);
    else
        ev_io_stop(o->loop, &o->writable);
    if (o->state != OUTPUT_FAILED) {
        ev_timer_stop(o->loop, &o->retry);
    } else if (!ev_is_active(&o->retry)) {
        ev_timer_set(&o->retry, RETRY_MS / 1000., 0.);
        ev_timer_start(o->loop, &o->retry);
    }
}

static void on_turn_end(struct ev_loop *loop, ev_prepare *w, int revents)
{
    struct log_output *o = output_check(w->data);

    (void)loop, (void)revents;
    write_out(o);
    arm(o);
}

static void on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct log_output *o = output_check(w->data);

    (void)loop, (void)revents;
    write_out(o);
    arm(o);
}

static void on_retry(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct log_output *o = output_check(w->data);

    (void)loop, (void)revents;
    write_out(o);
    arm(o);
}

/** Without a loop: now, unless it failed less than RETRY_MS ago. */
static void write_at_once(struct log_output *o)
{
    if (o->state != OUTPUT_FAILED || clock_monotonic_ms() >= o->retry_at_ms)
        write_out(o);
}

/* ---- the journal ---- */

static bool entry_waits(const struct log_output *o)
{
    return o->entry_len > 0;
}

/** What waits goes as text. */
static void give_entry_up(struct log_output *o)
{
    o->entry_len = 0;
    log_output_line(o, bytes_of(o->waiting, o->line_len));
}

/** Try again to send what waits; it stays if the journal is still behind. */
static void retry_entry(struct log_output *o)
{
    int rc = journal_send(&o->journal, bytes_of(o->entry, o->entry_len));

    if (rc == 0)
        o->entry_len = 0;
    else if (rc != ERR_FULL || clock_monotonic_ms() - o->entry_since_ms >= JOURNAL_WAIT_MS)
        give_entry_up(o);
}

static void keep_entry(struct log_output *o, size_t entry_len, size_t line_len)
{
    o->entry_len = entry_len;
    o->line_len = line_len;
    memcpy(o->waiting, o->line, line_len);
    o->entry_since_ms = clock_monotonic_ms();
    ev_timer_set(&o->journal_retry, JOURNAL_PACE_MS / 1000., JOURNAL_PACE_MS / 1000.);
    ev_timer_start(o->loop, &o->journal_retry);
}

static void on_journal_retry(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct log_output *o = output_check(w->data);

    (void)revents;
    retry_entry(o);
    if (!entry_waits(o))
        ev_timer_stop(loop, w);
}

/** True: the journal has the record, or it waits for it. Text that is under way first, so that records keep their order. */
static bool send_to_journal(struct log_output *o, struct bytes record, struct bytes line)
{
    struct strbuf entry = STRBUF_OF(o->entry);

    if (o->journal.fd < 0 || has_work(o) || entry_waits(o))
        return false;
    journal_format(record, line, &entry);
    int rc = entry.overflowed ? ERR_TOO_LARGE : journal_send(&o->journal, bytes_of(o->entry, entry.len));
    if (rc == ERR_FULL && o->loop != NULL) {
        keep_entry(o, entry.len, line.len);
        return true;
    }
    return rc == 0;
}

/* ---- public ---- */

struct log_output *log_output_new(int fd)
{
    struct log_output *o = calloc(1, sizeof *o);

    if (o == NULL)
        return NULL;
    o->magic = LOG_OUTPUT_MAGIC;
    o->fd = log_fd_open(fd);
    ev_prepare_init(&o->turn_end, on_turn_end);
    ev_set_priority(&o->turn_end, EV_MINPRI); /* behind everybody who may still log in this turn */
    ev_io_init(&o->writable, on_writable, o->fd.fd, EV_WRITE);
    ev_timer_init(&o->retry, on_retry, RETRY_MS / 1000., 0.);
    ev_timer_init(&o->journal_retry, on_journal_retry, 0., 0.);
    o->journal.fd = -1;
    o->turn_end.data = o->writable.data = o->retry.data = o->journal_retry.data = o;
    return o;
}

void log_output_find_journal(struct log_output *o)
{
    if (o->journal.fd < 0 && journal_is_at(o->fd.fd) && journal_open(&o->journal) != 0)
        o->journal.fd = -1; /* no descriptor: then as text */
}

void log_output_free(struct log_output **o)
{
    if (*o == NULL)
        return;
    log_output_stop(*o);
    journal_close(&(*o)->journal);
    log_fd_close(&(*o)->fd);
    (*o)->magic = 0;
    free(*o);
    *o = NULL;
}

void log_output_start(struct log_output *o, struct ev_loop *loop)
{
    CHECK(o->loop == NULL);
    o->loop = loop;
    arm(o);
}

void log_output_stop(struct log_output *o)
{
    if (o->loop == NULL)
        return;
    ev_prepare_stop(o->loop, &o->turn_end);
    ev_io_stop(o->loop, &o->writable);
    ev_timer_stop(o->loop, &o->retry);
    ev_timer_stop(o->loop, &o->journal_retry);
    o->loop = NULL;
    if (entry_waits(o))
        retry_entry(o);
    if (entry_waits(o))
        give_entry_up(o);
}

void log_output_set_format(struct log_output *o, enum log_format format)
{
    o->format = format;
}

void log_output_sink(struct bytes record, void *output)
{
    struct log_output *o = output_check(output);
    struct strbuf line = STRBUF_OF(o->line);

    log_format_record(record, o->format, &line);
    if (send_to_journal(o, record, bytes_of(o->line, line.len)))
        return;
    if (entry_waits(o)) /* what waits is older */
        give_entry_up(o);
    log_output_line(o, bytes_of(o->line, line.len));
}

void log_output_line(struct log_output *o, struct bytes line)
{
    CHECK(line.len <= LOG_LINE_MAX_BYTES);
    add_notice(o);
    if (o->dropped == 0 && buffer_room(o) > line.len)
        buffer_add_line(o, line);
    else
        count_dropped(o, 1);
    if (o->loop == NULL)
        write_at_once(o);
    arm(o);
}

bool log_output_has_room(const struct log_output *o)
{
    return !entry_waits(o) && (o->dropped == 0 || (o->noticed == 0 && buffer_room(o) >= NOTICE_ROOM)) &&
           buffer_room(o) > LOG_LINE_MAX_BYTES;
}

bool log_output_flush(struct log_output *o, unsigned timeout_ms)
{
    uint64_t deadline_ms = clock_monotonic_ms() + timeout_ms;

    for (;;) {
        write_out(o);
        uint64_t now_ms = clock_monotonic_ms();
        if (o->state != OUTPUT_BLOCKED || now_ms >= deadline_ms)
            break;
        log_fd_wait(&o->fd, (int)(deadline_ms - now_ms));
    }
    arm(o);
    return !has_work(o);
}

uint64_t log_output_dropped(const struct log_output *o)
{
    return o->dropped_total;
}
