/* The calls of one connection: joins the HTTP/2 session with the methods. */

#include "grpc_session.h"

#include <stdlib.h>

#include "grpc_call.h"
#include "grpc_session_internal.h"
#include "h2_conn.h"
#include "strbuf.h"

#define GRPC_SESSION_MAGIC 0x73734773u

const struct grpc_limits grpc_limits_default = {
    .connections = 32,
    .remote_at_once = 200,
    .remote_a_second = 100,
    .handshake_ms = 10000,
    .newcomer_ms = 2000,
    .request_ms = 60000,
    .stall_ms = 30000,
    .farewell_ms = 30000,
    .linger_ms = 1000,
    .request_bytes = 64u << 20,
    .request_reserve = 16u << 20,
    .answer_bytes = 128u << 20,
    .answer_reserve = 32u << 20,
};

void grpc_shared_init(struct grpc_shared *shared, const struct grpc_limits *limits, const struct grpc_method *methods,
                      void *service)
{
    *shared = (struct grpc_shared){
        .methods = methods,
        .service = service,
        .limits = *limits,
        .requests = {.limit = limits->request_bytes, .reserve = limits->request_reserve},
        .answers = {.limit = limits->answer_bytes, .reserve = limits->answer_reserve},
    };
}

/* ---- streams ---- */

static struct grpc_session *session_check(void *object)
{
    struct grpc_session *s = object;

    CHECK_MAGIC(s, GRPC_SESSION_MAGIC);
    return s;
}

static void *on_open(void *context, int32_t id)
{
    struct grpc_session *s = session_check(context);
    struct grpc_call *call = grpc_call_new(s, id);

    if (call == NULL)
        return NULL;
    call->next = s->calls;
    if (s->calls != NULL)
        s->calls->prev = call;
    s->calls = call;
    s->call_count++;
    s->shared->open_calls++;
    return call;
}

static void on_close(void *stream)
{
    struct grpc_call *call = grpc_call_check(stream);
    struct grpc_session *s = call->session;

    if (call->prev != NULL)
        call->prev->next = call->next;
    else
        s->calls = call->next;
    if (call->next != NULL)
        call->next->prev = call->prev;
    s->call_count--;
    s->shared->open_calls--;
    grpc_call_free(call);
}

static const struct h2_events session_events = {
    .on_open = on_open,
    .on_header = grpc_request_on_header,
    .on_headers_end = grpc_request_on_headers_end,
    .on_data = grpc_request_on_data,
    .on_end = grpc_request_on_end,
    .on_send = grpc_answer_on_send,
    .on_close = on_close,
};

/* ---- life ---- */

struct grpc_session *grpc_session_new(struct grpc_shared *shared, bool is_local, const char *peer,
                                      void (*on_wake)(void *context), void *context, uint64_t now_ms)
{
    struct grpc_session *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->magic = GRPC_SESSION_MAGIC;
    s->shared = shared;
    s->is_local = is_local;
    s->peer = peer;
    s->on_wake = on_wake;
    s->context = context;
    s->now_ms = now_ms;
    s->h2 = h2_conn_new(&session_events, s, now_ms);
    if (s->h2 == NULL)
        grpc_session_free(&s);
    return s;
}

void grpc_session_free(struct grpc_session **session)
{
    struct grpc_session *s = *session;

    *session = NULL;
    if (s == NULL)
        return;
    (void)session_check(s);
    s->is_inside = true; /* whatever a method sends in its on_gone */
    while (s->calls != NULL)
        on_close(s->calls);
    h2_conn_free(&s->h2);
    s->magic = 0;
    free(s);
}

void grpc_session_wake(struct grpc_session *s)
{
    if (!s->is_inside)
        s->on_wake(s->context);
}

/* ---- bytes and time ---- */

static void session_enter(struct grpc_session *s, uint64_t now_ms)
{
    (void)session_check(s);
    CHECK(!s->is_inside);
    s->is_inside = true;
    s->now_ms = now_ms;
}

int grpc_session_receive(struct grpc_session *s, struct bytes in, uint64_t now_ms)
{
    session_enter(s, now_ms);
    int rc = h2_conn_receive(s->h2, in, now_ms);
    s->is_inside = false;
    return rc;
}

int grpc_session_produce(struct grpc_session *s, uint8_t *out, size_t capacity, size_t *len_out, uint64_t now_ms)
{
    session_enter(s, now_ms);
    int rc = h2_conn_produce(s->h2, out, capacity, len_out, now_ms);
    s->is_inside = false;
    return rc;
}

void grpc_session_tick(struct grpc_session *s, uint64_t now_ms)
{
    session_enter(s, now_ms);
    for (struct grpc_call *call = s->calls; call != NULL; call = call->next)
        grpc_call_tick(call, now_ms); /* calls are freed by the HTTP/2 session only, later */
    s->is_inside = false;
}

uint64_t grpc_session_due_ms(const struct grpc_session *s)
{
    uint64_t due = GRPC_NEVER;

    for (const struct grpc_call *call = s->calls; call != NULL; call = call->next) {
        uint64_t call_due = grpc_call_due_ms(call);
        due = call_due < due ? call_due : due;
    }
    return due;
}

bool grpc_session_wants_write(const struct grpc_session *s)
{
    return h2_conn_wants_write(s->h2);
}

bool grpc_session_is_over(const struct grpc_session *s)
{
    return h2_conn_is_over(s->h2);
}

bool grpc_session_is_established(const struct grpc_session *s)
{
    return h2_conn_is_established(s->h2);
}

bool grpc_session_is_in_headers(const struct grpc_session *s)
{
    return h2_conn_is_in_headers(s->h2);
}

const char *grpc_session_abuse(const struct grpc_session *s)
{
    return h2_conn_abuse(s->h2);
}

unsigned grpc_session_calls(const struct grpc_session *s)
{
    return s->call_count;
}

void grpc_session_say_goodbye(struct grpc_session *s)
{
    h2_conn_say_goodbye(s->h2);
    grpc_session_wake(s);
}
