/*
 * A scrape. First every listener's counters are added up over the worker slots into a copy, so that all samples of one scrape are of
 * one moment (closed is read before accepted: who has ended had begun); then each metric is written, in the order of the table.
 */

#include "metrics_render.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "close_reason.h"
#include "route_series.h"
#include "stats.h"
#include "stats_segment.h"

/** A histogram of all workers. */
struct times {
    uint64_t buckets[SHM_HISTOGRAM_BUCKETS];
    uint64_t sum_us;
};

/** A listener's counters over all workers. */
struct totals {
    uint64_t accepted;
    uint64_t active;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t closed[CLOSE_REASON_COUNT];
    uint64_t handshakes[HANDSHAKE_OUTCOMES];
    struct times connect;
    struct times first_byte;
    struct times duration;
};

/** A route that has series. */
struct route_totals {
    const char *listener; /* addr */
    const char *pattern;
    uint64_t counts[SHM_ROUTE_COUNTS];
};

struct scrape {
    const struct metrics_input *in;
    struct metrics_text *out;
    struct totals *totals; /* for each of in->listeners */
    struct route_totals *routes;
    unsigned route_count;
    uint64_t ended[CLOSE_REASON_COUNT]; /* of all listeners */
    uint64_t hellos[SHM_HELLO_COUNTS];
    uint64_t proxy_headers[SHM_PROXY_HEADER_COUNTS];
    uint64_t country_unknown;
    uint64_t conn_cap;
};

/* ---- adding up ---- */

static void add_times(struct times *sum, const struct shm_histogram *h)
{
    for (unsigned i = 0; i < SHM_HISTOGRAM_BUCKETS; i++)
        sum->buckets[i] += stat_get(&h->buckets[i]);
    sum->sum_us += stat_get(&h->sum_us);
}

static void add_listener_stats(struct totals *sum, const struct shm_listener_stats *l)
{
    for (unsigned reason = 0; reason < CLOSE_REASON_COUNT; reason++)
        sum->closed[reason] += stat_get(&l->closed[reason]);
    atomic_thread_fence(memory_order_acquire);
    sum->accepted += stat_get(&l->accepted);
    sum->bytes_in += stat_get(&l->bytes_in);
    sum->bytes_out += stat_get(&l->bytes_out);
    for (unsigned outcome = 0; outcome < HANDSHAKE_OUTCOMES; outcome++)
        sum->handshakes[outcome] += stat_get(&l->handshakes[outcome]);
    add_times(&sum->connect, &l->connect);
    add_times(&sum->first_byte, &l->first_byte);
    add_times(&sum->duration, &l->duration);
}

static void add_up_listener(struct scrape *s, unsigned index)
{
    const struct stats_segment *segment = s->in->stats;
    unsigned id = s->in->listeners[index].id;
    struct totals *sum = &s->totals[index];

    for (unsigned slot = 0; slot < segment->slot_end && id < segment->listener_end; slot++) {
        sum->active += atomic_load_explicit(&segment->stats->active[id][slot], memory_order_relaxed);
        add_listener_stats(sum, &segment->stats->workers[slot].listeners[id]);
    }
    for (unsigned reason = 0; reason < CLOSE_REASON_COUNT; reason++)
        s->ended[reason] += sum->closed[reason];
}

static void add_up(struct scrape *s)
{
    for (unsigned i = 0; i < s->in->listener_count; i++)
        add_up_listener(s, i);
    for (unsigned slot = 0; slot < s->in->stats->slot_end; slot++) {
        const struct shm_worker_stats *w = &s->in->stats->stats->workers[slot];
        for (unsigned i = 0; i < SHM_HELLO_COUNTS; i++)
            s->hellos[i] += stat_get(&w->hellos[i]);
        for (unsigned i = 0; i < SHM_PROXY_HEADER_COUNTS; i++)
            s->proxy_headers[i] += stat_get(&w->proxy_headers[i]);
        s->country_unknown += stat_get(&w->country_unknown);
        s->conn_cap += stat_get(&w->conn_cap);
    }
}

/* ---- by route ---- */

static void add_up_route(struct scrape *s, unsigned number, const struct route_series_info *info, const char *listener)
{
    struct route_totals *sum = &s->routes[s->route_count++];

    *sum = (struct route_totals){.listener = listener, .pattern = info->pattern};
    for (unsigned slot = 0; slot < s->in->stats->slot_end; slot++) {
        const struct shm_route_stats *stats = &s->in->stats->stats->workers[slot].routes[number];
        for (unsigned i = 0; i < SHM_ROUTE_COUNTS; i++)
            sum->counts[i] += stat_get(&stats->counts[i]);
    }
}

