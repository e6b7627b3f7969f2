/* A scrape: every counter is the sum over the slots, every series that may move is there from the start, and a large one is quick. */

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "clock.h"
#include "metrics_render.h"
#include "stats.h"
#include "stats_segment.h"

struct fixture {
    struct stats_segment segment;
    struct metrics_listener listeners[SHM_LISTENERS_MAX];
    char addrs[SHM_LISTENERS_MAX][32];
    struct metrics_input in;
    struct metrics_text text;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    *state = f;
    if (f == NULL || stats_segment_init(&f->segment) != 0)
        return -1;
    f->in = (struct metrics_input){.stats = &f->segment, .listeners = f->listeners, .version = "1.2.3"};
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    metrics_text_fini(&f->text);
    stats_segment_fini(&f->segment);
    free(f);
    return 0;
}

static void add_listeners(struct fixture *f, unsigned count, unsigned slots)
{
    for (unsigned id = 0; id < count; id++) {
        snprintf(f->addrs[id], sizeof f->addrs[id], "192.0.2.1:%u", 1000 + id);
        f->listeners[id] = (struct metrics_listener){
            .addr = f->addrs[id], .id = (uint16_t)id, .is_configured = true, .routes = 10 + id, .max_connections = id};
        stats_segment_use_listener(&f->segment, id);
    }
    f->in.listener_count = count;
    stats_segment_use_slot(&f->segment, slots - 1);
}

static const char *render(struct fixture *f)
{
    metrics_text_fini(&f->text);
    metrics_render(&f->in, &f->text);
    metrics_text_add(&f->text, "\nend");
    assert_false(f->text.failed);
    f->text.data[f->text.len - 1] = '\0';
    return f->text.data;
}

/** Is there exactly this line? */
static void assert_line(const struct fixture *f, const char *line)
{
    size_t len = strlen(line);
    unsigned found = 0;

    for (const char *at = f->text.data; (at = strstr(at, line)) != NULL; at += len)
        found += (at == f->text.data || at[-1] == '\n') && at[len] == '\n';
    if (found != 1)
        fail_msg("%u times: %s", found, line);
}

static void assert_lines(const struct fixture *f, const char *const *lines, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_line(f, lines[i]);
}

static struct shm_listener_stats *listener_stats(struct fixture *f, unsigned slot, unsigned id)
{
    return &f->segment.stats->workers[slot].listeners[id];
}

static void test_everything_is_there_before_anything_happened(void **state)
{
    static const char *const lines[] = {
        "mcproxy_connections_total{listener=\"192.0.2.1:1000\"} 0",
        "mcproxy_connections_active{listener=\"192.0.2.1:1000\"} 0",
        "mcproxy_received_bytes_total{listener=\"192.0.2.1:1000\"} 0",
        "mcproxy_sent_bytes_total{listener=\"192.0.2.1:1000\"} 0",
        "mcproxy_connections_closed_total{listener=\"192.0.2.1:1000\",reason=\"finished\"} 0",
        "mcproxy_connections_closed_total{listener=\"192.0.2.1:1000\",reason=\"worker_died\"} 0",
        "mcproxy_firewall_blocked_total{rule=\"ip\"} 0",
        "mcproxy_firewall_blocked_total{rule=\"cidr\"} 0",
        "mcproxy_firewall_blocked_total{rule=\"country\"} 0",
        "mcproxy_firewall_blocked_total{rule=\"rate_limit\"} 0",
        "mcproxy_hello_total{verdict=\"rejected\"} 0",
        "mcproxy_handshakes_total{listener=\"192.0.2.1:1000\",outcome=\"none\"} 0",
        "mcproxy_handshakes_total{listener=\"192.0.2.1:1000\",outcome=\"other\"} 0",
        "mcproxy_connection_duration_seconds_count{listener=\"192.0.2.1:1000\"} 0",
        "mcproxy_reloads_total{result=\"failure\"} 0",
        "mcproxy_build_info{version=\"1.2.3\"} 1",
    };
    struct fixture *f = *state;

    add_listeners(f, 1, 1);
    render(f);
    assert_lines(f, lines, sizeof lines / sizeof lines[0]);
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        char line[1024];
        snprintf(line, sizeof line, "# HELP %s %s", metric_row(i)->name, metric_row(i)->help);
        assert_line(f, line);
    }
}

