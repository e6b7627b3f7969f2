/* The log output: whole lines, exact counts of what is missing, and nobody who reads slowly, or not at all, holds us up. */

#include "log_output.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "log_account.h"
#include "log_event.h"
#include "log_fd.h"

/* ---- the ways standard error can be ---- */

enum channel { CHANNEL_PIPE, CHANNEL_PIPE_SHARED, CHANNEL_SOCKET, CHANNEL_TERMINAL, CHANNEL_END };

/** fds[1] is a terminal that passes bytes as they are, fds[0] what its user sees. */
static void open_terminal(int fds[2])
{
    struct termios raw;
    char path[64];

    fds[0] = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(fds[0] >= 0);
    assert_int_equal(grantpt(fds[0]) | unlockpt(fds[0]) | ptsname_r(fds[0], path, sizeof path), 0);
    fds[1] = open(path, O_RDWR | O_NOCTTY);
    assert_int_equal(tcgetattr(fds[1], &raw), 0);
    cfmakeraw(&raw);
    assert_int_equal(tcsetattr(fds[1], TCSANOW, &raw), 0);
}

struct rig {
    int ours;
    int reader; /* non-blocking */
    struct log_output *o;
    struct account account;
};

static struct rig rig_new(enum channel channel)
{
    struct rig g = {0};
    int fds[2];
    struct rlimit limit;

