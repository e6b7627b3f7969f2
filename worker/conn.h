#ifndef CONN_H
#define CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "close_reason.h"
#include "listener.h"
#include "wheel.h"

struct backlog;
struct conn_facts;
struct conn_setup;
struct sockaddr_storage;
struct worker;

/*
 * One client's connection and its way through the proxy. A callback notes what happened and calls conn_run(); the current step
 * (conn_step.h) looks at it and goes on with another one, waits, or has closed the connection. conn_close() is the only end.
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

/** Close every connection of this process. */
void conn_close_all(struct worker *w, enum close_reason reason);

/** For the panic record: which connection was running, and in which step. */
void conn_dump_current(int fd);

/** The name of a step, static. */
const char *conn_step_name(enum conn_step step);

/** Inline, as it is asked for some thirty times in the life of a connection. */
static inline struct worker *conn_worker(const struct conn *c)
{
    return c->listener->worker;
}

/** Microseconds since it was accepted. */
uint64_t conn_age_us(const struct conn *c);

#endif