static void test_counters_are_summed_over_the_slots(void **state)
{
    static const char *const lines[] = {
        "mcproxy_connections_total{listener=\"192.0.2.1:1000\"} 6",
        "mcproxy_connections_total{listener=\"192.0.2.1:1001\"} 600",
        "mcproxy_received_bytes_total{listener=\"192.0.2.1:1000\"} 60",
        "mcproxy_sent_bytes_total{listener=\"192.0.2.1:1001\"} 6000000",
        "mcproxy_connections_active{listener=\"192.0.2.1:1001\"} 9",
        "mcproxy_connections_closed_total{listener=\"192.0.2.1:1000\",reason=\"finished\"} 0",
        "mcproxy_connections_closed_total{listener=\"192.0.2.1:1000\",reason=\"rate_limit\"} 6",
        "mcproxy_connections_closed_total{listener=\"192.0.2.1:1001\",reason=\"rate_limit\"} 600",
        "mcproxy_connections_closed_total{listener=\"192.0.2.1:1001\",reason=\"hello_timeout\"} 3",
        "mcproxy_firewall_blocked_total{rule=\"ip\"} 30",
        "mcproxy_firewall_blocked_total{rule=\"cidr\"} 33",
        "mcproxy_firewall_blocked_total{rule=\"country\"} 36",
        "mcproxy_firewall_blocked_total{rule=\"rate_limit\"} 606",
        "mcproxy_hello_total{verdict=\"name\"} 15",
        "mcproxy_hello_total{verdict=\"no_name\"} 3",
        "mcproxy_hello_total{verdict=\"rejected\"} 9",
        "mcproxy_proxy_header_total{outcome=\"address\"} 12",
        "mcproxy_proxy_header_total{outcome=\"no_address\"} 6",
        "mcproxy_proxy_header_total{outcome=\"malformed\"} 3",
        "mcproxy_geoip_unknown_total 21",
        "mcproxy_handshakes_total{listener=\"192.0.2.1:1000\",outcome=\"server_hello\"} 15",
        "mcproxy_handshakes_total{listener=\"192.0.2.1:1001\",outcome=\"alert\"} 6",
        "mcproxy_handshakes_total{listener=\"192.0.2.1:1001\",outcome=\"none\"} 0",
        "mcproxy_connections_max 3000",
    };
    struct fixture *f = *state;

    add_listeners(f, 2, 3);
    for (unsigned slot = 0; slot < 3; slot++) {
        struct shm_worker_stats *w = &f->segment.stats->workers[slot];
        struct shm_listener_stats *first = listener_stats(f, slot, 0), *second = listener_stats(f, slot, 1);
        stat_add(&first->accepted, slot + 1);
        stat_add(&second->accepted, 100 * (slot + 1));
        stat_add(&first->bytes_in, 10 * (slot + 1));
        stat_add(&second->bytes_out, 1000000 * (slot + 1));
        stat_add(&first->closed[CLOSE_RATE_LIMIT], slot + 1);
        stat_add(&second->closed[CLOSE_RATE_LIMIT], 100 * (slot + 1));
        stat_add(&second->closed[CLOSE_BLOCKED_IP], 10);
        stat_add(&second->closed[CLOSE_BLOCKED_CIDR], 11);
        stat_add(&second->closed[CLOSE_BLOCKED_COUNTRY], 12);
        stat_add(&first->handshakes[HANDSHAKE_SERVER_HELLO], 5);
        stat_add(&second->handshakes[HANDSHAKE_ALERT], 2);
        stat_add(&first->closed[CLOSE_HELLO_MALFORMED], 1);
        stat_add(&first->closed[CLOSE_HELLO_TOO_LARGE], 1);
        stat_add(&second->closed[CLOSE_HELLO_TIMEOUT], 1);
        stat_add(&second->closed[CLOSE_PROXY_MALFORMED], 1);
        atomic_store(&f->segment.stats->active[1][slot], 3);
        stat_add(&w->hellos[SHM_HELLO_NAME], 5);
        stat_add(&w->hellos[SHM_HELLO_NO_NAME], 1);
        stat_add(&w->proxy_headers[SHM_PROXY_HEADER_ADDRESS], 4);
        stat_add(&w->proxy_headers[SHM_PROXY_HEADER_NO_ADDRESS], 2);
        stat_add(&w->country_unknown, 7);
        stat_add(&w->conn_cap, 1000);
    }
    render(f);
    assert_lines(f, lines, sizeof lines / sizeof lines[0]);
}

