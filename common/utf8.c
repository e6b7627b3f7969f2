/* Is it text? The table is that of RFC 3629 4: what may stand first, and what second behind it. */

#include "utf8.h"

struct utf8_row {
    uint8_t first_min, first_max;
    uint8_t second_min, second_max;
    uint8_t len;
};

static const struct utf8_row rows[] = {
    {0x20, 0x7e, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
    {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

static const struct utf8_row *find_row(uint8_t first)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (first >= rows[i].first_min && first <= rows[i].first_max)
            return &rows[i];
    }
    return 0;
}

size_t utf8_char_len(struct bytes text)
{
    const struct utf8_row *row = text.len > 0 ? find_row(text.ptr[0]) : 0;

    if (row == 0 || text.len < row->len)
        return 0;
    if (row->len > 1 && (text.ptr[1] < row->second_min || text.ptr[1] > row->second_max))
        return 0;
    for (size_t i = 2; i < row->len; i++) {
        if ((text.ptr[i] & 0xc0) != 0x80)
            return 0;
    }
    return row->len;
}

bool utf8_is_printable(struct bytes text)
{
    for (size_t at = 0; at < text.len;) {
        size_t len = utf8_char_len(bytes_of(text.ptr + at, text.len - at));
        if (len == 0)
            return false;
        at += len;
    }
    return true;
}

size_t utf8_valid_prefix(struct bytes text)
{
    size_t at = 0;

    while (at < text.len) {
        size_t len = text.ptr[at] < 0x80 ? 1 : utf8_char_len(bytes_of(text.ptr + at, text.len - at));
        if (len == 0)
            break;
        at += len;
    }
    return at;
}
