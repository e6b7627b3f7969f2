/* The grammar of control messages: exactly what the table says passes, for the right sender, length and descriptor. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ctl_codec.h"
#include "handover.h"
#include "log_event.h"
#include "shm_layout.h"

static _Alignas(8) uint8_t body[CTL_MSG_MAX + 8];

static const struct {
    uint16_t type;
    enum ctl_sender sender;
    bool without_fd, with_fd;
    size_t bytes;
    const char *word;
} grammar[] = {
    {CTL_HANDOVER, CTL_FROM_MASTER, true, false, sizeof(struct handover), "handover"},
    {CTL_SETTINGS, CTL_FROM_MASTER, true, false, sizeof(struct ctl_settings), "settings"},
    {CTL_LISTENER_ADD, CTL_FROM_MASTER, false, true, sizeof(struct ctl_listener), "listener_add"},
    {CTL_LISTENER_UPDATE, CTL_FROM_MASTER, true, false, sizeof(struct ctl_listener), "listener_update"},
    {CTL_LISTENER_REMOVE, CTL_FROM_MASTER, true, false, sizeof(struct ctl_listener_id), "listener_remove"},
    {CTL_GEOIP, CTL_FROM_MASTER, true, true, 0, "geoip"},
    {CTL_START, CTL_FROM_MASTER, true, false, 0, "start"},
    {CTL_DRAIN, CTL_FROM_MASTER, true, false, 0, "drain"},
    {CTL_STOP, CTL_FROM_MASTER, true, false, 0, "stop"},
    {CTL_QUERY, CTL_FROM_MASTER, true, false, sizeof(struct ctl_query), "query"},
    {CTL_READY, CTL_FROM_WORKER, true, false, 0, "ready"},
    {CTL_LISTENER_REMOVED, CTL_FROM_WORKER, true, false, sizeof(struct ctl_listener_id), "listener_removed"},
    {CTL_QUERY_ANSWER, CTL_FROM_WORKER, true, false, sizeof(struct ctl_query_answer), "query_answer"},
};
#define GRAMMAR_ROWS (sizeof grammar / sizeof grammar[0])

static void test_only_the_right_length_sender_and_descriptor_pass(void **state)
{
    (void)state;
    memset(body, 0, sizeof body);
    for (size_t i = 0; i < GRAMMAR_ROWS; i++) {
        enum ctl_sender other = grammar[i].sender == CTL_FROM_MASTER ? CTL_FROM_WORKER : CTL_FROM_MASTER;

        for (size_t len = 0; len <= 512; len++) {
            bool fits = len == grammar[i].bytes;
            struct bytes payload = bytes_of(body, len);
            assert_int_equal(ctl_message_is_valid(grammar[i].sender, grammar[i].type, payload, false),
                             fits && grammar[i].without_fd);
            assert_int_equal(ctl_message_is_valid(grammar[i].sender, grammar[i].type, payload, true),
                             fits && grammar[i].with_fd);
            assert_false(ctl_message_is_valid(other, grammar[i].type, payload, false));
        }
        assert_string_equal(ctl_type_word(grammar[i].type), grammar[i].word);
    }
}

static void test_unknown_types_never_pass(void **state)
{
    (void)state;
    for (unsigned type = 0; type <= UINT16_MAX; type++) {
        bool is_known = false;
        for (size_t i = 0; i < GRAMMAR_ROWS; i++)
            is_known |= grammar[i].type == type;
        if (is_known)
            continue;
        assert_false(ctl_message_is_valid(CTL_FROM_MASTER, (uint16_t)type, bytes_of(NULL, 0), false));
        assert_false(ctl_message_is_valid(CTL_FROM_WORKER, (uint16_t)type, bytes_of(NULL, 0), false));
        assert_string_equal(ctl_type_word((uint16_t)type), "unknown");
    }
}

static bool listener_passes(const struct ctl_listener *listener, size_t len)
{
    memcpy(body, listener, sizeof *listener);
    return ctl_message_is_valid(CTL_FROM_MASTER, CTL_LISTENER_UPDATE, bytes_of(body, len), false);
}

static void test_a_listener_is_checked_field_by_field(void **state)
{
    const struct ctl_listener good = {.id = 3, .addr = ":443"};
    size_t len = sizeof good;
    struct ctl_listener l;

    (void)state;
    assert_true(listener_passes(&good, len));
    l = good, l.id = SHM_LISTENERS_MAX;
    assert_false(listener_passes(&l, len));
    l = good, l.proxy_mode = PROXY_MODE_MIXED + 1;
    assert_false(listener_passes(&l, len));
    l = good, l.no_route_mode = NO_ROUTE_ALERT + 1;
    assert_false(listener_passes(&l, len));
    l = good, memset(l.addr, 'x', sizeof l.addr);
    assert_false(listener_passes(&l, len));
    for (unsigned count = 0; count <= CTL_TRUSTED_MAX; count += 128) {
        l = good, l.trusted_count = (uint16_t)count;
        size_t exact = len + count * sizeof(struct ip_cidr);
        assert_int_equal(ctl_listener_bytes(&l), exact);
        assert_true(listener_passes(&l, exact));
        assert_false(listener_passes(&l, exact + 1));
        assert_false(listener_passes(&l, exact - 1));
    }
    l = good, l.trusted_count = CTL_TRUSTED_MAX + 1;
    assert_false(listener_passes(&l, len + (CTL_TRUSTED_MAX + 1) * sizeof(struct ip_cidr)));
}

static void test_a_listener_id_is_in_range(void **state)
{
    struct ctl_listener_id id = {.id = SHM_LISTENERS_MAX - 1};

    (void)state;
    assert_true(ctl_message_is_valid(CTL_FROM_WORKER, CTL_LISTENER_REMOVED, bytes_of(&id, sizeof id), false));
    id.id = SHM_LISTENERS_MAX;
    assert_false(ctl_message_is_valid(CTL_FROM_WORKER, CTL_LISTENER_REMOVED, bytes_of(&id, sizeof id), false));
}

static bool query_passes(const struct ctl_query *query)
{
    return ctl_message_is_valid(CTL_FROM_MASTER, CTL_QUERY, bytes_of(query, sizeof *query), false);
}

static void test_a_query_is_checked_field_by_field(void **state)
{
    const struct ctl_query good = {.action = CTL_QUERY_CLOSE,
                                   .listener = SHM_LISTENERS_MAX - 1,
                                   .client = {.addr = {.family = 4}, .prefix_len = 32},
                                   .route = "*.example.com"};
    struct ctl_query q;

    (void)state;
    assert_true(query_passes(&good));
    q = good, q.action = CTL_QUERY_CLOSE + 1;
    assert_false(query_passes(&q));
    q = good, q.cursor = CTL_QUERY_END;
    assert_false(query_passes(&q));
    q = good, q.has_listener = 2;
    assert_false(query_passes(&q));
    q = good, q.listener = SHM_LISTENERS_MAX;
    assert_false(query_passes(&q));
    q = good, q.client.prefix_len = 33;
    assert_false(query_passes(&q));
    q = good, q.client.addr.family = 5;
    assert_false(query_passes(&q));
    q = good, q.client = (struct ip_cidr){.addr = {.family = 5}};
    assert_false(query_passes(&q));
    q = good, q.client = (struct ip_cidr){.addr = {.family = 6}, .prefix_len = 129};
    assert_false(query_passes(&q));
    q = good, memset(q.route, 'x', sizeof q.route);
    assert_false(query_passes(&q));
}

/** An answer with two records; its length. */
static size_t make_answer(void)
{
    struct ctl_query_answer *a = (void *)body;
    size_t len = sizeof *a;

    *a = (struct ctl_query_answer){.query_id = 7, .cursor = 512, .matched = 2, .record_count = 2};
    for (unsigned i = 0; i < 2; i++) {
        struct log_event e;
        log_event_begin_always(&e, LOG_INFO, "connection");
        log_event_u64(&e, LOG_KEY_CONN, 100 + i);
        log_event_cstr(&e, LOG_KEY_SNI, "www.example.com");
        uint16_t record_len = e.len;
        memcpy(body + len, &record_len, sizeof record_len);
        memcpy(body + len + sizeof record_len, log_event_record(&e).ptr, e.len);
        len += sizeof record_len + e.len;
    }
    return len;
}

