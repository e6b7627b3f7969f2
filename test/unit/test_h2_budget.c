/* Token buckets, and the scanner that charges an HTTP/2 connection's frames to them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "h2_budget.h"
#include "h2_scan.h"

/* ---- buckets ---- */

static unsigned take_all(struct h2_budget *budget, enum h2_cost cost, uint64_t now_ms)
{
    unsigned count = 0;

    while (h2_budget_take(budget, cost, now_ms))
        count++;
    return count;
}

static void a_bucket_gives_what_it_holds_then_its_rate(void **state)
{
    struct h2_budget budget;

    (void)state;
    h2_budget_init(&budget, 5000);
    assert_int_equal(take_all(&budget, H2_COST_PING, 5000), 1000);
    assert_int_equal(take_all(&budget, H2_COST_PING, 5009), 0);
    assert_int_equal(take_all(&budget, H2_COST_PING, 5010), 1);
    assert_int_equal(take_all(&budget, H2_COST_PING, 6010), 100);
    assert_int_equal(take_all(&budget, H2_COST_PING, 8010), 200);
    assert_int_equal(take_all(&budget, H2_COST_PING, 100000), 1000); /* full, and no fuller */
}

static void buckets_do_not_share(void **state)
{
    struct h2_budget budget;

    (void)state;
    h2_budget_init(&budget, 0);
    assert_int_equal(take_all(&budget, H2_COST_RESET, 0), 1000);
    assert_int_equal(take_all(&budget, H2_COST_SETTINGS, 0), 1000);
    assert_int_equal(take_all(&budget, H2_COST_EMPTY, 0), 1000);
    assert_int_equal(take_all(&budget, H2_COST_OTHER, 0), 10000);
}

static void fractions_of_a_refill_are_not_lost(void **state)
{
    struct h2_budget budget;
    unsigned count = 0;

    (void)state;
    h2_budget_init(&budget, 0);
    (void)take_all(&budget, H2_COST_EMPTY, 0);
    for (uint64_t now = 1; now <= 10000; now++) /* a look every millisecond: a tenth of a token each */
        count += take_all(&budget, H2_COST_EMPTY, now);
    assert_int_equal(count, 1000);
}

static void odd_clocks_do_no_harm(void **state)
{
    struct h2_budget budget;

    (void)state;
    h2_budget_init(&budget, 1000);
    assert_int_equal(take_all(&budget, H2_COST_PING, 1000), 1000);
    assert_int_equal(take_all(&budget, H2_COST_PING, 10), 0);   /* back in time */
    assert_int_equal(take_all(&budget, H2_COST_PING, 1010), 1); /* and nothing was gained by it */
    assert_int_equal(take_all(&budget, H2_COST_PING, UINT64_MAX), 1000);
}

static void what_is_given_back_never_overflows(void **state)
{
    struct h2_budget budget;

    (void)state;
    h2_budget_init(&budget, 0);
    h2_budget_give(&budget, H2_COST_OTHER, 5);
    assert_int_equal(take_all(&budget, H2_COST_OTHER, 0), 10000);
    h2_budget_give(&budget, H2_COST_OTHER, 5);
    assert_int_equal(take_all(&budget, H2_COST_OTHER, 0), 5);
    h2_budget_give(&budget, H2_COST_OTHER, UINT32_MAX);
    assert_int_equal(take_all(&budget, H2_COST_OTHER, 0), 10000);
}

/* ---- scanning ---- */

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION };
#define END_STREAM  0x01
#define END_HEADERS 0x04
#define PADDED      0x08

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct wire {
    uint8_t data[1 << 20];
    size_t len;
};

static struct wire wire;

static void put_preface(void)
{
    wire.len = sizeof preface - 1;
    memcpy(wire.data, preface, wire.len);
}