/** The routes of configured listeners, as many as there may be. */
static void add_up_routes(struct scrape *s)
{
    const struct metrics_input *in = s->in;
    const char *addrs[SHM_LISTENERS_MAX] = {NULL};
    unsigned limit = in->max_route_series / SHM_ROUTE_COUNTS;

    for (unsigned i = 0; i < in->listener_count; i++)
        addrs[in->listeners[i].id] = in->listeners[i].is_configured ? in->listeners[i].addr : NULL;
    for (unsigned number = 1; number < route_series_end(in->routes) && s->route_count < limit; number++) {
        struct route_series_info info;
        if (route_series_get(in->routes, number, &info) && addrs[info.listener] != NULL)
            add_up_route(s, number, &info, addrs[info.listener]);
    }
}

static const enum shm_route_count route_counts[METRIC_COUNT] = {
    [METRIC_ROUTE_CONNECTIONS] = SHM_ROUTE_CONNECTIONS, [METRIC_ROUTE_FAILED] = SHM_ROUTE_FAILED,
    [METRIC_ROUTE_UNANSWERED] = SHM_ROUTE_UNANSWERED,   [METRIC_ROUTE_RECEIVED] = SHM_ROUTE_BYTES_IN,
    [METRIC_ROUTE_SENT] = SHM_ROUTE_BYTES_OUT,
};

static void render_route(struct scrape *s, enum metric metric)
{
    for (unsigned i = 0; i < s->route_count; i++) {
        const struct route_totals *route = &s->routes[i];
        struct metrics_label labels[] = {{"listener", route->listener}, {"route", route->pattern}};
        metrics_text_sample(s->out, metric, "", labels, 2, route->counts[route_counts[metric]]);
    }
}

static void render_route_handshakes(struct scrape *s, enum metric metric)
{
    for (unsigned i = 0; i < s->route_count; i++) {
        const struct route_totals *route = &s->routes[i];
        struct metrics_label labels[] = {{"listener", route->listener}, {"route", route->pattern}, {"outcome", NULL}};
        for (unsigned outcome = 0; outcome < HANDSHAKE_OUTCOMES; outcome++) {
            labels[2].value = metric_handshake_words[outcome];
            metrics_text_sample(s->out, metric, "", labels, 3, route->counts[SHM_ROUTE_HANDSHAKES + outcome]);
        }
    }
}

static void render_left_out(struct scrape *s, enum metric metric)
{
    uint64_t routes = 0;

    for (unsigned i = 0; i < s->in->listener_count; i++)
        routes += s->in->listeners[i].is_configured ? s->in->listeners[i].routes : 0;
    metrics_text_sample(s->out, metric, "", NULL, 0, routes > s->route_count ? routes - s->route_count : 0);
}

/* ---- by listener ---- */

static const size_t total_offsets[METRIC_COUNT] = {
    [METRIC_CONNECTIONS] = offsetof(struct totals, accepted),
    [METRIC_ACTIVE] = offsetof(struct totals, active),
    [METRIC_RECEIVED] = offsetof(struct totals, bytes_in),
    [METRIC_SENT] = offsetof(struct totals, bytes_out),
};

static void render_total(struct scrape *s, enum metric metric)
{
    for (unsigned i = 0; i < s->in->listener_count; i++) {
        struct metrics_label label = {"listener", s->in->listeners[i].addr};
        const char *totals = (const char *)&s->totals[i];
        uint64_t value;
        memcpy(&value, totals + total_offsets[metric], sizeof value);
        metrics_text_sample(s->out, metric, "", &label, 1, value);
    }
}

static void render_closed(struct scrape *s, enum metric metric)
{
    for (unsigned i = 0; i < s->in->listener_count; i++) {
        for (unsigned reason = 0; reason < CLOSE_REASON_COUNT; reason++) {
            struct metrics_label labels[] = {{"listener", s->in->listeners[i].addr},
                                             {"reason", close_reason_word(reason)}};
            metrics_text_sample(s->out, metric, "", labels, 2, s->totals[i].closed[reason]);
        }
    }
}

static void render_handshakes(struct scrape *s, enum metric metric)
{
    for (unsigned i = 0; i < s->in->listener_count; i++) {
        for (unsigned outcome = 0; outcome < HANDSHAKE_OUTCOMES; outcome++) {
            struct metrics_label labels[] = {{"listener", s->in->listeners[i].addr},
                                             {"outcome", metric_handshake_words[outcome]}};
            metrics_text_sample(s->out, metric, "", labels, 2, s->totals[i].handshakes[outcome]);
        }
    }
}