static bool answer_passes(size_t len)
{
    return ctl_message_is_valid(CTL_FROM_WORKER, CTL_QUERY_ANSWER, bytes_of(body, len), false);
}

static void test_an_answer_holds_whole_records_as_many_as_it_says(void **state)
{
    struct ctl_query_answer *a = (void *)body;
    size_t len = make_answer();
    struct bytes rest, record;
    unsigned count = 0;

    (void)state;
    assert_true(answer_passes(len));
    rest = ctl_answer_records(a, bytes_of(body, len));
    while (ctl_answer_next(&rest, &record))
        count++;
    assert_int_equal(count, 2);
    for (size_t shorter = 0; shorter < len; shorter++)
        assert_false(answer_passes(shorter));
    memset(body + len, 0, 8);
    for (size_t longer = 1; longer <= 8; longer++)
        assert_false(answer_passes(len + longer));
    a->record_count = a->matched = 1;
    assert_false(answer_passes(len));
    a->record_count = 2;
    assert_false(answer_passes(len));
    a->record_count = a->matched = 3;
    assert_false(answer_passes(len));
    a->record_count = 0, a->matched = 9; /* counted only */
    assert_true(answer_passes(sizeof *a));
    assert_false(answer_passes(len));
}

/* Whatever a broken worker sends ends in a verdict, and what passes can be walked. */
static void test_every_flipped_byte_of_an_answer_ends_in_a_verdict(void **state)
{
    size_t len = make_answer();

    (void)state;
    for (size_t at = 0; at < len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct bytes rest, record;
            unsigned count = 0;
            body[at] ^= (uint8_t)(1u << bit);
            if (answer_passes(len)) {
                rest = ctl_answer_records((void *)body, bytes_of(body, len));
                while (ctl_answer_next(&rest, &record))
                    count++;
                assert_int_equal(count, 2);
            }
            body[at] ^= (uint8_t)(1u << bit);
        }
    }
    body[sizeof(struct ctl_query_answer) + 2] ^= 0xff; /* the first record's magic */
    assert_false(answer_passes(len));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_right_length_sender_and_descriptor_pass),
        cmocka_unit_test(test_unknown_types_never_pass),
        cmocka_unit_test(test_a_listener_is_checked_field_by_field),
        cmocka_unit_test(test_a_listener_id_is_in_range),
        cmocka_unit_test(test_a_query_is_checked_field_by_field),
        cmocka_unit_test(test_an_answer_holds_whole_records_as_many_as_it_says),
        cmocka_unit_test(test_every_flipped_byte_of_an_answer_ends_in_a_verdict),
    };
    return cmocka_run_group_tests_name("ctl_codec", tests, NULL, NULL);
}
