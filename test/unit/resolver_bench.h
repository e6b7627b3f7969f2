#ifndef RESOLVER_BENCH_H
#define RESOLVER_BENCH_H

/* A resolver and a DNS server in one loop, with times scaled down; include behind cmocka.h. */

#include <stdlib.h>

#include "clock.h"
#include "err.h"
#include "fake_dns.h"
#include "log_event.h"
#include "resolver.h"
#include "run_until.h"

#define QUICK \
    .query_tries = 1, .ttl_min_ms = 30, .ttl_max_ms = 5000, .hosts_ttl_ms = 40, .retry_min_ms = 20, .retry_max_ms = 80

/* A server that answers does so before the time-out, even when the machine has no time for this process for a while. */
static const struct resolver_options quick = {.query_timeout_ms = 10000, QUICK};
/* For servers that are silent. */
static const struct resolver_options impatient = {.query_timeout_ms = 50, QUICK};

/** What a test looks at: the loop, the server, the resolver, its callbacks and its log lines. */
struct bench {
    struct ev_loop *loop;
    struct ev_timer tick; /* so that a wait for a condition can end */
    struct fake_dns dns;
    struct resolver *resolver;
    unsigned answers;
    char last_name[256];
    struct addr_set last;
    const char *unwatch_in_callback;
    const char *watch_in_callback;
    char log[8192]; /* messages, one a line */
};

static inline void on_tick(EV_P_ ev_timer *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

static inline void on_log(struct bytes record, void *context)
{
    struct bench *b = context;
    struct log_record_reader r;
    size_t len = strlen(b->log);

    assert_int_equal(log_record_open(&r, record), 0);
    snprintf(b->log + len, sizeof b->log - len, "%.*s\n", (int)r.message.len, (const char *)r.message.ptr);
}

static inline void on_answer(const char *name, const struct addr_set *addrs, void *context)
{
    struct bench *b = context;

    b->answers++;
    snprintf(b->last_name, sizeof b->last_name, "%s", name);
    b->last = *addrs;
    if (b->unwatch_in_callback != NULL)
        resolver_unwatch(b->resolver, b->unwatch_in_callback);
    if (b->watch_in_callback != NULL)
        assert_int_equal(resolver_watch(b->resolver, b->watch_in_callback), 0);
    b->watch_in_callback = NULL;
}

static inline void bench_start(struct bench *b, struct fake_name *names, unsigned name_count,
                               const struct resolver_options *options)
{
    struct resolver_options o = *options;

    memset(b, 0, sizeof *b);
    b->loop = ev_loop_new(EVFLAG_AUTO);
    ev_timer_init(&b->tick, on_tick, 0.005, 0.005);
    ev_timer_start(b->loop, &b->tick);
    fake_dns_start(&b->dns, b->loop, names, name_count);
    o.servers = b->dns.servers;
    log_set_sink(on_log, b);
    assert_int_equal(resolver_new(b->loop, &o, on_answer, b, &b->resolver), 0);
}

static inline void bench_stop(struct bench *b)
{
    resolver_free(&b->resolver);
    assert_null(b->resolver);
    resolver_free(&b->resolver); /* of NULL */
    fake_dns_stop(&b->dns);
    ev_timer_stop(b->loop, &b->tick);
    ev_loop_destroy(b->loop);
    log_set_sink(NULL, NULL);
}

static inline void run_for(struct bench *b, unsigned ms)
{
    uint64_t end = clock_monotonic_ms() + ms;
    while (clock_monotonic_ms() < end)
        ev_run(b->loop, EVRUN_ONCE);
}

static inline void expect_addrs(const struct addr_set *set, const char *const *texts)
{
    unsigned count = 0;

    for (; texts[count] != NULL; count++) {
        char why_text[64];
        struct strbuf why = STRBUF_OF(why_text);
        struct ip_addr addr;
        assert_int_equal(ip_addr_parse(bytes_of_str(texts[count]), &addr, &why), 0);
        if (!addr_set_has(set, &addr))
            fail_msg("%s is missing", texts[count]);
    }
    assert_int_equal(set->count, count);
}
#define EXPECT_ADDRS(set, ...) expect_addrs((set), (const char *const[]){__VA_ARGS__, NULL})

#endif
