#ifndef GRPC_FRAME_H
#define GRPC_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

/* The five bytes in front of every gRPC message (PROTOCOL-HTTP2.md, "Length-Prefixed-Message"): a flag and a length. */

#define GRPC_PREFIX_BYTES 5u

enum grpc_frame_result { GRPC_FRAME_OK, GRPC_FRAME_MORE, GRPC_FRAME_BAD };

struct grpc_prefix {
    bool is_compressed;
    uint32_t len; /* of the message behind it */
};

/**
 * Read a prefix. Pure.
 *
 * @param in   the first bytes of a message, 0 and up; what is behind the prefix is not looked at
 * @param out  set on GRPC_FRAME_OK
 * @return GRPC_FRAME_BAD for a flag that is neither 0 nor 1
 */
enum grpc_frame_result grpc_frame_parse(struct bytes in, struct grpc_prefix *out);

/** Write the prefix of an uncompressed message. */
void grpc_frame_write(uint8_t out[GRPC_PREFIX_BYTES], uint32_t len);

#endif
