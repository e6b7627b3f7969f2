/* gRPC's header values, and texts of a server made fit for a terminal. */

#include "client_text.h"

#include <inttypes.h>

#include "utf8.h"

#define TIMEOUT_DIGITS_MAX 99999999u /* eight digits */

static const char *const status_words[] = {
    "OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
};

/* ---- for a terminal ---- */

/** The next character that may be shown; empty if there is none. Some terminals obey C1 (U+0080 to U+009F) too. */
static struct bytes next_shown(struct bytes text)
{
    size_t len = utf8_char_len(text);
    bool is_c1 = len == 2 && text.ptr[0] == 0xc2 && text.ptr[1] < 0xa0;

    return bytes_of(text.ptr, is_c1 ? 0 : len);
}

void client_text_add_printable(struct bytes text, struct strbuf *out)
{
    while (text.len > 0) {
        struct bytes shown = next_shown(text);
        size_t taken = shown.len > 0 ? shown.len : 1;
        if (shown.len > 0)
            strbuf_add_bytes(out, shown);
        else
            strbuf_addf(out, "\\x%02x", text.ptr[0]);
        text = bytes_of(text.ptr + taken, text.len - taken);
    }
}

/* ---- grpc-message ---- */

/** One byte of the decoded text; returns how many encoded ones it took. */
static size_t decode_byte(struct bytes in, uint8_t *out)
{
    bool is_escape = in.len >= 3 && in.ptr[0] == '%';
    int high = is_escape ? bytes_hex_value(in.ptr[1]) : -1, low = is_escape ? bytes_hex_value(in.ptr[2]) : -1;

    *out = in.ptr[0];
    if (high < 0 || low < 0)
        return 1;
    *out = (uint8_t)(high << 4 | low);
    return 3;
}

void client_text_decode_message(struct bytes in, struct strbuf *out)
{
    while (in.len > 0) {
        uint8_t character[4]; /* decoded ahead: UTF-8 is looked at only after percent-decoding */
        size_t ends[4] = {0}; /* where in `in` each of them ends */
        size_t count = 0, at = 0;
        while (count < 4 && at < in.len) {
            at += decode_byte(bytes_of(in.ptr + at, in.len - at), &character[count]);
            ends[count++] = at;
        }
        struct bytes shown = next_shown(bytes_of(character, count));
        if (shown.len > 0)
            strbuf_add_bytes(out, shown);
        else
            strbuf_add_char(out, '?');
        size_t taken = ends[shown.len > 0 ? shown.len - 1 : 0];
        in = bytes_of(in.ptr + taken, in.len - taken);
    }
}

/* ---- the rest ---- */

void client_text_add_timeout(uint32_t timeout_ms, struct strbuf *out)
{
    if (timeout_ms <= TIMEOUT_DIGITS_MAX)
        strbuf_addf(out, "%um", timeout_ms);
    else
        strbuf_addf(out, "%uS", timeout_ms / 1000);
}

void client_text_add_status(unsigned status, struct strbuf *out)
{
    if (status < sizeof status_words / sizeof status_words[0])
        strbuf_add(out, status_words[status]);
    else
        strbuf_addf(out, "status %u", status);
}

void client_text_add_amount(uint64_t amount, struct strbuf *out)
{
    static const char units[] = "kMGTPE";
    uint64_t unit = 1;
    unsigned index = 0;

    while (amount / unit >= 1000) { /* UINT64_MAX is 18 E */
        unit *= 1000;
        index++;
    }
    uint64_t whole = amount / unit;
    uint64_t thousandths = unit >= 1000 ? amount % unit / (unit / 1000) : 0;
    if (index == 0)
        strbuf_addf(out, "%" PRIu64, whole);
    else if (whole >= 100)
        strbuf_addf(out, "%" PRIu64 "%c", whole, units[index - 1]);
    else if (whole >= 10)
        strbuf_addf(out, "%" PRIu64 ".%" PRIu64 "%c", whole, thousandths / 100, units[index - 1]);
    else
        strbuf_addf(out, "%" PRIu64 ".%02" PRIu64 "%c", whole, thousandths / 10, units[index - 1]);
}
