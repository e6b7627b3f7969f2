/* The front door: addresses that come and go, places that are taken, peers that do not get on. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "config.h"
#include "err.h"
#include "grpc_echo.h"
#include "grpc_server_internal.h"
#include "log_event.h"

#define PLACES 4

static struct ev_loop *loop;
static struct grpc_echo echo;
static struct grpc_server *server;
static struct grpc_limits limits;
static char folder[64], first_path[96], second_path[96], why_text[512];
static struct strbuf why;
static struct config_grpc_addr addrs[3];
static struct config config;

static struct config_grpc_addr unix_addr(char *path)
{
    return (struct config_grpc_addr){.text = path, .is_unix = true, .path = path};
}

static void reload(unsigned count)
{
    struct grpc_endpoints *prepared = NULL;

    config.grpc_addr_count = count;
    strbuf_reset(&why);
    assert_int_equal(grpc_server_prepare(server, &config, &prepared, &why), 0);
    grpc_server_commit(server, &prepared);
    assert_null(prepared);
}

static int setup(void **state)
{
    (void)state;
    loop = ev_loop_new(EVBACKEND_EPOLL);
    echo = (struct grpc_echo){.loop = loop};
    limits = grpc_limits_default;
    limits.connections = PLACES;
    limits.handshake_ms = 2000; /* short, but longer than this process waits for a processor in the middle of a test */
    limits.newcomer_ms = 50;
    limits.farewell_ms = 2000;
    limits.linger_ms = 100;
    snprintf(folder, sizeof folder, "/tmp/mc-proxy-grpc-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(first_path, sizeof first_path, "%s/1.sock", folder);
    snprintf(second_path, sizeof second_path, "%s/2.sock", folder);
    why = STRBUF_OF(why_text);
    config = (struct config){.grpc_addrs = addrs};
    addrs[0] = unix_addr(first_path);
    addrs[1] = unix_addr(second_path);
    assert_int_equal(grpc_server_new_with(loop, &limits, grpc_echo_methods, &echo, &server), 0);
    reload(1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    grpc_server_free(&server);
    grpc_server_free(&server);
    assert_int_equal(echo.held, 0);
    ev_loop_destroy(loop);
    unlink(first_path);
    unlink(second_path);
    return rmdir(folder);
}

/* ---- a client of few words ---- */

static void turn(unsigned ms)
{
    uint64_t end = clock_monotonic_ms() + ms;

    do {
        ev_run(loop, EVRUN_NOWAIT);
        usleep(1000);
    } while (clock_monotonic_ms() < end);
}

static int knock(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
        close(fd);
        return -1;
    }
    turn(5);
    return fd;
}

static void say(int fd, const void *data, size_t len)
{
    assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
    turn(5);
}

#define HELLO "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"

static int speak(const char *path)
{
    int fd = knock(path);

    assert_true(fd >= 0);
    say(fd, HELLO, sizeof HELLO - 1);
    return fd;
}

/* What has come; -1: nothing more will. */
static ssize_t hear(int fd, uint8_t *out, size_t capacity)
{
    size_t len = 0;
    ssize_t n;

    while ((n = recv(fd, out + len, capacity - len, 0)) > 0)
        len += (size_t)n;
    return n == 0 || errno != EAGAIN ? -1 : (ssize_t)len;
}

static bool is_closed(int fd)
{
    uint8_t out[65536];

    return hear(fd, out, sizeof out) == -1;
}

static bool wait_closed(int fd, unsigned ms)
{
    for (unsigned i = 0; i < ms; i += 10) {
        turn(10);
        if (is_closed(fd))
            return true;
    }
    return false;
}

/* A call of Silent on stream 1. */
static void call_silent(int fd)
{
    static const char call[] = "\0\0\x29\1\4\0\0\0\1\x83\x86\x01\x01x\x04\x11/echo.Echo/Silent\x0f\x10\x10"
                               "application/grpc\0\0\6\0\1\0\0\0\1\0\0\0\0\1x";
    char frame[sizeof call];

    memcpy(frame, call, sizeof call);
    frame[2] = (char)(sizeof call - 1 - 9 - 15);
    say(fd, frame, sizeof call - 1);
}

static struct grpc_server_counts counts(void)
{
    return grpc_server_counts(server);
}

/* ---- places ---- */

static void as_many_as_there_are_places_get_in(void **state)
{
    int fds[PLACES], late;

    (void)state;
    for (int i = 0; i < PLACES; i++)
        fds[i] = speak(first_path);
    assert_int_equal(counts().open_connections, PLACES);
    late = knock(first_path);
    assert_true(is_closed(late));
    assert_int_equal(counts().connections_refused, 1);
    assert_int_equal(counts().connections, PLACES);
    close(late);
    close(fds[0]);
    turn(5);
    assert_int_equal(counts().open_connections, PLACES - 1);
    fds[0] = speak(first_path);
    assert_false(is_closed(fds[0]));
    for (int i = 0; i < PLACES; i++)
        close(fds[i]);
    turn(5);
    assert_int_equal(counts().open_connections, 0);
}

