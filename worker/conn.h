#ifndef CONN_H
#define CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "address.h"
#include "bytes.h"
#include "client_hello.h"
#include "close_reason.h"
#include "hello_budget.h"
#include "listener.h"
#include "shm_layout.h"
#include "wheel.h"

struct backlog;
struct conn_facts;
struct log_event;
struct worker;

/*
 * One client's connection and its way through the proxy. A callback notes what happened and calls conn_run(); the current step
 * looks at it and returns NEXT (go on with the step that is now set), WAIT (for an event or the deadline) or DONE (closed: the
 * object is gone). conn_close() is the only end.
 *
 *     PROXY -> HELLO -> CONNECT -> RELAY -> (FLUSH) -> closed       FLUSH: one side was reset, deliver, then reset the other
 *                  \-> LINGER -> closed                             LINGER: an alert was sent, let the client read it
 */
enum conn_step {
    CONN_STEP_PROXY,
    CONN_STEP_HELLO,
    CONN_STEP_CONNECT,
    CONN_STEP_RELAY,
    CONN_STEP_FLUSH,
    CONN_STEP_LINGER,
    CONN_STEP_COUNT,
};

enum conn_next { CONN_NEXT, CONN_WAIT, CONN_DONE };

/** One of the two sockets of a connection. */
struct conn_side {
    struct backlog *backlog;   /* what waits to be sent to this side; NULL: nothing */
    int fd;                    /* -1 when there is no socket (yet, or any more) */
    uint8_t read_shift;        /* how much is read from this side at once, see conn_relay.c */
    bool is_watched;           /* in the epoll set */
    bool is_watched_for_write; /* for writability too: only of a side that once did not take everything */
    bool is_readable;          /* there may be something to read; stays until a read finds nothing */
    bool is_writable;          /* it may take bytes; stays until it does not */
    bool must_read_dry; /* an end, an error or an urgent byte came: a short read does not mean that nothing is left */
    bool is_reset_announced; /* an event told of an error; reads find it only behind what came before it */
    bool is_read_done;       /* its end of stream was read */
    bool is_write_done;      /* it was told our end of stream */
    bool is_broken;          /* it reset the connection */
    bool is_reset_on_close;  /* closing it sends RST */
};
_Static_assert(sizeof(struct conn_side) == 24, "an idle connection is small");

/** What is needed only until bytes flow both ways; freed then. */
struct conn_setup {
    uint8_t
        *bytes; /* what was read so far and not sent yet: worker_io() within a callback, own_bytes across callbacks */
    uint32_t len;
    uint32_t own_capacity;
    bool needs_more; /* what was read is the beginning of a header or hello */
    uint8_t
        *own_bytes; /* NULL until a hello comes in pieces or a connect has to wait; CONN_HEADROOM bytes lie before it */
    uint32_t accept_tick;
    struct hello_progress progress;
    uint32_t low_water; /* bytes besides the first that must have come before the client's socket reports them */
    uint8_t pieces;     /* reads that did not complete the hello; counted up to HELLO_PIECES_FEW */

    const char *detail;      /* static words for the log line: why something was refused or a connect failed; or NULL */
    struct ip_endpoint peer; /* its address, where a PROXY header has replaced it; family 0: none has */
    char country[2];         /* of the client, once it was asked for; country[0] is '\0': not known */
    bool is_country_asked;

    bool is_heard;          /* its socket was looked at before it would have been evicted */
    struct hello_wait wait; /* while it waits for its PROXY header or hello */
    struct conn *owner;     /* of this, while it waits */

    bool is_local;                  /* a LOCAL header came in */
    struct ip_endpoint destination; /* from the PROXY header; family 0: none came */

    bool has_proxy_header_out;
    bool is_unix;
    bool retry_on_tick; /* a Unix backend's queue was full */
    uint8_t addr_count;
    uint8_t next_addr;         /* addresses before it were tried */
    uint32_t connect_deadline; /* tick: of all attempts */
    struct shm_backend_addr addrs[SHM_BACKEND_ADDRS_MAX];
};

