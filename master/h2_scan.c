/* Reads the frame headers of an HTTP/2 connection and charges what they cost. */

#include "h2_scan.h"

#define PREFACE_BYTES 24u

/* RFC 9113 6 */
enum frame_type {
    FRAME_DATA = 0,
    FRAME_HEADERS = 1,
    FRAME_RST_STREAM = 3,
    FRAME_SETTINGS = 4,
    FRAME_PING = 6,
    FRAME_CONTINUATION = 9,
};
#define FLAG_END_STREAM  0x01u /* DATA, HEADERS */
#define FLAG_END_HEADERS 0x04u /* HEADERS, CONTINUATION */
#define FLAG_PADDED      0x08u

/* A block of GRPC_HEADERS_MAX is shorter than that on the wire, unless somebody works to make it longer. */
#define BLOCK_BYTES_MAX  (128u << 10)
#define BLOCK_FRAMES_MAX 1000u

static uint8_t frame_type(const struct h2_scan *s)
{
    return s->header[3];
}

static uint8_t frame_flags(const struct h2_scan *s)
{
    return s->header[4];
}

static enum h2_scan_verdict charge(struct h2_scan *s, enum h2_cost cost, struct h2_budget *budget, uint64_t now_ms)
{
    s->over = cost;
    return h2_budget_take(budget, cost, now_ms) ? H2_SCAN_OK : H2_SCAN_OVER_BUDGET;
}

/** A part of a header block: HEADERS or CONTINUATION. */
static enum h2_scan_verdict scan_block_frame(struct h2_scan *s, struct h2_budget *budget, uint64_t now_ms)
{
    bool is_first = frame_type(s) == FRAME_HEADERS, is_last = (frame_flags(s) & FLAG_END_HEADERS) != 0;
    bool is_empty = s->payload_left == 0 && !(is_first && is_last);

    s->block_bytes = is_first ? s->payload_left : s->block_bytes + s->payload_left;
    s->block_frames = is_first ? 1 : s->block_frames + 1;
    s->in_block = !is_last;
    if (s->block_bytes > BLOCK_BYTES_MAX || s->block_frames > BLOCK_FRAMES_MAX)
        return H2_SCAN_HEADERS;
    return is_empty ? charge(s, H2_COST_EMPTY, budget, now_ms) : H2_SCAN_OK;
}

/** DATA is free, but for frames that carry neither a byte nor an end. */
static enum h2_scan_verdict scan_data_frame(struct h2_scan *s, struct h2_budget *budget, uint64_t now_ms)
{
    if ((frame_flags(s) & FLAG_END_STREAM) != 0)
        return H2_SCAN_OK;
    if (s->payload_left == 0)
        return charge(s, H2_COST_EMPTY, budget, now_ms);
    s->wants_pad = (frame_flags(s) & FLAG_PADDED) != 0;
    return H2_SCAN_OK;
}

static enum h2_scan_verdict scan_frame(struct h2_scan *s, struct h2_budget *budget, uint64_t now_ms)
{
    s->frames++;
    switch (frame_type(s)) {
    case FRAME_DATA: return scan_data_frame(s, budget, now_ms);
    case FRAME_HEADERS:
    case FRAME_CONTINUATION: return scan_block_frame(s, budget, now_ms);
    case FRAME_RST_STREAM: return charge(s, H2_COST_RESET, budget, now_ms);
    case FRAME_SETTINGS: return charge(s, H2_COST_SETTINGS, budget, now_ms);
    case FRAME_PING: return charge(s, H2_COST_PING, budget, now_ms);
    default: return charge(s, H2_COST_OTHER, budget, now_ms);
    }
}

/** Take what belongs to a frame's header; when it is whole, what it says is charged. */
static enum h2_scan_verdict scan_header(struct h2_scan *s, struct reader *r, struct h2_budget *budget, uint64_t now_ms)
{
    while (s->header_have < H2_FRAME_HEADER_BYTES && r->left > 0)
        s->header[s->header_have++] = reader_u8(r);
    if (s->header_have < H2_FRAME_HEADER_BYTES)
        return H2_SCAN_OK;
    s->payload_left = (uint32_t)s->header[0] << 16 | (uint32_t)s->header[1] << 8 | s->header[2];
    return scan_frame(s, budget, now_ms);
}

/** Skip what is there of a payload. */
static enum h2_scan_verdict scan_payload(struct h2_scan *s, struct reader *r, struct h2_budget *budget, uint64_t now_ms)
{
    enum h2_scan_verdict verdict = H2_SCAN_OK;

    if (s->wants_pad && r->left > 0) {
        uint8_t padding = reader_u8(r);
        s->wants_pad = false;
        s->payload_left--;
        if (padding >= s->payload_left)
            verdict = charge(s, H2_COST_EMPTY, budget, now_ms);
    }
    uint32_t len = s->payload_left < r->left ? s->payload_left : (uint32_t)r->left;
    (void)reader_slice(r, len);
    s->payload_left -= len;
    return verdict;
}

void h2_scan_init(struct h2_scan *scan)
{
    *scan = (struct h2_scan){.preface_left = PREFACE_BYTES};
}

enum h2_scan_verdict h2_scan_bytes(struct h2_scan *s, struct bytes in, struct h2_budget *budget, uint64_t now_ms)
{
    struct reader r = reader_of(in);
    uint32_t skip = s->preface_left < r.left ? s->preface_left : (uint32_t)r.left;
    enum h2_scan_verdict verdict = H2_SCAN_OK;

    (void)reader_slice(&r, skip);
    s->preface_left -= skip;
    while (r.left > 0 && verdict == H2_SCAN_OK) {
        if (s->header_have < H2_FRAME_HEADER_BYTES)
            verdict = scan_header(s, &r, budget, now_ms);
        if (verdict == H2_SCAN_OK && s->header_have == H2_FRAME_HEADER_BYTES)
            verdict = scan_payload(s, &r, budget, now_ms);
        if (s->header_have == H2_FRAME_HEADER_BYTES && s->payload_left == 0)
            s->header_have = 0;
    }
    return verdict;
}
