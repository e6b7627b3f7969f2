/* gRPC's header values: timeouts, content types, percent-encoding. */

#include "grpc_text.h"

#include <string.h>
#include <strings.h>

#include "err.h"

#define TIMEOUT_DIGITS_MAX 8

struct timeout_unit {
    char letter;
    int64_t ns;
};

static const struct timeout_unit timeout_units[] = {
    {'H', 3600000000000}, {'M', 60000000000}, {'S', 1000000000}, {'m', 1000000}, {'u', 1000}, {'n', 1},
};

static int64_t unit_ns(uint8_t letter)
{
    for (size_t i = 0; i < sizeof timeout_units / sizeof timeout_units[0]; i++) {
        if ((uint8_t)timeout_units[i].letter == letter)
            return timeout_units[i].ns;
    }
    return 0;
}

int grpc_timeout_parse(struct bytes text, int64_t *ns_out)
{
    int64_t number = 0, result, unit = text.len > 0 ? unit_ns(text.ptr[text.len - 1]) : 0;

    if (unit == 0 || text.len < 2 || text.len > TIMEOUT_DIGITS_MAX + 1)
        return ERR_INVALID;
    for (size_t i = 0; i < text.len - 1; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return ERR_INVALID;
        number = number * 10 + (text.ptr[i] - '0');
    }
    *ns_out = __builtin_mul_overflow(number, unit, &result) ? GRPC_TIMEOUT_NS_MAX : result;
    return 0;
}

static bool begins_with_ignoring_case(struct bytes text, const char *start)
{
    size_t len = strlen(start);

    return text.len >= len && strncasecmp((const char *)text.ptr, start, len) == 0;
}

bool grpc_content_type_is_ours(struct bytes text)
{
    static const char *const types[] = {"application/grpc+proto", "application/grpc"};

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        size_t len = strlen(types[i]);
        if (begins_with_ignoring_case(text, types[i]) &&
            (text.len == len || text.ptr[len] == ';' || text.ptr[len] == ' '))
            return true;
    }
    return false;
}

void grpc_percent_encode(struct bytes text, struct strbuf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        bool is_plain = c >= 0x20 && c <= 0x7e && c != '%';
        if (out->capacity - out->len <= (is_plain ? 1 : 3))
            return;
        if (is_plain)
            strbuf_add_char(out, (char)c);
        else
            strbuf_addf(out, "%%%02X", c);
    }
}

struct bytes grpc_text_cut(struct bytes text, size_t max)
{
    size_t len = text.len;

    if (len > max) {
        len = max;
        while (len > 0 && (text.ptr[len] & 0xc0) == 0x80) /* in the middle of a character */
            len--;
    }
    return bytes_of(text.ptr, len);
}
