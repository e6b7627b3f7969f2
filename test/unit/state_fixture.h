#ifndef STATE_FIXTURE_H
#define STATE_FIXTURE_H

/* What the tests of the state share: a state over a database of its own with two listeners, changes in one line, and a look at both
 * sides of it: what the database has, and what workers would find. */

#include "store_fixture.h"

#include <ev.h>
#include <sys/mman.h>

#include "config.h"
#include "firewall.h"
#include "route_table.h"
#include "state.h"
#include "state_change.h"
#include "state_internal.h"
#include "tables.h"

#define FIRST  ":443"
#define SECOND "127.0.0.1:8443"
#define BOTH   2

struct proxy {
    struct fixture *f; /* folder and words */
    struct ev_loop *loop;
    struct shm_stats *stats;
    struct state *state;
    struct state_applied applied;
    size_t failed;
};

/** Make a configuration with the first `count` of the listeners the one in force. */
static inline void proxy_load(struct proxy *p, unsigned count)
{
    struct config_listener listeners[BOTH] = {
        {.name = "first", .addr_text = FIRST, .addr = {.is_dual_stack = true, .port = 443}},
        {.name = "second",
         .addr_text = SECOND,
         .max_connections = 7,
         .addr = {.addr = {.family = 4, .bytes = {127, 0, 0, 1}}, .port = 8443}},
    };
    struct config config = {.listeners = listeners, .listener_count = count};
    struct state_loaded loaded;

    expect_rc(p->f, state_load(p->state, &config, &loaded, &p->f->why), 0);
}

static inline void proxy_open(struct proxy *p)
{
    struct state_options options = {.loop = p->loop, .stats = p->stats};

    expect_rc(p->f, state_open(p->f->db, &options, &p->state, &p->f->why), 0);
    proxy_load(p, BOTH);
}

static inline void proxy_reopen(struct proxy *p)
{
    state_close(&p->state);
    proxy_open(p);
}

static inline struct proxy *proxy_new(void)
{
    struct proxy *p = calloc(1, sizeof *p);
    void *stats = mmap(NULL, sizeof(struct shm_stats), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    CHECK(p != NULL && stats != MAP_FAILED);
    p->f = fixture_new();
    p->stats = stats;
    p->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(p->loop);
    proxy_open(p);
    return p;
}

static inline void proxy_free(struct proxy *p)
{
    state_close(&p->state);
    ev_loop_destroy(p->loop);
    munmap(p->stats, sizeof *p->stats);
    fixture_free(p->f);
    free(p);
}

static inline int proxy_setup(void **state)
{
    *state = proxy_new();
    return 0;
}

static inline int proxy_teardown(void **state)
{
    proxy_free(*state);
    return 0;
}

#define PROXY_TEST(name) cmocka_unit_test_setup_teardown(name, proxy_setup, proxy_teardown)

/* ---- changes ---- */

static inline struct state_change put_on(const char *listener, const char *hostname, const char *backend)
{
    return (struct state_change){.kind = STATE_PUT_ROUTE,
                                 .listener = bytes_of_str(listener),
                                 .hostname = bytes_of_str(hostname),
                                 .backend = bytes_of_str(backend)};
}

static inline struct state_change remove_on(const char *listener, const char *hostname)
{
    return (struct state_change){
        .kind = STATE_REMOVE_ROUTE, .listener = bytes_of_str(listener), .hostname = bytes_of_str(hostname)};
}

static inline struct state_change rule_change(enum state_change_kind kind, enum store_rule_type type, const char *value)
{
    return (struct state_change){.kind = kind, .rule_type = type, .value = bytes_of_str(value)};
}

static inline struct state_change allowed(struct state_change change)
{
    change.allow_unchanged = true;
    return change;
}

static inline int apply(struct proxy *p, const struct state_change *changes, size_t count)
{
    return state_apply(p->state, changes, count, false, &p->applied, &p->failed, &p->f->why);
}

static inline int apply_one(struct proxy *p, struct state_change change)
{
    return apply(p, &change, 1);
}

/** What must work. */
static inline void must_apply(struct proxy *p, struct state_change change)
{
    expect_rc(p->f, apply_one(p, change), 0);
}

/* ---- what is in the database ---- */

static inline int add_rule_line(const struct store_rule *rule, void *ctx)
{
    strbuf_addf(ctx, "%s %s\n", store_rule_type_text(rule->type), rule->value);
    return 0;
}

/** All routes and rules in their order, "listener hostname backend flag\n" and "type value\n". */
static inline void database_text(struct proxy *p, char *out, size_t size)
{
    struct strbuf lines = strbuf_init(out, size);

    expect_rc(p->f, store_each_route(p->state->store, add_route_line, &lines, &p->f->why), 0);
    expect_rc(p->f, store_each_rule(p->state->store, add_rule_line, &lines, &p->f->why), 0);
    assert_false(lines.overflowed);
}

static inline void expect_database(struct proxy *p, const char *expected)
{
    char text[8192];

    database_text(p, text, sizeof text);
    assert_string_equal(text, expected);
}

/* ---- what workers find ---- */

static inline uint16_t id_of_listener(struct proxy *p, const char *listener)
{
    uint16_t id = 0;

    expect_rc(p->f, state_need_listener(p->state, bytes_of_str(listener), &id, &p->f->why), 0);
    return id;
}

/** The backend that a name leads to; "": none. */
static inline void lookup(const struct tables *tables, uint16_t listener, const char *name, char out[BACKEND_TEXT_MAX])
{
    const struct table_view *view = &tables->view;
    const struct shm_root *root = table_pin(view);
    struct route_match match;
    struct bytes text = {0};

    if (route_match_name(view->tables, root, listener, bytes_of_str(name), &match))
        text = shm_backend_text(match.backend);
    if (text.len > 0)
        memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    table_release(view);
}

static inline void expect_route(struct proxy *p, const char *listener, const char *name, const char *backend)
{
    char found[BACKEND_TEXT_MAX];

    lookup(p->state->tables, id_of_listener(p, listener), name, found);
    assert_string_equal(found, backend);
}

static inline bool country_is_kp(void *context, const struct ip_addr *addr, char iso_code_out[2])
{
    (void)context;
    (void)addr;
    iso_code_out[0] = 'K';
    iso_code_out[1] = 'P';
    return true;
}

/** The verdict on an address, which is in KP. */
static inline enum firewall_verdict verdict_on(struct proxy *p, const char *address)
{
    const struct table_view *view = &p->state->tables->view;
    struct ip_addr addr;

    assert_int_equal(ip_addr_parse(bytes_of_str(address), &addr, &p->f->why), 0);
    const struct shm_root *root = table_pin(view);
    enum firewall_verdict verdict = firewall_match(view->tables, root, &addr, country_is_kp, NULL);
    table_release(view);
    return verdict;
}

#endif
