#ifndef LISTENER_H
#define LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "ctl_msg.h"

struct worker;

#define LISTENER_EARLY_READ_WAIT 16 /* after a read at accept found nothing: accepts before it is tried again */

/** A listening socket of this worker and what the configuration says about it. */
struct listener {
    uint32_t magic;
    uint16_t id;
    uint8_t proxy_mode;    /* enum proxy_mode */
    uint8_t no_route_mode; /* enum no_route_mode */
    struct listener *next;
    struct worker *worker;
    int fd;             /* -1 once the socket was closed */
    bool is_watched;    /* in the epoll set */
    uint32_t conns;     /* open connections; a removed listener is freed with its last one */
    uint8_t batch;      /* accepts per turn, see listener_accept() */
    uint8_t batch_wait; /* turns until a larger batch is tried again */
    uint8_t early_wait; /* accepts until reading at accept is tried again */
    uint16_t trusted_count;
    struct ip_cidr *trusted;
    char addr[ADDRESS_TEXT_MAX];
    struct shm_listener_stats *stats;
    _Atomic uint32_t *active;           /* this worker's cell */
    const _Atomic uint32_t *active_row; /* all workers' cells */
    const _Atomic uint32_t *max_connections;
};
#define LISTENER_MAGIC 0x4c495354u

/** Add a listener of CTL_LISTENER_ADD. Takes fd, on error too. 0, ERR_EXISTS or ERR_NO_MEMORY. */
int listener_add(struct worker *w, const struct ctl_listener *spec, int fd) MUST_CHECK;

/** Change the properties of a listener (CTL_LISTENER_UPDATE). 0, ERR_NOT_FOUND or ERR_NO_MEMORY. */
int listener_update(struct worker *w, const struct ctl_listener *spec) MUST_CHECK;

/** The open listener of an id; NULL if there is none. */
struct listener *listener_find(struct worker *w, uint16_t id);

/** Begin or stop to watch the socket. */
void listener_watch(struct listener *l, bool on);

/** The queue is not empty: accept a batch. */
void listener_accept(struct listener *l);

/** Accept what waits in the queue, then close the socket. The object stays while connections refer to it. */
void listener_close(struct listener *l);

/** A connection of this listener has ended. May free the listener. */
void listener_conn_ended(struct listener *l);

#endif