/* Without a descriptor the queue stays readable: wait a little, then take what is there. */
static void count_line(struct bytes record, void *count)
{
    (void)record;
    ++*(unsigned *)count;
}

static void who_comes_when_there_is_no_descriptor_waits(void **state)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct rlimit before, none;
    unsigned lines = 0;

    (void)state;
    log_set_sink(count_line, &lines);
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", first_path);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 3, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    turn(20);
    uint64_t began = clock_monotonic_ms();
    for (int i = 0; i < 8; i++)
        ev_run(loop, EVRUN_ONCE); /* each second one sleeps until a pause is over */
    assert_true(clock_monotonic_ms() - began > 200);
    log_set_sink(NULL, NULL);
    assert_int_equal(lines, 1); /* not one for each try */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(counts().connections, 0);
    for (int i = 0; i < 100 && counts().connections == 0; i++)
        turn(20);
    assert_int_equal(counts().connections, 1);
    say(fd, HELLO, sizeof HELLO - 1);
    assert_false(is_closed(fd));
    close(fd);
}

static void who_says_nothing_is_shown_the_door(void **state)
{
    uint64_t opened = clock_monotonic_ms();
    int silent = knock(first_path), polite = speak(first_path), slow = knock(first_path);

    (void)state;
    say(slow, HELLO, 24); /* the preface alone is not enough */
    assert_true(wait_closed(silent, 30000));
    assert_true(clock_monotonic_ms() >= opened + limits.handshake_ms);
    assert_true(wait_closed(slow, 30000));
    assert_false(is_closed(polite)); /* and may stay without a call for as long as it likes */
    assert_int_equal(counts().open_connections, 1);
    close(silent);
    close(slow);
    close(polite);
}

static void a_header_block_must_end(void **state)
{
    int fd;

    (void)state;
    grpc_server_free(&server);
    limits.request_ms = 1000;
    assert_int_equal(grpc_server_new_with(loop, &limits, grpc_echo_methods, &echo, &server), 0);
    reload(1);
    fd = speak(first_path);
    say(fd, "\0\0\1\1\0\0\0\0\1\x83", 10);
    assert_false(is_closed(fd));
    assert_true(wait_closed(fd, 30000));
    close(fd);
}

static void garbage_ends_it(void **state)
{
    int fd = knock(first_path);

    (void)state;
    say(fd, "GET / HTTP/1.0\r\n\r\n", 18);
    assert_true(is_closed(fd));
    close(fd);
    turn(5);
    assert_int_equal(counts().open_connections, 0);
}

/* Too many PINGs: the last words are read although the client never stopped to send. */
static void abuse_is_answered_counted_and_ended(void **state)
{
    static uint8_t pings[1100 * 17], answer[1 << 16];
    int fd = speak(first_path);

    (void)state;
    for (size_t i = 0; i < 1100; i++)
        memcpy(pings + i * 17, "\0\0\x8\6\0\0\0\0\0\1\2\3\4\5\6\7\x8", 17);
    say(fd, pings, sizeof pings);
    ssize_t len = recv(fd, answer, sizeof answer, 0);
    assert_true(len > 17);
    assert_memory_equal(answer + len - 17 + 13, "\0\0\0\x0b", 4); /* GOAWAY: ENHANCE_YOUR_CALM */
    assert_int_equal(answer[len - 17 + 3], 7);
    assert_true(is_closed(fd));
    assert_true(counts().open_connections == 1); /* lingers */
    close(fd);
    turn(5);
    assert_int_equal(counts().connections_abused, 1);
    assert_int_equal(counts().open_connections, 0);
}

static void one_that_lingers_for_too_long_is_closed(void **state)
{
    int fd = speak(first_path);

    (void)state;
    grpc_server_say_goodbye(server);
    turn(20);
    assert_true(is_closed(fd)); /* our side */
    assert_int_equal(counts().open_connections, 1);
    for (int i = 0; i < 1500 && counts().open_connections > 0; i++)
        turn(20);
    assert_int_equal(counts().open_connections, 0);
    close(fd);
}

/* ---- a client that does not read ---- */

/* It has opened every window of HTTP/2 and takes nothing from the socket. */
static void one_that_does_not_read_is_cut(void **state)
{
    static const char windows[] = "\0\0\6\4\0\0\0\0\0\0\4\x7f\xff\xff\xff\0\0\4\x8\0\0\0\0\0\x7f\0\0\0";
    static const char call[] = "\0\0\x2c\1\4\0\0\0\1\x83\x86\x01\x01x\x04\x11/echo.Echo/Stream\x0f\x10\x10"
                               "application/grpc\0\0\x0e\0\1\0\0\0\1\0\0\0\0\x09"
                               "4 4000000";
    char frames[sizeof call];
    uint64_t began;
    int fd;

    (void)state;
    grpc_server_free(&server);
    limits.stall_ms = 1000;
    assert_int_equal(grpc_server_new_with(loop, &limits, grpc_echo_methods, &echo, &server), 0);
    reload(1);
    fd = speak(first_path);
    say(fd, windows, sizeof windows - 1);
    memcpy(frames, call, sizeof call);
    frames[2] = (char)(sizeof call - 1 - 9 - 23);
    began = clock_monotonic_ms();
    say(fd, frames, sizeof call - 1);
    assert_int_equal(counts().calls, 1);
    assert_in_range(counts().buffered_bytes, 15000000, 16100000); /* the socket took a little */
    for (int i = 0; i < 1500 && counts().open_connections > 0; i++)
        turn(20);
    assert_int_equal(counts().open_connections, 0);
    assert_true(clock_monotonic_ms() >= began + limits.stall_ms);
    assert_int_equal(counts().buffered_bytes, 0);
    assert_int_equal(counts().connections_abused, 0);
    assert_int_equal(echo.gone, 1);
    close(fd);
}

