/* Log records: what is put in comes out, what does not fit stays out, and no bytes whatsoever upset the reader. */

#include "log_event.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "clock.h"
#include "err.h"

static uint8_t sunk[LOG_EVENT_MAX_BYTES];
static size_t sunk_len;
static unsigned sunk_count;

static void catch_record(struct bytes record, void *context)
{
    assert_ptr_equal(context, &sunk_count);
    assert_true(record.len <= sizeof sunk);
    memcpy(sunk, record.ptr, record.len);
    sunk_len = record.len;
    sunk_count++;
    errno = EBADF;
}

static int setup(void **state)
{
    (void)state;
    sunk_count = 0;
    sunk_len = 0;
    log_set_level(LOG_INFO);
    log_set_sink(catch_record, &sunk_count);
    return 0;
}

static struct log_record_reader open_sunk(void)
{
    struct log_record_reader r;

    assert_int_equal(sunk_count, 1);
    assert_int_equal(log_record_open(&r, bytes_of(sunk, sunk_len)), 0);
    return r;
}

static struct log_field next_field(struct log_record_reader *r, enum log_key key, enum log_value_type type)
{
    struct log_field f;

    assert_int_equal(log_record_next(r, &f), 1);
    assert_int_equal(f.key, key);
    assert_int_equal(f.type, type);
    return f;
}

static void assert_end(struct log_record_reader *r)
{
    struct log_field f;
    assert_int_equal(log_record_next(r, &f), 0);
}

static const struct ip_endpoint endpoints[] = {
    {.addr = {.family = 4, .bytes = {192, 0, 2, 1}}, .port = 5000},
    {.addr = {.family = 6, .bytes = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}}, .port = 65535},
    {.addr = {.family = 0}, .port = 0},
};

static void build_all_types(struct log_event *e)
{
    log_event_begin(e, LOG_WARN, "everything");
    log_event_str(e, LOG_KEY_SNI, bytes_of("a\0\xff", 3));
    log_event_cstr(e, LOG_KEY_BACKEND, "10.0.0.5:8443");
    log_event_cstr(e, LOG_KEY_USER, NULL);
    log_event_str(e, LOG_KEY_DETAIL, bytes_of(NULL, 0));
    log_event_u64(e, LOG_KEY_BYTES_IN, UINT64_MAX);
    log_event_i64(e, LOG_KEY_ERRNO, INT64_MIN);
    log_event_bool(e, LOG_KEY_ECH, true);
    log_event_bool(e, LOG_KEY_TLS, false);
    for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++)
        log_event_endpoint(e, LOG_KEY_CLIENT, &endpoints[i]);
}

static void test_what_goes_in_comes_out(void **state)
{
    (void)state;
    struct log_event e;
    uint64_t before = clock_realtime_ms();

    build_all_types(&e);
    log_event_end(&e);

    struct log_record_reader r = open_sunk();
    assert_int_equal(r.level, LOG_WARN);
    assert_in_range(r.time_ms, before, clock_realtime_ms());
    assert_true(bytes_equal_str(r.message, "everything"));

    struct log_field f = next_field(&r, LOG_KEY_SNI, LOG_VALUE_STR);
    assert_int_equal(f.str.len, 3);
    assert_memory_equal(f.str.ptr, "a\0\xff", 3);
    f = next_field(&r, LOG_KEY_BACKEND, LOG_VALUE_STR);
    assert_true(bytes_equal_str(f.str, "10.0.0.5:8443"));
    f = next_field(&r, LOG_KEY_DETAIL, LOG_VALUE_STR);
    assert_int_equal(f.str.len, 0);
    assert_true(next_field(&r, LOG_KEY_BYTES_IN, LOG_VALUE_U64).u64 == UINT64_MAX);
    assert_true((int64_t)next_field(&r, LOG_KEY_ERRNO, LOG_VALUE_I64).u64 == INT64_MIN);
    assert_int_equal(next_field(&r, LOG_KEY_ECH, LOG_VALUE_BOOL).u64, 1);
    assert_int_equal(next_field(&r, LOG_KEY_TLS, LOG_VALUE_BOOL).u64, 0);
    for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++) {
        f = next_field(&r, LOG_KEY_CLIENT, LOG_VALUE_ENDPOINT);
        assert_int_equal(f.endpoint.addr.family, endpoints[i].addr.family);
        assert_memory_equal(f.endpoint.addr.bytes, endpoints[i].addr.bytes, sizeof f.endpoint.addr.bytes);
        assert_int_equal(f.endpoint.port, endpoints[i].port);
    }
    assert_end(&r);
}

static void test_level_decides(void **state)
{
    (void)state;
    for (int threshold = LOG_DEBUG; threshold <= LOG_ERROR; threshold++) {
        log_set_level((enum log_level)threshold);
        for (int level = LOG_DEBUG; level <= LOG_ERROR; level++) {
            struct log_event e;

            sunk_count = 0;
            build_all_types(&e); /* LOG_WARN */
            assert_int_equal(e.is_suppressed, LOG_WARN < threshold);
            assert_int_equal(e.len == 0, LOG_WARN < threshold);
            log_text((enum log_level)level, "x");
            assert_int_equal(sunk_count, level >= threshold);
            assert_int_equal(log_is_enabled((enum log_level)level), level >= threshold);
        }
    }
}

