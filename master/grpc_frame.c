/* The prefix of a gRPC message. */

#include "grpc_frame.h"

enum grpc_frame_result grpc_frame_parse(struct bytes in, struct grpc_prefix *out)
{
    struct reader r = reader_of(in);
    uint8_t flag = reader_u8(&r);
    uint32_t len = reader_u32(&r);

    if (flag > 1) /* known wrong before the length is there */
        return GRPC_FRAME_BAD;
    if (r.failed)
        return GRPC_FRAME_MORE;
    *out = (struct grpc_prefix){.is_compressed = flag == 1, .len = len};
    return GRPC_FRAME_OK;
}

void grpc_frame_write(uint8_t out[GRPC_PREFIX_BYTES], uint32_t len)
{
    out[0] = 0;
    out[1] = (uint8_t)(len >> 24);
    out[2] = (uint8_t)(len >> 16);
    out[3] = (uint8_t)(len >> 8);
    out[4] = (uint8_t)len;
}
