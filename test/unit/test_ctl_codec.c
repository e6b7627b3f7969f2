/* The grammar of control messages: exactly what the table says passes, for the right sender, length and descriptor. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ctl_codec.h"
#include "handover.h"
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
    {CTL_READY, CTL_FROM_WORKER, true, false, 0, "ready"},
    {CTL_LISTENER_REMOVED, CTL_FROM_WORKER, true, false, sizeof(struct ctl_listener_id), "listener_removed"},
};
#define GRAMMAR_ROWS (sizeof grammar / sizeof grammar[0])

static void test_only_the_right_length_sender_and_descriptor_pass(void **state)
{
    (void)state;
    memset(body, 0, sizeof body);
    for (size_t i = 0; i < GRAMMAR_ROWS; i++) {
        enum ctl_sender other = grammar[i].sender == CTL_FROM_MASTER ? CTL_FROM_WORKER : CTL_FROM_MASTER;

        for (size_t len = 0; len <= 256; len++) {
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_right_length_sender_and_descriptor_pass),
        cmocka_unit_test(test_unknown_types_never_pass),
        cmocka_unit_test(test_a_listener_is_checked_field_by_field),
        cmocka_unit_test(test_a_listener_id_is_in_range),
    };
    return cmocka_run_group_tests_name("ctl_codec", tests, NULL, NULL);
}
