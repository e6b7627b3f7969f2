/* Tags, varints and lengths. */

#include "proto_wire.h"

#include "err.h"

#define FIELD_NUMBER_MAX ((1u << 29) - 1)
#define VARINT_LEN_MAX   10

static uint64_t read_varint(struct reader *r)
{
    uint64_t value = 0;

    for (unsigned i = 0;; i++) {
        uint8_t byte = reader_u8(r); /* 0, which ends it, behind the end */
        if (i == VARINT_LEN_MAX - 1 && byte > 1) {
            r->failed = true; /* more than 64 bits */
            return 0;
        }
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) == 0)
            return value;
    }
}

static uint64_t read_fixed(struct reader *r, size_t len)
{
    struct bytes b = reader_slice(r, len);
    uint64_t value = 0;

    for (size_t i = 0; i < b.len; i++)
        value |= (uint64_t)b.ptr[i] << (8 * i);
    return value;
}

int wire_next(struct reader *r, struct wire_field *out)
{
    if (reader_is_done(r))
        return 0;
    uint64_t tag = read_varint(r);
    *out = (struct wire_field){.number = (uint32_t)(tag >> 3), .type = (enum wire_type)(tag & 7)};
    if (r->failed || tag >> 3 == 0 || tag >> 3 > FIELD_NUMBER_MAX)
        return ERR_PROTOCOL;
    switch (out->type) {
    case WIRE_VARINT: out->value = read_varint(r); break;
    case WIRE_FIXED64: out->value = read_fixed(r, 8); break;
    case WIRE_FIXED32: out->value = read_fixed(r, 4); break;
    case WIRE_LEN: {
        uint64_t len = read_varint(r);
        out->bytes = reader_slice(r, len);
        break;
    }
    default: return ERR_PROTOCOL;
    }
    return r->failed ? ERR_PROTOCOL : 1;
}

size_t wire_count(struct bytes message, uint32_t number)
{
    struct reader r = reader_of(message);
    struct wire_field field;
    size_t count = 0;

    while (wire_next(&r, &field) == 1)
        count += field.number == number;
    return count;
}

static size_t write_varint(uint64_t value, uint8_t *out)
{
    size_t len = 0;

    for (; value > 0x7f; value >>= 7)
        out[len++] = (uint8_t)(value | 0x80);
    out[len++] = (uint8_t)value;
    return len;
}

size_t wire_write_len(uint32_t number, size_t len, uint8_t out[WIRE_TAG_LEN_MAX])
{
    size_t tag_len = write_varint((uint64_t)number << 3 | WIRE_LEN, out);

    return tag_len + write_varint(len, out + tag_len);
}
