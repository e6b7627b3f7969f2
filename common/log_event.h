#ifndef LOG_EVENT_H
#define LOG_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "bytes.h"
#include "check.h"

/*
 * A log event: level, time, message and typed fields, encoded into one flat record. Workers put records into their ring in shared
 * memory, the master formats them (logfmt or JSON) and writes them. Keys come from one table, because tests and people read them.
 *
 *     struct log_event e;
 *     log_event_begin(&e, LOG_WARN, "backend name has no address");
 *     log_event_str(&e, LOG_KEY_BACKEND, bytes_of_str(name));
 *     log_event_end(&e);
 */

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/** The word in log lines, static: "DEBUG", "INFO", "WARN", "ERROR". */
const char *log_level_word(enum log_level level);

/* clang-format off */
/*      id                     word */
#define LOG_KEY_TABLE(X)                 \
    X(LOG_KEY_CONN,          "conn")         \
    X(LOG_KEY_LISTENER,      "listener")     \
    X(LOG_KEY_CLIENT,        "client")       \
    X(LOG_KEY_PEER,          "peer")         \
    X(LOG_KEY_SNI,           "sni")          \
    X(LOG_KEY_ALPN,          "alpn")         \
    X(LOG_KEY_TLS,           "tls")          \
    X(LOG_KEY_ECH,           "ech")          \
    X(LOG_KEY_ROUTE,         "route")        \
    X(LOG_KEY_BACKEND,       "backend")      \
    X(LOG_KEY_BACKEND_ADDR,  "backend_addr") \
    X(LOG_KEY_COUNTRY,       "country")      \
    X(LOG_KEY_BYTES_IN,      "bytes_in")     \
    X(LOG_KEY_BYTES_OUT,     "bytes_out")    \
    X(LOG_KEY_HELLO_US,      "hello_us")     \
    X(LOG_KEY_CONNECT_US,    "connect_us")   \
    X(LOG_KEY_FIRST_BYTE_US, "first_byte_us") \
    X(LOG_KEY_DURATION_MS,   "duration_ms")  \
    X(LOG_KEY_WORKER,        "worker")       \
    X(LOG_KEY_HANDSHAKE,     "handshake")    \
    X(LOG_KEY_TLS_VERSION,   "tls_version")  \
    X(LOG_KEY_TLS_GROUP,     "tls_group")    \
    X(LOG_KEY_ALERT,         "alert")        \
    X(LOG_KEY_REASON,        "reason")       \
    X(LOG_KEY_ENDED_BY,      "ended_by")     \
    X(LOG_KEY_DETAIL,        "detail")       \
    X(LOG_KEY_STATE,         "state")        \
    X(LOG_KEY_IDLE_MS,       "idle_ms")      \
    X(LOG_KEY_ERROR,         "error")        \
    X(LOG_KEY_ERRNO,         "errno")        \
    X(LOG_KEY_PID,           "pid")          \
    X(LOG_KEY_SIGNAL,        "signal")       \
    X(LOG_KEY_STATUS,        "status")       \
    X(LOG_KEY_FILE,          "file")         \
    X(LOG_KEY_LINE,          "line")         \
    X(LOG_KEY_KEY,           "key")          \
    X(LOG_KEY_PATH,          "path")         \
    X(LOG_KEY_USER,          "user")         \
    X(LOG_KEY_VERSION,       "version")      \
    X(LOG_KEY_WORKERS,       "workers")      \
    X(LOG_KEY_LISTENERS,     "listeners")    \
    X(LOG_KEY_ROUTES,        "routes")       \
    X(LOG_KEY_RULES,         "rules")        \
    X(LOG_KEY_CONNECTIONS,   "connections")  \
    X(LOG_KEY_GENERATION,    "generation")   \
    X(LOG_KEY_DROPPED,       "dropped")      \
    X(LOG_KEY_LIMIT,         "limit")        \
    X(LOG_KEY_COUNT,         "count")        \
    X(LOG_KEY_ADDRESSES,     "addresses")    \
    X(LOG_KEY_TTL_S,         "ttl_s")        \
    X(LOG_KEY_DELAY_MS,      "delay_ms")     \
    X(LOG_KEY_DAMAGED,       "damaged")      \
    X(LOG_KEY_RULE,          "rule")         \
    X(LOG_KEY_VALUE,         "value")        \
    X(LOG_KEY_PROXY_PROTOCOL, "send_proxy_protocol") \
    X(LOG_KEY_ROUTES_ADDED,  "routes_added") \
    X(LOG_KEY_ROUTES_REPLACED, "routes_replaced") \
    X(LOG_KEY_ROUTES_REMOVED, "routes_removed") \
    X(LOG_KEY_RULES_ADDED,   "rules_added")  \
    X(LOG_KEY_RULES_REMOVED, "rules_removed") \
    X(LOG_KEY_UNCHANGED,     "unchanged") \
    X(LOG_KEY_MISSING,       "missing")      \
    X(LOG_KEY_DIFFERENT,     "different")
