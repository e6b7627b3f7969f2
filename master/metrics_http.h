#ifndef METRICS_HTTP_H
#define METRICS_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "bytes.h"

/*
 * The requests that the metrics endpoint understands: HTTP/1.1 and 1.0 (RFC 9112), GET and HEAD of /metrics, no body. Strict, as
 * nothing that asks for metrics writes anything unusual. Pure.
 */

#define METRICS_HTTP_MAX_BYTES 8192 /* of a request, its header section's end included */

enum metrics_http_result { METRICS_HTTP_MORE, METRICS_HTTP_DONE };

/** What a request deserves. */
struct metrics_http_request {
    /* 200; 400 malformed; 404 another path; 405 another method; 413 it has a body; 431 longer than METRICS_HTTP_MAX_BYTES; 505 another
     * major version */
    unsigned status;
    bool is_head;  /* the answer has no body */
    bool may_stay; /* the connection may serve another request, which begins behind len */
    size_t len;    /* of the request; where not all of it was understood: of what came */
};

/**
 * Look at the first request of what was received.
 *
 * @param in   at most METRICS_HTTP_MAX_BYTES; borrowed
 * @param out  set on METRICS_HTTP_DONE
 * @return METRICS_HTTP_MORE if more bytes are needed for a verdict, never once METRICS_HTTP_MAX_BYTES are there
 */
enum metrics_http_result metrics_http_parse(struct bytes in, struct metrics_http_request *out);

/** The reason phrase of a status above, static. */
const char *metrics_http_reason(unsigned status);

#endif
