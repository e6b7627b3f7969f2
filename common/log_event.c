/*
 * Log records: typed fields packed flat into one buffer on the caller's stack, and the reader that takes them apart again.
 *
 *     magic 1 | level 1 | time_ms 8 | message length 2 | message | fields ...
 *     field:  key 1 | type 1 | STR: length 2, bytes   U64, I64: 8   BOOL: 1   ENDPOINT: family 1, port 2, address 0, 4 or 16
 *
 * Numbers are in network order only because the one cursor that checks bounds (bytes.h) reads them so.
 */

#include "log_event.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "clock.h"
#include "err.h"

#define RECORD_MAGIC   0xa7 /* no printable character and no small length, so stray bytes are rarely taken for one */
#define TIME_MS_MAX    253402300799999ull /* 9999-12-31T23:59:59.999Z: what a line can show */
#define CUT_MARK       "..."
#define CUT_MARK_BYTES (sizeof CUT_MARK - 1)

static struct {
    log_sink_fn sink;
    void *context;
    enum log_level level;
} log_state = {.level = LOG_INFO};

#define LOG_KEY_WORD(id, word) [id] = (word),
static const char *const key_words[] = {LOG_KEY_TABLE(LOG_KEY_WORD)};
#undef LOG_KEY_WORD

static const char *const level_words[] = {
    [LOG_DEBUG] = "DEBUG",
    [LOG_INFO] = "INFO",
    [LOG_WARN] = "WARN",
    [LOG_ERROR] = "ERROR",
};
#define LEVEL_COUNT (sizeof level_words / sizeof level_words[0])

const char *log_key_word(unsigned key)
{
    return key < LOG_KEY_END ? key_words[key] : NULL;
}

const char *log_level_word(enum log_level level)
{
    CHECK((unsigned)level < LEVEL_COUNT);
    return level_words[level];
}

void log_set_sink(log_sink_fn sink, void *context)
{
    log_state.sink = sink;
    log_state.context = context;
}

void log_set_level(enum log_level level)
{
    CHECK((unsigned)level < LEVEL_COUNT);
    log_state.level = level;
}

bool log_is_enabled(enum log_level level)
{
    return level >= log_state.level && log_state.sink != NULL;
}

/* ---- building ---- */

/** The next len bytes of the record, all or none (NULL): a field is never half there. */
static uint8_t *claim(struct log_event *e, size_t len)
{
    if (e->is_suppressed || len > sizeof e->data - e->len)
        return NULL;
    uint8_t *at = e->data + e->len;
    e->len = (uint16_t)(e->len + len);
    return at;
}

static uint8_t *claim_field(struct log_event *e, enum log_key key, enum log_value_type type, size_t value_len)
{
    CHECK((unsigned)key < LOG_KEY_END);
    uint8_t *at = claim(e, 2 + value_len);
    if (at == NULL)
        return NULL;
    at[0] = (uint8_t)key;
    at[1] = (uint8_t)type;
    return at + 2;
}

static uint8_t *put_u16(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
    return at + 2;
}

static uint8_t *put_u64(uint8_t *at, uint64_t value)
{
    uint64_t big = htobe64(value);
    memcpy(at, &big, sizeof big);
    return at + sizeof big;
}

static size_t stored_len(struct bytes text)
{
    return text.len <= LOG_STRING_MAX ? text.len : LOG_STRING_MAX;
}

/** Length and bytes of a text that takes stored_len(text). */
static void put_text(uint8_t *at, struct bytes text)
{
    size_t len = stored_len(text);

    at = put_u16(at, len);
    if (len > 0)
        memcpy(at, text.ptr, len);
    if (len < text.len)
        memcpy(at + len - CUT_MARK_BYTES, CUT_MARK, CUT_MARK_BYTES);
}

void log_event_begin_always(struct log_event *e, enum log_level level, const char *message)
{
    struct bytes text = bytes_of_str(message);
    uint64_t now_ms = clock_realtime_ms();

    CHECK((unsigned)level < LEVEL_COUNT);
    e->len = 0;
    e->is_suppressed = false;
    uint8_t *at = claim(e, 10 + 2 + stored_len(text));
    at[0] = RECORD_MAGIC;
    at[1] = (uint8_t)level;
    put_u64(at + 2, now_ms <= TIME_MS_MAX ? now_ms : TIME_MS_MAX);
    put_text(at + 10, text);
}
_Static_assert(10 + 2 + LOG_STRING_MAX <= LOG_EVENT_MAX_BYTES, "the head of a record always fits");

void log_event_begin(struct log_event *e, enum log_level level, const char *message)
{
    if (log_is_enabled(level)) {
        log_event_begin_always(e, level, message);
        return;
    }
    e->len = 0;
    e->is_suppressed = true;
}

void log_event_str(struct log_event *e, enum log_key key, struct bytes value)
{
    uint8_t *at = claim_field(e, key, LOG_VALUE_STR, 2 + stored_len(value));
    if (at != NULL)
        put_text(at, value);
}