static void render_listener_max(struct scrape *s, enum metric metric)
{
    for (unsigned i = 0; i < s->in->listener_count; i++) {
        const struct metrics_listener *l = &s->in->listeners[i];
        struct metrics_label label = {"listener", l->addr};
        if (l->is_configured)
            metrics_text_sample(s->out, metric, "", &label, 1, l->max_connections);
    }
}

static void render_routes(struct scrape *s, enum metric metric)
{
    for (unsigned i = 0; i < s->in->listener_count; i++) {
        const struct metrics_listener *l = &s->in->listeners[i];
        struct metrics_label label = {"listener", l->addr};
        if (l->is_configured)
            metrics_text_sample(s->out, metric, "", &label, 1, l->routes);
    }
}

/* Buckets of the format hold what the ones below hold, too, and end with one for all. */
static void render_times(struct scrape *s, enum metric metric, const char *addr, const struct times *times,
                         const struct histogram_scale *scale)
{
    char bound[METRICS_SECONDS_MAX];
    struct metrics_label labels[] = {{"listener", addr}, {"le", bound}};
    uint64_t count = 0;

    for (unsigned i = 0; i < scale->bound_count; i++) {
        count += times->buckets[i];
        metrics_format_seconds(scale->bounds_us[i], bound);
        metrics_text_sample(s->out, metric, "_bucket", labels, 2, count);
    }
    count += times->buckets[scale->bound_count];
    labels[1].value = "+Inf";
    metrics_text_sample(s->out, metric, "_bucket", labels, 2, count);
    metrics_text_sample_us(s->out, metric, "_sum", labels, 1, times->sum_us);
    metrics_text_sample(s->out, metric, "_count", labels, 1, count);
}

struct times_row {
    size_t offset; /* in struct totals */
    const struct histogram_scale *scale;
};

static const struct times_row times_rows[METRIC_COUNT] = {
    [METRIC_CONNECT] = {offsetof(struct totals, connect), &histogram_latency},
    [METRIC_FIRST_BYTE] = {offsetof(struct totals, first_byte), &histogram_latency},
    [METRIC_DURATION] = {offsetof(struct totals, duration), &histogram_duration},
};

static void render_histogram(struct scrape *s, enum metric metric)
{
    for (unsigned i = 0; i < s->in->listener_count; i++) {
        const void *times = (const char *)&s->totals[i] + times_rows[metric].offset;
        render_times(s, metric, s->in->listeners[i].addr, times, times_rows[metric].scale);
    }
}

/* ---- by words of ours ---- */

static void render_words(struct scrape *s, enum metric metric, const char *label, const char *const *words,
                         const uint64_t *values, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct metrics_label one = {label, words[i]};
        metrics_text_sample(s->out, metric, "", &one, 1, values[i]);
    }
}

static void render_blocked(struct scrape *s, enum metric metric)
{
    const uint64_t values[RULE_COUNT] = {
        [RULE_IP] = s->ended[CLOSE_BLOCKED_IP],
        [RULE_CIDR] = s->ended[CLOSE_BLOCKED_CIDR],
        [RULE_COUNTRY] = s->ended[CLOSE_BLOCKED_COUNTRY],
        [RULE_RATE_LIMIT] = s->ended[CLOSE_RATE_LIMIT],
    };
    render_words(s, metric, "rule", metric_rule_words, values, RULE_COUNT);
}

static void render_rules(struct scrape *s, enum metric metric)
{
    render_words(s, metric, "rule", metric_rule_words, s->in->rules, RULE_RATE_LIMIT); /* all but the rate limit */
}

static void render_hello(struct scrape *s, enum metric metric)
{
    const uint64_t values[VERDICT_COUNT] = {
        [VERDICT_NAME] = s->hellos[SHM_HELLO_NAME],
        [VERDICT_NO_NAME] = s->hellos[SHM_HELLO_NO_NAME],
        [VERDICT_REJECTED] =
            s->ended[CLOSE_HELLO_MALFORMED] + s->ended[CLOSE_HELLO_TOO_LARGE] + s->ended[CLOSE_HELLO_TIMEOUT],
    };
    render_words(s, metric, "verdict", metric_verdict_words, values, VERDICT_COUNT);
}

