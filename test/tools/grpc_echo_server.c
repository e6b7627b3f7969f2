/* The admin API's transport with a service that only echoes (test/unit/grpc_echo.h), so that tests can attack it by itself.
 *
 *     grpc_echo_server [--unix PATH] [--tcp ADDR --cert FILE --key FILE [--ca FILE]] [--LIMIT NUMBER]...
 *
 * Prints "ready" when it listens; logs go to standard error; SIGHUP reads the certificates again, SIGTERM says goodbye and ends. */

#include <ev.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>

#include "../unit/grpc_echo.h"
#include "config.h"
#include "grpc_server_internal.h"
#include "log_fd.h"
#include "log_output.h"

#define GOODBYE_S 0.2

struct program {
    struct ev_loop *loop;
    struct grpc_server *server;
    struct config config;
    struct config_grpc_addr addrs[2];
    struct grpc_limits limits;
    struct grpc_echo echo;
    ev_timer end;
};

struct limit_option {
    const char *name;
    size_t offset;
    size_t size;
};

#define LIMIT(field)                                                                               \
    {                                                                                              \
        "--" #field, offsetof(struct grpc_limits, field), sizeof(((struct grpc_limits *)0)->field) \
    }
static const struct limit_option limit_options[] = {
    LIMIT(connections),  LIMIT(handshake_ms),    LIMIT(newcomer_ms),    LIMIT(request_ms),
    LIMIT(stall_ms),     LIMIT(farewell_ms),     LIMIT(linger_ms),      LIMIT(request_bytes),
    LIMIT(answer_bytes), LIMIT(request_reserve), LIMIT(answer_reserve),
};

static bool set_limit(struct grpc_limits *limits, const char *name, const char *value)
{
    for (size_t i = 0; i < sizeof limit_options / sizeof limit_options[0]; i++) {
        const struct limit_option *o = &limit_options[i];
        uint64_t number = strtoull(value, NULL, 10);
        uint32_t small = (uint32_t)number;
        if (strcmp(o->name, name) != 0)
            continue;
        memcpy((char *)limits + o->offset, o->size == sizeof small ? (void *)&small : (void *)&number, o->size);
        return true;
    }
    return false;
}

static bool add_addr(struct program *p, const char *text, char *value)
{
    struct config_grpc_addr *addr = &p->addrs[p->config.grpc_addr_count++];
    char why_text[200];
    struct strbuf why = STRBUF_OF(why_text);

    *addr = (struct config_grpc_addr){.text = value, .is_unix = strcmp(text, "--unix") == 0, .path = value};
    return addr->is_unix || listen_addr_parse(bytes_of_str(value), &addr->addr, &why) == 0;
}

static bool take_option(struct program *p, const char *name, char *value)
{
    if (strcmp(name, "--unix") == 0 || strcmp(name, "--tcp") == 0)
        return p->config.grpc_addr_count < 2 && add_addr(p, name, value);
    if (strcmp(name, "--cert") == 0)
        p->config.grpc_tls_cert = value;
    else if (strcmp(name, "--key") == 0)
        p->config.grpc_tls_key = value;
    else if (strcmp(name, "--ca") == 0)
        p->config.grpc_client_ca = value;
    else
        return set_limit(&p->limits, name, value);
    return true;
}

static bool apply_config(struct program *p)
{
    char text[512];
    struct strbuf why = STRBUF_OF(text);
    struct grpc_endpoints *prepared = NULL;

    if (grpc_server_prepare(p->server, &p->config, &prepared, &why) != 0) {
        fprintf(stderr, "%s\n", text);
        return false;
    }
    grpc_server_commit(p->server, &prepared);
    return true;
}

static void on_hup(EV_P_ ev_signal *signal_watcher, int revents)
{
    (void)loop;
    (void)revents;
    puts(apply_config(signal_watcher->data) ? "reloaded" : "not reloaded");
    fflush(stdout);
}

static void on_end(EV_P_ ev_timer *timer, int revents)
{
    (void)timer;
    (void)revents;
    ev_break(EV_A_ EVBREAK_ALL);
}

static void on_term(EV_P_ ev_signal *signal_watcher, int revents)
{
    struct program *p = signal_watcher->data;

    (void)revents;
    grpc_server_say_goodbye(p->server);
    ev_timer_init(&p->end, on_end, GOODBYE_S, 0.);
    ev_timer_start(EV_A_ & p->end);
}

static int serve(struct program *p)
{
    ev_signal term, hup;

    ev_signal_init(&term, on_term, SIGTERM);
    ev_signal_init(&hup, on_hup, SIGHUP);
    term.data = hup.data = p;
    ev_signal_start(p->loop, &term);
    ev_signal_start(p->loop, &hup);
    if (!apply_config(p))
        return EXIT_FAILURE;
    puts("ready");
    fflush(stdout);
    ev_run(p->loop, 0);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static struct program p;
    struct log_output *log = log_output_new(STDERR_FILENO);

    p.loop = ev_loop_new(EVBACKEND_EPOLL);
    p.config.grpc_addrs = p.addrs;
    p.limits = grpc_limits_default;
    p.echo.loop = p.loop;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!take_option(&p, argv[i], argv[i + 1])) {
            fprintf(stderr, "grpc_echo_server: bad option %s %s\n", argv[i], argv[i + 1]);
            return 2;
        }
    }
    log_set_sink(log_output_sink, log);
    log_output_start(log, p.loop);
    if (grpc_server_new_with(p.loop, &p.limits, grpc_echo_methods, &p.echo, &p.server) != 0)
        return EXIT_FAILURE;
    p.echo.server = p.server;
    int status = serve(&p);
    grpc_server_free(&p.server);
    log_output_stop(log);
    log_output_flush(log, 1000);
    log_set_sink(NULL, NULL);
    log_output_free(&log);
    ev_loop_destroy(p.loop);
    if (p.echo.held != 0)
        fprintf(stderr, "leaked %u calls\n", p.echo.held);
    return p.echo.held == 0 ? status : EXIT_FAILURE;
}
