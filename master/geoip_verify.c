/* Walks values of a MaxMind DB file with a limit on depth and work. Pure over borrowed bytes, apart from its own bit map. */

#include "geoip_verify.h"

#include <stdlib.h>

#include "err.h"

/* Data types, MaxMind DB format 2.0, "Data Field Format". Those above 7 are written as 0 and a second byte. */
enum {
    TYPE_EXTENDED = 0,
    TYPE_POINTER = 1,
    TYPE_MAP = 7,
    TYPE_ARRAY = 11,
    TYPE_CONTAINER = 12,
    TYPE_END_MARKER = 13,
    TYPE_BOOLEAN = 14,
    TYPE_LAST = 15
};

int geoip_verifier_init(struct geoip_verifier *v, struct bytes section)
{
    *v = (struct geoip_verifier){.section = section, .steps_left = 4 * (uint64_t)section.len + 1024};
    v->seen = calloc(section.len / 8 + 1, 1);
    return v->seen != NULL ? 0 : ERR_NO_MEMORY;
}

void geoip_verifier_fini(struct geoip_verifier *v)
{
    free(v->seen);
    v->seen = NULL;
}

/** Mark an offset; true if it was marked before. */
static bool mark_seen(struct geoip_verifier *v, uint64_t offset)
{
    uint8_t bit = (uint8_t)(1u << offset % 8);
    bool was_seen = (v->seen[offset / 8] & bit) != 0;

    v->seen[offset / 8] |= bit;
    return was_seen;
}

/** The size field behind a control byte: up to 28 in it, or 29, 285 and 65821 plus one, two and three bytes. */
static uint32_t read_size(struct reader *r, uint8_t control)
{
    uint32_t size = control & 0x1f;

    if (size == 29)
        return 29u + reader_u8(r);
    if (size == 30)
        return 285u + reader_u16(r);
    return size == 31 ? 65821u + reader_u24(r) : size;
}

/** A pointer's target: 3 bits of the control byte and one to three bytes more, or four bytes alone. */
static uint64_t read_pointer(struct reader *r, uint8_t control)
{
    uint32_t high = control & 7u;

    switch (control >> 3 & 3) {
    case 0: return high << 8 | reader_u8(r);
    case 1: return 2048u + (high << 16 | reader_u16(r));
    case 2: return 526336u + (high << 24 | reader_u24(r));
    default: return reader_u32(r);
    }
}

static int check_value(struct geoip_verifier *v, struct reader *r, unsigned depth);

static int check_target(struct geoip_verifier *v, uint64_t offset, unsigned depth)
{
    if (offset >= v->section.len)
        return ERR_CORRUPT;
    if (mark_seen(v, offset))
        return 0;
    struct reader r = reader_of(bytes_of(v->section.ptr + offset, v->section.len - offset));
    return check_value(v, &r, depth);
}

static int check_elements(struct geoip_verifier *v, struct reader *r, uint64_t count, unsigned depth)
{
    int rc = 0;

    if (count > r->left) /* each takes a byte at least */
        return ERR_CORRUPT;
    for (; rc == 0 && count > 0; count--)
        rc = check_value(v, r, depth + 1);
    return rc;
}

static int check_value(struct geoip_verifier *v, struct reader *r, unsigned depth)
{
    uint8_t control = reader_u8(r);
    unsigned type = control >> 5;

    if (depth > GEOIP_VERIFY_DEPTH_MAX || v->steps_left-- == 0 || r->failed)
        return ERR_CORRUPT;
    if (type == TYPE_POINTER) {
        uint64_t target = read_pointer(r, control);
        return r->failed ? ERR_CORRUPT : check_target(v, target, depth + 1);
    }
    if (type == TYPE_EXTENDED)
        type = 7u + reader_u8(r);
    if (type < 2 || type > TYPE_LAST || type == TYPE_CONTAINER || type == TYPE_END_MARKER)
        return ERR_CORRUPT;
    uint32_t size = read_size(r, control);
    if (r->failed)
        return ERR_CORRUPT;
    if (type == TYPE_MAP)
        return check_elements(v, r, 2 * (uint64_t)size, depth);
    if (type == TYPE_ARRAY)
        return check_elements(v, r, size, depth);
    if (type != TYPE_BOOLEAN) /* whose size is its value */
        (void)reader_slice(r, size);
    return r->failed ? ERR_CORRUPT : 0;
}

int geoip_verifier_check(struct geoip_verifier *v, uint64_t offset)
{
    return check_target(v, offset, 0);
}
