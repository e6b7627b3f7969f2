#ifndef FAKE_GRPC_H
#define FAKE_GRPC_H

/*
 * Calls without a transport: what grpc_server.h offers to methods, defined here, so that the real one is not linked. A test sends
 * messages in and looks at what was answered. Include behind cmocka.h.
 */

#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>
#include <string.h>

#include "grpc_server.h"

#define FAKE_ANSWERS_MAX 4096

struct grpc_call {
    struct grpc_call *next, **link; /* what points to us */
    const struct grpc_method *method;
    void *service;
    void *state;
    bool is_local;
    bool is_finished;
    enum grpc_status status;
    char message[4096];
    struct {
        uint8_t *data;
        size_t len;
    } answers[FAKE_ANSWERS_MAX];
    unsigned answer_count;
    bool is_making;
    size_t queued;
    size_t memory_left; /* for answers */
};

static struct grpc_call *fake_calls; /* that were not freed yet */

void *grpc_call_service(const struct grpc_call *call)
{
    return call->service;
}

void *grpc_call_state(const struct grpc_call *call)
{
    return call->state;
}

void grpc_call_set_state(struct grpc_call *call, void *state)
{
    call->state = state;
}

bool grpc_call_is_local(const struct grpc_call *call)
{
    return call->is_local;
}

const char *grpc_call_peer(const struct grpc_call *call)
{
    return call->is_local ? "unix" : "192.0.2.1:1000";
}

bool grpc_call_is_open(const struct grpc_call *call)
{
    return !call->is_finished;
}

uint8_t *grpc_call_make_message(struct grpc_call *call, size_t len)
{
    assert_false(call->is_finished);
    assert_false(call->is_making);
    assert_true(call->answer_count < FAKE_ANSWERS_MAX);
    if (len > call->memory_left)
        return NULL;
    uint8_t *data = malloc(len + 1); /* one more: never NULL */
    assert_non_null(data);
    call->memory_left -= len;
    call->is_making = true;
    call->answers[call->answer_count].data = data;
    call->answers[call->answer_count].len = len;
    return data;
}

void grpc_call_send_message(struct grpc_call *call)
{
    assert_true(call->is_making);
    call->is_making = false;
    call->queued += call->answers[call->answer_count++].len;
}

size_t grpc_call_queued_bytes(const struct grpc_call *call)
{
    return call->queued;
}

void grpc_call_finish(struct grpc_call *call, enum grpc_status status, const char *message)
{
    assert_false(call->is_finished);
    assert_false(call->is_making);
    call->is_finished = true;
    call->status = status;
    snprintf(call->message, sizeof call->message, "%s", message != NULL ? message : "");
}

/* ---- for the tests ---- */

static inline struct grpc_call *fake_call(const struct grpc_method *methods, void *service, const char *path)
{
    struct grpc_call *call = calloc(1, sizeof *call);

    assert_non_null(call);
    while (methods->path != NULL && strcmp(methods->path, path) != 0)
        methods++;
    assert_non_null(methods->path);
    *call = (struct grpc_call){.method = methods, .service = service, .is_local = true, .memory_left = 1u << 30};
    call->link = &fake_calls;
    call->next = fake_calls;
    if (call->next != NULL)
        call->next->link = &call->next;
    fake_calls = call;
    return call;
}

/** A message of the client's; in memory of its own, so that a read beyond its end is seen. */
static inline void fake_receive(struct grpc_call *call, const void *data, size_t len)
{
    uint8_t *copy = malloc(len);

    if (len > 0)
        memcpy(copy, data, len);
    if (!call->is_finished)
        call->method->on_message(call, bytes_of(copy, len));
    free(copy);
}

/** The same. */
static inline void fake_receive_message(struct grpc_call *call, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *data = malloc(len + 1);

    assert_non_null(data);
    protobuf_c_message_pack(message, data);
    fake_receive(call, data, len);
    free(data);
}

static inline void fake_end(struct grpc_call *call)
{
    if (!call->is_finished && call->method->on_end != NULL)
        call->method->on_end(call);
}

static inline void fake_free(struct grpc_call *call)
{
    if (call->method->on_gone != NULL)
        call->method->on_gone(call);
    assert_null(call->state);
    for (unsigned i = 0; i < call->answer_count; i++)
        free(call->answers[i].data);
    *call->link = call->next;
    if (call->next != NULL)
        call->next->link = call->link;
    free(call);
}

/** What a test that failed has left: the teardown is to tell of the failure, not of that. */
static inline void fake_free_all(void)
{
    while (fake_calls != NULL)
        fake_free(fake_calls);
}

static inline void *fake_answer(const struct grpc_call *call, unsigned i, const ProtobufCMessageDescriptor *type)
{
    assert_true(i < call->answer_count);
    void *message = protobuf_c_message_unpack(type, NULL, call->answers[i].len, call->answers[i].data);
    assert_non_null(message);
    return message;
}

#endif
