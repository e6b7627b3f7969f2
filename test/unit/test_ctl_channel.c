/* The master's end of the control socket: order, the queue and its bound, and every way a channel goes down. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <ev.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "ctl_channel.h"
#include "ctl_socket.h"
#include "err.h"

/* libc's functions, with a kernel that can be short of memory. */
static struct {
    unsigned recvs_to_fail, sends_to_fail, recvs, sends;
} kernel;

static bool fails(unsigned *to_fail, unsigned *count)
{
    ++*count;
    if (*to_fail == 0)
        return false;
    --*to_fail;
    errno = ENOMEM;
    return true;
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
    return fails(&kernel.recvs_to_fail, &kernel.recvs) ? -1 : syscall(SYS_recvmsg, fd, msg, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    return fails(&kernel.sends_to_fail, &kernel.sends) ? -1 : syscall(SYS_sendmsg, fd, msg, flags);
}

struct fixture {
    struct ev_loop *loop;
    struct ctl_channel *channel;
    int worker_fd;
    unsigned messages;
    uint16_t last_type;
    unsigned downs;
    int down_rc;
};

static void on_message(void *context, uint16_t type, struct bytes payload)
{
    struct fixture *f = context;

    assert_int_equal((uintptr_t)payload.ptr % 8, 0);
    f->messages++;
    f->last_type = type;
}

static void on_down(void *context, int rc)
{
    struct fixture *f = context;

    f->downs++;
    f->down_rc = rc;
}

static int setup(void **state)
{
    static struct fixture f;
    int pair[2];

    f = (struct fixture){.loop = ev_loop_new(EVFLAG_AUTO)};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return -1;
    f.worker_fd = pair[1];
    f.channel = ctl_channel_new(f.loop, pair[0], on_message, on_down, &f);
    *state = &f;
    return f.channel == NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    ctl_channel_free(&f->channel);
    ctl_channel_free(&f->channel); /* NULL is fine */
    if (f->worker_fd >= 0)
        close(f->worker_fd);
    ev_loop_destroy(f->loop);
    return 0;
}

static void close_worker(struct fixture *f)
{
    close(f->worker_fd);
    f->worker_fd = -1;
}

static unsigned open_fd_count(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 4096; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* What the worker receives next: the number in the payload, or -1. */
static int64_t worker_receive(struct fixture *f, int *passed_fd)
{
    static _Alignas(8) uint8_t buffer[CTL_MSG_MAX];
    struct ctl_header header;
    struct bytes payload;
    uint64_t number;

    if (ctl_recv(f->worker_fd, buffer, sizeof buffer, &header, &payload, passed_fd) != 0)
        return -1;
    assert_int_equal(header.type, CTL_LISTENER_ADD);
    assert_true(payload.len >= sizeof number);
    memcpy(&number, payload.ptr, sizeof number);
    return (int64_t)number;
}

static int send_number(struct fixture *f, uint64_t number, int fd)
{
    uint8_t payload[1000] = {0};

    memcpy(payload, &number, sizeof number);
    return ctl_channel_send(f->channel, CTL_LISTENER_ADD, bytes_of(payload, sizeof payload), fd);
}

static void test_a_queue_that_has_to_wait_keeps_order_and_descriptors(void **state)
{
    struct fixture *f = *state;
    unsigned before = open_fd_count();
    const uint64_t count = 1500;
    char text[64];
    struct strbuf dump = STRBUF_OF(text);

    for (uint64_t i = 0; i < count; i++) {
        int fd = dup(0);
        assert_int_equal(send_number(f, i, i % 3 == 0 ? fd : -1), 0);
        close(fd); /* borrowed for the call only */
    }
    ctl_channel_dump(f->channel, &dump);
    assert_null(strstr(text, "queued=0 ")); /* else this test tests nothing */
    for (uint64_t i = 0; i < count;) {
        int fd;
        if (i == 5) /* room in the socket now, but others wait longer */
            assert_int_equal(send_number(f, count, -1), 0);
        int64_t number = worker_receive(f, &fd);
        if (number < 0) {
            ev_run(f->loop, EVRUN_ONCE);
            continue;
        }
        assert_int_equal(number, i);
        assert_int_equal(fd >= 0, i % 3 == 0);
        if (fd >= 0)
            close(fd);
        i++;
    }
    int last;
    assert_int_equal(worker_receive(f, &last), count);
    assert_int_equal(open_fd_count(), before);
    assert_int_equal(f->downs, 0);
}

static void test_a_full_queue_is_an_error_and_freeing_it_closes_everything(void **state)
{
    struct fixture *f = *state;
    unsigned before = open_fd_count();
    unsigned sent = 0;
    int rc;

    while ((rc = send_number(f, sent, sent < 500 ? 0 : -1)) == 0)
        sent++;
    assert_int_equal(rc, ERR_FULL);
    assert_true(sent >= CTL_CHANNEL_QUEUE_MAX);
    assert_true(open_fd_count() > before);
    close_worker(f);
    ctl_channel_free(&f->channel);
    assert_int_equal(open_fd_count(), before - 2); /* both ends of the socket */
}

static void test_valid_messages_arrive_also_just_before_the_end(void **state)
{
    struct fixture *f = *state;
    const struct ctl_listener_id id = {.id = 7};

    for (unsigned i = 0; i < 150; i++)
        assert_int_equal(ctl_send(f->worker_fd, CTL_LISTENER_REMOVED, bytes_of(&id, sizeof id), -1), 0);
    assert_int_equal(ctl_send(f->worker_fd, CTL_READY, bytes_of(NULL, 0), -1), 0);
    close_worker(f);
    while (f->downs == 0)
        ev_run(f->loop, EVRUN_ONCE);
    assert_int_equal(f->messages, 151);
    assert_int_equal(f->last_type, CTL_READY);
    assert_int_equal(f->down_rc, ERR_CLOSED);
    assert_int_equal(ctl_channel_send(f->channel, CTL_STOP, bytes_of(NULL, 0), -1), ERR_CLOSED);
    ev_run(f->loop, EVRUN_NOWAIT);
    assert_int_equal(f->downs, 1);
}

static void test_a_message_that_no_worker_sends_ends_the_channel(void **state)
{
    struct fixture *f = *state;
    unsigned before = open_fd_count();

    assert_int_equal(ctl_send(f->worker_fd, CTL_READY, bytes_of(NULL, 0), 0), 0); /* with a descriptor */
    assert_int_equal(ctl_send(f->worker_fd, CTL_READY, bytes_of(NULL, 0), -1), 0);
    while (f->downs == 0)
        ev_run(f->loop, EVRUN_ONCE);
    assert_int_equal(f->down_rc, ERR_PROTOCOL);
    assert_int_equal(f->messages, 0);
    assert_int_equal(open_fd_count(), before);
    ev_run(f->loop, EVRUN_NOWAIT);
    assert_int_equal(f->messages, 0);
}

static void test_garbage_ends_the_channel(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(send(f->worker_fd, "xyz", 3, MSG_NOSIGNAL), 3);
    while (f->downs == 0)
        ev_run(f->loop, EVRUN_ONCE);
    assert_int_equal(f->down_rc, ERR_PROTOCOL);
}

static void test_sending_to_a_worker_that_is_gone_is_closed(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(send_number(f, i, -1), 0);
    close_worker(f);
    assert_int_not_equal(ctl_channel_send(f->channel, CTL_STOP, bytes_of(NULL, 0), -1), ERR_SYSTEM);
    while (f->downs == 0)
        ev_run(f->loop, EVRUN_ONCE);
    assert_int_equal(f->down_rc, ERR_CLOSED);
}

static void test_moments_without_memory_are_waited_out(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ctl_send(f->worker_fd, CTL_READY, bytes_of(NULL, 0), -1), 0);
    memset(&kernel, 0, sizeof kernel);
    kernel.recvs_to_fail = 3;
    uint64_t began = clock_monotonic_ms();
    while (f->messages == 0 && f->downs == 0)
        ev_run(f->loop, EVRUN_ONCE);
    assert_int_equal(f->downs, 0);
    assert_true(clock_monotonic_ms() - began > 250); /* a tenth of a second each, not round and round */
    assert_in_range(kernel.recvs, 4, 5);

    kernel.sends_to_fail = 4;
    began = clock_monotonic_ms();
    assert_int_equal(send_number(f, 7, -1), 0);
    while (kernel.sends_to_fail > 0)
        ev_run(f->loop, EVRUN_ONCE);
    assert_true(clock_monotonic_ms() - began > 250);
    while (kernel.sends < 5)
        ev_run(f->loop, EVRUN_ONCE);
    int fd;
    assert_int_equal(worker_receive(f, &fd), 7);
    assert_int_equal(f->downs, 0);
}

int main(void)
{
#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_a_queue_that_has_to_wait_keeps_order_and_descriptors),
        CASE(test_a_full_queue_is_an_error_and_freeing_it_closes_everything),
        CASE(test_valid_messages_arrive_also_just_before_the_end),
        CASE(test_a_message_that_no_worker_sends_ends_the_channel),
        CASE(test_garbage_ends_the_channel),
        CASE(test_sending_to_a_worker_that_is_gone_is_closed),
        CASE(test_moments_without_memory_are_waited_out),
    };
    return cmocka_run_group_tests_name("ctl_channel", tests, NULL, NULL);
}
