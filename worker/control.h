#ifndef CONTROL_H
#define CONTROL_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "ctl_msg.h"
#include "query.h"
#include "shm_layout.h"
#include "strbuf.h"

struct handover;
struct worker;

/** The control socket of a worker, embedded in it: what it watches, and what the socket did not take yet. */
struct control {
    ev_io reads;
    ev_io writes; /* active while the socket is full */

    unsigned removed_count;              /* of the next */
    uint16_t removed[SHM_LISTENERS_MAX]; /* listeners that the master is to be told of, in order */

    /* The answer to the latest query, struct ctl_query_answer. Who asks anew before it went wants no other any more. */
    size_t answer_len; /* 0: none */
    _Alignas(struct ctl_query_answer) uint8_t answer[QUERY_ANSWER_MAX];
};

/** Wait for the handover record, the first message on the control socket. 0 or an error with its reason. */
int control_receive_handover(struct handover *out, struct strbuf *why) MUST_CHECK;

/** Begin to serve the control socket in the worker's loop. 0 or ERR_SYSTEM with errno. */
int control_start(struct worker *w) MUST_CHECK;

/** Tell the master that the worker serves. False: it could not be told; that it is gone is noticed elsewhere, and true. */
bool control_tell_ready(void) MUST_CHECK;

/** The same; what the socket does not take now is sent when it does: the master closes its end of a listener only then. */
void control_tell_listener_removed(struct worker *w, uint16_t id);

/** Try again to send what could not be sent; called at every tick, for a kernel that was short of memory. */
void control_send_rest(struct worker *w);

#endif
