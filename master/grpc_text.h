#ifndef GRPC_TEXT_H
#define GRPC_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"
#include "strbuf.h"

/* What gRPC writes into header fields (PROTOCOL-HTTP2.md). All functions are pure. */

#define GRPC_TIMEOUT_NS_MAX INT64_MAX

/**
 * grpc-timeout: 1 to 8 digits and a unit, one of H M S m u n.
 *
 * @param ns_out  set on 0; more than GRPC_TIMEOUT_NS_MAX (292 years) counts as that
 * @return 0 or ERR_INVALID
 */
int grpc_timeout_parse(struct bytes text, int64_t *ns_out) MUST_CHECK;

/** Is this content-type ours: application/grpc or application/grpc+proto, any case, parameters after a semicolon? */
bool grpc_content_type_is_ours(struct bytes text);

/** grpc-message: every byte outside of printable ASCII, and the percent sign, as %XX. What does not fit is left out, never half. */
void grpc_percent_encode(struct bytes text, struct strbuf *out);

/** The first max bytes of UTF-8 text, or a little less so that no character is cut. */
struct bytes grpc_text_cut(struct bytes text, size_t max);

#endif
