/* What a change costs, from request to published: `bench_changes ROUTES FOLDER` makes a database in a new folder in FOLDER, fills it
 * with so many routes by batches, and prints seconds per batch and the median and the 99th percentile of single changes. Once with
 * every commit synced to that folder's disk, once with synchronous=OFF, which leaves all but the waiting for the disk. */

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench_random.h"
#include "clock.h"
#include "config.h"
#include "shm_layout.h"
#include "state.h"
#include "state_change.h"
#include "state_internal.h"
#include "store_internal.h"

#define BATCH      100000u
#define SINGLES    4000u
#define ROUTES_MAX 5000000ul

struct texts {
    char hostname[32];
    char backend[32];
};

static struct state *state;
static struct texts *texts;
static struct state_change *changes;

static struct state_change make_change(enum state_change_kind kind, uint32_t number, uint32_t backend, struct texts *t)
{
    int name_len = snprintf(t->hostname, sizeof t->hostname, "sv%07u.z%02u.example.com", number, number % 100);
    int backend_len = snprintf(t->backend, sizeof t->backend, "10.%u.%u.%u:8443", backend >> 16 & 255,
                               backend >> 8 & 255, backend & 255);

    return (struct state_change){.kind = kind,
                                 .listener = bytes_of_str(":443"),
                                 .hostname = bytes_of(t->hostname, (size_t)name_len),
                                 .backend = bytes_of(t->backend, (size_t)backend_len)};
}

static uint64_t apply(const struct state_change *list, size_t count, bool validate_only)
{
    char text[512];
    struct strbuf why = STRBUF_OF(text);
    struct state_applied applied;
    size_t failed;
    uint64_t begin = clock_monotonic_ns();

    if (state_apply(state, list, count, validate_only, &applied, &failed, &why) != 0) {
        fprintf(stderr, "change %zu: %s\n", failed, text);
        exit(1);
    }
    uint64_t ns = clock_monotonic_ns() - begin;
    state_housekeeping(state, clock_monotonic_ms());
    return ns;
}

/** Names as they come in practice: each batch anywhere in the order of the index. */
static uint32_t scattered(uint32_t i, uint32_t total)
{
    return (uint32_t)((uint64_t)i * 7919 % total);
}

static void batch(const char *label, enum state_change_kind kind, uint32_t first, uint32_t count, uint32_t total,
                  bool validate_only)
{
    for (uint32_t i = 0; i < count; i++)
        changes[i] = make_change(kind, scattered(first + i, total), bench_random(100000), &texts[i]);
    printf("%-28s %8u changes %8.3f s\n", label, count, (double)apply(changes, count, validate_only) / 1e9);
    fflush(stdout);
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static void print_times(const char *label, uint64_t *ns)
{
    const size_t median = SINGLES / 2, p99 = SINGLES / 100 * 99;

    qsort(ns, SINGLES, sizeof *ns, compare);
    printf("%-28s median %7.1f us  p99 %8.1f us  max %8.1f us\n", label, (double)ns[median] / 1e3,
           (double)ns[p99] / 1e3, (double)ns[SINGLES - 1] / 1e3);
}

static void singles(const char *label, enum state_change_kind kind, uint32_t first, uint32_t range)
{
    static uint64_t ns[SINGLES];

    for (uint32_t i = 0; i < SINGLES; i++) {
        uint32_t number = kind == STATE_PUT_ROUTE && range > 0 ? bench_random(range) : first + i;
        struct state_change change = make_change(kind, number, bench_random(100000), &texts[0]);
        ns[i] = apply(&change, 1, false);
    }
    print_times(label, ns);
}

static void open_all(const char *path, struct ev_loop *loop)
{
    struct shm_stats *stats =
        mmap(NULL, sizeof *stats, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct config_listener listener = {
        .name = "https", .addr_text = ":443", .addr = {.is_dual_stack = true, .port = 443}};
    struct config config = {.listeners = &listener, .listener_count = 1};
    struct state_options options = {.loop = loop, .stats = stats};
    struct state_loaded loaded;
    char text[512];
    struct strbuf why = STRBUF_OF(text);

    CHECK(stats != MAP_FAILED);
    if (state_open(path, &options, &state, &why) != 0 || state_load(state, &config, &loaded, &why) != 0) {
        fprintf(stderr, "%s\n", text);
        exit(1);
    }
}

static void run(uint32_t routes)
{
    for (uint32_t done = 0; done < routes; done += BATCH)
        batch(done == 0 ? "batch, into an empty table" : "batch, one more", STATE_PUT_ROUTE, done,
              routes - done < BATCH ? routes - done : BATCH, routes, false);
    batch("batch, replacing", STATE_PUT_ROUTE, 0, BATCH < routes ? BATCH : routes, routes, false);
    batch("batch, validate_only", STATE_PUT_ROUTE, 0, BATCH < routes ? BATCH : routes, routes, true);
    batch("batch of ten", STATE_PUT_ROUTE, 0, 10, routes, false);
    singles("replace, synced", STATE_PUT_ROUTE, 0, routes);
    singles("add, synced", STATE_PUT_ROUTE, routes, 0);
    singles("remove, synced", STATE_REMOVE_ROUTE, routes, 0);
    CHECK(sqlite3_exec(state->store->db, "PRAGMA synchronous = OFF", NULL, NULL, NULL) == SQLITE_OK);
    singles("replace, not synced", STATE_PUT_ROUTE, 0, routes);
    singles("add, not synced", STATE_PUT_ROUTE, routes, 0);
    singles("remove, not synced", STATE_REMOVE_ROUTE, routes, 0);
}

int main(int argc, char **argv)
{
    static const char *const files[] = {"mc-proxy.db", "mc-proxy.db-wal", "mc-proxy.db-shm"};
    unsigned long routes = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
    char folder[256], path[300];

    if (routes == 0 || routes > ROUTES_MAX) {
        fprintf(stderr, "usage: bench_changes ROUTES FOLDER (at most %lu routes)\n", ROUTES_MAX);
        return 2;
    }
    snprintf(folder, sizeof folder, "%s/bench-changes-XXXXXX", argv[2]);
    texts = calloc(BATCH, sizeof *texts);
    changes = calloc(BATCH, sizeof *changes);
    CHECK(mkdtemp(folder) != NULL && texts != NULL && changes != NULL);
    snprintf(path, sizeof path, "%s/%s", folder, files[0]);
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    open_all(path, loop);
    run((uint32_t)routes);
    state_close(&state);
    ev_loop_destroy(loop);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(folder);
    free(texts);
    free(changes);
    return 0;
}
