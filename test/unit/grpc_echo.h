#ifndef GRPC_ECHO_H
#define GRPC_ECHO_H

#include <ev.h>
#include <stdlib.h>
#include <string.h>

#include "grpc_server.h"

/*
 * A small service for tests of the transport. What it answers is bytes without further meaning:
 *
 *     Unary    the message back                          Later    the same, 50 ms later
 *     Stream   "count size" in text: so many messages    Silent   nothing, ever
 *     Collect  "messages bytes" of what came             Chat     every message back as it comes
 *     Fail     one byte of status, the message           Counts   the server's dump
 */
struct grpc_echo {
    struct ev_loop *loop;             /* NULL: Later answers at once */
    const struct grpc_server *server; /* for Counts; may be NULL */
    unsigned messages, ends, gone;    /* calls of the callbacks so far */
    unsigned held;                    /* states not freed yet */
};

struct grpc_echo_call {
    ev_timer later;
    struct grpc_call *call;
    uint64_t messages, bytes;
    uint64_t left, size; /* Stream */
};

static inline struct grpc_echo_call *echo_state(struct grpc_call *call)
{
    struct grpc_echo *echo = grpc_call_service(call);
    struct grpc_echo_call *state = grpc_call_state(call);

    if (state == NULL) {
        state = calloc(1, sizeof *state);
        CHECK(state != NULL);
        state->call = call;
        grpc_call_set_state(call, state);
        echo->held++;
    }
    return state;
}

static inline bool echo_send(struct grpc_call *call, struct bytes message)
{
    uint8_t *out = grpc_call_make_message(call, message.len);

    if (out == NULL) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "too many answers");
        return false;
    }
    if (message.len > 0)
        memcpy(out, message.ptr, message.len);
    grpc_call_send_message(call);
    return true;
}

static inline void echo_reply(struct grpc_call *call, struct bytes message)
{
    if (echo_send(call, message))
        grpc_call_finish(call, GRPC_OK, NULL);
}

static inline void echo_count(struct grpc_call *call, struct bytes message)
{
    struct grpc_echo *echo = grpc_call_service(call);

    echo->messages++;
    echo_state(call)->messages++;
    echo_state(call)->bytes += message.len;
}

static inline void echo_on_unary(struct grpc_call *call, struct bytes message)
{
    echo_count(call, message);
    echo_reply(call, message);
}

static inline void echo_on_later_timer(EV_P_ ev_timer *timer, int revents)
{
    struct grpc_echo_call *state = timer->data;

    (void)loop;
    (void)revents;
    echo_reply(state->call, bytes_of("later", 5));
}

static inline void echo_on_later(struct grpc_call *call, struct bytes message)
{
    struct grpc_echo *echo = grpc_call_service(call);
    struct grpc_echo_call *state = echo_state(call);

    echo_count(call, message);
    if (echo->loop == NULL) {
        echo_reply(call, message);
        return;
    }
    ev_timer_init(&state->later, echo_on_later_timer, 0.05, 0.);
    state->later.data = state;
    ev_timer_start(echo->loop, &state->later);
}

/* All at once: how much of it may wait is the transport's business. */
static inline void echo_on_stream(struct grpc_call *call, struct bytes message)
{
    char text[64] = {0};
    unsigned long count = 0, size = 0;
    bool goes_on = true;

    echo_count(call, message);
    memcpy(text, message.ptr, message.len < sizeof text - 1 ? message.len : sizeof text - 1);
    char *end = text;
    count = strtoul(text, &end, 10);
    size = strtoul(end, NULL, 10) & 0xffffff;
    for (unsigned long i = 0; i < count && i < 100000 && goes_on; i++) {
        uint8_t *out = grpc_call_make_message(call, size);
        goes_on = out != NULL;
        if (goes_on) {
            memset(out, 'x', size);
            grpc_call_send_message(call);
        }
    }
    grpc_call_finish(call, goes_on ? GRPC_OK : GRPC_RESOURCE_EXHAUSTED, goes_on ? NULL : "too many answers");
}

static inline void echo_on_chat(struct grpc_call *call, struct bytes message)
{
    echo_count(call, message);
    (void)echo_send(call, message);
}

static inline void echo_on_chat_end(struct grpc_call *call)
{
    ((struct grpc_echo *)grpc_call_service(call))->ends++;
    grpc_call_finish(call, GRPC_OK, NULL);
}

static inline void echo_on_collect_end(struct grpc_call *call)
{
    struct grpc_echo_call *state = echo_state(call);
    char data[64];
    struct strbuf text = STRBUF_OF(data);

    ((struct grpc_echo *)grpc_call_service(call))->ends++;
    strbuf_addf(&text, "%llu %llu", (unsigned long long)state->messages, (unsigned long long)state->bytes);
    echo_reply(call, bytes_of(data, text.len));
}

static inline void echo_on_fail(struct grpc_call *call, struct bytes message)
{
    char text[4096] = {0};

    echo_count(call, message);
    if (message.len > 1)
        memcpy(text, message.ptr + 1, message.len - 1 < sizeof text - 1 ? message.len - 1 : sizeof text - 1);
    grpc_call_finish(call, message.len > 0 ? (enum grpc_status)message.ptr[0] : GRPC_UNKNOWN, text);
}

static inline void echo_on_counts(struct grpc_call *call, struct bytes message)
{
    struct grpc_echo *echo = grpc_call_service(call);
    char data[512];
    struct strbuf text = STRBUF_OF(data);

    echo_count(call, message);
    if (echo->server != NULL)
        grpc_server_dump(echo->server, &text);
    strbuf_addf(&text, " messages=%u gone=%u held=%u", echo->messages, echo->gone, echo->held);
    echo_reply(call, bytes_of(data, text.len));
}

static inline void echo_on_gone(struct grpc_call *call)
{
    struct grpc_echo *echo = grpc_call_service(call);
    struct grpc_echo_call *state = grpc_call_state(call);

    echo->gone++;
    if (state == NULL)
        return;
    if (echo->loop != NULL)
        ev_timer_stop(echo->loop, &state->later);
    free(state);
    grpc_call_set_state(call, NULL);
    echo->held--;
}

/* clang-format off */
static const struct grpc_method grpc_echo_methods[] = {
    {.path = "/echo.Echo/Unary",   .on_message = echo_on_unary,  .on_gone = echo_on_gone},
    {.path = "/echo.Echo/Later",   .on_message = echo_on_later,  .on_gone = echo_on_gone},
    {.path = "/echo.Echo/Silent",  .on_message = echo_count,     .on_gone = echo_on_gone},
    {.path = "/echo.Echo/Stream",  .on_message = echo_on_stream, .on_gone = echo_on_gone},
    {.path = "/echo.Echo/Fail",    .on_message = echo_on_fail,   .on_gone = echo_on_gone},
    {.path = "/echo.Echo/Counts",  .on_message = echo_on_counts, .on_gone = echo_on_gone},
    {.path = "/echo.Echo/Collect", .is_client_streaming = true, .on_message = echo_count, .on_end = echo_on_collect_end,
     .on_gone = echo_on_gone},
    {.path = "/echo.Echo/Chat",    .is_client_streaming = true, .on_message = echo_on_chat, .on_end = echo_on_chat_end,
     .on_gone = echo_on_gone},
    {.path = NULL},
};
/* clang-format on */

#endif