void log_event_cstr(struct log_event *e, enum log_key key, const char *value)
{
    if (!e->is_suppressed && value != NULL)
        log_event_str(e, key, bytes_of_str(value));
}

void log_event_u64(struct log_event *e, enum log_key key, uint64_t value)
{
    uint8_t *at = claim_field(e, key, LOG_VALUE_U64, 8);
    if (at != NULL)
        put_u64(at, value);
}

void log_event_i64(struct log_event *e, enum log_key key, int64_t value)
{
    uint8_t *at = claim_field(e, key, LOG_VALUE_I64, 8);
    if (at != NULL)
        put_u64(at, (uint64_t)value);
}

void log_event_bool(struct log_event *e, enum log_key key, bool value)
{
    uint8_t *at = claim_field(e, key, LOG_VALUE_BOOL, 1);
    if (at != NULL)
        *at = value;
}

static size_t address_len(unsigned family)
{
    return family == 4 ? 4 : family == 6 ? 16 : 0;
}

void log_event_endpoint(struct log_event *e, enum log_key key, const struct ip_endpoint *value)
{
    size_t len = address_len(value->addr.family);
    uint8_t *at = claim_field(e, key, LOG_VALUE_ENDPOINT, 3 + len);

    if (at == NULL)
        return;
    at[0] = len > 0 ? value->addr.family : 0;
    memcpy(put_u16(at + 1, value->port), value->addr.bytes, len);
}

struct bytes log_event_record(const struct log_event *e)
{
    return bytes_of(e->data, e->len);
}

void log_event_end(struct log_event *e)
{
    if (e->is_suppressed || log_state.sink == NULL)
        return;
    int saved = errno;
    log_state.sink(log_event_record(e), log_state.context);
    errno = saved;
}

void log_text(enum log_level level, const char *message)
{
    struct log_event e;

    log_event_begin(&e, level, message);
    log_event_end(&e);
}

void log_errno(enum log_level level, const char *message, int error_number, enum log_key key, const char *value)
{
    struct log_event e;
    const char *text = strerrordesc_np(error_number);

    log_event_begin(&e, level, message);
    log_event_cstr(&e, key, value);
    log_event_cstr(&e, LOG_KEY_ERROR, text != NULL ? text : "unknown error");
    log_event_i64(&e, LOG_KEY_ERRNO, error_number);
    log_event_end(&e);
}

/* ---- reading ---- */

static uint64_t reader_u64(struct reader *in)
{
    uint64_t high = reader_u32(in);
    return high << 32 | reader_u32(in);
}

int log_record_open(struct log_record_reader *r, struct bytes record)
{
    struct reader in = reader_of(record);
    uint8_t magic = reader_u8(&in);
    uint8_t level = reader_u8(&in);
    uint64_t time_ms = reader_u64(&in);
    struct bytes message = reader_vector16(&in);

    if (in.failed || record.len > LOG_EVENT_MAX_BYTES || magic != RECORD_MAGIC || level >= LEVEL_COUNT ||
        time_ms > TIME_MS_MAX)
        return ERR_PROTOCOL;
    *r = (struct log_record_reader){
        .level = (enum log_level)level,
        .time_ms = time_ms,
        .message = message,
        .rest = bytes_of(in.at, in.left),
    };
    return 0;
}

static void read_endpoint(struct reader *in, struct ip_endpoint *out)
{
    out->addr.family = reader_u8(in);
    out->port = reader_u16(in);
    size_t len = address_len(out->addr.family);
    struct bytes address = reader_slice(in, len);

    if (address.len > 0)
        memcpy(out->addr.bytes, address.ptr, address.len);
    else if (out->addr.family != 0)
        in->failed = true; /* a family that we do not know */
}

static void read_value(struct reader *in, struct log_field *out)
{
    switch (out->type) {
    case LOG_VALUE_STR: out->str = reader_vector16(in); break;
    case LOG_VALUE_U64:
    case LOG_VALUE_I64: out->u64 = reader_u64(in); break;
    case LOG_VALUE_BOOL:
        out->u64 = reader_u8(in);
        if (out->u64 > 1)
            in->failed = true;
        break;
    case LOG_VALUE_ENDPOINT: read_endpoint(in, &out->endpoint); break;
    default: in->failed = true;
    }
}

int log_record_next(struct log_record_reader *r, struct log_field *out)
{
    struct reader in = reader_of(r->rest);

    if (r->rest.len == 0)
        return 0;
    *out = (struct log_field){0};
    out->key = reader_u8(&in);
    out->type = (enum log_value_type)reader_u8(&in);
    read_value(&in, out);
    if (in.failed || out->key >= LOG_KEY_END)
        return ERR_PROTOCOL;
    r->rest = bytes_of(in.at, in.left);
    return 1;
}
