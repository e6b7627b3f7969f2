#ifndef SUPERVISOR_FIXTURE_H
#define SUPERVISOR_FIXTURE_H

/* A supervisor with fake workers on loopback, for the tests that include this header. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <ev.h>
#include <netinet/in.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "clock.h"
#include "ctl_channel.h"
#include "fake_worker.h"
#include "free_port.h"
#include "log_lines.h"
#include "stats_segment.h"
#include "supervisor.h"
#include "supervisor_state.h"
#include "worker_spawn.h"

#define LIMIT_MS   30000 /* no condition takes longer, on the slowest machine */
#define DEATHS_MAX 256

struct fixture {
    struct ev_loop *loop;
    struct supervisor *sup;
    struct stats_segment stats;
    struct fake_orders *orders;
    int orders_fd;
    int binary_fd;
    struct ev_timer pulse; /* conditions are looked at every few milliseconds */
    unsigned ready_count;
    unsigned gone_count;
    unsigned ring_count;
    unsigned drained_count;
    unsigned removed_count;
    unsigned death_count;
    struct {
        unsigned slot;
        pid_t pid;
        int status;
        uint64_t at_ms;
    } deaths[DEATHS_MAX];
    struct log_lines log;
};

/** Turn the loop until the condition holds; fails the test after LIMIT_MS. */
#define WAIT_UNTIL(f, condition)                                \
    do {                                                        \
        uint64_t deadline_ms = clock_monotonic_ms() + LIMIT_MS; \
        while (!(condition)) {                                  \
            if (clock_monotonic_ms() > deadline_ms) {           \
                fixture_print(f);                               \
                fail_msg("not within the limit: " #condition);  \
            }                                                   \
            ev_run((f)->loop, EVRUN_ONCE);                      \
        }                                                       \
    } while (0)

static void fixture_print(struct fixture *f)
{
    static char text[32768];
    struct strbuf dump = STRBUF_OF(text);

    if (f->sup != NULL)
        supervisor_dump(f->sup, &dump);
    fprintf(stderr, "%s%.*s", text, (int)f->log.len, f->log.text);
}

static void on_pulse(struct ev_loop *loop, struct ev_timer *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

static unsigned log_count(const struct fixture *f, const char *text)
{
    unsigned count = 0;

    for (const char *at = f->log.text; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

static void on_all_ready(void *context)
{
    ((struct fixture *)context)->ready_count++;
}

static void on_all_gone(void *context)
{
    ((struct fixture *)context)->gone_count++;
}

static void on_log_ring(void *context, unsigned slot, void *mapping, uint64_t bytes)
{
    assert_true(slot < SHM_WORKERS_MAX);
    assert_non_null(mapping);
    assert_int_equal(bytes, log_ring_segment_bytes(65536));
    ((struct fixture *)context)->ring_count++;
}

static void on_log_drain(void *context, unsigned slot)
{
    (void)slot;
    assert_true(((struct fixture *)context)->ring_count > 0);
    ((struct fixture *)context)->drained_count++;
}

static void on_listener_removed(void *context, unsigned id)
{
    (void)id;
    ((struct fixture *)context)->removed_count++;
}

static void on_worker_died(void *context, unsigned slot, pid_t pid, int status)
{
    struct fixture *f = context;

    assert_true(f->death_count < DEATHS_MAX);
    f->deaths[f->death_count].slot = slot;
    f->deaths[f->death_count].pid = pid;
    f->deaths[f->death_count].status = status;
    f->deaths[f->death_count++].at_ms = clock_monotonic_ms();
}

static void fixture_make_supervisor(struct fixture *f, unsigned worker_count, int binary_fd)
{
    const struct supervisor_options options = {
        .binary_fd = binary_fd,
        .tables_fd = f->orders_fd,
        .tables_bytes = sizeof(struct fake_orders),
        .rate_fd = -1,
        .stats = &f->stats,
        .log_ring_bytes = 65536,
        .drop_uid = UINT32_MAX,
        .drop_gid = UINT32_MAX,
        .worker_count = worker_count,
        .settings = {.idle_timeout_ms = 1234, .shutdown_timeout_ms = 20000},
    };
    const struct supervisor_callbacks callbacks = {.on_all_ready = on_all_ready,
                                                   .on_all_gone = on_all_gone,
                                                   .on_worker_died = on_worker_died,
                                                   .on_log_ring = on_log_ring,
                                                   .on_log_drain = on_log_drain,
                                                   .on_listener_removed = on_listener_removed,
                                                   .context = f};

    assert_int_equal(supervisor_new(f->loop, &options, &callbacks, &f->sup), 0);
}

static int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->loop = ev_loop_new(EVFLAG_AUTO);
    f->orders_fd = memfd_create("orders", MFD_CLOEXEC);
    f->binary_fd = worker_binary_open();
    if (f->loop == NULL || f->binary_fd < 0 || ftruncate(f->orders_fd, sizeof(struct fake_orders)) != 0 ||
        stats_segment_init(&f->stats) != 0)
        return -1;
    f->orders = fake_map(f->orders_fd, sizeof(struct fake_orders));
    ev_timer_init(&f->pulse, on_pulse, 0.002, 0.002);
    ev_timer_start(f->loop, &f->pulse);
    log_set_sink(log_lines_add, &f->log);
    *state = f;
    return 0;
}

static int fixture_teardown(void **state)
{
    struct fixture *f = *state;

    supervisor_free(&f->sup);
    ev_timer_stop(f->loop, &f->pulse);
    ev_loop_destroy(f->loop);
    munmap(f->orders, sizeof(struct fake_orders));
    stats_segment_fini(&f->stats);
    close(f->orders_fd);
    close(f->binary_fd);
    log_set_sink(NULL, NULL);
    free(f);
    return 0;
}

static void fixture_order(struct fixture *f, unsigned slot, enum fake_order order)
{
    atomic_store(&f->orders->order[slot], (uint32_t)order);
}

/** The same, and wait until the worker acts on it. */
static void fixture_order_now(struct fixture *f, unsigned slot, enum fake_order order)
{
    fixture_order(f, slot, order);
    WAIT_UNTIL(f, atomic_load(&f->orders->report[slot].obeys) == (uint32_t)order);
}

/* ---- listeners and clients ---- */

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
}

static struct listen_addr loopback_addr(uint16_t port)
{
    return (struct listen_addr){.addr = {.family = 4, .bytes = {127, 0, 0, 1}}, .port = port};
}

static int fixture_add_listener_fd(struct fixture *f, uint16_t id, uint16_t port, int inherited_fd, struct strbuf *why)
{
    struct ctl_listener ctl = {.id = id};
    const struct supervisor_listener listener = {
        .name = "https", .ctl = &ctl, .addr = loopback_addr(port), .inherited_fd = inherited_fd};

    snprintf(ctl.addr, sizeof ctl.addr, "127.0.0.1:%u", port);
    return supervisor_add_listener(f->sup, &listener, 0, why);
}

static uint16_t fixture_add_listener(struct fixture *f, uint16_t id)
{
    char text[256];
    struct strbuf why = STRBUF_OF(text);
    uint16_t port = free_port();
    int rc = fixture_add_listener_fd(f, id, port, -1, &why);

    if (rc != 0)
        fail_msg("%s", text);
    return port;
}

/** A supervisor with listener 0, whose workers are all ready; its port. */
static uint16_t fixture_start(struct fixture *f, unsigned worker_count)
{
    char text[256];
    struct strbuf why = STRBUF_OF(text);

    fixture_make_supervisor(f, worker_count, f->binary_fd);
    uint16_t port = fixture_add_listener(f, 0);
    assert_int_equal(supervisor_start(f->sup, &why), 0);
    WAIT_UNTIL(f, f->ready_count == 1);
    return port;
}

/** A connection, or -1 if it was refused. */
static int client_connect(uint16_t port)
{
    struct sockaddr_in sin = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, (struct sockaddr *)&sin, sizeof sin) == 0)
        return fd;
    close(fd);
    return -1;
}

/** Has the worker answered? A connection that ended without an answer fails the test. */
static bool client_has_answer(int fd, struct fake_answer *out)
{
    ssize_t n = recv(fd, out, sizeof *out, MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN)
        return false;
    assert_int_equal(n, sizeof *out);
    return true;
}

/** Connect, wait for the answer, close. */
static struct fake_answer client_ask(struct fixture *f, uint16_t port)
{
    struct fake_answer answer;
    int fd = client_connect(port);

    assert_true(fd >= 0);
    WAIT_UNTIL(f, client_has_answer(fd, &answer));
    close(fd);
    return answer;
}

static bool slot_is(const struct fixture *f, unsigned slot, const char *state)
{
    const char *word;

    supervisor_worker_pid(f->sup, slot, &word);
    return strcmp(word, state) == 0;
}

static pid_t slot_pid(const struct fixture *f, unsigned slot)
{
    return supervisor_worker_pid(f->sup, slot, NULL);
}

static unsigned open_fd_count(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

#endif
