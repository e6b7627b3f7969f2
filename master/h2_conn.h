#ifndef H2_CONN_H
#define H2_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"

/*
 * The server's end of an HTTP/2 connection (RFC 9113), bytes in and bytes out: no socket, no clock, no event loop. Every frame is
 * charged to the connection's budgets before it is acted on. The only user of nghttp2 on the server's side.
 */
struct h2_conn;

struct h2_header {
    const char *name; /* lower case */
    const char *value;
};

/**
 * What happens to streams, each known by the object that on_open returned. All are called from within h2_conn_receive(),
 * h2_conn_produce() or h2_conn_free(); they may call everything below but these three.
 */
struct h2_events {
    /** A request begins. NULL: no memory for it, it is refused. */
    void *(*on_open)(void *context, int32_t id);
    /** Of the request; trailers are not handed on. */
    void (*on_header)(void *stream, struct bytes name, struct bytes value);
    void (*on_headers_end)(void *stream);
    void (*on_data)(void *stream, struct bytes data);
    /** The client's side is finished. Not called when the stream ends otherwise. */
    void (*on_end)(void *stream);
    /**
     * Room for up to capacity bytes of the answer's body. Returns how many were written; 0 without *is_last: nothing now,
     * h2_conn_resume() when there is. With *is_last the handler has called h2_conn_trailers().
     */
    size_t (*on_send)(void *stream, uint8_t *out, size_t capacity, bool *is_last);
    /** Over, for whatever reason; the stream is forgotten. */
    void (*on_close)(void *stream);
};

/** @param events  borrowed, stays. @return NULL without memory */
struct h2_conn *h2_conn_new(const struct h2_events *events, void *context, uint64_t now_ms);

/** Streams that are still open are forgotten without on_close: the caller knows them. Accepts NULL; clears the caller's pointer. */
void h2_conn_free(struct h2_conn **conn);

/**
 * Bytes from the client, cut anywhere.
 *
 * @return 0; ERR_PROTOCOL, ERR_FULL (a budget is exceeded, see h2_conn_abuse()), ERR_NO_MEMORY: the connection is over; send what
 *         h2_conn_produce() still has, which tells the client why, and close
 */
int h2_conn_receive(struct h2_conn *conn, struct bytes in, uint64_t now_ms) MUST_CHECK;

/**
 * Bytes for the client.
 *
 * @param len_out  how many; 0: nothing now
 * @return 0, or as h2_conn_receive()
 */
int h2_conn_produce(struct h2_conn *conn, uint8_t *out, size_t capacity, size_t *len_out, uint64_t now_ms) MUST_CHECK;

/** Has h2_conn_produce() something? */
bool h2_conn_wants_write(const struct h2_conn *conn);
/** Nothing will come of it any more, in either direction. */
bool h2_conn_is_over(const struct h2_conn *conn);
/** Have the client's preface and first SETTINGS come? */
bool h2_conn_is_established(const struct h2_conn *conn);
/** Is a header block under way? A peer that stops in the middle of one holds memory without having a stream. */
bool h2_conn_is_in_headers(const struct h2_conn *conn);
/** Which budget was exceeded, static; NULL: none. */
const char *h2_conn_abuse(const struct h2_conn *conn);

/** Begin the answer: with a body (on_send is asked for it), or with headers only. A stream that is gone already is none of our worries. */
void h2_conn_respond(struct h2_conn *conn, int32_t id, const struct h2_header *headers, size_t count, bool has_body);
/** The end of an answer with a body; from within on_send. */
void h2_conn_trailers(struct h2_conn *conn, int32_t id, const struct h2_header *headers, size_t count);
/** There is something for on_send again. */
void h2_conn_resume(struct h2_conn *conn, int32_t id);
/** End a stream at once (RST_STREAM, CANCEL). */
void h2_conn_cancel(struct h2_conn *conn, int32_t id);
/** No new streams; those that are open may finish (GOAWAY). */
void h2_conn_say_goodbye(struct h2_conn *conn);

#endif
