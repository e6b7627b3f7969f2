/* Listening sockets that are closed: whoever had begun to connect is served, and nobody waits for who does not come. */

#include "supervisor_fixture.h"

#include "half_open.h"
#include "handshakes.h"
#include "listen_sockets.h"

/** A client that is neither connected nor refused: its SYN is not answered. */
static bool is_silent(uint16_t port)
{
    struct sockaddr_in sin = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct pollfd pfd = {.fd = fd, .events = POLLOUT};
    bool is_waiting = connect(fd, (struct sockaddr *)&sin, sizeof sin) != 0 && errno == EINPROGRESS;

    is_waiting = is_waiting && poll(&pfd, 1, 100) == 0;
    close(fd);
    return is_waiting;
}

/*
 * A SYN-ACK that was not heard is repeated after a second, and then after two more, which is too late for whoever is waited for. So what
 * these tests do between must take less than a second; and where nothing is to be waited for, that is seen by little time. On a machine
 * that has no time for this process neither can be told: an attempt that says false was not in time, and is made anew.
 */
#define ATTEMPTS 10

static void in_one_of_some(void **state, bool (*attempt)(struct fixture *f))
{
    for (unsigned i = 0; !attempt(*state); i++) {
        assert_true(i + 1 < ATTEMPTS);
        fixture_teardown(state);
        assert_int_equal(fixture_setup(state), 0);
    }
}

/** A client whose handshake stands still, and has arrived. */
static int begin_handshake(struct fixture *f, uint16_t port, uint64_t *begun_ms_out)
{
    const struct listen_addr addr = loopback_addr(port);
    bool is_pending = false;

    *begun_ms_out = clock_monotonic_ms();
    int client = half_open_begin(AF_INET, port);
    assert_true(client >= 0);
    WAIT_UNTIL(f, handshakes_look(&addr, 1, &is_pending) == 0 && is_pending);
    return client;
}

/** Let it go on. False: too late. */
static bool go_on_in_time(int client, uint64_t begun_ms)
{
    half_open_go_on(client);
    if (clock_monotonic_ms() - begun_ms < 900)
        return true;
    close(client);
    return false;
}

static bool is_served_by_a_listener_that_is_removed(struct fixture *f)
{
    struct fake_answer answer;
    uint64_t begun_ms;

    fixture_start(f, 2);
    uint16_t port = fixture_add_listener(f, 1);
    int client = begin_handshake(f, port, &begun_ms);
    assert_int_equal(supervisor_remove_listener(f->sup, 1), 0);
    struct listen_addr addr = loopback_addr(port);
    assert_true(supervisor_is_removing(f->sup, &addr));
    WAIT_UNTIL(f, is_silent(port)); /* it would find its way to the next who listens there */
    if (!go_on_in_time(client, begun_ms))
        return false;
    WAIT_UNTIL(f, half_open_is_connected(client));
    WAIT_UNTIL(f, client_has_answer(client, &answer));
    WAIT_UNTIL(f, f->removed_count == 1);
    assert_true(clock_monotonic_ms() - begun_ms >= 900); /* it was the repeated SYN-ACK that completed it */
    assert_false(supervisor_is_removing(f->sup, &addr));
    assert_int_equal(client_connect(port), -1);
    close(client);
    return true;
}

static void test_a_handshake_under_way_is_served_by_a_listener_that_is_removed(void **state)
{
    in_one_of_some(state, is_served_by_a_listener_that_is_removed);
}

static bool is_served_at_the_end_of_all(struct fixture *f)
{
    struct fake_answer answer;
    uint16_t port = fixture_start(f, 2);
    uint64_t begun_ms;

    fixture_order_now(f, 0, FAKE_IGNORE_QUEUE); /* until it is told to drain */
    fixture_order_now(f, 1, FAKE_IGNORE_QUEUE);
    int client = begin_handshake(f, port, &begun_ms);
    supervisor_close(f->sup);
    WAIT_UNTIL(f, is_silent(port));
    if (!go_on_in_time(client, begun_ms))
        return false;
    WAIT_UNTIL(f, half_open_is_connected(client));
    WAIT_UNTIL(f, client_has_answer(client, &answer));
    WAIT_UNTIL(f, f->gone_count == 1);
    assert_int_equal(client_connect(port), -1);
    assert_int_equal(log_count(f, "worker exited"), 2);
    close(client);
    return true;
}

static void test_the_same_at_the_end_of_all(void **state)
{
    in_one_of_some(state, is_served_at_the_end_of_all);
}

static bool is_nothing_waited_for(struct fixture *f)
{
    fixture_start(f, 2);
    unsigned before = open_fd_count();
    fixture_add_listener(f, 1);
    uint64_t begun_ms = clock_monotonic_ms();
    assert_int_equal(supervisor_remove_listener(f->sup, 1), 0);
    WAIT_UNTIL(f, f->removed_count == 1);
    assert_int_equal(open_fd_count(), before);
    supervisor_close(f->sup);
    WAIT_UNTIL(f, f->gone_count == 1);
    return clock_monotonic_ms() - begun_ms < 1500;
}

static void test_without_handshakes_nothing_is_waited_for(void **state)
{
    in_one_of_some(state, is_nothing_waited_for);
}

static bool is_waited_for_two_seconds(struct fixture *f)
{
    uint64_t begun_ms;

    fixture_start(f, 1);
    uint16_t port = fixture_add_listener(f, 1);
    int client = begin_handshake(f, port, &begun_ms);
    assert_int_equal(supervisor_remove_listener(f->sup, 1), 0);
    WAIT_UNTIL(f, f->removed_count == 1);
    uint64_t took_ms = clock_monotonic_ms() - begun_ms;
    assert_true(took_ms >= 1900);
    close(client);
    return took_ms < 4000;
}