/* clang-format on */

#define LOG_KEY_ENUM(id, word) id,
enum log_key { LOG_KEY_TABLE(LOG_KEY_ENUM) LOG_KEY_END };
#undef LOG_KEY_ENUM

/** The word of a key, static; NULL for a number that is no key (a record from a broken worker). */
const char *log_key_word(unsigned key);

#define LOG_EVENT_MAX_BYTES 2048 /* a record with everything; fields that do not fit are left out, never half */
#define LOG_STRING_MAX      1024 /* longer strings, messages too, are cut and end in "..." */

struct log_event {
    uint16_t len;
    bool is_suppressed; /* below the level in force: every call is a no-op */
    uint8_t data[LOG_EVENT_MAX_BYTES];
};

/**
 * Where finished records go in this process: the master's formatter and output, a worker's ring. Must never block.
 * Before a sink is set, records go nowhere.
 */
typedef void (*log_sink_fn)(struct bytes record, void *context);
void log_set_sink(log_sink_fn sink, void *context);

/** Events below this level are not recorded (start value: LOG_INFO). */
void log_set_level(enum log_level level);
bool log_is_enabled(enum log_level level);

/** Begin an event. message is a constant sentence for people, without variable parts: those are fields. */
void log_event_begin(struct log_event *e, enum log_level level, const char *message);
void log_event_str(struct log_event *e, enum log_key key, struct bytes value);
void log_event_cstr(struct log_event *e, enum log_key key, const char *value); /* NULL: no field */
void log_event_u64(struct log_event *e, enum log_key key, uint64_t value);
void log_event_i64(struct log_event *e, enum log_key key, int64_t value);
void log_event_bool(struct log_event *e, enum log_key key, bool value);
void log_event_endpoint(struct log_event *e, enum log_key key, const struct ip_endpoint *value);
/** Hand the record to the sink. errno is as before. */
void log_event_end(struct log_event *e);

/**
 * For those who hand the record on themselves instead of calling log_event_end(): begin whatever the level in force, as a notice
 * of lost lines must not get lost too, and take the record (borrowed from e).
 */
void log_event_begin_always(struct log_event *e, enum log_level level, const char *message);
struct bytes log_event_record(const struct log_event *e);

/** A message with nothing but text: log_text(LOG_INFO, "draining"). */
void log_text(enum log_level level, const char *message);

/** A message with errno's number as errno= and its text as error=, and one string field (value may be NULL: none). */
void log_errno(enum log_level level, const char *message, int error_number, enum log_key key, const char *value);

/* ---- reading a record: the other end of the ring, so every length is checked ---- */

enum log_value_type { LOG_VALUE_STR, LOG_VALUE_U64, LOG_VALUE_I64, LOG_VALUE_BOOL, LOG_VALUE_ENDPOINT };

struct log_field {
    uint8_t key; /* enum log_key, checked */
    enum log_value_type type;
    struct bytes str; /* LOG_VALUE_STR: borrowed from the record */
    uint64_t u64;     /* LOG_VALUE_U64, _I64 (as two's complement), _BOOL */
    struct ip_endpoint endpoint;
};

struct log_record_reader {
    enum log_level level;
    uint64_t time_ms; /* UTC */
    struct bytes message;
    struct bytes rest;
};

/** Begin to read a record; ERR_PROTOCOL if it is none (also: a time after the year 9999). Pure. */
int log_record_open(struct log_record_reader *r, struct bytes record) MUST_CHECK;

/** The next field: 1 and *out, 0 at the end, ERR_PROTOCOL (now and at every later call) if the record is damaged from here on. */
int log_record_next(struct log_record_reader *r, struct log_field *out) MUST_CHECK;

#endif
