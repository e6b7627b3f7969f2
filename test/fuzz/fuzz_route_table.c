/* The route table by operations: the input is a program of puts, removals, batches, bulk loads and look-ups; a list that is searched from
 * end to end says what each look-up must find. */

#include <string.h>

#include "backend_set.h"
#include "hostname.h"
#include "route_table.h"
#include "route_writer.h"
#include "tables.h"

#define SEGMENT_BYTES (64ull << 20)
#define MODEL_MAX     256
#define LISTENERS     2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct model_route {
    uint16_t listener;
    struct host_pattern pattern;
    uint8_t backend;
};

struct model {
    struct model_route routes[MODEL_MAX];
    size_t count;
};

struct run {
    struct tables *tables;
    struct backend_set *backends;
    struct route_writer *writer;
    struct route_batch *batch; /* NULL: single changes */
    struct model model;        /* of the tables */
    struct model aside;        /* of the batch */
};

/** One to four labels of a few words, so that programs meet again; 0: none are left. */
static size_t take_name(struct reader *r, char out[HOSTNAME_MAX + 1])
{
    static const char *const words[] = {"a",   "b",   "www", "example",
                                        "com", "x-1", "_",   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    unsigned count = 1 + reader_u8(r) % 4;
    struct strbuf s = {.data = out, .capacity = HOSTNAME_MAX + 1};

    out[0] = '\0';
    for (unsigned i = 0; i < count; i++) {
        if (i > 0)
            strbuf_add_char(&s, '.');
        strbuf_add(&s, words[reader_u8(r) % 8]);
    }
    return r->failed ? 0 : s.len;
}

static bool take_pattern(struct reader *r, struct host_pattern *out)
{
    *out = (struct host_pattern){.kind = reader_u8(r) % 3};
    if (out->kind != HOST_PATTERN_ANY)
        out->len = (uint8_t)take_name(r, out->name);
    return !r->failed;
}

static bool pattern_equal(const struct host_pattern *a, const struct host_pattern *b)
{
    return a->kind == b->kind && a->len == b->len && memcmp(a->name, b->name, a->len) == 0;
}

static struct model_route *model_find(struct model *m, uint16_t listener, const struct host_pattern *pattern)
{
    for (size_t i = 0; i < m->count; i++) {
        if (m->routes[i].listener == listener && pattern_equal(&m->routes[i].pattern, pattern))
            return &m->routes[i];
    }
    return NULL;
}

/** True: it is new. */
static bool model_put(struct model *m, uint16_t listener, const struct host_pattern *pattern, uint8_t backend)
{
    struct model_route *r = model_find(m, listener, pattern);
    bool is_new = r == NULL;

    if (is_new)
        r = &m->routes[m->count++];
    *r = (struct model_route){.listener = listener, .pattern = *pattern, .backend = backend};
    return is_new;
}

static bool model_remove(struct model *m, uint16_t listener, const struct host_pattern *pattern)
{
    struct model_route *r = model_find(m, listener, pattern);

    if (r == NULL)
        return false;
    *r = m->routes[--m->count];
    return true;
}

/** How well a route fits a name: -1 not at all; an exact one best, then the longest wildcard, then "*". */
static int fit_of(const struct host_pattern *p, struct bytes name)
{
    switch (p->kind) {
    case HOST_PATTERN_ANY: return 0;
    case HOST_PATTERN_EXACT: return p->len == name.len && memcmp(p->name, name.ptr, name.len) == 0 ? 1000 : -1;
    case HOST_PATTERN_WILDCARD: break;
    }
    bool covers = name.len > p->len + 1u && name.ptr[name.len - p->len - 1] == '.' &&
                  memcmp(name.ptr + name.len - p->len, p->name, p->len) == 0;
    return covers ? p->len : -1;
}

static const struct model_route *model_match(const struct model *m, uint16_t listener, struct bytes name)
{
    const struct model_route *best = NULL;

    for (size_t i = 0; i < m->count; i++) {
        const struct model_route *r = &m->routes[i];
        int fit = r->listener == listener ? fit_of(&r->pattern, name) : -1;
        if (fit >= 0 && (best == NULL || fit > fit_of(&best->pattern, name)))
            best = r;
    }
    return best;
}

static struct backend_addr backend_of(uint8_t number)
{
    return (struct backend_addr){.kind = BACKEND_IP, .port = 443, .addr = {.family = 4, .bytes = {10, 0, 0, number}}};
}

static void check_match(const struct run *run, uint16_t listener, struct bytes name)
{
    const struct model_route *want = model_match(&run->model, listener, name);
    struct route_match match;
    const struct shm_root *root = table_pin(&run->tables->view);
    bool found = route_match_name(run->tables->shm, root, listener, name, &match);

    CHECK(found == (want != NULL));
    if (found) {
        struct backend_addr b = backend_of(want->backend);
        char text[BACKEND_TEXT_MAX];
        struct strbuf s = STRBUF_OF(text);
        backend_addr_format(&b, &s);
        CHECK(bytes_equal_str(shm_backend_text(match.backend), text));
    }
    table_release(&run->tables->view);
}

static void put(struct run *run, uint16_t listener, const struct host_pattern *pattern, uint8_t number)
{
    struct backend_addr backend = backend_of(number);
    struct model *m = run->batch != NULL ? &run->aside : &run->model;
    bool created;

    if (m->count == MODEL_MAX)
        return;
    bool is_new = model_put(m, listener, pattern, number);
    if (run->batch != NULL) {
        CHECK(route_batch_put(run->batch, listener, pattern, &backend, number % 2 != 0) == 0);
        return;
    }
    CHECK(route_put(run->writer, listener, pattern, &backend, number % 2 != 0, &created) == 0);
    CHECK(created == is_new);
}

static void remove_one(struct run *run, uint16_t listener, const struct host_pattern *pattern)
{
    bool was_there = model_remove(run->batch != NULL ? &run->aside : &run->model, listener, pattern);
    int rc = run->batch != NULL ? route_batch_remove(run->batch, listener, pattern)
                                : route_remove(run->writer, listener, pattern);

    CHECK((rc == 0) == was_there);
}

/** A change that its caller does not go through with changes nothing. */
static void prepare_and_abort(struct run *run, uint16_t listener, const struct host_pattern *pattern, uint8_t number)
{
    struct backend_addr backend = backend_of(number);
    struct route_change change;

    if (run->batch != NULL)
        return;
    CHECK(route_change_prepare_put(run->writer, listener, pattern, &backend, false, &change) == 0);
    route_change_abort(&change);
}

static void begin_or_end_batch(struct run *run, bool publish)
{
    if (run->batch == NULL) {
        run->aside = run->model;
        CHECK(route_batch_begin(run->writer, &run->batch) == 0);
    } else if (publish) {
        route_batch_publish(&run->batch);
        run->model = run->aside;
    } else {
        route_batch_abort(&run->batch);
    }
}

/** All routes anew, those of the model with odd backends only. */
static void bulk(struct run *run, bool publish)
{
    struct model kept = {0};
    struct route_bulk *b;

    if (run->batch != NULL)
        return;
    CHECK(route_bulk_begin(run->writer, run->model.count, &b) == 0);
    for (size_t i = 0; i < run->model.count; i++) {
        const struct model_route *r = &run->model.routes[i];
        struct backend_addr backend = backend_of(r->backend);
        if (r->backend % 2 == 0)
            continue;
        CHECK(route_bulk_add(b, r->listener, &r->pattern, &backend, false) == 0);
        kept.routes[kept.count++] = *r;
    }
    if (publish) {
        route_bulk_publish(&b);
        run->model = kept;
    } else {
        route_bulk_abort(&b);
    }
}

static void step(struct run *run, struct reader *r)
{
    uint8_t operation = reader_u8(r);
    uint16_t listener = operation / 16 % LISTENERS;
    struct host_pattern pattern;
    char name[HOSTNAME_MAX + 1];

    switch (operation % 8) {
    case 0:
    case 1:
        if (take_pattern(r, &pattern))
            put(run, listener, &pattern, reader_u8(r));
        break;
    case 2:
        if (take_pattern(r, &pattern))
            remove_one(run, listener, &pattern);
        break;
    case 3:
        if (take_pattern(r, &pattern))
            prepare_and_abort(run, listener, &pattern, reader_u8(r));
        break;
    case 4: begin_or_end_batch(run, operation >= 64); break;
    case 5: bulk(run, operation >= 64); break;
    case 6: (void)tables_reclaim(run->tables); break;
    default: check_match(run, listener, bytes_of(name, take_name(r, name))); break;
    }
}

static void check_all(const struct run *run)
{
    for (size_t i = 0; i < run->model.count; i++) {
        const struct host_pattern *p = &run->model.routes[i].pattern;
        char below[HOSTNAME_MAX + 3] = "q.";
        for (uint16_t listener = 0; listener < LISTENERS; listener++) {
            check_match(run, listener, bytes_of(p->name, p->len));
            memcpy(below + 2, p->name, p->len);
            check_match(run, listener, bytes_of(below, p->len + 2u));
        }
    }
    CHECK(route_writer_total(run->writer) == run->model.count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct run run;
    struct tables_options options = {.segment_bytes = SEGMENT_BYTES};
    struct reader r = reader_of(bytes_of(data, size));

    run = (struct run){0};
    CHECK(tables_new(&options, &run.tables) == 0 && backend_set_new(run.tables, &run.backends) == 0 &&
          route_writer_new(run.tables, run.backends, &run.writer) == 0);
    while (r.left > 0)
        step(&run, &r);
    if (run.batch != NULL)
        route_batch_abort(&run.batch);
    check_all(&run);
    route_writer_free(&run.writer);
    backend_set_free(&run.backends);
    tables_free(&run.tables);
    return 0;
}