struct conn {
    uint32_t magic;
    uint8_t step;          /* enum conn_step */
    uint8_t broken_reason; /* enum close_reason that ends FLUSH */
    bool is_nodelay_set;   /* on the backend's socket, with the second write to it */
    bool is_hurried;       /* RELAY: one side is gone, the other gets what is left of it, for CONN_CUT_TIMEOUT_MS */
    uint32_t active_tick;  /* when a byte last moved, the step began, or it last tried; is_hurried: since when it is */
    union {
        uint32_t awaits_answer; /* RELAY: whether what comes from the backend is still to be read along */
        uint32_t limit_tick;    /* FLUSH: when to give up */
    };
    struct listener *listener;
    struct wheel_node timeout;
    union {
        struct conn_setup *setup; /* NULL from RELAY on */
        struct conn *next_dead;   /* see conn_io_bury() */
    };
    struct conn_facts *facts; /* own; NULL until the hello is complete */
    uint64_t id;
    uint64_t started_us; /* monotonic */
    uint64_t bytes_in;   /* from the client */
    uint64_t bytes_out;  /* to the client */
    struct ip_endpoint client;
    uint32_t series;        /* of its route (shm_route.series); 0: it has none (yet), or that is not counted */
    struct conn_side front; /* the client's socket */
    struct conn_side back;  /* the backend's socket */
};
_Static_assert(sizeof(struct conn) == 160, "an idle connection is small");
#define CONN_MAGIC      0x434f4e31u
#define CONN_MAGIC_DEAD 0x44454144u /* closed, but an event may still point at it */

/** Room before own_bytes, as before worker_io(): a PROXY header is written in front of the hello and both go out in one send. */
#define CONN_HEADROOM 64

/** What was read from a side before its reset gets this long to be delivered to the other one. */
#define CONN_CUT_TIMEOUT_MS 5000

/** While a backend is being connected, the client's socket is read up to so many bytes: that is how its reset is noticed. */
#define CONN_READ_AHEAD_MAX 65536

/**
 * Take over an accepted socket: count it, decide whether it may enter, and run it as far as it goes now. Takes ownership of fd, on
 * failure too.
 *
 * @param try_read_now  the hello has probably arrived with the connection: read before waiting
 */
void conn_accept(struct listener *listener, int fd, const struct sockaddr_storage *peer, bool try_read_now);

/** Run steps until one waits or the connection is gone. */
void conn_run(struct conn *c);

/** End a connection: stop watchers, close sockets, count, write the access line, free. The only way a connection ends. */
void conn_close(struct conn *c, enum close_reason reason);

/** The wheel's visit: close what is overdue, look again later at the rest. */
void conn_on_tick(struct wheel_node *node, void *context);

/** One side is gone and the other did not take what is left of it in CONN_CUT_TIMEOUT_MS: reset it too. The end of RELAY then. */
void conn_close_cut(struct conn *c);

/** Close every connection of this process. */
void conn_close_all(struct worker *w, enum close_reason reason);

/** For the panic record: which connection was running, and in which step. */
void conn_dump_current(int fd);

/** The name of a step, static. */
const char *conn_step_name(enum conn_step step);

/* ---- between the files of a connection: steps and what they share ---- */

enum conn_next conn_step_proxy(struct conn *c);
enum conn_next conn_step_hello(struct conn *c);
enum conn_next conn_step_connect(struct conn *c);
enum conn_next conn_step_relay(struct conn *c);
enum conn_next conn_step_flush(struct conn *c);
enum conn_next conn_step_linger(struct conn *c);

/** Count what an incomplete hello has sent and nobody will read. */
void conn_hello_count_unread(struct conn *c);

/** Inline, as it is asked for some thirty times in the life of a connection. */
static inline struct worker *conn_worker(const struct conn *c)
{
    return c->listener->worker;
}

/** Is the client let in by firewall and rate limit? If not, why (and nothing was counted). */
bool conn_may_enter(struct conn *c, enum close_reason *reason_out);

/** The client's address is known: ask the firewall and go on to the hello, or close. Returns CONN_NEXT or CONN_DONE. */
enum conn_next conn_enter_hello(struct conn *c);

