/* One call of a client: messages into bytes of every cut, headers and bytes of the answer into a reply. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "err.h"
#include "grow_buf.h"
#include "grpc_call_client.h"

/* ---- sending ---- */

struct source {
    const char *const *messages; /* ended by NULL */
    int end;                     /* what comes behind the last one */
};

static int next_message(void *context, struct bytes *message_out)
{
    struct source *source = context;

    if (*source->messages == NULL)
        return source->end;
    *message_out = bytes_of_str(*source->messages++);
    return 1;
}

static void test_messages_in_pieces_of_every_size(void **state)
{
    static const char *const messages[] = {"abc", "", "defgh", NULL};
    static const uint8_t expected[] = "\0\0\0\0\3abc\0\0\0\0\0\0\0\0\0\5defgh";

    (void)state;
    for (size_t room = 1; room <= sizeof expected; room++) {
        struct source source = {.messages = messages};
        struct grpc_call_client call = {.next = next_message, .context = &source};
        uint8_t out[64];
        size_t done = 0;
        while (!call.is_sent) {
            size_t n = grpc_call_client_fill(&call, out + done, room);
            assert_true(n == room || call.is_sent);
            done += n;
            assert_true(done < sizeof out - room);
        }
        assert_int_equal(done, sizeof expected - 1);
        assert_memory_equal(out, expected, done);
    }
}

static void test_a_source_that_fails_is_no_end(void **state)
{
    static const char *const messages[] = {"abc", NULL};
    struct source source = {.messages = messages, .end = ERR_NO_MEMORY};
    struct grpc_call_client call = {.next = next_message, .context = &source};
    uint8_t out[64];

    (void)state;
    assert_int_equal(grpc_call_client_fill(&call, out, sizeof out), 8);
    assert_int_equal(call.source_error, ERR_NO_MEMORY);
    assert_false(call.is_sent);
}

/* ---- the answer ---- */

struct answer_case {
    const char *name;
    const char *headers[8]; /* names and values */
    const char *body;
    size_t body_len;
    int rc;
    unsigned status;
    const char *message;
    size_t reply_len;
};

#define BODY(text) .body = (text), .body_len = sizeof(text) - 1
#define OK_HEADERS                           \
    {                                        \
        ":status", "200", "grpc-status", "0" \
    }

static const struct answer_case answers[] = {
    {"good", OK_HEADERS, BODY("\0\0\0\0\2ab"), .reply_len = 2},
    {"good and empty", OK_HEADERS, BODY("\0\0\0\0\0")},
    {"nothing", OK_HEADERS, BODY(""), .rc = ERR_PROTOCOL},
    {"a part of a prefix", OK_HEADERS, BODY("\0\0\0\0"), .rc = ERR_PROTOCOL},
    {"a part of a message", OK_HEADERS, BODY("\0\0\0\0\2a"), .rc = ERR_PROTOCOL},
    {"something behind", OK_HEADERS, BODY("\0\0\0\0\2abc"), .rc = ERR_PROTOCOL},
    {"compressed", OK_HEADERS, BODY("\1\0\0\0\0"), .rc = ERR_PROTOCOL},
    {"a huge length", OK_HEADERS, BODY("\0\xff\xff\xff\xff"), .rc = ERR_PROTOCOL},
    {"no status", {":status", "404"}, BODY(""), .rc = ERR_PROTOCOL},
    {"an error", {"grpc-status", "5", "grpc-message", "no%20route"}, BODY(""), .status = 5, .message = "no route"},
    {"an error and a body", {"grpc-status", "5"}, BODY("\0\0"), .status = 5},
    {"an error of no number", {"grpc-status", "x"}, BODY(""), .status = 2},
    {"an error of too many digits", {"grpc-status", "1000"}, BODY(""), .status = 2},
    {"an empty error", {"grpc-status", ""}, BODY(""), .status = 2},
};

static void test_answers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        const struct answer_case *a = &answers[i];
        struct grpc_call_client call = {0};
        struct grpc_reply reply = {0};
        char why_data[256];
        struct strbuf why = STRBUF_OF(why_data);
        for (unsigned h = 0; a->headers[h] != NULL; h += 2)
            grpc_call_client_take_header(&call, bytes_of_str(a->headers[h]), bytes_of_str(a->headers[h + 1]));
        int rc = grpc_call_client_judge(&call, bytes_of(a->body, a->body_len), &reply, &why);
        if (rc != a->rc || (rc == 0 && (reply.status != a->status || reply.body.len != a->reply_len)))
            fail_msg("%s: %d, status %u", a->name, rc, reply.status);
        assert_int_equal(why.len > 0, rc != 0);
        if (rc == 0 && a->message != NULL)
            assert_string_equal(reply.message, a->message);
    }
}

/* ---- the buffer beneath ---- */

static void test_a_buffer_grows_and_remembers_that_it_could_not(void **state)
{
    struct grow_buf b = {0};

    (void)state;
    for (unsigned i = 0; i < 10000; i++)
        grow_buf_add(&b, bytes_of("0123456789", i % 11));
    assert_false(b.has_failed);
    assert_memory_equal(b.data, "001012012301234", 15);
    size_t len = b.len;
    assert_null(grow_buf_extend(&b, SIZE_MAX / 2));
    grow_buf_add(&b, bytes_of("x", 1));
    assert_true(b.has_failed && b.len == len);
    grow_buf_reset(&b);
    grow_buf_add(&b, bytes_of("x", 1));
    assert_true(!b.has_failed && b.len == 1);
    grow_buf_fini(&b);
    assert_null(b.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_in_pieces_of_every_size),
        cmocka_unit_test(test_a_source_that_fails_is_no_end),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_a_buffer_grows_and_remembers_that_it_could_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
