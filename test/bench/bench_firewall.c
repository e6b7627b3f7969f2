/* What the firewall and the rate limiter cost: `bench_firewall RULES 4|6` loads so many rules in bulk, nearly all single addresses and
 * a few networks of four lengths, and prints time, memory per rule and nanoseconds per look-up, per change and per admission. Addresses
 * come in random order, so a large table is found in no cache. A look-up is what a worker does: pin, match, release. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench_random.h"
#include "clock.h"
#include "firewall.h"
#include "firewall_writer.h"
#include "rate_limit.h"
#include "tables.h"

#define LOOK_UPS  1000000u
#define CHANGES   100000u
#define RULES_MAX 5000000ul
#define BATCH     1024

struct bench {
    struct tables *tables;
    struct firewall_writer *rules;
    struct rate_table *rates;
    uint32_t rule_count;
    unsigned family;
};

/** The n-th address of a block that no other block shares: rules, strangers, addresses to add. */
static struct ip_addr make_addr(const struct bench *b, uint8_t block, uint32_t n)
{
    struct ip_addr addr = {.family = (uint8_t)b->family};

    if (b->family == 6)
        memcpy(addr.bytes, (const uint8_t[]){0x20, 0x01, 0x0d, 0xb8}, 4);
    addr.bytes[b->family == 4 ? 0 : 4] = block;
    for (unsigned i = 0; i < 3; i++)
        addr.bytes[(b->family == 4 ? 3 : 15) - i] = (uint8_t)(n >> (8 * i));
    return addr;
}

static struct firewall_rule address_rule(const struct bench *b, uint8_t block, uint32_t n)
{
    return (struct firewall_rule){
        .kind = FIREWALL_RULE_IP,
        .prefix = {.addr = make_addr(b, block, n), .prefix_len = b->family == 4 ? 32 : 128},
    };
}

static void add_networks(const struct bench *b, struct firewall_bulk *bulk)
{
    static const uint8_t lengths[2][4] = {{8, 16, 20, 24}, {32 + 8, 48, 56, 64}};

    for (unsigned i = 0; i < 4; i++) {
        uint8_t len = lengths[b->family == 6][i];
        struct ip_addr addr = make_addr(b, (uint8_t)(200 + i), 0);
        struct firewall_rule rule = {.kind = FIREWALL_RULE_CIDR,
                                     .prefix = {.addr = firewall_mask_addr(&addr, len), .prefix_len = len}};
        CHECK(firewall_bulk_add(bulk, &rule) == 0);
    }
}

static void bench_load(struct bench *b)
{
    const uint64_t shared = shm_arena_stats(&b->tables->arena).used_bytes;
    const uint64_t begin = clock_monotonic_ns();
    struct firewall_bulk *bulk = NULL;

    CHECK(firewall_bulk_begin(b->rules, b->family == 4 ? b->rule_count : 0, b->family == 6 ? b->rule_count : 0,
                              &bulk) == 0);
    for (uint32_t i = 0; i < b->rule_count; i++) {
        struct firewall_rule rule = address_rule(b, 10, i);
        CHECK(firewall_bulk_add(bulk, &rule) == 0);
    }
    add_networks(b, bulk);
    firewall_bulk_publish(&bulk);
    printf("rules %u, IPv%u\nbulk load    %8.3f s\n", b->rule_count, b->family,
           (double)(clock_monotonic_ns() - begin) / 1e9);
    printf("shared       %8.1f bytes per rule\n",
           (double)(shm_arena_stats(&b->tables->arena).used_bytes - shared) / b->rule_count);
}

static void bench_look_up(struct bench *b, const char *label, uint8_t block, enum firewall_verdict expected)
{
    const struct table_view *view = &b->tables->view;
    struct ip_addr addrs[BATCH];
    uint64_t ns = 0;

    for (unsigned done = 0; done < LOOK_UPS; done += BATCH) {
        for (unsigned i = 0; i < BATCH; i++)
            addrs[i] = make_addr(b, block, bench_random(b->rule_count));
        uint64_t begin = clock_monotonic_ns();
        for (unsigned i = 0; i < BATCH; i++) {
            const struct shm_root *root = table_pin(view);
            CHECK(firewall_match_addr(view->tables, root, &addrs[i]) == expected);
            table_release(view);
        }
        ns += clock_monotonic_ns() - begin;
    }
    printf("%-12s %8.0f ns\n", label, (double)ns / LOOK_UPS);
}

static void bench_changes(struct bench *b)
{
    uint64_t begin = clock_monotonic_ns();

    for (uint32_t i = 0; i < CHANGES; i++) {
        struct firewall_rule rule = address_rule(b, 11, i);
        CHECK(firewall_add(b->rules, &rule) == 0);
    }
    uint64_t middle = clock_monotonic_ns();
    for (uint32_t i = 0; i < CHANGES; i++) {
        struct firewall_rule rule = address_rule(b, 11, i);
        CHECK(firewall_remove(b->rules, &rule) == 0);
    }
    printf("add          %8.0f ns\nremove       %8.0f ns\n", (double)(middle - begin) / CHANGES,
           (double)(clock_monotonic_ns() - middle) / CHANGES);
}

static void bench_rates(struct bench *b, const char *label, uint32_t limit, uint32_t addresses)
{
    struct rate_rule rule = {.limit = limit, .window_ms = RATE_WINDOW_MS_MAX};
    uint64_t now = clock_monotonic_ns(), admitted = 0;

    firewall_writer_set_rate(b->rules, rule, b->rates, now);
    uint64_t begin = clock_monotonic_ns();
    for (uint32_t i = 0; i < LOOK_UPS; i++) {
        struct ip_addr addr = make_addr(b, 12, bench_random(addresses));
        admitted += rate_table_admit(b->rates, &b->tables->shm->rate, &addr, now);
    }
    printf("%-22s %4.0f ns, %.0f %% admitted\n", label, (double)(clock_monotonic_ns() - begin) / LOOK_UPS,
           100. * (double)admitted / LOOK_UPS);
}

int main(int argc, char **argv)
{
    static struct bench b;
    const struct tables_options options = {0};
    unsigned long rules = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;

    b.family = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    if (rules == 0 || rules > RULES_MAX || (b.family != 4 && b.family != 6)) {
        fprintf(stderr, "usage: bench_firewall RULES 4|6 (at most %lu rules)\n", RULES_MAX);
        return 2;
    }
    b.rule_count = (uint32_t)rules;
    b.rates = mmap(NULL, sizeof *b.rates, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(b.rates != MAP_FAILED && tables_new(&options, &b.tables) == 0 &&
          firewall_writer_new(b.tables, &b.rules) == 0);
    rate_table_init(b.rates, b.tables->shm->hash_seed);
    bench_load(&b);
    bench_look_up(&b, "blocked", 10, FIREWALL_BLOCKED_IP);
    bench_look_up(&b, "passed", 99, FIREWALL_PASS);
    bench_changes(&b);
    if (b.family == 4) { /* IPv6 counts by /64, of which these addresses have one */
        bench_rates(&b, "rate, one address", 2000000, 1);
        bench_rates(&b, "rate, refused", 1, 1);
        bench_rates(&b, "rate, many addresses", 100, 1000000);
    }
    firewall_writer_free(&b.rules);
    tables_free(&b.tables);
    munmap(b.rates, sizeof *b.rates);
    return 0;
}
