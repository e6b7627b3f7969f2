/* What the route table costs: `bench_tables ROUTES BACKENDS` loads so many routes on so many backends in bulk and prints the time,
 * the memory per route, and nanoseconds per look-up and per change. Names have 25 bytes and are asked for in random order, so a
 * large table is found in no cache. A look-up is what a worker does: pin, match, release. */

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend_set.h"
#include "bench_random.h"
#include "clock.h"
#include "route_table.h"
#include "route_writer.h"
#include "tables.h"

#define LISTENER   0
#define BATCH      1024 /* names made at a time, while no clock runs */
#define BATCHES    500
#define ROUTES_MAX 5000000ul

struct bench {
    struct tables *tables;
    struct backend_set *backends;
    struct route_writer *routes;
    uint32_t route_count, backend_count;
    struct host_pattern names[BATCH];
    struct backend_addr addrs[BATCH];
};

static void make_name(uint32_t number, struct host_pattern *out)
{
    int len = snprintf(out->name, sizeof out->name, "sv%07u.z%02u.example.com", number, number % 100);

    CHECK(len == 25);
    out->kind = HOST_PATTERN_EXACT;
    out->len = (uint8_t)len;
}

static struct backend_addr make_backend(uint32_t number)
{
    return (struct backend_addr){
        .kind = BACKEND_IP,
        .port = 8443,
        .addr = {.family = 4, .bytes = {10, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number}},
    };
}

static void load(struct bench *b)
{
    struct route_bulk *bulk = NULL;
    struct host_pattern name;

    CHECK(route_bulk_begin(b->routes, b->route_count, &bulk) == 0);
    for (uint32_t i = 0; i < b->route_count; i++) {
        struct backend_addr addr = make_backend(i % b->backend_count);
        make_name(i, &name);
        CHECK(route_bulk_add(bulk, LISTENER, &name, &addr, false) == 0);
    }
    route_bulk_publish(&bulk);
}

static void bench_load(struct bench *b)
{
    const uint64_t shared = shm_arena_stats(&b->tables->arena).used_bytes;
    const struct mallinfo2 heap = mallinfo2();
    const uint64_t begin = clock_monotonic_ns();

    load(b);
    const double seconds = (double)(clock_monotonic_ns() - begin) / 1e9;
    const struct mallinfo2 now = mallinfo2();
    const size_t heap_bytes = now.uordblks + now.hblkhd - heap.uordblks - heap.hblkhd;
    printf("routes %u, backends %u\n", b->route_count, b->backend_count);
    printf("bulk load    %8.3f s\n", seconds);
    printf("shared       %8.1f bytes per route\n",
           (double)(shm_arena_stats(&b->tables->arena).used_bytes - shared) / b->route_count);
    printf("heap         %8.1f bytes per route\n", (double)heap_bytes / b->route_count);
}

/** Random names: of routes that are there, or of none. */
static void make_batch(struct bench *b, uint32_t first)
{
    for (unsigned i = 0; i < BATCH; i++) {
        make_name(first + bench_random(b->route_count), &b->names[i]);
        b->addrs[i] = make_backend(bench_random(b->backend_count));
    }
}

static void bench_look_up(struct bench *b, const char *label, uint32_t first, bool expected)
{
    const struct table_view *view = &b->tables->view;
    uint64_t ns = 0;

    for (unsigned batch = 0; batch < BATCHES; batch++) {
        make_batch(b, first);
        uint64_t begin = clock_monotonic_ns();
        for (unsigned i = 0; i < BATCH; i++) {
            struct route_match match;
            const struct shm_root *root = table_pin(view);
            struct bytes name = bytes_of(b->names[i].name, b->names[i].len);
            bool found = route_match_name(view->tables, root, LISTENER, name, &match);
            CHECK(found == expected && (!found || match.backend->kind == BACKEND_IP));
            table_release(view);
        }
        ns += clock_monotonic_ns() - begin;
    }
    printf("%-12s %8.0f ns\n", label, (double)ns / BATCH / BATCHES);
}

static int put(struct bench *b, unsigned i)
{
    return route_put(b->routes, LISTENER, &b->names[i], &b->addrs[i], false, NULL);
}

static int drop(struct bench *b, unsigned i)
{
    return route_remove(b->routes, LISTENER, &b->names[i]);
}

/** Changes one after the other, the freeing of what they replaced included. */
static uint64_t change_batch(struct bench *b, int (*change)(struct bench *b, unsigned i))
{
    uint64_t begin = clock_monotonic_ns();

    for (unsigned i = 0; i < BATCH; i++)
        CHECK(change(b, i) == 0);
    while (tables_reclaim(b->tables) > 0)
        continue;
    return clock_monotonic_ns() - begin;
}

static void bench_changes(struct bench *b)
{
    uint64_t put_ns = 0, replace_ns = 0, remove_ns = 0;

    for (unsigned batch = 0; batch < BATCHES; batch++) {
        make_batch(b, 0);
        replace_ns += change_batch(b, put);
        make_batch(b, 0);
        for (unsigned i = 0; i < BATCH; i++)
            make_name(b->route_count + batch * BATCH + i, &b->names[i]);
        put_ns += change_batch(b, put);
        remove_ns += change_batch(b, drop);
    }
    printf("put          %8.0f ns\nreplace      %8.0f ns\nremove       %8.0f ns\n", (double)put_ns / BATCH / BATCHES,
           (double)replace_ns / BATCH / BATCHES, (double)remove_ns / BATCH / BATCHES);
}

int main(int argc, char **argv)
{
    static struct bench b;
    const struct tables_options options = {0};
    unsigned long routes = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
    unsigned long backends = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;

    if (routes == 0 || routes > ROUTES_MAX || backends == 0 || backends > routes) {
        fprintf(stderr, "usage: bench_tables ROUTES BACKENDS (at most %lu routes, and not more backends)\n",
                ROUTES_MAX);
        return 2;
    }
    b.route_count = (uint32_t)routes;
    b.backend_count = (uint32_t)backends;
    CHECK(tables_new(&options, &b.tables) == 0);
    CHECK(backend_set_new(b.tables, &b.backends) == 0);
    CHECK(route_writer_new(b.tables, b.backends, &b.routes) == 0);
    bench_load(&b);
    bench_look_up(&b, "hit", 0, true);
    bench_look_up(&b, "miss", b.route_count, false);
    bench_changes(&b);
    route_writer_free(&b.routes);
    backend_set_free(&b.backends);
    tables_free(&b.tables);
    return 0;
}