static void put_frame(unsigned type, unsigned flags, const void *payload, size_t len)
{
    uint8_t *at = wire.data + wire.len;
    uint8_t header[H2_FRAME_HEADER_BYTES] = {
        (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, (uint8_t)type, (uint8_t)flags, 0, 0, 0, 1};

    assert_true(wire.len + sizeof header + len <= sizeof wire.data);
    memcpy(at, header, sizeof header);
    if (payload != NULL)
        memcpy(at + sizeof header, payload, len);
    else
        memset(at + sizeof header, 0, len);
    wire.len += sizeof header + len;
}

struct scan_case {
    const char *name;
    unsigned type, flags;
    size_t len;
    uint8_t first; /* of the payload */
    int cost;      /* -1: free */
};

static const struct scan_case scan_cases[] = {
    {"DATA", DATA, 0, 5, 'x', -1},
    {"empty DATA", DATA, 0, 0, 0, H2_COST_EMPTY},
    {"empty DATA that ends the stream", DATA, END_STREAM, 0, 0, -1},
    {"padded DATA", DATA, PADDED, 5, 3, -1},
    {"DATA of padding only", DATA, PADDED, 5, 4, H2_COST_EMPTY},
    {"DATA of a pad length only", DATA, PADDED, 1, 0, H2_COST_EMPTY},
    {"DATA with more padding than bytes", DATA, PADDED, 5, 200, H2_COST_EMPTY},
    {"padding that ends the stream", DATA, PADDED | END_STREAM, 5, 4, -1},
    {"HEADERS", HEADERS, END_HEADERS, 3, 0x82, -1},
    {"HEADERS without end", HEADERS, 0, 3, 0x82, -1},
    {"empty HEADERS", HEADERS, 0, 0, 0, H2_COST_EMPTY},
    {"empty trailers", HEADERS, END_HEADERS | END_STREAM, 0, 0, -1},
    {"CONTINUATION", CONTINUATION, 0, 1, 0, -1},
    {"empty CONTINUATION", CONTINUATION, 0, 0, 0, H2_COST_EMPTY},
    {"empty last CONTINUATION", CONTINUATION, END_HEADERS, 0, 0, H2_COST_EMPTY},
    {"RST_STREAM", RST_STREAM, 0, 4, 0, H2_COST_RESET},
    {"SETTINGS", SETTINGS, 0, 6, 0, H2_COST_SETTINGS},
    {"SETTINGS ACK", SETTINGS, 1, 0, 0, H2_COST_SETTINGS},
    {"PING", PING, 0, 8, 0, H2_COST_PING},
    {"PING ACK", PING, 1, 8, 0, H2_COST_PING},
    {"PRIORITY", PRIORITY, 0, 5, 0, H2_COST_OTHER},
    {"WINDOW_UPDATE", WINDOW_UPDATE, 0, 4, 1, H2_COST_OTHER},
    {"GOAWAY", GOAWAY, 0, 8, 0, H2_COST_OTHER},
    {"PUSH_PROMISE", PUSH_PROMISE, 0, 4, 0, H2_COST_OTHER},
    {"unknown", 0xbe, 0, 0, 0, H2_COST_OTHER},
};
#define SCAN_CASES (sizeof scan_cases / sizeof scan_cases[0])

static void put_case(const struct scan_case *c)
{
    uint8_t payload[16] = {c->first};

    put_frame(c->type, c->flags, payload, c->len);
}

static uint64_t spent(const struct h2_budget *budget, int cost)
{
    struct h2_budget fresh;

    h2_budget_init(&fresh, 0);
    return (fresh.buckets[cost].level - budget->buckets[cost].level) / 1000;
}

static void every_frame_costs_what_it_should(void **state)
{
    (void)state;
    for (size_t i = 0; i < SCAN_CASES; i++) {
        struct h2_scan scan;
        struct h2_budget budget;
        h2_scan_init(&scan);
        h2_budget_init(&budget, 0);
        put_preface();
        put_case(&scan_cases[i]);
        put_case(&scan_cases[i]);
        assert_int_equal(h2_scan_bytes(&scan, bytes_of(wire.data, wire.len), &budget, 0), H2_SCAN_OK);
        for (int cost = 0; cost < H2_COST_END; cost++) {
            if (spent(&budget, cost) != (cost == scan_cases[i].cost ? 2 : 0))
                fail_msg("%s: %d of %s", scan_cases[i].name, (int)spent(&budget, cost), h2_cost_word(cost));
        }
        assert_int_equal(scan.frames, 2);
    }
}

/* The same costs and counts, however the bytes are cut. */
static void cuts_make_no_difference(void **state)
{
    struct h2_scan whole, cut;
    struct h2_budget whole_budget, cut_budget;

    (void)state;
    put_preface();
    for (size_t i = 0; i < SCAN_CASES; i++)
        put_case(&scan_cases[i]);
    h2_scan_init(&whole);
    h2_budget_init(&whole_budget, 0);
    assert_int_equal(h2_scan_bytes(&whole, bytes_of(wire.data, wire.len), &whole_budget, 0), H2_SCAN_OK);
    assert_int_equal(whole.frames, SCAN_CASES);
    for (size_t piece = 1; piece < 40; piece++) {
        h2_scan_init(&cut);
        h2_budget_init(&cut_budget, 0);
        for (size_t at = 0; at < wire.len; at += piece) {
            size_t len = wire.len - at < piece ? wire.len - at : piece;
            uint8_t *exact = malloc(len); /* the address sanitizer sees a look beyond it */
            memcpy(exact, wire.data + at, len);
            assert_int_equal(h2_scan_bytes(&cut, bytes_of(exact, len), &cut_budget, 0), H2_SCAN_OK);
            free(exact);
        }
        assert_int_equal(cut.frames, SCAN_CASES);
        assert_memory_equal(&cut_budget, &whole_budget, sizeof cut_budget);
    }
}

static void a_flood_is_seen_at_the_first_frame_too_many(void **state)
{
    (void)state;
    for (size_t i = 0; i < SCAN_CASES; i++) {
        const struct scan_case *c = &scan_cases[i];
        struct h2_scan scan;
        struct h2_budget budget;
        unsigned count = 0;
        if (c->cost < 0 || c->type == CONTINUATION)
            continue;
        h2_scan_init(&scan);
        h2_budget_init(&budget, 0);
        put_preface();
        enum h2_scan_verdict verdict = h2_scan_bytes(&scan, bytes_of(wire.data, wire.len), &budget, 0);
        for (; verdict == H2_SCAN_OK && count < 20000; count++) {
            wire.len = 0;
            put_case(c);
            verdict = h2_scan_bytes(&scan, bytes_of(wire.data, wire.len), &budget, 0);
        }
        assert_int_equal(verdict, H2_SCAN_OVER_BUDGET);
        assert_int_equal(scan.over, c->cost);
        assert_int_equal(count, c->cost == H2_COST_OTHER ? 10001 : 1001);
    }
}

static enum h2_scan_verdict scan_block(size_t first, size_t each, unsigned count)
{
    struct h2_scan scan;
    struct h2_budget budget;

    h2_scan_init(&scan);
    h2_budget_init(&budget, 0);
    put_preface();
    put_frame(HEADERS, 0, NULL, first);
    for (unsigned i = 0; i < count; i++)
        put_frame(CONTINUATION, i == count - 1 ? END_HEADERS : 0, NULL, each);
    enum h2_scan_verdict verdict = h2_scan_bytes(&scan, bytes_of(wire.data, wire.len), &budget, 0);
    assert_true(verdict != H2_SCAN_OK || !scan.in_block);
    return verdict;
}

static void a_header_block_has_an_end(void **state)
{
    (void)state;
    assert_int_equal(scan_block(16384, 16384, 4), H2_SCAN_OK);
    assert_int_equal(scan_block(16384, 16384, 7), H2_SCAN_OK);
    assert_int_equal(scan_block(16384, 16384, 8), H2_SCAN_HEADERS);
    assert_int_equal(scan_block(1, 1, 999), H2_SCAN_OK);
    assert_int_equal(scan_block(1, 1, 1000), H2_SCAN_HEADERS);
    assert_int_equal(scan_block(1, 0, 999), H2_SCAN_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_gives_what_it_holds_then_its_rate),
        cmocka_unit_test(buckets_do_not_share),
        cmocka_unit_test(fractions_of_a_refill_are_not_lost),
        cmocka_unit_test(odd_clocks_do_no_harm),
        cmocka_unit_test(what_is_given_back_never_overflows),
        cmocka_unit_test(every_frame_costs_what_it_should),
        cmocka_unit_test(cuts_make_no_difference),
        cmocka_unit_test(a_flood_is_seen_at_the_first_frame_too_many),
        cmocka_unit_test(a_header_block_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
