#ifndef SUPERVISOR_H
#define SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "address.h"
#include "check.h"
#include "ctl_msg.h"
#include "strbuf.h"

struct ev_loop;
struct listener_record;
struct stats_segment;
struct supervisor;

/*
 * The master's supervision of its workers: starts them, tells them the configuration, watches, replaces and drains them, and owns
 * every listening socket. One object for the life of the master; all functions run in the master's loop and none of them blocks
 * (but supervisor_start(), supervisor_free(), and supervisor_add_listener() with a wait_ms).
 *
 * A listener's queue belongs to its worker slot, not to the worker: what waits there when a worker dies is served by its successor.
 */

/** What does not change while the master lives. Descriptors are borrowed and must stay open as long as the supervisor lives. */
struct supervisor_options {
    int binary_fd; /* worker_binary_open() */
    int tables_fd; /* opened read-only */
    uint64_t tables_bytes;
    int rate_fd; /* -1: no rate-limit table */
    uint64_t rate_bytes;
    struct stats_segment *stats;
    uint64_t log_ring_bytes; /* a power of two, at least 64 KiB: data of one worker's log ring */
    uint32_t drop_uid;       /* UINT32_MAX: workers stay who the master is */
    uint32_t drop_gid;
    unsigned worker_count; /* 1..SHM_WORKERS_MAX, at the start */
    struct ctl_settings settings;
};

/** What the server wants to know. Every function may be NULL; none may free the supervisor. */
struct supervisor_callbacks {
    /** Every worker wanted is READY: after the start, and again whenever workers were added. */
    void (*on_all_ready)(void *context);
    /** After supervisor_drain() or supervisor_stop_now(): no worker is left. Once. */
    void (*on_all_gone)(void *context);
    /** A worker is gone, for whatever reason; status as of waitpid(2). Its log ring and its counts have been taken care of. */
    void (*on_worker_died)(void *context, unsigned slot, pid_t pid, int status);
    /** A slot is used for the first time: its log ring is to be made in this mapping (log_ring.h), which stays as long as the
     *  supervisor lives. Its first worker is started right after. */
    void (*on_log_ring)(void *context, unsigned slot, void *mapping, uint64_t bytes);
    /** A worker is gone: read what is left in its ring before its successor writes to it. */
    void (*on_log_drain)(void *context, unsigned slot);
    /** A worker answers a query: a valid CTL_QUERY_ANSWER, borrowed. False: it was not asked that, and must go. */
    bool (*on_query_answer)(void *context, unsigned slot, struct bytes payload);
    /** All workers gave up a removed listener; its id and address are free again. */
    void (*on_listener_removed)(void *context, unsigned id);
    void *context;
};

/** A listener as the server hands it in; everything is borrowed for the call. */
struct supervisor_listener {
    const char *name; /* of the configuration; for messages */
    const struct ctl_listener *ctl;
    struct listen_addr addr;
    int inherited_fd; /* a listening socket from socket activation, which all workers share; -1: make our own */
    /* Before the start only: sockets that were opened for us, for the slots from 0 on, in the kernel's order; those of further slots
     * are made. Not more than there are workers. */
    const int *slot_fds;
    unsigned slot_fd_count;
};

/** A socket of a listener: of one slot, or (is_shared, slot is 0) of all. */
struct supervisor_socket {
    const struct listen_addr *addr;
    unsigned slot;
    bool is_shared;
    int fd; /* the supervisor's */
};
typedef void (*supervisor_socket_fn)(void *context, const struct supervisor_socket *socket);

/**
 * @param loop  not libev's default loop, because that one reaps every child itself
 * @return 0; ERR_NO_MEMORY
 */
int supervisor_new(struct ev_loop *loop, const struct supervisor_options *options,
                   const struct supervisor_callbacks *callbacks, struct supervisor **out) MUST_CHECK;

/** Kills and reaps workers that still run, closes all sockets. Accepts NULL; clears the caller's pointer. */
void supervisor_free(struct supervisor **sup);

/**
 * Start the workers, once, usually after the listeners have been added.
 *
 * @param why  on error gets a reason fit to stand behind "cannot start the workers: "
 * @return 0; any error: not one worker could be kept running, supervisor_free() is all that is left to do
 */
int supervisor_start(struct supervisor *sup, struct strbuf *why) MUST_CHECK;

/**
 * Make the sockets of a new listener for all workers; all or nothing. Connections queue from now on, workers learn of it with
 * supervisor_commit_listener(). An address that overlaps one of our own listeners (":443" and "10.0.0.1:443") is allowed: the kernel
 * prefers the more exact one. The number of workers must not change in between.
 *
 * @param wait_ms  how long to wait (blocking) for the address while it is in use: 0, or about a second at the start, when the
 *                 workers of a master that died may still hold it
 * @param out      on 0: to be committed or aborted
 * @param why      on error gets the full reason: "listener https (:443): address already in use: ..."
 * @return 0; ERR_EXISTS if the id or the address is taken, also by a listener on its way out; or as listen_sockets_open()
 */
int supervisor_prepare_listener(struct supervisor *sup, const struct supervisor_listener *listener, unsigned wait_ms,
                                struct listener_record **out, struct strbuf *why) MUST_CHECK;

/** Tell the workers of a prepared listener. Cannot fail. Clears *prepared. */
void supervisor_commit_listener(struct supervisor *sup, struct listener_record **prepared);

/** Close the sockets of a prepared listener. Accepts NULL in *prepared, clears it. */
void supervisor_abort_listener(struct listener_record **prepared);

