#ifndef ADMIN_FIXTURE_H
#define ADMIN_FIXTURE_H

/* An admin over a real state in a folder of its own, with calls that no transport brought. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ev.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin.h"
#include "config.h"
#include "config_text.h"
#include "fake_grpc.h"
#include "log_lines.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "state.h"
#include "state_change.h"
#include "stats_segment.h"
#include "supervisor.h"

#define SERVICE "/mc_proxy.v1.ProxyAdminService/"

struct fixture {
    char folder[64];
    struct ev_loop *loop;
    struct config *config;
    struct stats_segment stats;
    struct state *state;
    struct supervisor *supervisor;
    struct admin *admin;
    struct log_lines log;
    unsigned watching_told; /* how often the admin told whether anybody watches */
    bool is_watched;        /* what it told last */
};

static void fixture_on_watching(void *context, bool is_anybody)
{
    struct fixture *f = context;

    f->watching_told++;
    f->is_watched = is_anybody;
}

static void fixture_open_state(struct fixture *f)
{
    char text[512];
    struct strbuf why = STRBUF_OF(text);
    struct state_options options = {.loop = f->loop, .stats = f->stats.stats, .worker_slots = 2};
    struct state_loaded loaded;

    if (state_open(f->config->database_path, &options, &f->state, &why) != 0 ||
        state_load(f->state, f->config, &loaded, &why) != 0)
        fail_msg("%s", text);
}

static void fixture_config(struct fixture *f)
{
    char text[1024];
    struct config_errors errors = {0};

    snprintf(text, sizeof text,
             "[database]\npath = %s/mc-proxy.db\n[listener one]\naddr = :443\nmax_connections = 7\n"
             "route = a.example.com 10.0.0.1:1\n[listener two]\naddr = 127.0.0.1:8443\nproxy_protocol = required\n",
             f->folder);
    assert_int_equal(config_text_parse(bytes_of_str(text), NULL, &f->config, &errors), 0);
    config_errors_fini(&errors);
}

static int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct supervisor_callbacks none = {0};

    snprintf(f->folder, sizeof f->folder, "/tmp/mc-proxy-admin-XXXXXX");
    f->loop = ev_loop_new(EVFLAG_AUTO);
    if (mkdtemp(f->folder) == NULL || f->loop == NULL || stats_segment_init(&f->stats) != 0)
        return -1;
    fixture_config(f);
    fixture_open_state(f);
    struct supervisor_options options = {
        .binary_fd = -1, .rate_fd = -1, .stats = &f->stats, .log_ring_bytes = 65536, .worker_count = 1};
    assert_int_equal(supervisor_new(f->loop, &options, &none, &f->supervisor), 0);
    struct admin_parts parts = {.state = f->state,
                                .supervisor = f->supervisor,
                                .stats = &f->stats,
                                .on_watching = fixture_on_watching,
                                .context = f};
    assert_int_equal(admin_new(&parts, &f->admin), 0);
    admin_set_config(f->admin, f->config);
    log_set_sink(log_lines_add, &f->log);
    *state = f;
    return 0;
}

static int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    log_set_sink(NULL, NULL);
    fake_free_all();
    admin_free(&f->admin);
    supervisor_free(&f->supervisor);
    state_close(&f->state);
    stats_segment_fini(&f->stats);
    config_free(&f->config);
    ev_loop_destroy(f->loop);
    snprintf(command, sizeof command, "rm -rf '%s'", f->folder);
    if (system(command) != 0) /* NOLINT(cert-env33-c): a path of our own making */
        return -1;
    free(f);
    return 0;
}

static inline struct grpc_call *fixture_call(struct fixture *f, const char *path)
{
    return fake_call(admin_methods(), f->admin, path);
}

/** A whole call; fake_free() it. */
static inline struct grpc_call *fixture_ask(struct fixture *f, const char *path, const ProtobufCMessage *request)
{
    struct grpc_call *call = fixture_call(f, path);

    fake_receive_message(call, request);
    fake_end(call);
    return call;
}

static inline void expect_status(const struct grpc_call *call, enum grpc_status status, const char *beginning)
{
    assert_true(call->is_finished);
    if (call->status != status || strncmp(call->message, beginning, strlen(beginning)) != 0)
        fail_msg("status %d \"%s\" instead of %d \"%s\"", (int)call->status, call->message, (int)status, beginning);
    assert_true(status == GRPC_OK || call->answer_count == 0);
}

/** A text in a request; the generated fields are not const. */
#define TEXT(literal) ((char *)(uintptr_t)(literal))

static inline struct grpc_call *fixture_add_route(struct fixture *f, const char *listener, const char *hostname,
                                                  const char *backend)
{
    McProxy__V1__Route route;
    McProxy__V1__AddRouteRequest request;

    mc_proxy__v1__route__init(&route);
    mc_proxy__v1__add_route_request__init(&request);
    request.listener_addr = TEXT(listener);
    request.route = hostname == NULL ? NULL : &route;
    route.hostname = TEXT(hostname);
    route.backend = TEXT(backend);
    return fixture_ask(f, SERVICE "AddRoute", &request.base);
}

#endif
