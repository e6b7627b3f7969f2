#ifndef QUERY_FIXTURE_H
#define QUERY_FIXTURE_H

/* A worker with connections that nobody brought, and questions about them; include behind cmocka.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "access_record.h"
#include "client_hello.h"
#include "conn.h"
#include "conn_facts.h"
#include "conn_io.h"
#include "conn_setup.h"
#include "ctl_codec.h"
#include "log_event.h"
#include "query.h"
#include "route_table.h"
#include "worker.h"

#define LISTENERS 2
#define CONNS_MAX 4000

struct fixture {
    struct worker *worker;
    struct listener listeners[LISTENERS];
    struct shm_listener_stats stats[LISTENERS];
    _Atomic uint32_t active[LISTENERS];
    unsigned seen[CONNS_MAX + 1]; /* in lists, by connection id */
    unsigned closed;              /* access lines that tell that an operator closed one */
};

static inline struct log_field field_of(struct bytes record, enum log_key key)
{
    struct log_record_reader r;
    struct log_field field;

    assert_int_equal(log_record_open(&r, record), 0);
    assert_true(bytes_equal_str(r.message, ACCESS_RECORD_MESSAGE));
    while (log_record_next(&r, &field) == 1) {
        if (field.key == key)
            return field;
    }
    fail_msg("no %s in a record", log_key_word(key));
    abort();
}

static inline void on_line(struct bytes record, void *context)
{
    struct fixture *f = context;
    struct log_record_reader r;

    assert_int_equal(log_record_open(&r, record), 0);
    if (bytes_equal_str(r.message, ACCESS_RECORD_MESSAGE))
        f->closed += bytes_equal_str(field_of(record, LOG_KEY_REASON).str, "operator");
}

static inline int query_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->worker = aligned_alloc(_Alignof(struct worker), sizeof *f->worker);
    assert_non_null(f->worker);
    memset(f->worker, 0, sizeof *f->worker);
    f->worker->magic = WORKER_MAGIC;
    f->worker->state = WORKER_RUNNING;
    f->worker->settings = (struct ctl_settings){.log_access = 1};
    hello_budget_set_cap(&f->worker->hellos, UINT32_MAX);
    pool_init(&f->worker->conns, "connections", sizeof(struct conn));
    pool_init(&f->worker->setups, "set-ups", sizeof(struct conn_setup));
    for (uint16_t i = 0; i < LISTENERS; i++) {
        f->listeners[i] = (struct listener){.magic = LISTENER_MAGIC, .id = i, .worker = f->worker, .fd = 0};
        f->listeners[i].stats = &f->stats[i];
        f->listeners[i].active = &f->active[i];
        (void)snprintf(f->listeners[i].addr, sizeof f->listeners[i].addr, ":%u", 443 + i);
    }
    log_set_sink(on_line, f);
    *state = f;
    return 0;
}

static inline int query_teardown(void **state)
{
    struct fixture *f = *state;
    struct worker *w = f->worker;

    for (uint32_t place = 0; place < w->conns.total; place++) {
        struct conn *c = pool_at(&w->conns, place, CONN_MAGIC);
        if (c != NULL)
            conn_close(c, CLOSE_SHUTDOWN);
    }
    conn_io_end_turn(w);
    log_set_sink(NULL, NULL);
    pool_fini(&w->conns);
    pool_fini(&w->setups);
    free(w);
    free(f);
    return 0;
}

/* ---- connections ---- */

/** One that waits for its hello. */
static inline struct conn *open_conn(struct fixture *f, uint16_t listener, struct ip_addr client)
{
    struct worker *w = f->worker;
    struct conn *c = pool_alloc(&w->conns);

    assert_non_null(c);
    c->magic = CONN_MAGIC;
    c->step = CONN_STEP_HELLO;
    c->listener = &f->listeners[listener];
    c->setup = pool_alloc(&w->setups);
    assert_non_null(c->setup);
    c->id = ++w->conn_serial;
    c->client = (struct ip_endpoint){.addr = client, .port = 5000};
    c->front.fd = c->back.fd = -1;
    w->conn_count++;
    c->listener->conns++;
    atomic_fetch_add(c->listener->active, 1);
    return c;
}

