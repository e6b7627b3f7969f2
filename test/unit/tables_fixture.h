#ifndef TABLES_FIXTURE_H
#define TABLES_FIXTURE_H

/* Tables with backends and routes for the tests of the shared tables; include behind cmocka.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend_set.h"
#include "hostname.h"
#include "route_table.h"
#include "route_writer.h"
#include "tables.h"
#include "tables_with_stats.h"

struct tables_fixture {
    struct tables *tables;
    struct backend_set *backends;
    struct route_writer *routes;
    struct shm_stats *stats; /* shared with children */
};

static inline void fixture_init(struct tables_fixture *f, uint64_t segment_bytes, unsigned worker_slots)
{
    f->tables = tables_with_stats(segment_bytes, worker_slots, &f->stats);
    assert_int_equal(backend_set_new(f->tables, &f->backends), 0);
    assert_int_equal(route_writer_new(f->tables, f->backends, &f->routes), 0);
}

static inline void fixture_fini(struct tables_fixture *f)
{
    route_writer_free(&f->routes);
    backend_set_free(&f->backends);
    tables_free(&f->tables);
    munmap(f->stats, sizeof *f->stats);
}

/** "www.example.com", "*.example.com", "*"; taken as they are. */
static inline struct host_pattern pattern_of(const char *text)
{
    struct host_pattern p = {.kind = HOST_PATTERN_EXACT};
    const char *name = text;

    if (text[0] == '*') {
        p.kind = text[1] == '\0' ? HOST_PATTERN_ANY : HOST_PATTERN_WILDCARD;
        name = text[1] == '\0' ? "" : text + 2;
    }
    p.len = (uint8_t)strlen(name);
    memcpy(p.name, name, p.len);
    return p;
}

/** 10.a.b.c:8443 with a.b.c from n. */
static inline struct backend_addr backend_number(uint32_t n)
{
    struct backend_addr b = {.kind = BACKEND_IP, .port = 8443, .addr = {.family = 4}};

    b.addr.bytes[0] = 10;
    b.addr.bytes[1] = (uint8_t)(n >> 16);
    b.addr.bytes[2] = (uint8_t)(n >> 8);
    b.addr.bytes[3] = (uint8_t)n;
    return b;
}

static inline struct backend_addr backend_name(const char *host)
{
    struct backend_addr b = {.kind = BACKEND_NAME, .port = 443};

    (void)snprintf(b.host, sizeof b.host, "%s", host);
    return b;
}

static inline bool fixture_put(struct tables_fixture *f, uint16_t listener, const char *pattern, uint32_t backend)
{
    struct host_pattern p = pattern_of(pattern);
    struct backend_addr b = backend_number(backend);
    bool created = false;

    assert_int_equal(route_put(f->routes, listener, &p, &b, false, &created), 0);
    return created;
}

static inline int fixture_remove(struct tables_fixture *f, uint16_t listener, const char *pattern)
{
    struct host_pattern p = pattern_of(pattern);
    return route_remove(f->routes, listener, &p);
}

/** The number of the backend that backend_number() made; -1 for another kind. */
static inline int32_t number_of_backend(const struct shm_backend *b)
{
    if (b->kind != BACKEND_IP || b->addr_count != 1)
        return -1;
    const uint8_t *a = b->addrs[0].addr.bytes;
    return a[1] << 16 | a[2] << 8 | a[3];
}

/** The backend that a name is routed to through any view; -1: no route. */
static inline int32_t view_match(const struct table_view *view, uint16_t listener, struct bytes name)
{
    struct route_match m;
    const struct shm_root *root = table_pin(view);
    bool found = route_match_name(view->tables, root, listener, name, &m);
    int32_t number = found ? number_of_backend(m.backend) : -1;

    table_release(view);
    return number;
}

static inline int32_t fixture_match(const struct tables_fixture *f, uint16_t listener, const char *name)
{
    return view_match(&f->tables->view, listener, bytes_of_str(name));
}

/** Free all that no reader holds. */
static inline void fixture_reclaim(const struct tables_fixture *f)
{
    while (tables_reclaim(f->tables) > 0)
        continue;
}

/** Shared memory in use, with nothing waiting for readers. */
static inline uint64_t fixture_used_bytes(const struct tables_fixture *f)
{
    fixture_reclaim(f);
    return shm_arena_stats(&f->tables->arena).used_bytes;
}

#endif
