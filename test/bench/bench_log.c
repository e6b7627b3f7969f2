/* What an access line costs: building its record and writing it to the ring (the worker), formatting it (the master). Prints
 * nanoseconds per line, the best of five rounds. */

#include <stdio.h>
#include <stdlib.h>

#include "bytes.h"
#include "check.h"
#include "clock.h"
#include "log_event.h"
#include "log_format.h"
#include "log_ring.h"
#include "strbuf.h"

#define RING_BYTES (1ull << 20)
#define LINES      2000 /* of one burst; all fit into the ring */
#define BURSTS     200
#define ROUNDS     5

/** The fields of an access line, twelve with the reason and a detail. */
static void log_line(uint64_t number)
{
    static const struct ip_endpoint client = {.addr = {.family = 4, .bytes = {192, 0, 2, 1}}, .port = 50000};
    struct log_event e;

    log_event_begin(&e, LOG_INFO, "connection");
    log_event_u64(&e, LOG_KEY_CONN, number);
    log_event_cstr(&e, LOG_KEY_LISTENER, "127.0.0.1:8443");
    log_event_endpoint(&e, LOG_KEY_CLIENT, &client);
    log_event_cstr(&e, LOG_KEY_SNI, "www.example.com");
    log_event_cstr(&e, LOG_KEY_BACKEND, "10.0.0.5:8443");
    log_event_u64(&e, LOG_KEY_BYTES_IN, 517 + number);
    log_event_u64(&e, LOG_KEY_BYTES_OUT, 1024 + number);
    log_event_u64(&e, LOG_KEY_DURATION_MS, number % 1000);
    log_event_u64(&e, LOG_KEY_WORKER, 3);
    log_event_cstr(&e, LOG_KEY_REASON, "client_closed");
    log_event_cstr(&e, LOG_KEY_ALPN, "h2,http/1.1");
    log_event_cstr(&e, LOG_KEY_DETAIL, "nothing in particular");
    log_event_end(&e);
}

/** What one burst took, in nanoseconds. */
struct burst {
    uint64_t write_ns, read_ns, text_ns, json_ns;
};

static uint64_t format_all(uint8_t records[][LOG_RING_RECORD_MAX], const size_t *lens, enum log_format format)
{
    static char line[LOG_LINE_MAX_BYTES + 1];
    uint64_t begin = clock_monotonic_ns();

    for (unsigned i = 0; i < LINES; i++) {
        struct strbuf out = STRBUF_OF(line);
        log_format_record(bytes_of(records[i], lens[i]), format, &out);
        CHECK(out.len > 0 && !out.overflowed);
    }
    return clock_monotonic_ns() - begin;
}

static void run_burst(struct log_ring_reader *reader, struct burst *sum)
{
    static uint8_t records[LINES][LOG_RING_RECORD_MAX];
    static size_t lens[LINES];
    uint64_t begin = clock_monotonic_ns();

    for (unsigned i = 0; i < LINES; i++)
        log_line(i);
    uint64_t written = clock_monotonic_ns();
    for (unsigned i = 0; i < LINES; i++) {
        lens[i] = log_ring_read(reader, records[i], sizeof records[i]);
        CHECK(lens[i] > 0);
    }
    sum->write_ns += written - begin;
    sum->read_ns += clock_monotonic_ns() - written;
    sum->text_ns += format_all(records, lens, LOG_FORMAT_TEXT);
    sum->json_ns += format_all(records, lens, LOG_FORMAT_JSON);
}

static void keep_least(uint64_t *least, uint64_t value)
{
    if (*least == 0 || value < *least)
        *least = value;
}

int main(void)
{
    const uint64_t bytes = log_ring_segment_bytes(RING_BYTES);
    void *mapping = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    struct log_ring_reader reader;
    struct burst best = {0};

    CHECK(mapping != NULL);
    log_ring_reader_init(&reader, mapping, bytes);
    struct log_ring *ring = log_ring_attach(mapping, bytes);
    CHECK(ring != NULL);
    log_set_sink(log_ring_sink, ring);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct burst sum = {0};
        for (unsigned burst = 0; burst < BURSTS; burst++)
            run_burst(&reader, &sum);
        keep_least(&best.write_ns, sum.write_ns);
        keep_least(&best.read_ns, sum.read_ns);
        keep_least(&best.text_ns, sum.text_ns);
        keep_least(&best.json_ns, sum.json_ns);
    }
    CHECK(log_ring_take_dropped(&reader) == 0);
    const double lines = (double)LINES * BURSTS;
    printf("record and ring write  %5.0f ns\nring read              %5.0f ns\nlogfmt                 %5.0f ns\n"
           "JSON                   %5.0f ns\n",
           (double)best.write_ns / lines, (double)best.read_ns / lines, (double)best.text_ns / lines,
           (double)best.json_ns / lines);
    free(mapping);
    return 0;
}