static void test_always_ignores_the_level(void **state)
{
    (void)state;
    struct log_event e;
    struct log_record_reader r;

    log_set_level(LOG_ERROR);
    log_event_begin_always(&e, LOG_DEBUG, "notice");
    log_event_u64(&e, LOG_KEY_DROPPED, 3);
    assert_int_equal(log_record_open(&r, log_event_record(&e)), 0);
    assert_int_equal(r.level, LOG_DEBUG);
    assert_int_equal(next_field(&r, LOG_KEY_DROPPED, LOG_VALUE_U64).u64, 3);
    assert_int_equal(sunk_count, 0);
}

static void test_without_a_sink_nothing_happens(void **state)
{
    (void)state;
    struct log_event e;

    log_event_begin(&e, LOG_INFO, "begun with a sink");
    log_set_sink(NULL, NULL);
    log_event_end(&e);
    log_text(LOG_ERROR, "nobody listens");
    assert_false(log_is_enabled(LOG_ERROR));
    assert_int_equal(sunk_count, 0);
}

static void test_errno_is_told_and_kept(void **state)
{
    (void)state;
    errno = ENOSPC;
    log_errno(LOG_ERROR, "cannot write", EACCES, LOG_KEY_PATH, "/x");
    assert_int_equal(errno, ENOSPC);

    struct log_record_reader r = open_sunk();
    assert_true(bytes_equal_str(next_field(&r, LOG_KEY_PATH, LOG_VALUE_STR).str, "/x"));
    assert_true(bytes_equal_str(next_field(&r, LOG_KEY_ERROR, LOG_VALUE_STR).str, "Permission denied"));
    assert_int_equal(next_field(&r, LOG_KEY_ERRNO, LOG_VALUE_I64).u64, EACCES);
    assert_end(&r);

    sunk_count = 0;
    log_errno(LOG_ERROR, "odd", 99999, LOG_KEY_PATH, NULL);
    r = open_sunk();
    assert_true(bytes_equal_str(next_field(&r, LOG_KEY_ERROR, LOG_VALUE_STR).str, "unknown error"));
}

static void test_long_strings_are_cut(void **state)
{
    (void)state;
    static const size_t lengths[] = {LOG_STRING_MAX - 1, LOG_STRING_MAX, LOG_STRING_MAX + 1, 70000};
    static char text[70001];

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct log_event e;

        memset(text, 'x', sizeof text);
        text[lengths[i]] = '\0';
        sunk_count = 0;
        log_event_begin(&e, LOG_INFO, text);
        log_event_end(&e);
        struct log_record_reader r = open_sunk();
        bool is_cut = lengths[i] > LOG_STRING_MAX;
        assert_int_equal(r.message.len, is_cut ? LOG_STRING_MAX : lengths[i]);
        assert_memory_equal(r.message.ptr + r.message.len - 4, is_cut ? "x..." : "xxxx", 4);
        assert_end(&r);
    }
}

/** Whatever room is left, a field is there wholly or not at all, and smaller ones still find their place behind. */
static void test_overfull_events_lose_whole_fields(void **state)
{
    (void)state;
    static const uint8_t filler[LOG_STRING_MAX];

    for (size_t len = 0; len <= LOG_STRING_MAX; len++) {
        struct log_event e;

        sunk_count = 0;
        log_event_begin(&e, LOG_INFO, "full");
        log_event_str(&e, LOG_KEY_DETAIL, bytes_of(filler, 1010));
        log_event_str(&e, LOG_KEY_SNI, bytes_of(filler, len));
        log_event_u64(&e, LOG_KEY_BYTES_IN, 1);
        log_event_endpoint(&e, LOG_KEY_CLIENT, &endpoints[1]);
        log_event_bool(&e, LOG_KEY_ECH, true);
        log_event_end(&e);
        assert_true(e.len <= LOG_EVENT_MAX_BYTES);

        struct log_record_reader r = open_sunk();
        struct log_field f;
        unsigned fields = 0;
        int rc;
        while ((rc = log_record_next(&r, &f)) == 1)
            fields++;
        assert_int_equal(rc, 0);
        assert_in_range(fields, 2, 5);
        /* 16 bytes of head, 1014 and 34 for the other fields: the string takes 4 more than its length. */
        assert_int_equal(fields == 5, len <= LOG_EVENT_MAX_BYTES - 16 - 1014 - 34 - 4);
        assert_true(len <= LOG_EVENT_MAX_BYTES - 16 - 1014 - 4 || fields == 4); /* only the long one is out */
    }
}

static void test_a_record_longer_than_any_is_refused(void **state)
{
    uint8_t record[LOG_EVENT_MAX_BYTES + 1] = {0};
    struct log_record_reader r;
    struct log_event e;

    (void)state;
    log_event_begin(&e, LOG_INFO, "short");
    memcpy(record, log_event_record(&e).ptr, e.len);
    assert_int_equal(log_record_open(&r, bytes_of(record, LOG_EVENT_MAX_BYTES)), 0);
    assert_int_equal(log_record_open(&r, bytes_of(record, LOG_EVENT_MAX_BYTES + 1)), ERR_PROTOCOL);
}