/** Both halves at once. */
int supervisor_add_listener(struct supervisor *sup, const struct supervisor_listener *listener, unsigned wait_ms,
                            struct strbuf *why) MUST_CHECK;

/** Other properties, same id, same address. ERR_NOT_FOUND; ERR_NO_MEMORY: nothing has changed. */
int supervisor_update_listener(struct supervisor *sup, const struct ctl_listener *ctl) MUST_CHECK;

/**
 * Let handshakes under way complete (new ones do not begin; usually none is, at most 2 s), serve what waits, then close:
 * on_listener_removed tells when. ERR_NOT_FOUND.
 */
int supervisor_remove_listener(struct supervisor *sup, unsigned id) MUST_CHECK;

/** Is a removed listener of this address still being closed? */
bool supervisor_is_removing(const struct supervisor *sup, const struct listen_addr *addr);

/** All sockets that are to stay: not those of listeners that are being removed, or of slots that are given up. */
void supervisor_each_socket(const struct supervisor *sup, supervisor_socket_fn fn, void *context);

/** Another number whenever supervisor_each_socket() would tell something else. */
unsigned supervisor_sockets_version(const struct supervisor *sup);

/** For all workers, those to come as well. */
void supervisor_set_settings(struct supervisor *sup, const struct ctl_settings *settings);

/** A sealed memfd with the GeoIP database; takes ownership. -1: none any more. */
void supervisor_set_geoip(struct supervisor *sup, int fd);

/** The one that workers look up in, borrowed; -1: none. */
int supervisor_geoip(const struct supervisor *sup);

/**
 * Make the sockets that more workers need, all or nothing, before listeners are prepared for them; no connection reaches them yet.
 * supervisor_set_worker_count() with the same number then cannot fail, until supervisor_abort_worker_count(). Nothing to do for fewer
 * workers, or while an earlier change is under way.
 *
 * @return as supervisor_set_worker_count()
 */
int supervisor_prepare_worker_count(struct supervisor *sup, unsigned count, struct strbuf *why) MUST_CHECK;

/** Close what was prepared and not used. Nothing prepared: no effect. */
void supervisor_abort_worker_count(struct supervisor *sup);

/**
 * Change the number of workers. More: their sockets are made now, all or nothing, and the workers started. Fewer: the last slots get
 * no new connections from now on; after 2 s (handshakes under way complete) their workers serve what waits, give up the sockets,
 * relay until their last connection has ended, and exit. A change that comes in these 2 s is done right after them; if sockets are
 * wanting then, that is logged, and the number stays.
 *
 * @return 0; ERR_RANGE; or as listen_sockets_open(), and nothing has changed
 */
int supervisor_set_worker_count(struct supervisor *sup, unsigned count, struct strbuf *why) MUST_CHECK;

/**
 * The end of all service: as supervisor_drain(), but first handshakes under way complete, as with a removed listener, so that no
 * client is reset that thought itself connected. Changes what the sockets do: only for who is their last user.
 */
void supervisor_close(struct supervisor *sup);

/**
 * Graceful stop: what waits is served, nothing more is accepted, running ones get shutdown_timeout. on_all_gone tells the end. The
 * sockets are only let go of, so that somebody else may go on accepting from them.
 */
void supervisor_drain(struct supervisor *sup);

/**
 * Leave the sockets to a successor that has them too, and serves: what waits is served, the listeners are given up, connections are
 * relayed until their last one has ended, however long that takes. on_all_gone tells the end. Only when supervisor_is_settled();
 * supervisor_drain() may follow.
 */
void supervisor_leave(struct supervisor *sup);

/** Are the workers running, and is neither their number nor a listener's removal in the middle of a change? */
bool supervisor_is_settled(const struct supervisor *sup);

/** Stop at once: whatever is still there after a second is killed. Also after the two above. */
void supervisor_stop_now(struct supervisor *sup);

/**
 * Ask the worker of a slot about its connections; on_query_answer brings the answer, on_worker_died tells that none will come. Whoever
 * does not answer at all is found by its heartbeat.
 *
 * @return false: there is nobody to ask
 */
bool supervisor_ask(struct supervisor *sup, unsigned slot, const struct ctl_query *query) MUST_CHECK;

/**
 * What cannot wait for the loop, for whoever holds it up with long work, to be called many times a second meanwhile: workers that have
 * died are replaced, ones that hang are killed. Nobody is heard and nothing else goes on: a worker born here counts as starting until
 * the loop turns again, though it serves. Calls on_log_drain and on_worker_died only. In any state, but not from a callback.
 */
void supervisor_attend(struct supervisor *sup);

/** Workers wanted; slots at and behind this number may still relay old connections. */
unsigned supervisor_worker_count(const struct supervisor *sup);

/**
 * Does every worker wanted answer? One that is being replaced counts as answering for 15 s: time enough to be found silent, killed,
 * and for a successor to come up.
 */
bool supervisor_is_answering(const struct supervisor *sup);

/** The worker in a slot: its pid, 0 if there is none; *state_out (may be NULL) gets its state's word, static. */
pid_t supervisor_worker_pid(const struct supervisor *sup, unsigned slot, const char **state_out);

/** Workers that died unasked and were, or are about to be, replaced. */
uint64_t supervisor_restart_count(const struct supervisor *sup);

/** Several lines: the state of the whole, every slot in use, every listener. */
void supervisor_dump(const struct supervisor *sup, struct strbuf *out);

#endif