    if (channel == CHANNEL_SOCKET)
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    else if (channel == CHANNEL_TERMINAL)
        open_terminal(fds);
    else
        assert_int_equal(pipe(fds), 0);
    g.reader = fds[0];
    g.ours = fds[1];
    assert_int_equal(fcntl(g.reader, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {.rlim_cur = channel == CHANNEL_PIPE_SHARED ? 3 : limit.rlim_cur, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0); /* so that it cannot be opened again */
    g.o = log_output_new(g.ours);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_non_null(g.o);
    return g;
}

static void rig_free(struct rig *g)
{
    log_output_free(&g->o);
    assert_null(g->o);
    close(g->ours);
    close(g->reader);
}

static void test_kinds_of_descriptors(void **state)
{
    (void)state;
    char path[] = "/tmp/mc-proxy-log-XXXXXX";
    int file = mkstemp(path);
    int pipes[2];
    int sockets[2];

    unlink(path);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    const struct {
        int fd;
        enum log_fd_kind kind;
    } cases[] = {{file, LOG_FD_FILE}, {pipes[1], LOG_FD_OWN}, {sockets[0], LOG_FD_SOCKET}, {-1, LOG_FD_SHARED}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct log_fd f = log_fd_open(cases[i].fd);
        assert_int_equal(f.kind, cases[i].kind);
        assert_int_equal(f.fd == cases[i].fd, f.kind != LOG_FD_OWN);
        log_fd_close(&f);
        assert_true(cases[i].fd < 0 || fcntl(cases[i].fd, F_GETFL) >= 0);
    }
    int to_close[] = {file, pipes[0], pipes[1], sockets[0], sockets[1]};
    for (size_t i = 0; i < sizeof to_close / sizeof to_close[0]; i++)
        close(to_close[i]);
}

static void test_lines_are_written_at_once_without_a_loop(void **state)
{
    (void)state;
    for (int channel = 0; channel < CHANNEL_END; channel++) {
        struct rig g = rig_new((enum channel)channel);

        for (unsigned n = 0; n < 100; n++) {
            log_numbered(g.o, n);
            account_read(&g.account, g.reader, 1 << 20);
            assert_int_equal(g.account.lines, n + 1);
        }
        rig_free(&g);
    }
}

/** Others share the descriptor: the parent's shell must not find its terminal non-blocking. */
static void test_flags_of_the_descriptor_stay(void **state)
{
    (void)state;
    for (int channel = 0; channel < CHANNEL_END; channel++) {
        struct rig g = rig_new((enum channel)channel);
        int before = fcntl(g.ours, F_GETFL);

        for (unsigned n = 0; n < 20000; n++)
            log_numbered(g.o, n);
        assert_int_equal(fcntl(g.ours, F_GETFL), before);
        assert_int_equal(before & O_NONBLOCK, 0);
        rig_free(&g);
    }
}

/** Nobody reads for 60,000 lines, twice what the buffer holds; then somebody does, in pieces that cut lines anywhere. */
static void test_stuck_reader_costs_lines_never_time(void **state)
{
    (void)state;
    for (int channel = 0; channel < CHANNEL_END; channel++) {
        struct rig g = rig_new((enum channel)channel);
        unsigned n = 0;

        for (int round = 0; round < 3; round++) {
            for (unsigned k = 0; k < 60000; k++)
                log_numbered(g.o, n++);
            assert_true(log_output_dropped(g.o) > 0);
            assert_false(log_output_flush(g.o, 0));
            while (!log_output_flush(g.o, 0) || g.account.next < n)
                account_read(&g.account, g.reader, 12345);
            assert_int_equal(g.account.notices, 1 + (unsigned)round);
            assert_int_equal(g.account.lines + g.account.dropped, n);
            assert_int_equal(g.account.dropped, log_output_dropped(g.o));
            assert_int_equal(g.account.partial_len, 0);
        }
        rig_free(&g);
    }
}

/** A reader that always lags behind: many overflows, each told at its place. */
static void test_slow_reader_gets_an_exact_account(void **state)
{
    (void)state;
    for (int channel = 0; channel < CHANNEL_END; channel++) {
        struct rig g = rig_new((enum channel)channel);
        struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
        unsigned n = 0;

        assert_non_null(loop);
        log_output_start(g.o, loop);
        for (int turn = 0; turn < 1500; turn++) {
            for (unsigned k = 0; k < 150; k++)
                log_numbered(g.o, n++);
            ev_run(loop, EVRUN_NOWAIT);
            account_read(&g.account, g.reader, 3001);
        }
        assert_true(log_output_dropped(g.o) > 0);
        for (int turn = 0; g.account.next < n && turn < 100000; turn++) {
            account_read(&g.account, g.reader, 4001);
            ev_run(loop, EVRUN_NOWAIT);
        }
        assert_true(g.account.notices > 1);
        assert_int_equal(g.account.lines + g.account.dropped, n);
        assert_int_equal(g.account.dropped, log_output_dropped(g.o));
        ev_run(loop, 0); /* returns: nothing is watched while there is nothing to write */
        rig_free(&g);
        ev_loop_destroy(loop);
    }
}

static void test_loop_writes_at_the_end_of_the_turn(void **state)
{
    (void)state;
    struct rig g = rig_new(CHANNEL_PIPE);
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);

    assert_non_null(loop);
    log_output_start(g.o, loop);
    log_numbered(g.o, 0);
    log_numbered(g.o, 1);
    account_read(&g.account, g.reader, 1 << 20);
    assert_int_equal(g.account.lines, 0);
    ev_run(loop, 0);
    account_read(&g.account, g.reader, 1 << 20);
    assert_int_equal(g.account.lines, 2);
    log_output_stop(g.o);
    log_numbered(g.o, 2);
    account_read(&g.account, g.reader, 1 << 20);
    assert_int_equal(g.account.lines, 3);
    rig_free(&g);
    ev_loop_destroy(loop);
}

static void test_room_is_told(void **state)
{
    (void)state;
    struct rig g = rig_new(CHANNEL_PIPE);
    unsigned n = 0;

    while (log_output_has_room(g.o))
        log_numbered(g.o, n++);
    assert_int_equal(log_output_dropped(g.o), 0); /* who asks first loses nothing */
    for (int k = 0; k < 2000; k++)
        log_numbered(g.o, n++);
    assert_true(log_output_dropped(g.o) > 0);
    assert_false(log_output_has_room(g.o));
    while (!log_output_flush(g.o, 0))
        account_read(&g.account, g.reader, 1 << 20);
    assert_true(log_output_has_room(g.o));
    rig_free(&g);
}

static void test_closed_reader_is_counted(void **state)
{
    (void)state;
    for (int channel = 0; channel < CHANNEL_END; channel++) {
        struct rig g = rig_new((enum channel)channel);

        close(g.reader);
        for (unsigned n = 0; n < 1000; n++)
            log_numbered(g.o, n);
        assert_false(log_output_flush(g.o, 10));
        assert_int_equal(log_output_dropped(g.o), 1000);
        g.reader = dup(g.ours);
        rig_free(&g);
    }
}

static void test_regular_file(void **state)
{
    (void)state;
    char path[] = "/tmp/mc-proxy-log-XXXXXX";
    static struct account account;
    int file = mkstemp(path);
    struct log_output *o = log_output_new(file);
    int reader = open(path, O_RDONLY);

    unlink(path);
    assert_non_null(o);
    for (unsigned n = 0; n < 50000; n++)
        log_numbered(o, n);
    assert_true(log_output_flush(o, 0));
    account_read(&account, reader, 1 << 24);
    assert_int_equal(account.lines, 50000);
    assert_int_equal(log_output_dropped(o), 0);
    log_output_free(&o);
    close(file);
    close(reader);
}

static void test_records_in_both_formats(void **state)
{
    (void)state;
    struct rig g = rig_new(CHANNEL_PIPE);
    char text[1024] = "";

    log_set_sink(log_output_sink, g.o);
    log_text(LOG_INFO, "first");
    log_output_set_format(g.o, LOG_FORMAT_JSON);
    log_text(LOG_INFO, "second");
    log_set_sink(NULL, NULL);
    assert_true(read(g.reader, text, sizeof text - 1) > 0);
    const char *second = strchr(text, '\n');
    assert_non_null(second);
    assert_non_null(strstr(text, " level=INFO msg=\"first\"\n"));
    assert_int_equal(strncmp(second + 1, "{\"time\":\"", 9), 0);
    assert_non_null(strstr(second, ",\"level\":\"INFO\",\"msg\":\"second\"}\n"));
    rig_free(&g);
}

static void test_flush_waits_as_long_as_it_may(void **state)
{
    (void)state;
    struct rig g = rig_new(CHANNEL_PIPE);

    for (unsigned n = 0; n < 5000; n++)
        log_numbered(g.o, n);
    uint64_t start_ms = clock_monotonic_ms();
    assert_false(log_output_flush(g.o, 80));
    assert_in_range(clock_monotonic_ms() - start_ms, 80, 5000);

    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) { /* a slow reader */
        char byte[4096];
        alarm(HANG_S);
        close(g.ours);
        for (;;) {
            usleep(1000);
            if (read(g.reader, byte, sizeof byte) == 0)
                _exit(0);
        }
    }
    assert_true(log_output_flush(g.o, HANG_S * 1000));
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    rig_free(&g);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_kinds_of_descriptors),
        TEST(test_lines_are_written_at_once_without_a_loop),
        TEST(test_flags_of_the_descriptor_stay),
        TEST(test_stuck_reader_costs_lines_never_time),
        TEST(test_slow_reader_gets_an_exact_account),
        TEST(test_loop_writes_at_the_end_of_the_turn),
        TEST(test_room_is_told),
        TEST(test_closed_reader_is_counted),
        TEST(test_regular_file),
        TEST(test_records_in_both_formats),
        TEST(test_flush_waits_as_long_as_it_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