static void render_proxy_header(struct scrape *s, enum metric metric)
{
    const uint64_t values[OUTCOME_COUNT] = {
        [OUTCOME_ADDRESS] = s->proxy_headers[SHM_PROXY_HEADER_ADDRESS],
        [OUTCOME_NO_ADDRESS] = s->proxy_headers[SHM_PROXY_HEADER_NO_ADDRESS],
        [OUTCOME_MALFORMED] = s->ended[CLOSE_PROXY_MALFORMED],
        [OUTCOME_TIMEOUT] = s->ended[CLOSE_PROXY_TIMEOUT],
        [OUTCOME_UNTRUSTED] = s->ended[CLOSE_PROXY_UNTRUSTED],
    };
    render_words(s, metric, "outcome", metric_outcome_words, values, OUTCOME_COUNT);
}

static void render_reloads(struct scrape *s, enum metric metric)
{
    render_words(s, metric, "result", metric_result_words, s->in->reloads, RESULT_COUNT);
}

static void render_log_dropped(struct scrape *s, enum metric metric)
{
    render_words(s, metric, "stage", metric_stage_words, s->in->log_dropped, STAGE_COUNT);
}

/* ---- the rest ---- */

static void render_open_fds(struct scrape *s, enum metric metric)
{
    for (unsigned i = 0; i < s->in->process_count; i++) {
        struct metrics_label label = {"process", s->in->processes[i].name};
        metrics_text_sample(s->out, metric, "", &label, 1, s->in->processes[i].open_fds);
    }
}

static void render_country_unknown(struct scrape *s, enum metric metric)
{
    metrics_text_sample(s->out, metric, "", NULL, 0, s->country_unknown);
}

static void render_connections_max(struct scrape *s, enum metric metric)
{
    metrics_text_sample(s->out, metric, "", NULL, 0, s->conn_cap);
}

static void render_build_info(struct scrape *s, enum metric metric)
{
    struct metrics_label label = {"version", s->in->version};
    metrics_text_sample(s->out, metric, "", &label, 1, 1);
}

typedef void (*render_fn)(struct scrape *s, enum metric metric);

/* Metrics without a row here have one value, which the master knows. */
static const render_fn renderers[METRIC_COUNT] = {
    [METRIC_CONNECTIONS] = render_total,
    [METRIC_ACTIVE] = render_total,
    [METRIC_CLOSED] = render_closed,
    [METRIC_RECEIVED] = render_total,
    [METRIC_SENT] = render_total,
    [METRIC_CONNECT] = render_histogram,
    [METRIC_FIRST_BYTE] = render_histogram,
    [METRIC_HANDSHAKES] = render_handshakes,
    [METRIC_DURATION] = render_histogram,
    [METRIC_LISTENER_MAX] = render_listener_max,
    [METRIC_ROUTES] = render_routes,
    [METRIC_ROUTE_CONNECTIONS] = render_route,
    [METRIC_ROUTE_FAILED] = render_route,
    [METRIC_ROUTE_UNANSWERED] = render_route,
    [METRIC_ROUTE_HANDSHAKES] = render_route_handshakes,
    [METRIC_ROUTE_RECEIVED] = render_route,
    [METRIC_ROUTE_SENT] = render_route,
    [METRIC_ROUTES_LEFT_OUT] = render_left_out,
    [METRIC_BLOCKED] = render_blocked,
    [METRIC_RULES] = render_rules,
    [METRIC_COUNTRY_UNKNOWN] = render_country_unknown,
    [METRIC_HELLO] = render_hello,
    [METRIC_PROXY_HEADER] = render_proxy_header,
    [METRIC_CONNECTIONS_MAX] = render_connections_max,
    [METRIC_RELOADS] = render_reloads,
    [METRIC_OPEN_FDS] = render_open_fds,
    [METRIC_LOG_DROPPED] = render_log_dropped,
    [METRIC_BUILD_INFO] = render_build_info,
};

void metrics_render(const struct metrics_input *in, struct metrics_text *out)
{
    struct scrape s = {.in = in, .out = out};
    unsigned routes = in->routes != NULL ? route_series_end(in->routes) : 0;

    s.totals = calloc(in->listener_count + 1, sizeof *s.totals); /* one more: calloc(0) may be NULL */
    s.routes = calloc(routes + 1, sizeof *s.routes);
    if (s.totals == NULL || s.routes == NULL) {
        free(s.totals);
        free(s.routes);
        out->failed = true;
        return;
    }
    add_up(&s);
    if (in->routes != NULL)
        add_up_routes(&s);
    for (unsigned metric = 0; metric < METRIC_COUNT; metric++) {
        metrics_text_family(out, metric);
        if (renderers[metric] != NULL)
            renderers[metric](&s, metric);
        else
            metrics_text_sample(out, metric, "", NULL, 0, in->values[metric]);
    }
    free(s.totals);
    free(s.routes);
}