static inline struct ip_addr client_number(uint32_t n)
{
    return ip_addr_of_ipv4((const uint8_t[]){10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n});
}

/** It has come to its backend. route: "www.example.com", "*.example.com" or "*", which must lead name. */
static inline void relay(struct conn *c, const char *name, const char *route, const char *backend)
{
    bool is_wildcard = route[0] == '*';
    size_t route_len = strlen(route) < 2 ? 0 : strlen(route) - (is_wildcard ? 2 : 0);
    struct shm_route r = {.flags = is_wildcard ? SHM_ROUTE_WILDCARD : 0, .name_len = (uint8_t)route_len};
    struct shm_backend *b = calloc(1, sizeof *b + strlen(backend));
    struct client_hello hello = {.name_len = (uint8_t)strlen(name)};

    assert_non_null(b);
    b->text_len = (uint16_t)strlen(backend);
    memcpy(&b->addrs[0], backend, b->text_len);
    (void)snprintf(hello.name, sizeof hello.name, "%s", name);
    c->facts = conn_facts_new(&hello, &(struct route_match){.route = &r, .backend = b}, NULL);
    assert_non_null(c->facts);
    free(b);
    conn_setup_free(c);
    c->step = CONN_STEP_RELAY;
}

/** Many of them, ids from 1 on, at places from 0 on. */
static inline void open_many(struct fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        (void)open_conn(f, i % LISTENERS, client_number(i));
}

/** As at the end of a turn of the loop: the place is free. */
static inline void end_conn(struct fixture *f, struct conn *c)
{
    conn_close(c, CLOSE_FINISHED);
    conn_io_end_turn(f->worker);
}

/* ---- asking ---- */

/** One query, whose answer is a message that the master takes: how many matched. Listed ones are noted, and the query goes on behind them. */
static inline uint32_t ask(struct fixture *f, struct ctl_query *query)
{
    struct ctl_query_answer *answer = malloc(QUERY_ANSWER_MAX); /* not a byte more, so that one would be seen */
    uint64_t before = query->cursor;

    assert_non_null(answer);
    query->query_id++;
    size_t len = query_answer(f->worker, query, answer);
    struct bytes payload = bytes_of(answer, len), record;
    assert_true(ctl_message_is_valid(CTL_FROM_WORKER, CTL_QUERY_ANSWER, payload, false));
    assert_int_equal(answer->query_id, query->query_id);
    assert_true(answer->cursor > before || before == CTL_QUERY_END);
    assert_true(answer->cursor <= before + QUERY_PLACES_MAX || answer->cursor == CTL_QUERY_END);
    unsigned records = 0;
    for (struct bytes rest = ctl_answer_records(answer, payload); ctl_answer_next(&rest, &record); records++) {
        uint64_t id = field_of(record, LOG_KEY_CONN).u64;
        assert_in_range(id, 1, CONNS_MAX);
        f->seen[id]++;
    }
    assert_int_equal(answer->record_count, records);
    assert_int_equal(query->action == CTL_QUERY_LIST ? answer->matched : 0, records);
    uint32_t matched = answer->matched;
    query->cursor = answer->cursor;
    free(answer);
    return matched;
}

/** To the end: how many matched. */
static inline uint64_t ask_all(struct fixture *f, struct ctl_query query)
{
    uint64_t matched = 0;

    do
        matched += ask(f, &query);
    while (query.cursor != CTL_QUERY_END);
    return matched;
}

static inline void expect_seen(const struct fixture *f, unsigned first, unsigned last, unsigned times)
{
    for (unsigned id = first; id <= last; id++) {
        if (f->seen[id] != times)
            fail_msg("connection %u was listed %u times, not %u", id, f->seen[id], times);
    }
}

#define QUERY_TEST(name) cmocka_unit_test_setup_teardown(name, query_setup, query_teardown)

#endif
