/* What a backend answers first: the verdict does not depend on the pieces that the bytes arrive in, and comes by the end at last. */

#include "check.h"
#include "server_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct server_hello judge(struct bytes in, size_t largest, uint32_t seed)
{
    struct server_hello hello = {0};
    bool was_done = false;

    for (size_t at = 0; at < in.len;) {
        seed = seed * 1664525u + 1013904223u;
        size_t n = 1 + (seed >> 8) % largest;
        n = n < in.len - at ? n : in.len - at;
        bool is_done = server_hello_feed(&hello, bytes_of(in.ptr + at, n));
        CHECK(is_done == server_hello_is_done(&hello) && is_done >= was_done);
        CHECK(is_done || hello.outcome == HANDSHAKE_NONE);
        was_done = is_done;
        at += n;
    }
    server_hello_end(&hello);
    CHECK(server_hello_is_done(&hello) && (hello.outcome != HANDSHAKE_NONE || in.len == 0));
    return hello;
}

static void check_alike(const struct server_hello *a, const struct server_hello *b)
{
    CHECK(a->outcome == b->outcome && a->alert == b->alert && a->version == b->version && a->group == b->group);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    struct server_hello whole = judge(in, size + 1, 0), bytewise = judge(in, 1, 0);
    struct server_hello pieces = judge(in, 32, size > 0 ? (uint32_t)size * 2654435761u + data[size / 2] : 1);
    bool has_version = whole.outcome == HANDSHAKE_SERVER_HELLO || whole.outcome == HANDSHAKE_RETRY;

    check_alike(&whole, &bytewise);
    check_alike(&whole, &pieces);
    CHECK(has_version || (whole.version == 0 && whole.group == 0));
    CHECK(whole.alert == 0 || whole.outcome == HANDSHAKE_ALERT);
    return 0;
}
