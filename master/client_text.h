#ifndef CLIENT_TEXT_H
#define CLIENT_TEXT_H

#include <stdint.h>

#include "bytes.h"
#include "strbuf.h"

/* What gRPC puts into headers ("gRPC over HTTP2"), as a client reads and writes it. Pure. */

/**
 * Decode a grpc-message: "%XX" is a byte, anything else is itself, a '%' without two hexadecimal digits too (the protocol text asks
 * to be lenient). Control characters, which could move a terminal's cursor, and bytes that are no UTF-8 come out as '?'.
 */
void client_text_decode_message(struct bytes in, struct strbuf *out);

/** The value of grpc-timeout, at most eight digits and a unit: 30000 gives "30000m". */
void client_text_add_timeout(uint32_t timeout_ms, struct strbuf *out);

/** "NOT_FOUND" for 5; "status 99" for what is no status of gRPC. */
void client_text_add_status(unsigned status, struct strbuf *out);

/** text for a terminal: control characters and bytes that are no UTF-8 as \xNN. */
void client_text_add_printable(struct bytes text, struct strbuf *out);

/** A large number in at most five characters: "0", "999", "1.20k", "12.3M", "456G" (thousands). Rounded down. */
void client_text_add_amount(uint64_t amount, struct strbuf *out);

#endif