static void test_who_never_answers_is_waited_for_two_seconds(void **state)
{
    in_one_of_some(state, is_waited_for_two_seconds);
}

static bool is_ended_by_a_second_thought(struct fixture *f)
{
    uint16_t port = fixture_start(f, 1);
    uint64_t begun_ms;
    int client = begin_handshake(f, port, &begun_ms);

    supervisor_close(f->sup);
    supervisor_close(f->sup); /* no other effect */
    supervisor_stop_now(f->sup);
    WAIT_UNTIL(f, f->gone_count == 1);
    close(client);
    return clock_monotonic_ms() - begun_ms < 1500;
}

static void test_a_second_thought_ends_the_wait(void **state)
{
    in_one_of_some(state, is_ended_by_a_second_thought);
}

static bool is_served_by_a_worker_born_meanwhile(struct fixture *f)
{
    struct fake_answer answer;
    uint64_t begun_ms;

    fixture_start(f, 1);
    uint16_t port = fixture_add_listener(f, 1);
    int client = begin_handshake(f, port, &begun_ms);
    assert_int_equal(supervisor_remove_listener(f->sup, 1), 0);
    kill(slot_pid(f, 0), SIGKILL);
    WAIT_UNTIL(f, f->death_count == 1 && slot_is(f, 0, "running"));
    if (!go_on_in_time(client, begun_ms))
        return false;
    WAIT_UNTIL(f, half_open_is_connected(client));
    WAIT_UNTIL(f, client_has_answer(client, &answer));
    WAIT_UNTIL(f, f->removed_count == 1);
    assert_int_equal(f->death_count, 1);
    close(client);
    return true;
}

static void test_a_worker_born_meanwhile_serves_the_listener_too(void **state)
{
    in_one_of_some(state, is_served_by_a_worker_born_meanwhile);
}

static bool is_nothing_lost_with_fewer_workers(struct fixture *f)
{
    struct fake_answer answer;
    char text[256];
    struct strbuf why = STRBUF_OF(text);
    int clients[16];
    uint64_t begun_ms, last_begun_ms;

    fixture_start(f, 2);
    uint16_t port = fixture_add_listener(f, 1);
    assert_int_equal(supervisor_set_worker_count(f->sup, 1, &why), 0);
    clients[0] = begin_handshake(f, port, &begun_ms);
    for (unsigned i = 1; i < 16; i++)
        assert_true((clients[i] = half_open_begin(AF_INET, port)) >= 0);
    close(begin_handshake(f, port, &last_begun_ms)); /* then those before it have arrived */
    assert_int_equal(supervisor_remove_listener(f->sup, 1), 0);
    for (unsigned i = 0; i < 16; i++)
        half_open_go_on(clients[i]);
    bool is_in_time = clock_monotonic_ms() - begun_ms < 900;
    for (unsigned i = 0; i < 16; i++) {
        WAIT_UNTIL(f, !is_in_time || half_open_is_connected(clients[i]));
        WAIT_UNTIL(f, !is_in_time || client_has_answer(clients[i], &answer));
        close(clients[i]);
    }
    if (!is_in_time)
        return false;
    WAIT_UNTIL(f, f->removed_count == 1 && f->death_count == 1);
    assert_int_equal(log_count(f, "worker died"), 0);
    return true;
}

static void test_fewer_workers_while_a_listener_closes_lose_nothing(void **state)
{
    in_one_of_some(state, is_nothing_lost_with_fewer_workers);
}

static void test_a_socket_that_others_use_is_only_let_go_of(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in sin = loopback(0);
    socklen_t len = sizeof sin;
    char text[256];
    struct strbuf why = STRBUF_OF(text);
    int inherited = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_int_equal(bind(inherited, (struct sockaddr *)&sin, sizeof sin), 0);
    assert_int_equal(listen(inherited, 16), 0);
    assert_int_equal(getsockname(inherited, (struct sockaddr *)&sin, &len), 0);
    fixture_start(f, 1);
    /* A predecessor that stopped has left it deaf. */
    assert_int_equal(listen_sockets_refuse_new(inherited), 0);
    assert_true(is_silent(ntohs(sin.sin_port)));
    assert_int_equal(fixture_add_listener_fd(f, 1, ntohs(sin.sin_port), inherited, &why), 0);
    client_ask(f, ntohs(sin.sin_port));
    supervisor_close(f->sup);
    WAIT_UNTIL(f, f->gone_count == 1);
    int client = client_connect(ntohs(sin.sin_port));
    assert_true(client >= 0);
    assert_true(accept(inherited, NULL, NULL) >= 0);
    close(client);
    close(inherited);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], HANDOVER_SUBCOMMAND) == 0)
        return fake_worker_main(argv[0]);

    const struct CMUnitTest tests[] = {
        CASE(test_a_handshake_under_way_is_served_by_a_listener_that_is_removed),
        CASE(test_the_same_at_the_end_of_all),
        CASE(test_without_handshakes_nothing_is_waited_for),
        CASE(test_who_never_answers_is_waited_for_two_seconds),
        CASE(test_a_second_thought_ends_the_wait),
        CASE(test_a_worker_born_meanwhile_serves_the_listener_too),
        CASE(test_fewer_workers_while_a_listener_closes_lose_nothing),
        CASE(test_a_socket_that_others_use_is_only_let_go_of),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
