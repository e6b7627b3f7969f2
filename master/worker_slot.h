#ifndef WORKER_SLOT_H
#define WORKER_SLOT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bytes.h"
#include "check.h"
#include "log_ring.h"
#include "strbuf.h"

struct ctl_channel;
struct supervisor;

/*
 * A place for one worker. The process in it may change; number, log ring, counters and (in the listeners' records) the listening
 * sockets stay.
 *
 *              spawn              READY              shrink: LISTENER_REMOVE       DRAIN, STOP
 *     DEAD -----------> STARTING -------> RUNNING --------------------> RETIRING ------------> DRAINING
 *      ^                   |                 |                              |                      |
 *      +--- replaced later +--- died --------+                              +---- gone ------------+--> EMPTY
 */
enum slot_state {
    SLOT_EMPTY,    /* not wanted, no process */
    SLOT_DEAD,     /* wanted, no process: waits for its replacement */
    SLOT_STARTING, /* a process, not READY yet */
    SLOT_RUNNING,
    SLOT_RETIRING, /* not wanted any more: gives up its listeners, goes on relaying until its connections have ended */
    SLOT_DRAINING, /* was sent DRAIN or STOP and will exit */
};

/** How often slots are looked at. Limits are counted in looks, not in time: a master that was suspended has not looked. */
#define SLOT_LOOK_MS       250
#define SLOT_SILENT_LOOKS  9                      /* heartbeat: more than 2 s */
#define SLOT_START_LOOKS   (10000 / SLOT_LOOK_MS) /* READY */
#define SLOT_GOODBYE_LOOKS (1000 / SLOT_LOOK_MS)  /* exit after the control socket was closed, or after STOP */
#define SLOT_MUTE_LOOKS    (15000 / SLOT_LOOK_MS) /* silence, and one replacement that does not come up in time either */

struct worker_slot {
    struct supervisor *supervisor;
    unsigned index;
    enum slot_state state;
    pid_t pid; /* 0: no process */
    struct ctl_channel *channel;
    bool is_down;           /* the worker closed its control socket: it must exit soon */
    bool is_killed;         /* was sent SIGKILL */
    unsigned asked_count;   /* queries that it has not answered */
    uint64_t heartbeat;     /* as last seen */
    unsigned silent_looks;  /* since it last moved */
    unsigned state_looks;   /* since the state began */
    unsigned down_looks;    /* since the control socket was closed */
    unsigned mute_looks;    /* since a running worker's heartbeat last moved, replacements and lack of one included */
    unsigned closing_looks; /* SLOT_DRAINING: how many it may take */
    int log_fd;             /* -1 until the slot is used first; then it stays, as the next two */
    void *log_mapping;
    uint64_t log_bytes;
};

void worker_slot_init(struct worker_slot *slot, struct supervisor *supervisor, unsigned index);

/** Frees the log ring. No process may be in the slot. */
void worker_slot_fini(struct worker_slot *slot);

/**
 * Make the memory of the slot's log ring, unless it has some.
 *
 * @param ring_bytes  as log_ring_segment_bytes() takes them
 * @return 0; as shared_file_make()
 */
int worker_slot_make_log_ring(struct worker_slot *slot, uint64_t ring_bytes) MUST_CHECK;

/** A process of this pid is in the slot now; heartbeat is what its predecessor left. */
void worker_slot_begin(struct worker_slot *slot, pid_t pid, struct ctl_channel *channel, uint64_t heartbeat);

/** The process is gone and reaped: frees the channel. */
void worker_slot_end(struct worker_slot *slot, enum slot_state state);

void worker_slot_set_state(struct worker_slot *slot, enum slot_state state);

static inline bool worker_slot_has_process(const struct worker_slot *slot)
{
    return slot->pid != 0;
}

/** Is a process there that takes messages? */
bool worker_slot_is_reachable(const struct worker_slot *slot);

/** Does the worker serve listeners and has it not been told to give them up? Only then it is told about new ones and changes. */
static inline bool worker_slot_is_serving(const struct worker_slot *slot)
{
    return slot->state == SLOT_STARTING || slot->state == SLOT_RUNNING;
}

/** Send to the worker, if it is reachable. One that cannot be told is killed: its state would not be known any more. */
void worker_slot_send(struct worker_slot *slot, uint16_t type, struct bytes payload, int passed_fd);

/** SIGKILL, once; reason is a constant for the log line. */
void worker_slot_kill(struct worker_slot *slot, const char *reason);

/**
 * One look, every SLOT_LOOK_MS of the master's loop, at a slot with a process.
 *
 * @param heartbeat  the slot's heartbeat now
 * @return NULL, or why the worker must be killed
 */
const char *worker_slot_look(struct worker_slot *slot, uint64_t heartbeat) MUST_CHECK;

/** A look at a slot that may have no process; is_wanted: a worker should be running there. Before worker_slot_look(). */
void worker_slot_listen(struct worker_slot *slot, bool is_wanted, uint64_t heartbeat);

/** The word of a state, static. */
const char *slot_state_word(enum slot_state state);

/** One line without its end: "slot=0 state=running pid=123 queued=0 down=no". */
void worker_slot_dump(const struct worker_slot *slot, struct strbuf *out);

#endif
