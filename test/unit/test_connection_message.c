/* Records as messages: every field of Connection comes from its key, and nothing a worker writes can make the message wrong. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "access_record.h"
#include "connection_message.h"
#include "err.h"
#include "strbuf.h"

static const struct ip_endpoint client = {.addr = {.family = 4, .bytes = {192, 0, 2, 1}}, .port = 5000};

static struct log_event make_record(void)
{
    struct log_event e;

    log_event_begin_always(&e, LOG_INFO, ACCESS_RECORD_MESSAGE);
    for (unsigned key = 0; key < LOG_KEY_END; key++) {
        switch (key) {
        case LOG_KEY_CLIENT: log_event_endpoint(&e, key, &client); break;
        case LOG_KEY_ECH: log_event_bool(&e, key, true); break;
        case LOG_KEY_CONN:
        case LOG_KEY_BYTES_IN:
        case LOG_KEY_BYTES_OUT:
        case LOG_KEY_HELLO_US:
        case LOG_KEY_CONNECT_US:
        case LOG_KEY_FIRST_BYTE_US:
        case LOG_KEY_DURATION_MS:
        case LOG_KEY_WORKER:
        case LOG_KEY_IDLE_MS: log_event_u64(&e, key, 1000 + key); break;
        default: log_event_cstr(&e, key, log_key_word(key));
        }
    }
    return e;
}

/* The fields are named as the keys, so that this finds a row that is missing or leads elsewhere. */
static void test_every_field_comes_from_the_key_of_its_name(void **state)
{
    struct log_event e = make_record();
    struct connection_message *m = malloc(sizeof *m);
    const ProtobufCMessageDescriptor *type = &mc_proxy__v1__connection__descriptor;

    (void)state;
    assert_int_equal(connection_message_of(log_event_record(&e), m), 0);
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const char *word = strcmp(field->name, "listener_addr") == 0 ? "listener" : field->name;
        const void *at = (const char *)&m->proto + field->offset;
        unsigned key = 0;
        while (key < LOG_KEY_END && strcmp(log_key_word(key), word) != 0)
            key++;
        if (strcmp(word, "time_ms") == 0) {
            assert_true(m->proto.time_ms > 0);
            continue;
        }
        assert_true(key < LOG_KEY_END);
        if (key == LOG_KEY_CLIENT)
            assert_string_equal(m->proto.client, "192.0.2.1:5000");
        else if (field->type == PROTOBUF_C_TYPE_STRING)
            assert_string_equal(*(char *const *)at, word);
        else if (field->type == PROTOBUF_C_TYPE_UINT64)
            assert_int_equal(*(const uint64_t *)at, 1000 + key);
        else if (field->type == PROTOBUF_C_TYPE_UINT32)
            assert_int_equal(*(const uint32_t *)at, 1000 + key);
        else
            assert_true(*(const protobuf_c_boolean *)at);
    }
    free(m);
}

static void test_bytes_of_a_client_come_out_printable(void **state)
{
    struct connection_message *m = malloc(sizeof *m);
    struct log_event e;
    char long_text[LOG_STRING_MAX];

    (void)state;
    memset(long_text, 0xff, sizeof long_text);
    log_event_begin_always(&e, LOG_INFO, ACCESS_RECORD_MESSAGE);
    log_event_str(&e, LOG_KEY_ALPN, bytes_of("a\xff\x01\0b", 5));
    log_event_str(&e, LOG_KEY_SNI, bytes_of(long_text, sizeof long_text));
    log_event_u64(&e, LOG_KEY_BACKEND, 7); /* no text */
    log_event_cstr(&e, LOG_KEY_BYTES_IN, "no number");
    assert_int_equal(connection_message_of(log_event_record(&e), m), 0);
    assert_string_equal(m->proto.alpn, "a\\xff\\x01\\x00b");
    assert_int_equal(strlen(m->proto.sni), 4 * sizeof long_text);
    assert_string_equal(m->proto.backend, "");
    assert_int_equal(m->proto.bytes_in, 0);
    free(m);
}

static void test_damage_ends_in_a_verdict(void **state)
{
    struct log_event e = make_record();
    struct connection_message *m = malloc(sizeof *m);

    (void)state;
    for (size_t len = 0; len < 22; len++)
        assert_int_equal(connection_message_of(bytes_of(e.data, len), m), ERR_PROTOCOL);
    for (size_t at = 0; at < e.len; at++) {
        e.data[at] ^= 0x55;
        int rc = connection_message_of(log_event_record(&e), m);
        assert_true(rc == 0 || rc == ERR_PROTOCOL);
        if (rc == 0)
            assert_true(protobuf_c_message_get_packed_size(&m->proto.base) > 0);
        e.data[at] ^= 0x55;
    }
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_comes_from_the_key_of_its_name),
        cmocka_unit_test(test_bytes_of_a_client_come_out_printable),
        cmocka_unit_test(test_damage_ends_in_a_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
