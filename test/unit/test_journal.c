/* Entries for systemd's journal: every kind of field, values that need a length, records that are broken, and when it is there at all. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal.h"
#include "log_event.h"
#include "log_format.h"

#define LINE "level=INFO msg=\"x\""

static struct bytes make_record(struct log_event *e)
{
    const struct ip_endpoint client = {.addr = {4, {192, 0, 2, 1}}, .port = 5000};

    log_event_begin_always(e, LOG_WARN, "connection closed");
    log_event_cstr(e, LOG_KEY_SNI, "www.example.com");
    log_event_u64(e, LOG_KEY_BYTES_IN, UINT64_MAX);
    log_event_i64(e, LOG_KEY_ERRNO, -7);
    log_event_bool(e, LOG_KEY_ECH, true);
    log_event_endpoint(e, LOG_KEY_CLIENT, &client);
    log_event_str(e, LOG_KEY_DETAIL, bytes_of("two\nlines", 9));
    log_event_str(e, LOG_KEY_PATH, bytes_of(NULL, 0));
    log_event_cstr(e, LOG_KEY_SNI, "second.example.com");
    return log_event_record(e);
}

static void test_every_kind_of_field(void **state)
{
    static const char wanted[] =
        "MESSAGE=" LINE "\nPRIORITY=4\nSYSLOG_IDENTIFIER=mc-proxy\nMCPROXY_MESSAGE=connection closed\n"
        "MCPROXY_SNI=www.example.com\nMCPROXY_BYTES_IN=18446744073709551615\nMCPROXY_ERRNO=-7\n"
        "MCPROXY_ECH=true\nMCPROXY_CLIENT=192.0.2.1:5000\nMCPROXY_DETAIL\n\x09\0\0\0\0\0\0\0two\nlines\n"
        "MCPROXY_PATH=\n";
    char text[JOURNAL_ENTRY_MAX];
    struct strbuf out = STRBUF_OF(text);
    struct log_event e;

    (void)state;
    journal_format(make_record(&e), bytes_of_str(LINE), &out);
    assert_int_equal(out.len, sizeof wanted - 1);
    assert_memory_equal(text, wanted, sizeof wanted - 1);
}

/** 1 and up: fields of a well-formed entry. */
static unsigned count_fields(const char *at, size_t len)
{
    const char *end = at + len;
    unsigned count = 0;

    for (; at < end; count++) {
        const char *eol = memchr(at, '\n', (size_t)(end - at));
        assert_non_null(eol);
        const char *equals = memchr(at, '=', (size_t)(eol - at));
        for (const char *c = at; c < (equals != NULL ? equals : eol); c++)
            assert_true((*c >= 'A' && *c <= 'Z') || *c == '_');
        if (equals == NULL) {
            uint64_t size;
            assert_true(end - eol > 8);
            memcpy(&size, eol + 1, sizeof size);
            assert_true(size < (uint64_t)(end - eol - 9));
            eol += 9 + size;
            assert_int_equal(*eol, '\n');
        }
        at = eol + 1;
    }
    return count;
}

static void test_broken_records_make_whole_entries(void **state)
{
    char text[JOURNAL_ENTRY_MAX];
    struct log_event e;
    struct bytes record = make_record(&e);

    (void)state;
    for (size_t len = 0; len <= record.len; len++) {
        struct strbuf out = STRBUF_OF(text);
        journal_format(bytes_of(record.ptr, len), bytes_of_str(LINE), &out);
        assert_true(count_fields(text, out.len) >= 3);
    }
    for (size_t i = 0; i < record.len * 8; i++) {
        struct strbuf out = STRBUF_OF(text);
        e.data[i / 8] ^= (uint8_t)(1u << i % 8);
        journal_format(record, bytes_of_str(LINE), &out);
        assert_true(count_fields(text, out.len) >= 3);
        e.data[i / 8] ^= (uint8_t)(1u << i % 8);
    }
}

static void test_the_longest_record_fits(void **state)
{
    char text[JOURNAL_ENTRY_MAX], longest[LOG_LINE_MAX_BYTES], value[LOG_STRING_MAX];
    struct strbuf out = STRBUF_OF(text);
    struct log_event e;

    (void)state;
    memset(longest, 'x', sizeof longest);
    memset(value, '\n', sizeof value);
    log_event_begin_always(&e, LOG_ERROR, "m");
    log_event_str(&e, LOG_KEY_DETAIL, bytes_of(value, sizeof value));
    for (unsigned key = 0; key < LOG_KEY_END; key++)
        log_event_u64(&e, (enum log_key)key, UINT64_MAX);
    journal_format(log_event_record(&e), bytes_of(longest, sizeof longest), &out);
    assert_false(out.overflowed);
    assert_int_equal(count_fields(text, out.len), 4 + LOG_KEY_END);
}

static void test_only_the_descriptor_that_is_meant(void **state)
{
    int fds[2];
    struct stat st;
    char right[64], other[64], cut[64];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fstat(fds[0], &st), 0);
    snprintf(right, sizeof right, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    snprintf(other, sizeof other, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + 1000000);
    snprintf(cut, sizeof cut, "%ju:", (uintmax_t)st.st_dev);
    const struct {
        const char *variable;
        bool is_there;
    } rows[] = {{right, true}, {other, false},   {cut, false}, {"", false},
                {":", false},  {"-1:-1", false}, {NULL, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].variable != NULL)
            setenv("JOURNAL_STREAM", rows[i].variable, 1);
        else
            unsetenv("JOURNAL_STREAM");
        assert_int_equal(journal_is_at(fds[0]), rows[i].is_there);
    }
    close(fds[0]);
    close(fds[1]);
    assert_false(journal_is_at(fds[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_of_field),
        cmocka_unit_test(test_broken_records_make_whole_entries),
        cmocka_unit_test(test_the_longest_record_fits),
        cmocka_unit_test(test_only_the_descriptor_that_is_meant),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
