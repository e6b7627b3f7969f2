/* gRPC's messages, statuses and their texts, from the client's side. */

#include "grpc_call_client.h"

#include <string.h>

#include "client_text.h"
#include "err.h"

#define STATUS_UNKNOWN      2
#define STATUS_INVALID_TEXT 1000

/* ---- what goes ---- */

/** Begin with the next message; false if there is none (is_sent), or cannot be (source_error). */
static bool begin_message(struct grpc_call_client *call)
{
    int rc = call->is_sent ? 0 : call->next(call->context, &call->message);

    if (rc <= 0) {
        call->is_sent = rc == 0;
        call->source_error = rc;
        return false;
    }
    uint32_t len = (uint32_t)call->message.len;
    const uint8_t prefix[GRPC_PREFIX_BYTES] = {0, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
                                               (uint8_t)len};
    memcpy(call->prefix, prefix, sizeof prefix);
    call->prefix_left = GRPC_PREFIX_BYTES;
    return true;
}

static size_t take_bytes(struct grpc_call_client *call, uint8_t *out, size_t room)
{
    size_t n = room < call->prefix_left ? room : call->prefix_left;

    memcpy(out, call->prefix + GRPC_PREFIX_BYTES - call->prefix_left, n);
    call->prefix_left -= n;
    size_t body = room - n < call->message.len ? room - n : call->message.len;
    if (body > 0)
        memcpy(out + n, call->message.ptr, body);
    call->message = bytes_of(call->message.ptr + body, call->message.len - body);
    return n + body;
}

size_t grpc_call_client_fill(struct grpc_call_client *call, uint8_t *out, size_t room)
{
    size_t done = 0;

    while (done < room && (call->prefix_left > 0 || call->message.len > 0 || begin_message(call)))
        done += take_bytes(call, out + done, room - done);
    return done;
}

/* ---- what comes ---- */

/** Decimal of up to three digits; anything else is STATUS_INVALID_TEXT. */
static unsigned parse_status(struct bytes text)
{
    unsigned value = 0;

    if (text.len == 0 || text.len > 3)
        return STATUS_INVALID_TEXT;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return STATUS_INVALID_TEXT;
        value = value * 10 + (unsigned)(text.ptr[i] - '0');
    }
    return value;
}

void grpc_call_client_take_header(struct grpc_call_client *call, struct bytes name, struct bytes value)
{
    struct strbuf message = STRBUF_OF(call->message_text);

    if (bytes_equal_str(name, ":status")) {
        call->http_status = parse_status(value);
    } else if (bytes_equal_str(name, "grpc-status")) {
        call->has_status = true;
        call->status = parse_status(value);
    } else if (bytes_equal_str(name, "grpc-message")) {
        client_text_decode_message(value, &message);
    }
}

/** The one message of a good answer. */
static int take_body(struct bytes body, struct grpc_reply *reply, struct strbuf *why)
{
    struct reader r = reader_of(body);
    uint8_t is_compressed = reader_u8(&r);
    size_t len = reader_u32(&r);

    reply->body = reader_slice(&r, len);
    if (reader_is_done(&r) && is_compressed == 0)
        return 0;
    strbuf_add(why, "the answer is no message of gRPC");
    return ERR_PROTOCOL;
}

int grpc_call_client_judge(const struct grpc_call_client *call, struct bytes body, struct grpc_reply *reply_out,
                           struct strbuf *why)
{
    if (!call->has_status) {
        strbuf_addf(why, "what answers is no gRPC server (HTTP status %u); is this the address of the admin API?",
                    call->http_status);
        return ERR_PROTOCOL;
    }
    *reply_out = (struct grpc_reply){.status = call->status == STATUS_INVALID_TEXT ? STATUS_UNKNOWN : call->status};
    memcpy(reply_out->message, call->message_text, sizeof reply_out->message);
    return call->status == 0 && !call->has_no_body ? take_body(body, reply_out, why) : 0;
}
