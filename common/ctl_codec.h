#ifndef CTL_CODEC_H
#define CTL_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "ctl_msg.h"

/* The grammar of the control messages, for both ends: which side may send what, how long it is, whether a descriptor is with it. */

enum ctl_sender { CTL_FROM_MASTER, CTL_FROM_WORKER };

/** Bytes of a struct ctl_listener with trusted_count networks behind it. */
static inline size_t ctl_listener_bytes(const struct ctl_listener *listener)
{
    return sizeof *listener + listener->trusted_count * sizeof listener->trusted[0];
}

/**
 * May `sender` send this message? Checks the type, the payload's length, the presence of a descriptor, and of a listener every field
 * that is used as an index, an enum or a text. The payload must be aligned to 8 (ctl_recv() sees to it). Pure.
 *
 * @param has_fd  did a descriptor come along?
 * @return false if the message is a bug of the sender; the caller closes the descriptor
 */
bool ctl_message_is_valid(enum ctl_sender sender, uint16_t type, struct bytes payload, bool has_fd);

/** What lies behind an answer, for ctl_answer_next(). */
static inline struct bytes ctl_answer_records(const struct ctl_query_answer *answer, struct bytes payload)
{
    return bytes_of(answer->records, payload.len - sizeof *answer);
}

/** Take the next record off the front; false: there is none (more), or what is left is too short to be one. */
bool ctl_answer_next(struct bytes *rest, struct bytes *record_out);

/** The word of a message type for logs ("listener_add"), static; "unknown" for a number that is none. */
const char *ctl_type_word(uint16_t type);

#endif
