/* The whole HTTP/2 and gRPC server over a byte stream, with the echo service behind it: whatever comes, every call is told of its
 * end, no memory is left and the budgets are kept.
 *
 * Input: a byte for how it is cut and how fast the clock runs, then the client's bytes behind the connection preface. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/grpc_echo.h"
#include "check.h"
#include "grpc_session.h"

#define OUT_MAX   16384
#define TURNS     64 /* of up to OUT_MAX bytes to send */
#define FAR_AHEAD 100000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static void on_wake(void *context)
{
    (void)context;
}

static int take_output(struct grpc_session *session, uint64_t now)
{
    uint8_t out[OUT_MAX];
    size_t len = 1;
    int rc = 0;

    for (unsigned i = 0; i < TURNS && len > 0; i++) {
        rc = grpc_session_produce(session, out, sizeof out, &len, now);
        CHECK(len <= sizeof out);
    }
    return rc;
}

static void check_budgets(const struct grpc_shared *shared)
{
    CHECK(shared->requests.used <= shared->requests.limit - shared->requests.reserve);
    CHECK(shared->answers.used <= shared->answers.limit - shared->answers.reserve);
    CHECK(shared->open_calls <= GRPC_STREAMS_MAX);
}

static void feed(struct grpc_session *session, const struct grpc_shared *shared, struct bytes in, uint8_t how)
{
    size_t piece = (how & 7) == 0 ? in.len : (size_t)(how & 7);
    uint64_t now = 1000;
    int rc = grpc_session_receive(session, bytes_of(preface, sizeof preface - 1), now);

    while (in.len > 0 && rc == 0) {
        size_t len = in.len < piece ? in.len : piece;
        rc = grpc_session_receive(session, bytes_of(in.ptr, len), now);
        in = bytes_of(in.ptr + len, in.len - len);
        rc = rc != 0 ? rc : take_output(session, now);
        grpc_session_tick(session, now);
        now += (uint64_t)(how >> 3) * 8;
        check_budgets(shared);
    }
    (void)take_output(session, now);
    grpc_session_tick(session, now + FAR_AHEAD);
    (void)take_output(session, now + FAR_AHEAD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct grpc_echo echo = {0};
    struct grpc_limits limits = grpc_limits_default;
    struct grpc_shared shared;

    if (size < 1)
        return 0;
    limits.request_bytes = limits.answer_bytes = 1 << 20;
    limits.request_reserve = limits.answer_reserve = 1 << 18;
    grpc_shared_init(&shared, &limits, grpc_echo_methods, &echo);
    struct grpc_session *session = grpc_session_new(&shared, false, "fuzz", on_wake, NULL, 1000);
    CHECK(session != NULL);
    feed(session, &shared, bytes_of(data + 1, size - 1), data[0]);
    grpc_session_free(&session);
    CHECK(echo.held == 0 && shared.requests.used == 0 && shared.answers.used == 0 && shared.open_calls == 0);
    return 0;
}
