#ifndef CONNECTION_MESSAGE_H
#define CONNECTION_MESSAGE_H

#include "bytes.h"
#include "log_event.h"
#include "mc_proxy/v1/admin.pb-c.h"

/* A record about a connection (common/access_record.h, or of a worker's answer) as the admin API's message. */

#define CONNECTION_MESSAGE_TEXT_MAX \
    (5 * LOG_EVENT_MAX_BYTES) /* each byte of a record may become "\xNN", and each text ends with NUL */

/** The message and the texts it points to: to be kept in place. */
struct connection_message {
    McProxy__V1__Connection proto;
    char text[CONNECTION_MESSAGE_TEXT_MAX];
};

/**
 * Fields that the message has not, or that are of another type than theirs, are left out. Texts come out printable: what a client
 * wrote may be no UTF-8.
 *
 * @return 0; ERR_PROTOCOL: the record is none, or is damaged
 */
int connection_message_of(struct bytes record, struct connection_message *out) MUST_CHECK;

#endif
