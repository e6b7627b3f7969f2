#ifndef H2_SCAN_H
#define H2_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"
#include "h2_budget.h"

/*
 * Looks at the frames of a client's byte stream (RFC 9113 4.1) before anybody acts on them, and charges each to a budget. It sees
 * every frame, also those that an HTTP/2 library ignores, answers by itself or counts as part of another. Pure and without
 * allocation; whether frames are valid is not its business.
 */

#define H2_FRAME_HEADER_BYTES 9u

enum h2_scan_verdict {
    H2_SCAN_OK,
    H2_SCAN_OVER_BUDGET, /* out->over says which */
    H2_SCAN_HEADERS,     /* a header block without end */
};

struct h2_scan {
    uint32_t preface_left; /* of the client's connection preface (RFC 9113 3.4) */
    uint8_t header[H2_FRAME_HEADER_BYTES];
    uint8_t header_have; /* of the frame that is being read */
    bool wants_pad;      /* the next byte is a Pad Length that decides */
    uint32_t payload_left;
    bool in_block;        /* HEADERS or CONTINUATION without END_HEADERS was the last frame */
    uint32_t block_bytes; /* of the header block, so far */
    uint32_t block_frames;
    uint64_t frames;
    enum h2_cost over; /* on H2_SCAN_OVER_BUDGET */
};

void h2_scan_init(struct h2_scan *scan);

/** The next bytes of the stream, cut anywhere. After anything but H2_SCAN_OK the connection has to end. */
enum h2_scan_verdict h2_scan_bytes(struct h2_scan *scan, struct bytes in, struct h2_budget *budget,
                                   uint64_t now_ms) MUST_CHECK;

#endif
