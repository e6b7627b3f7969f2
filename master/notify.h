#ifndef NOTIFY_H
#define NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "strbuf.h"

/*
 * Telling systemd (or whoever set $NOTIFY_SOCKET) what the server does: sd_notify(3)'s protocol, one datagram of "KEY=value" lines
 * to a Unix socket, which may be an abstract one ("@..."). Without $NOTIFY_SOCKET everything here does nothing. Never blocks: a
 * manager that does not read loses the message, which is counted.
 *
 * The environment is read once; $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID are kept for a successor (an upgrade executes a new
 * binary), and workers never see them.
 */
struct notify {
    char socket[108];     /* "" : nobody to tell */
    uint64_t watchdog_us; /* 0: no watchdog wanted of us */
    uint64_t lost;
};

/** Read the environment. A socket that cannot be used is logged and counts as none. */
void notify_init(struct notify *notify);

bool notify_is_wanted(const struct notify *notify);

#define NOTIFY_FDS_MAX 253 /* SCM_MAX_FD, unix(7) */

/**
 * Send one state, lines of KEY=value; at most 4 KiB.
 *
 * @return false if it was lost; true also when there is nobody to tell
 */
bool notify_send(struct notify *notify, const char *state);
bool notify_sendf(struct notify *notify, const char *format, ...) PRINTF_LIKE(2, 3);

/** The same with up to NOTIFY_FDS_MAX descriptors (FDSTORE=1); they stay ours. */
bool notify_send_fds(struct notify *notify, const char *state, const int *fds, unsigned count);

/** RELOADING=1 with the MONOTONIC_USEC that systemd insists on. */
bool notify_reloading(struct notify *notify);

/** Add a text that comes from elsewhere, as a value: a line's end would begin a key, and systemd refuses what is no UTF-8. */
void notify_add_text(struct strbuf *out, const char *text);

#endif
