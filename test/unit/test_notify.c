/* sd_notify's protocol against a socket of our own: what arrives, where, with what, and what happens when nobody reads. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "log_event.h"
#include "notify.h"

struct manager {
    int fd;
    char socket[108];
    unsigned warnings;
};

static void count_line(struct bytes record, void *context)
{
    struct log_record_reader r;

    assert_int_equal(log_record_open(&r, record), 0);
    ((struct manager *)context)->warnings += r.level == LOG_WARN;
}

static int setup(void **state)
{
    static struct manager manager;

    manager = (struct manager){.fd = -1};
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    log_set_sink(count_line, &manager);
    *state = &manager;
    return 0;
}

static int teardown(void **state)
{
    struct manager *m = *state;

    if (m->fd >= 0)
        close(m->fd);
    if (m->socket[0] == '/')
        unlink(m->socket);
    log_set_sink(NULL, NULL);
    return 0;
}

/* first: '/' or '@' */
static void manager_listen(struct manager *m, char first)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t len = sizeof address;

    snprintf(m->socket, sizeof m->socket, first == '/' ? "/tmp/mc-proxy-notify-%d" : "@mc-proxy-notify-%d", getpid());
    memcpy(address.sun_path, m->socket, strlen(m->socket));
    unlink(m->socket);
    if (first == '@') {
        address.sun_path[0] = '\0';
        len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(m->socket));
    }
    m->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(m->fd, (struct sockaddr *)&address, len), 0);
    setenv("NOTIFY_SOCKET", m->socket, 1);
}

/* The next message, "" if none waits. */
static const char *received(struct manager *m)
{
    static char text[8192];
    ssize_t n = recv(m->fd, text, sizeof text - 1, 0);

    text[n < 0 ? 0 : n] = '\0';
    return text;
}

static void test_messages_reach_both_kinds_of_socket(void **state)
{
    struct manager *m = *state;
    struct notify notify;

    for (const char *kind = "/@"; *kind != '\0'; kind++) {
        manager_listen(m, *kind);
        notify_init(&notify);
        assert_true(notify_is_wanted(&notify));
        assert_true(notify_send(&notify, "READY=1"));
        assert_string_equal(received(m), "READY=1");
        assert_true(notify_sendf(&notify, "STATUS=%d left", 7));
        assert_string_equal(received(m), "STATUS=7 left");
        assert_string_equal(received(m), "");
        assert_int_equal(notify.lost, 0);
        close(m->fd);
        m->fd = -1;
        unlink(m->socket);
    }
}

static void test_without_a_socket_nothing_is_done(void **state)
{
    static const char *const none[] = {NULL, ""};
    struct manager *m = *state;
    struct notify notify;

    for (unsigned i = 0; i < sizeof none / sizeof none[0]; i++) {
        if (none[i] != NULL)
            setenv("NOTIFY_SOCKET", none[i], 1);
        setenv("WATCHDOG_USEC", "1000000", 1);
        notify_init(&notify);
        assert_false(notify_is_wanted(&notify));
        assert_int_equal(notify.watchdog_us, 0);
        assert_true(notify_send(&notify, "READY=1"));
        assert_true(notify_reloading(&notify));
        assert_int_equal(notify.lost, 0);
    }
    assert_int_equal(m->warnings, 0);
}

static void test_an_unusable_socket_is_logged_and_counts_as_none(void **state)
{
    char too_long[110];
    const char *const bad[] = {"relative", "vsock:2:1234", "/", "@", too_long};
    struct manager *m = *state;
    struct notify notify;

    memset(too_long, 'a', sizeof too_long);
    too_long[0] = '/';
    too_long[108] = '\0';
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        setenv("NOTIFY_SOCKET", bad[i], 1);
        notify_init(&notify);
        assert_false(notify_is_wanted(&notify));
        assert_int_equal(m->warnings, i + 1);
    }
    too_long[107] = '\0';
    setenv("NOTIFY_SOCKET", too_long, 1);
    notify_init(&notify);
    assert_true(notify_is_wanted(&notify));
}