static void test_every_key_has_its_own_word(void **state)
{
    (void)state;
    for (unsigned a = 0; a < LOG_KEY_END; a++) {
        for (unsigned b = 0; b < a; b++)
            assert_string_not_equal(log_key_word(a), log_key_word(b));
        for (const char *c = log_key_word(a); *c != '\0'; c++)
            assert_true((*c >= 'a' && *c <= 'z') || *c == '_');
    }
    assert_null(log_key_word(LOG_KEY_END));
    assert_null(log_key_word(UINT32_MAX));
}

static void test_level_words(void **state)
{
    (void)state;
    assert_string_equal(log_level_word(LOG_DEBUG), "DEBUG");
    assert_string_equal(log_level_word(LOG_INFO), "INFO");
    assert_string_equal(log_level_word(LOG_WARN), "WARN");
    assert_string_equal(log_level_word(LOG_ERROR), "ERROR");
}

/** Read a copy of exact size to its end, so that the address sanitizer sees every step too far; 0, or what the reader said. */
static int walk(const uint8_t *data, size_t len, unsigned *fields_out)
{
    uint8_t *exact = malloc(len > 0 ? len : 1);
    struct log_record_reader r;
    struct log_field f;

    assert_non_null(exact);
    memcpy(exact, data, len);
    *fields_out = 0;
    int rc = log_record_open(&r, bytes_of(exact, len));
    if (rc == 0) {
        while ((rc = log_record_next(&r, &f)) == 1) {
            assert_non_null(log_key_word(f.key));
            (*fields_out)++;
        }
        if (rc != 0)
            assert_int_equal(log_record_next(&r, &f), rc);
    }
    free(exact);
    return rc;
}

static void test_every_prefix_is_a_whole_record_or_damaged(void **state)
{
    (void)state;
    struct log_event e;
    unsigned fields = 0;
    unsigned whole = 0;

    build_all_types(&e);
    for (size_t len = 0; len < e.len; len++) {
        int rc = walk(e.data, len, &fields);
        assert_true(rc == 0 || rc == ERR_PROTOCOL);
        whole += rc == 0; /* a cut exactly between two fields is a shorter record */
    }
    assert_int_equal(whole, 10);
    assert_int_equal(walk(e.data, e.len, &fields), 0);
    assert_int_equal(fields, 10);
}

static void test_every_flipped_byte_ends_in_a_verdict(void **state)
{
    (void)state;
    struct log_event e;
    unsigned fields = 0;

    build_all_types(&e);
    for (size_t i = 0; i < e.len; i++) {
        for (unsigned bits = 1; bits < 256; bits++) {
            e.data[i] ^= (uint8_t)bits;
            int rc = walk(e.data, e.len, &fields);
            assert_true(rc == 0 || rc == ERR_PROTOCOL);
            e.data[i] ^= (uint8_t)bits;
        }
    }
}

static void test_damage_is_named(void **state)
{
    (void)state;
    struct log_event e;
    unsigned fields = 0;
    static const struct {
        size_t at; /* from the end of the head when it is 14 or more: "x" is the message */
        uint8_t value;
    } cases[] = {
        {0, 0},             /* no magic */
        {1, LOG_ERROR + 1}, /* no level */
        {2, 1},             /* a time after the year 9999 */
        {13, LOG_KEY_END},  /* no key */
        {14, 9},            /* no type */
        {15, 2},            /* a boolean that is neither */
        {18, 5},            /* no address family */
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        log_event_begin(&e, LOG_INFO, "x");
        log_event_bool(&e, LOG_KEY_ECH, true);
        log_event_endpoint(&e, LOG_KEY_CLIENT, &endpoints[0]);
        assert_int_equal(walk(e.data, e.len, &fields), 0);
        e.data[cases[i].at] = cases[i].value;
        assert_int_equal(walk(e.data, e.len, &fields), ERR_PROTOCOL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_what_goes_in_comes_out, setup),
        cmocka_unit_test_setup(test_level_decides, setup),
        cmocka_unit_test_setup(test_always_ignores_the_level, setup),
        cmocka_unit_test_setup(test_without_a_sink_nothing_happens, setup),
        cmocka_unit_test_setup(test_errno_is_told_and_kept, setup),
        cmocka_unit_test_setup(test_long_strings_are_cut, setup),
        cmocka_unit_test_setup(test_overfull_events_lose_whole_fields, setup),
        cmocka_unit_test(test_a_record_longer_than_any_is_refused),
        cmocka_unit_test(test_every_key_has_its_own_word),
        cmocka_unit_test(test_level_words),
        cmocka_unit_test_setup(test_every_prefix_is_a_whole_record_or_damaged, setup),
        cmocka_unit_test_setup(test_every_flipped_byte_ends_in_a_verdict, setup),
        cmocka_unit_test_setup(test_damage_is_named, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