/* ---- addresses ---- */

static void addresses_come_and_go(void **state)
{
    int first = speak(first_path), second;

    (void)state;
    reload(2);
    second = speak(second_path);
    assert_false(is_closed(first));
    call_silent(first);
    assert_int_equal(counts().calls, 1);
    addrs[0] = unix_addr(second_path);
    reload(1);
    turn(5);
    assert_int_equal(access(first_path, F_OK), -1);
    assert_int_equal(knock(first_path), -1);
    assert_false(is_closed(first)); /* it has a call; */
    assert_false(is_closed(second));
    assert_true(wait_closed(first, 30000)); /* but no longer than farewell_ms */
    assert_false(is_closed(second));
    assert_int_equal(echo.gone, 1);
    close(first);
    close(second);
}

static void what_fails_changes_nothing(void **state)
{
    struct grpc_endpoints *prepared = NULL;
    char bad[128];

    (void)state;
    snprintf(bad, sizeof bad, "%s/none/3.sock", folder);
    addrs[2] = unix_addr(bad);
    config.grpc_addr_count = 3;
    strbuf_reset(&why);
    assert_int_equal(grpc_server_prepare(server, &config, &prepared, &why), ERR_SYSTEM);
    assert_null(prepared);
    assert_non_null(strstr(why_text, bad));
    assert_int_equal(access(second_path, F_OK), -1);
    close(speak(first_path));
    /* Prepared and given up. */
    config.grpc_addr_count = 2;
    assert_int_equal(grpc_server_prepare(server, &config, &prepared, &why), 0);
    assert_int_equal(access(second_path, F_OK), -1);
    grpc_server_abort(&prepared);
    assert_null(prepared);
    close(speak(first_path));
}

static void tcp_needs_a_certificate(void **state)
{
    struct grpc_endpoints *prepared = NULL;
    char text[] = "127.0.0.1:1";

    (void)state;
    addrs[1] = (struct config_grpc_addr){.text = text};
    config.grpc_addr_count = 2;
    strbuf_reset(&why);
    assert_int_equal(grpc_server_prepare(server, &config, &prepared, &why), ERR_INVALID);
    assert_non_null(strstr(why_text, "tls_cert"));
    config.grpc_tls_cert = first_path;
    config.grpc_tls_key = first_path;
    strbuf_reset(&why);
    assert_int_equal(grpc_server_prepare(server, &config, &prepared, &why), ERR_INVALID);
    assert_memory_equal(why_text, first_path, strlen(first_path));
}

static void a_second_server_keeps_off(void **state)
{
    struct grpc_server *other;
    struct grpc_endpoints *prepared = NULL;

    (void)state;
    assert_int_equal(grpc_server_new(loop, grpc_echo_methods, &echo, &other), 0);
    strbuf_reset(&why);
    assert_int_equal(grpc_server_prepare(other, &config, &prepared, &why), ERR_IN_USE);
    grpc_server_free(&other);
    close(speak(first_path));
}

static void nothing_at_all_may_be_configured(void **state)
{
    (void)state;
    reload(0);
    assert_int_equal(access(first_path, F_OK), -1);
    reload(1);
    close(speak(first_path));
}

static void a_goodbye_lets_calls_finish(void **state)
{
    int busy = speak(first_path), idle = speak(first_path);

    (void)state;
    call_silent(busy);
    grpc_server_say_goodbye(server);
    turn(20);
    assert_true(is_closed(idle));
    assert_false(is_closed(busy));
    close(busy);
    close(idle);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(as_many_as_there_are_places_get_in),
        TEST(who_comes_when_there_is_no_descriptor_waits),
        TEST(who_says_nothing_is_shown_the_door),
        TEST(a_header_block_must_end),
        TEST(garbage_ends_it),
        TEST(abuse_is_answered_counted_and_ended),
        TEST(one_that_lingers_for_too_long_is_closed),
        TEST(one_that_does_not_read_is_cut),
        TEST(addresses_come_and_go),
        TEST(what_fails_changes_nothing),
        TEST(tcp_needs_a_certificate),
        TEST(a_second_server_keeps_off),
        TEST(nothing_at_all_may_be_configured),
        TEST(a_goodbye_lets_calls_finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