static void test_histograms_are_cumulative(void **state)
{
    static const char *const lines[] = {
        "mcproxy_backend_connect_duration_seconds_bucket{listener=\"192.0.2.1:1000\",le=\"0.00025\"} 2",
        "mcproxy_backend_connect_duration_seconds_bucket{listener=\"192.0.2.1:1000\",le=\"0.0005\"} 3",
        "mcproxy_backend_connect_duration_seconds_bucket{listener=\"192.0.2.1:1000\",le=\"5\"} 3",
        "mcproxy_backend_connect_duration_seconds_bucket{listener=\"192.0.2.1:1000\",le=\"10\"} 3",
        "mcproxy_backend_connect_duration_seconds_bucket{listener=\"192.0.2.1:1000\",le=\"+Inf\"} 4",
        "mcproxy_backend_connect_duration_seconds_sum{listener=\"192.0.2.1:1000\"} 11.00075",
        "mcproxy_backend_connect_duration_seconds_count{listener=\"192.0.2.1:1000\"} 4",
        "mcproxy_backend_first_byte_duration_seconds_count{listener=\"192.0.2.1:1000\"} 0",
        "mcproxy_connection_duration_seconds_bucket{listener=\"192.0.2.1:1000\",le=\"86400\"} 1",
        "mcproxy_connection_duration_seconds_sum{listener=\"192.0.2.1:1000\"} 86400",
    };
    struct fixture *f = *state;

    add_listeners(f, 1, 2);
    histogram_observe(&listener_stats(f, 0, 0)->connect, &histogram_latency, 0);
    histogram_observe(&listener_stats(f, 0, 0)->connect, &histogram_latency, 250);
    histogram_observe(&listener_stats(f, 1, 0)->connect, &histogram_latency, 500);
    histogram_observe(&listener_stats(f, 1, 0)->connect, &histogram_latency, 11000000);
    histogram_observe(&listener_stats(f, 1, 0)->duration, &histogram_duration, 86400000000);
    render(f);
    assert_lines(f, lines, sizeof lines / sizeof lines[0]);
}

static void test_what_the_master_knows(void **state)
{
    static const char *const lines[] = {
        "mcproxy_routes{listener=\"192.0.2.1:1001\"} 11",
        "mcproxy_listener_max_connections{listener=\"192.0.2.1:1001\"} 1",
        "mcproxy_firewall_rules{rule=\"ip\"} 1",
        "mcproxy_firewall_rules{rule=\"country\"} 3",
        "mcproxy_reloads_total{result=\"success\"} 4",
        "mcproxy_log_dropped_total{stage=\"output\"} 6",
        "mcproxy_workers 7",
        "mcproxy_start_time_seconds 1700000000",
        "mcproxy_open_fds{process=\"worker-0\"} 9",
    };
    static const struct metrics_process processes[] = {{"master", 8}, {"worker-0", 9}};
    struct fixture *f = *state;

    add_listeners(f, 2, 1);
    f->listeners[0].is_configured = false; /* removed by a reload */
    f->in.rules[RULE_IP] = 1;
    f->in.rules[RULE_COUNTRY] = 3;
    f->in.reloads[RESULT_SUCCESS] = 4;
    f->in.log_dropped[STAGE_OUTPUT] = 6;
    f->in.values[METRIC_WORKERS] = 7;
    f->in.values[METRIC_START_TIME] = 1700000000;
    f->in.processes = processes;
    f->in.process_count = 2;
    const char *text = render(f);
    assert_lines(f, lines, sizeof lines / sizeof lines[0]);
    assert_null(strstr(text, "rule=\"rate_limit\"} 0\n# HELP mcproxy_geoip"));
    assert_null(strstr(text, "mcproxy_routes{listener=\"192.0.2.1:1000\"}"));
    assert_line(f, "mcproxy_connections_total{listener=\"192.0.2.1:1000\"} 0"); /* counters stay */
}

/* 50 ms are allowed in the shipped build; sanitizers take several times as long. */
static void test_a_thousand_listeners_are_rendered_quickly(void **state)
{
    struct fixture *f = *state;
    uint64_t best_us = UINT64_MAX;

    add_listeners(f, 1000, 4);
    for (unsigned slot = 0; slot < 4; slot++) {
        for (unsigned id = 0; id < 1000; id++)
            stat_add(&listener_stats(f, slot, id)->bytes_in, UINT64_MAX / 8);
    }
    for (unsigned i = 0; i < 5; i++) {
        uint64_t begun_us = clock_monotonic_us();
        render(f);
        uint64_t took_us = clock_monotonic_us() - begun_us;
        best_us = took_us < best_us ? took_us : best_us;
    }
    print_message("%zu bytes in %" PRIu64 " us\n", f->text.len, best_us);
    assert_true(best_us < 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_everything_is_there_before_anything_happened, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counters_are_summed_over_the_slots, setup, teardown),
        cmocka_unit_test_setup_teardown(test_histograms_are_cumulative, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_the_master_knows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_thousand_listeners_are_rendered_quickly, setup, teardown),
    };
    return cmocka_run_group_tests_name("metrics_render", tests, NULL, NULL);
}
