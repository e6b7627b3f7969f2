#ifndef CTL_CHANNEL_H
#define CTL_CHANNEL_H

#include <stdint.h>

#include "bytes.h"
#include "check.h"
#include "strbuf.h"

struct ev_loop;
struct ctl_channel;

/* The master's end of a worker's control socket: messages go out in order and never block; what does not fit waits in a queue. */

#define CTL_CHANNEL_QUEUE_MAX 8192 /* messages: several reloads with SHM_LISTENERS_MAX listeners each */

/**
 * A valid message of the worker; payload is borrowed for the call and aligned to 8. May send, must not free the channel.
 */
typedef void (*ctl_channel_message_fn)(void *context, uint16_t type, struct bytes payload);

/**
 * The channel is of no more use; called at most once, from the loop only. rc: ERR_CLOSED when the worker closed its end (or died);
 * ERR_PROTOCOL after a message that no worker of ours sends; ERR_SYSTEM with errno. Must not free the channel.
 */
typedef void (*ctl_channel_down_fn)(void *context, int rc);

/**
 * @param fd  takes ownership, also on error
 * @return NULL without memory
 */
struct ctl_channel *ctl_channel_new(struct ev_loop *loop, int fd, ctl_channel_message_fn on_message,
                                    ctl_channel_down_fn on_down, void *context) MUST_CHECK;

/** Closes the socket and every queued descriptor. Accepts NULL; clears the caller's pointer. */
void ctl_channel_free(struct ctl_channel **channel);

/**
 * Send, or queue, one message. Both payload and passed_fd are borrowed for the call: a message that has to wait is copied and its
 * descriptor duplicated, so that the caller may close its own at once.
 *
 * @param passed_fd  -1: none
 * @return 0; ERR_CLOSED when the channel is down; ERR_FULL when the worker has not read for very long; ERR_NO_MEMORY; ERR_SYSTEM with
 *         errno (EMFILE for the duplicate). The message is lost then, so the worker must go: its state is no longer known.
 */
int ctl_channel_send(struct ctl_channel *channel, uint16_t type, struct bytes payload, int passed_fd) MUST_CHECK;

/** One line for people: "queued=0 down=no". */
void ctl_channel_dump(const struct ctl_channel *channel, struct strbuf *out);

#endif