static void test_the_watchdog_is_ours_or_none(void **state)
{
    struct manager *m = *state;
    char own[16], other[16];
    const struct {
        const char *usec, *pid;
        uint64_t expected;
    } cases[] = {
        {"30000000", NULL, 30000000},
        {"30000000", own, 30000000},
        {"30000000", other, 0},
        {"30000000", "x", 0},
        {"18446744073709551615", NULL, UINT64_MAX},
        {"18446744073709551616", NULL, 0},
        {"", NULL, 0},
        {"-1", NULL, 0},
        {"5s", NULL, 0},
        {" 5", NULL, 0},
        {NULL, own, 0},
    };
    struct notify notify;

    snprintf(own, sizeof own, "%d", getpid());
    snprintf(other, sizeof other, "%d", getppid());
    manager_listen(m, '@');
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsetenv("WATCHDOG_USEC");
        unsetenv("WATCHDOG_PID");
        if (cases[i].usec != NULL)
            setenv("WATCHDOG_USEC", cases[i].usec, 1);
        if (cases[i].pid != NULL)
            setenv("WATCHDOG_PID", cases[i].pid, 1);
        notify_init(&notify);
        assert_int_equal(notify.watchdog_us, cases[i].expected);
    }
}

static void test_a_manager_that_does_not_read_costs_messages_and_no_time(void **state)
{
    struct manager *m = *state;
    struct notify notify;
    unsigned sent = 0;

    manager_listen(m, '/');
    notify_init(&notify);
    while (sent < 100000 && notify_send(&notify, "STATUS=x"))
        sent++;
    assert_in_range(sent, 1, 99999);
    assert_false(notify_send(&notify, "STATUS=x"));
    assert_int_equal(notify.lost, 2);
    assert_int_equal(m->warnings, 1);
    for (unsigned i = 0; i < sent; i++)
        assert_string_equal(received(m), "STATUS=x");
    assert_true(notify_send(&notify, "STATUS=y"));
    assert_string_equal(received(m), "STATUS=y");

    unlink(m->socket);
    assert_false(notify_send(&notify, "STATUS=z"));
    assert_int_equal(notify.lost, 3);
}

static void test_reloading_comes_with_the_monotonic_time(void **state)
{
    struct manager *m = *state;
    struct notify notify;
    struct timespec before, after;
    static const char expected[] = "RELOADING=1\nMONOTONIC_USEC=";

    manager_listen(m, '@');
    notify_init(&notify);
    clock_gettime(CLOCK_MONOTONIC, &before);
    assert_true(notify_reloading(&notify));
    clock_gettime(CLOCK_MONOTONIC, &after);
    const char *said = received(m);
    assert_memory_equal(said, expected, sizeof expected - 1);
    char *end;
    unsigned long long usec = strtoull(said + sizeof expected - 1, &end, 10);
    assert_string_equal(end, "");
    assert_in_range(usec, (uint64_t)before.tv_sec * 1000000 + (uint64_t)before.tv_nsec / 1000,
                    (uint64_t)after.tv_sec * 1000000 + (uint64_t)after.tv_nsec / 1000);
}

static void test_descriptors_travel_along_and_stay_ours(void **state)
{
    struct manager *m = *state;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(NOTIFY_FDS_MAX * sizeof(int))];
    } control;
    char text[64];
    struct iovec iov = {.iov_base = text, .iov_len = sizeof text};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    int fds[NOTIFY_FDS_MAX];
    struct notify notify;

    manager_listen(m, '@');
    notify_init(&notify);
    for (unsigned i = 0; i < NOTIFY_FDS_MAX; i++)
        fds[i] = m->fd;
    assert_true(notify_send_fds(&notify, "FDSTORE=1", fds, NOTIFY_FDS_MAX));
    assert_int_equal(recvmsg(m->fd, &msg, MSG_CMSG_CLOEXEC), strlen("FDSTORE=1"));
    struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
    assert_int_equal(header->cmsg_len, CMSG_LEN(sizeof fds));
    memcpy(fds, CMSG_DATA(header), sizeof fds);
    for (unsigned i = 0; i < NOTIFY_FDS_MAX; i++)
        assert_int_equal(close(fds[i]), 0);
    assert_true(fcntl(m->fd, F_GETFD) >= 0);
}

static void test_a_text_from_elsewhere_cannot_begin_a_key(void **state)
{
    char text[64];
    struct strbuf out = STRBUF_OF(text);

    (void)state;
    notify_add_text(&out, "a\nREADY=1\t\x7f\xc3\xa9 ~");
    assert_string_equal(text, "a?READY=1???? ~");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_messages_reach_both_kinds_of_socket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_a_socket_nothing_is_done, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_unusable_socket_is_logged_and_counts_as_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_watchdog_is_ours_or_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_manager_that_does_not_read_costs_messages_and_no_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reloading_comes_with_the_monotonic_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_descriptors_travel_along_and_stay_ours, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_text_from_elsewhere_cannot_begin_a_key, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
