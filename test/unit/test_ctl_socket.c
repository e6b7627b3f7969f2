/* The control socket: every message arrives as it was sent, and every wrong one ends in a verdict without a lost descriptor. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "ctl_socket.h"
#include "err.h"

static _Alignas(8) uint8_t buffer[CTL_MSG_MAX];

static int setup_pair(void **state)
{
    static int pair[2];

    *state = pair;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair);
}

static int teardown_pair(void **state)
{
    int *pair = *state;

    close(pair[0]);
    if (pair[1] >= 0)
        close(pair[1]);
    return 0;
}

static unsigned open_fd_count(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static int receive(int fd, struct ctl_header *header, struct bytes *payload, int *passed)
{
    return ctl_recv(fd, buffer, sizeof buffer, header, payload, passed);
}

static void test_payload_of_every_size_arrives(void **state)
{
    static uint8_t sent[CTL_MSG_MAX];
    int *pair = *state;

    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (uint8_t)(i * 7);
    for (size_t len = 0; len <= CTL_MSG_MAX - sizeof(struct ctl_header); len = len * 2 + 1) {
        struct ctl_header header;
        struct bytes payload;
        int passed;

        assert_int_equal(ctl_send(pair[0], CTL_SETTINGS, bytes_of(sent, len), -1), 0);
        assert_int_equal(receive(pair[1], &header, &payload, &passed), 0);
        assert_int_equal(header.type, CTL_SETTINGS);
        assert_int_equal(payload.len, len);
        assert_memory_equal(payload.ptr, sent, len);
        assert_int_equal(passed, -1);
    }
    assert_int_equal(ctl_send(pair[0], CTL_SETTINGS, bytes_of(sent, CTL_MSG_MAX), -1), ERR_TOO_LARGE);
}

static void test_a_descriptor_arrives_close_on_exec(void **state)
{
    int *pair = *state;
    struct ctl_header header;
    struct bytes payload;
    struct stat sent, received;
    int passed;

    assert_int_equal(fstat(pair[0], &sent), 0);
    assert_int_equal(ctl_send(pair[0], CTL_LISTENER_ADD, bytes_of(NULL, 0), pair[0]), 0);
    assert_int_equal(receive(pair[1], &header, &payload, &passed), 0);
    assert_true(passed >= 0);
    assert_int_equal(fcntl(passed, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(fstat(passed, &received), 0);
    assert_int_equal(sent.st_ino, received.st_ino);
    close(passed);
}

static void test_nothing_waits_is_unavailable_and_end_is_closed(void **state)
{
    int *pair = *state;
    struct ctl_header header;
    struct bytes payload;
    int passed;

    assert_int_equal(receive(pair[0], &header, &payload, &passed), ERR_UNAVAILABLE);
    assert_int_equal(ctl_send(pair[1], CTL_READY, bytes_of(NULL, 0), -1), 0);
    close(pair[1]);
    pair[1] = -1;
    assert_int_equal(receive(pair[0], &header, &payload, &passed), 0); /* what was sent before the end is not lost */
    assert_int_equal(receive(pair[0], &header, &payload, &passed), ERR_CLOSED);
    assert_int_equal(ctl_send(pair[0], CTL_STOP, bytes_of(NULL, 0), -1), ERR_CLOSED);
}

static void test_a_full_socket_is_unavailable_until_read(void **state)
{
    int *pair = *state;
    struct ctl_header header;
    struct bytes payload;
    unsigned sent = 0;
    int passed, rc;

    while ((rc = ctl_send(pair[0], CTL_START, bytes_of(NULL, 0), pair[0])) == 0)
        sent++;
    assert_int_equal(rc, ERR_UNAVAILABLE);
    for (unsigned i = 0; i < sent; i++) {
        assert_int_equal(receive(pair[1], &header, &payload, &passed), 0);
        close(passed);
    }
    assert_int_equal(receive(pair[1], &header, &payload, &passed), ERR_UNAVAILABLE);
    assert_int_equal(ctl_send(pair[0], CTL_START, bytes_of(NULL, 0), -1), 0);
}

static void send_raw(int fd, const void *data, size_t len, const int *fds, unsigned fd_count)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(8 * sizeof(int))];
    } control = {.space = {0}};
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};

    if (fd_count > 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, fd_count * sizeof(int));
    }
    assert_int_equal(sendmsg(fd, &msg, MSG_NOSIGNAL), (ssize_t)len);
}

static void test_malformed_messages_are_refused_and_their_descriptors_closed(void **state)
{
    struct {
        struct ctl_header header;
        uint8_t body[8];
    } good = {.header = {.type = CTL_SETTINGS, .len = 8}};
    int *pair = *state;
    int fds[6] = {pair[0], pair[0], pair[0], pair[0], pair[0], pair[0]};
    struct ctl_header header;
    struct bytes payload;
    int passed = -1;
    unsigned before = open_fd_count();

    for (size_t len = 1; len < sizeof good; len++) { /* every strict prefix, with a descriptor */
        send_raw(pair[0], &good, len, fds, 1);
        assert_int_equal(receive(pair[1], &header, &payload, &passed), ERR_PROTOCOL);
    }
    for (unsigned byte = 2; byte < sizeof good.header; byte++) { /* every flipped byte of reserved and len */
        uint8_t bad[sizeof good];
        memcpy(bad, &good, sizeof good);
        bad[byte] ^= 0x40;
        send_raw(pair[0], bad, sizeof bad, fds, 1);
        assert_int_equal(receive(pair[1], &header, &payload, &passed), ERR_PROTOCOL);
    }
    for (unsigned count = 2; count <= 6; count++) { /* more descriptors than one; also more than there is room for */
        send_raw(pair[0], &good, sizeof good, fds, count);
        assert_int_equal(receive(pair[1], &header, &payload, &passed), ERR_PROTOCOL);
    }
    send_raw(pair[0], &good, sizeof good, fds, 1); /* larger than the buffer */
    assert_int_equal(ctl_recv(pair[1], buffer, sizeof good - 1, &header, &payload, &passed), ERR_PROTOCOL);
    assert_int_equal(open_fd_count(), before);
    assert_int_equal(passed, -1);
}

static void test_no_room_for_the_descriptor_is_said(void **state)
{
    int *pair = *state;
    struct ctl_header header;
    struct bytes payload;
    struct rlimit limit;
    int passed;

    assert_int_equal(ctl_send(pair[0], CTL_GEOIP, bytes_of(NULL, 0), pair[0]), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int rc = receive(pair[1], &header, &payload, &passed);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(rc, ERR_NO_SPACE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_payload_of_every_size_arrives, setup_pair, teardown_pair),
        cmocka_unit_test_setup_teardown(test_a_descriptor_arrives_close_on_exec, setup_pair, teardown_pair),
        cmocka_unit_test_setup_teardown(test_nothing_waits_is_unavailable_and_end_is_closed, setup_pair, teardown_pair),
        cmocka_unit_test_setup_teardown(test_a_full_socket_is_unavailable_until_read, setup_pair, teardown_pair),
        cmocka_unit_test_setup_teardown(test_malformed_messages_are_refused_and_their_descriptors_closed, setup_pair,
                                        teardown_pair),
        cmocka_unit_test_setup_teardown(test_no_room_for_the_descriptor_is_said, setup_pair, teardown_pair),
    };
    return cmocka_run_group_tests_name("ctl_socket", tests, NULL, NULL);
}