/** Enter a step; its timeout begins now. Returns CONN_NEXT. */
enum conn_next conn_enter(struct conn *c, enum conn_step step);

/** conn_close() as the last words of a step. Returns CONN_DONE. */
enum conn_next conn_end(struct conn *c, enum close_reason reason);

/**
 * recv(2) that keeps is_readable true to what it found. Less than fits means that nothing is left (epoll(7), "Questions and answers"),
 * unless an end or urgent data was announced: recv() stops at the urgent mark.
 *
 * @return bytes; 0: end of stream; -1 with errno, never EINTR: EAGAIN if there is nothing
 */
ssize_t conn_recv(struct conn_side *side, void *at, size_t room);

/** send(2), the same for is_writable. @return bytes; -1 with errno, never EINTR: EAGAIN if it takes nothing */
ssize_t conn_send(struct conn_side *side, const void *at, size_t len);

/** A byte moved, which is_hurried does not care about. */
void conn_touch(struct conn *c);

/** Close one side's socket, with RST if is_reset_on_close, or if bytes for it were left: what was cut must not look like an end. */
void conn_side_close(struct conn_side *side);

/**
 * The connection has to wait for its PROXY header or hello (a second call: for the other of the two), so it counts for
 * max_pending_hellos, until its hello is complete or it ends.
 */
void conn_wait_begin(struct conn *c);

/**
 * Close who has waited too long for too many to wait, unless what it has sent meanwhile lets it go on. Only while no callback is on
 * its way through connections or listeners.
 */
void conn_wait_evict(struct worker *w);

/** Settings or descriptors have changed: how many may wait? */
void conn_wait_limit(struct worker *w);

/** The connection has its backend: drop what only the set-up needed. */
void conn_setup_free(struct conn *c);

/** Move the bytes that were read into memory of the connection's own, so that they survive this callback. False: no memory. */
bool conn_setup_keep(struct conn_setup *s);

/** Room behind bytes that are kept: returns how many more fit at bytes + len, at least one; 0: no memory. May move the bytes. */
size_t conn_setup_grow(struct conn_setup *s);

/** Take n bytes off the front of what was read. */
void conn_setup_consume(struct conn_setup *s, uint32_t n);

/**
 * When the connect attempt at hand is given up, as a tick: what is left of connect_timeout is shared evenly by the addresses that
 * are left.
 */
uint32_t conn_connect_deadline(const struct conn *c);

/** Microseconds since it was accepted. */
uint64_t conn_age_us(const struct conn *c);

/** Count bytes that came from or went to the client, here and in the listener's statistics. */
void conn_count_in(struct conn *c, size_t n);
void conn_count_out(struct conn *c, size_t n);

/** Count a connection of its route: when that was found, and when it ends. */
void conn_count_routed(const struct conn *c);
void conn_count_route_end(const struct conn *c, enum close_reason reason);

/** Its backend's outcome is known: the same for its route. */
void conn_count_route_answer(const struct conn *c);

/** Bytes of the backend pass by, while awaits_answer: note when the first came, and what they say of the handshake. */
void conn_take_answer(struct conn *c, struct bytes in);

/** The end of a connection that had reached its backend: what did not come until now does not come. */
void conn_end_answer(struct conn *c);

/** Nothing more comes from a side: who finished first ended the connection. */
void conn_note_end(const struct conn *c, const struct conn_side *side);

/** Ask for the client's country, if there is a database and nobody has asked yet. Not from RELAY on. */
void conn_find_country(const struct conn *c);

/**
 * All that is known of a connection, as fields of a log record. Those without a value are left out, but for listener, client, sni,
 * backend, bytes_in, bytes_out, duration_ms and worker.
 *
 * @param age_us  conn_age_us()
 */
void conn_describe(struct log_event *e, const struct conn *c, uint64_t age_us);

/** Write the access line, which is that and why it ended. */
void conn_log(const struct conn *c, enum close_reason reason, uint64_t age_us);

/** A line for each reason of which rejected connections had none; once a second, and at the end. */
void conn_log_held_back(struct worker *w);

#endif
