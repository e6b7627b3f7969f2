/* Requests to the metrics endpoint: any bytes end in a verdict or want more, and a verdict says how much was looked at. */

#include "check.h"
#include "metrics_http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metrics_http_request request, again;

    if (size > METRICS_HTTP_MAX_BYTES)
        size = METRICS_HTTP_MAX_BYTES;
    if (metrics_http_parse(bytes_of(data, size), &request) == METRICS_HTTP_MORE) {
        CHECK(size < METRICS_HTTP_MAX_BYTES);
        return 0;
    }
    CHECK(request.len >= 1 && request.len <= size && metrics_http_reason(request.status) != NULL);
    CHECK(request.status == 200 || request.status >= 400);
    if (!request.may_stay)
        return 0;
    /* What is behind a request changes nothing about it. */
    CHECK(metrics_http_parse(bytes_of(data, request.len), &again) == METRICS_HTTP_DONE);
    CHECK(again.status == request.status && again.len == request.len && again.is_head == request.is_head);
    return 0;
}
