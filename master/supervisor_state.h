#ifndef SUPERVISOR_STATE_H
#define SUPERVISOR_STATE_H

#include <ev.h>

#include "respawn.h"
#include "shm_layout.h"
#include "stats_segment.h"
#include "supervisor.h"
#include "worker_slot.h"

/* Private to the supervisor*.c files: its state, and what they do for each other. */

#define SUPERVISOR_MAGIC 0x73757056u

/** A listener, its sockets by slot. */
struct listener_record {
    struct ctl_listener *ctl; /* ours; with its trusted networks */
    struct listen_addr addr;
    int shared_fd; /* duplicate of a socket that was passed in; -1: every slot has its own */
    bool is_removing;
    bool is_closing;          /* is_removing, and workers have not been told: handshakes under way complete first */
    bool is_deaf;             /* no handshake begins any more, */
    uint64_t deaf_since_ms;   /* since then (monotonic) */
    int fds[SHM_WORKERS_MAX]; /* -1: none */
};

/** How a smaller number of workers is reached; a change that arrives meanwhile waits for RESIZE_NONE. */
enum resize_phase {
    RESIZE_NONE,
    RESIZE_SETTLING, /* surplus slots get no new connections any more, handshakes under way complete */
    RESIZE_REMOVING, /* surplus slots serve what waits and give up their sockets */
};

/** Sockets that are about to be closed, see supervisor_closing.c. */
struct closing {
    bool is_whole; /* all of them: the supervisor stops */
    struct ev_timer timer;
};

enum supervisor_phase {
    SUPERVISOR_NEW,
    SUPERVISOR_RUNNING,
    SUPERVISOR_LEAVING, /* a successor has the sockets; workers stay as long as they have connections */
    SUPERVISOR_STOPPING,
    SUPERVISOR_GONE,
};

struct supervisor {
    uint32_t magic;
    struct ev_loop *loop;
    struct supervisor_options options;
    struct supervisor_callbacks callbacks;
    enum supervisor_phase phase;
    unsigned worker_count;   /* wanted: slots 0..worker_count-1 */
    unsigned prepared_count; /* sockets are there for so many; 0: for worker_count */
    unsigned pending_count;  /* wanted when the resize under way is done; 0: no other change */
    enum resize_phase resize;
    unsigned settling_looks;
    unsigned sockets_version;
    bool is_ready_awaited; /* on_all_ready is still to be called */
    int geoip_fd;          /* -1: none */
    struct respawn respawn;
    uint64_t birth_count;    /* workers started so far */
    uint64_t restart_count;  /* workers that died and are to be replaced */
    unsigned respawn_cursor; /* the slot to look at first: no slot that dies at every start may keep others waiting */
    uint64_t looked_ms;      /* monotonic: the last look at the slots */
    struct ev_signal child_watch;
    struct ev_timer look_timer;
    struct ev_timer respawn_timer;
    struct closing closing;
    struct worker_slot slots[SHM_WORKERS_MAX];
    struct listener_record *listeners[SHM_LISTENERS_MAX];
};

struct supervisor *supervisor_check(void *data);

static inline struct shm_worker_stats *supervisor_slot_stats(const struct worker_slot *slot)
{
    return &slot->supervisor->options.stats->stats->workers[slot->index];
}

/* supervisor_birth.c */

/** Start a worker in a slot without process; on error the slot is SLOT_DEAD. Errors are logged. */
int supervisor_start_slot(struct supervisor *sup, struct worker_slot *slot) MUST_CHECK;

/** Start what is dead and wanted, as fast as respawn.h allows; the rest later. */
void supervisor_start_dead(struct supervisor *sup);

/** Tell, once, that all wanted workers run. */
void supervisor_note_ready(struct supervisor *sup);

/* supervisor_watch.c: deaths */

void supervisor_watch_begin(struct supervisor *sup);
void supervisor_watch_end(struct supervisor *sup);

/* supervisor_listeners.c: sockets */

void supervisor_close_slot_sockets(struct supervisor *sup, unsigned slot);
bool supervisor_slot_has_sockets(const struct supervisor *sup, unsigned slot);

/** Open sockets in slots first..end-1 for every listener that stays, or none. */
int supervisor_open_slot_sockets(struct supervisor *sup, unsigned first, unsigned end, struct strbuf *why) MUST_CHECK;

/** Tell a worker of one, or of all listeners that its slot has a socket of. */
void supervisor_send_listener(const struct listener_record *record, struct worker_slot *slot);
void supervisor_send_listeners(struct supervisor *sup, struct worker_slot *slot);

/** Ask a worker to give up all its listeners. */
void supervisor_send_removes(struct supervisor *sup, struct worker_slot *slot);

/** A worker closed its copy of a listening socket. */
void supervisor_on_listener_removed(struct supervisor *sup, struct worker_slot *slot, unsigned id);

/** New connections to the first `count` slots only; 0: to all. */
void supervisor_balance(struct supervisor *sup, unsigned count);

/** Free records of removed listeners whose last socket is closed. */
void supervisor_forget_listeners(struct supervisor *sup);
void supervisor_free_listeners(struct supervisor *sup);

/** Tell the workers that serve it to give up a listener whose sockets may be closed. */
void supervisor_send_remove(struct supervisor *sup, struct listener_record *record);

/* supervisor_closing.c: the time between "no new handshakes" and the close */

void supervisor_closing_init(struct supervisor *sup);

/** Begin to close the sockets of a record that is_removing: its workers are told when no handshake is under way any more. */
void supervisor_close_record(struct supervisor *sup, struct listener_record *record);

/** The listening sockets of the slots from `first` on, which are about to be closed, take no new handshake any more. */
void supervisor_make_slots_deaf(const struct supervisor *sup, unsigned first);

/** Forget what was begun; sockets stay as they are. */
void supervisor_closing_end(struct supervisor *sup);

/* supervisor.c */

/** Send DRAIN or STOP to all workers. A worker still there after so many looks is killed. */
void supervisor_end_slots(struct supervisor *sup, uint16_t type, unsigned closing_looks);
unsigned supervisor_drain_looks(const struct supervisor *sup);

/* supervisor_resize.c */

/** Called at every look, and whenever a slot's last socket was closed: go on with what is under way. */
void supervisor_resize_look(struct supervisor *sup);
void supervisor_resize_advance(struct supervisor *sup);

/** May a worker that died in this slot be replaced? */
bool supervisor_slot_is_wanted(const struct supervisor *sup, const struct worker_slot *slot);

#endif
