#ifndef JOURNAL_H
#define JOURNAL_H

#include <stdbool.h>

#include "bytes.h"
#include "check.h"
#include "strbuf.h"

/*
 * Log records for systemd's journal by its native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram an entry, each
 * field of the record a field of the entry, so that `journalctl MCPROXY_REASON=no_route` finds it:
 *
 *     MESSAGE=time=... level=INFO msg=connection listener=:443 reason=no_route ...     the line of standard error
 *     PRIORITY=6                    SYSLOG_IDENTIFIER=mc-proxy
 *     MCPROXY_MESSAGE=connection
 *     MCPROXY_LISTENER=:443         MCPROXY_REASON=no_route          one for each key, in capitals
 */

#define JOURNAL_SOCKET    "/run/systemd/journal/socket"
#define JOURNAL_ENTRY_MAX 32768 /* LOG_LINE_MAX_BYTES, and LOG_EVENT_MAX_BYTES in fields with their names */

struct journal {
    int fd; /* -1: none */
};

/** Is this descriptor our standard error as the service manager connected it to the journal ($JOURNAL_STREAM)? */
bool journal_is_at(int fd);

/** A socket to send with. 0 or ERR_SYSTEM (errno); whether anybody listens shows when something is sent. */
int journal_open(struct journal *out) MUST_CHECK;
void journal_close(struct journal *journal);

/**
 * Append the entry of a record. Of a damaged record it has what could be read.
 *
 * @param record  any bytes
 * @param line    how it looks on standard error, without line end
 * @param out     room for JOURNAL_ENTRY_MAX is enough
 */
void journal_format(struct bytes record, struct bytes line, struct strbuf *out);

/**
 * Send an entry, without ever blocking.
 *
 * @return 0; ERR_FULL: the journal is behind, try again soon; ERR_UNAVAILABLE: it cannot be reached
 */
int journal_send(const struct journal *journal, struct bytes entry) MUST_CHECK;

#endif
