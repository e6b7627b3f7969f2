/* Listeners and the number of workers change while connections come in: none is refused, none is dropped. */

#include "supervisor_fixture.h"

#include <sys/resource.h>

static void test_a_listener_added_later_reaches_every_worker(void **state)
{
    struct fixture *f = *state;

    fixture_start(f, 3);
    uint16_t port = fixture_add_listener(f, 1);
    unsigned seen = 0;
    for (unsigned tries = 0; seen != 7 && tries < 1000; tries++)
        seen |= 1u << client_ask(f, port).slot;
    assert_int_equal(seen, 7);
    /* and a successor */
    pid_t pid = slot_pid(f, 2);
    kill(pid, SIGKILL);
    WAIT_UNTIL(f, f->death_count == 1 && slot_is(f, 2, "running"));
    for (unsigned tries = 0; tries < 1000 && client_ask(f, port).pid != (uint32_t)slot_pid(f, 2); tries++)
        assert_int_not_equal(tries, 999);
}

static void test_settings_properties_and_geoip_reach_workers_and_successors(void **state)
{
    struct fixture *f = *state;
    const struct fake_report *r = &f->orders->report[0];
    struct ctl_listener *changed = calloc(1, sizeof *changed + 3 * sizeof changed->trusted[0]);
    struct ctl_settings settings = {.idle_timeout_ms = 77, .shutdown_timeout_ms = 20000};

    assert_non_null(changed);
    changed->trusted_count = 3;
    fixture_start(f, 1);
    supervisor_set_settings(f->sup, &settings);
    assert_int_equal(supervisor_update_listener(f->sup, changed), 0);
    supervisor_set_geoip(f->sup, open("/dev/null", O_RDONLY | O_CLOEXEC));
    WAIT_UNTIL(f, atomic_load(&r->geoip_seen) == 1);
    assert_int_equal(atomic_load(&r->idle_timeout_ms), 77);
    assert_int_equal(atomic_load(&r->updates_seen), 1);
    assert_int_equal(atomic_load(&r->trusted_count), 3);

    memset(&f->orders->report[0], 0, sizeof f->orders->report[0]);
    kill(slot_pid(f, 0), SIGKILL);
    WAIT_UNTIL(f, f->death_count == 1 && slot_is(f, 0, "running"));
    assert_int_equal(atomic_load(&r->geoip_seen), 1);
    assert_int_equal(atomic_load(&r->idle_timeout_ms), 77);
    assert_int_equal(atomic_load(&r->trusted_count), 3);
    supervisor_set_geoip(f->sup, -1);
    WAIT_UNTIL(f, atomic_load(&r->geoip_seen) == 2);
    changed->id = 9;
    assert_int_equal(supervisor_update_listener(f->sup, changed), ERR_NOT_FOUND);
    free(changed);
}

static void test_an_address_in_use_is_refused_and_nothing_stays_behind(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in sin = loopback(free_port());
    char text[256], expected[64];
    struct strbuf why = STRBUF_OF(text);
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(other, (struct sockaddr *)&sin, sizeof sin), 0);
    assert_int_equal(listen(other, 1), 0);
    fixture_start(f, 2);
    unsigned before = open_fd_count();
    assert_int_equal(fixture_add_listener_fd(f, 1, ntohs(sin.sin_port), -1, &why), ERR_IN_USE);
    snprintf(expected, sizeof expected, "listener https (127.0.0.1:%u): address already in use", ntohs(sin.sin_port));
    assert_non_null(strstr(text, expected));
    assert_int_equal(open_fd_count(), before);
    close(other);
    strbuf_reset(&why);
    assert_int_equal(fixture_add_listener_fd(f, 1, ntohs(sin.sin_port), -1, &why), 0);
    assert_string_equal(text, "");
}

static void test_a_removed_listener_serves_its_queue_and_is_free_again(void **state)
{
    struct fixture *f = *state;
    struct fake_answer answer;
    char text[256];
    struct strbuf why = STRBUF_OF(text);

    fixture_start(f, 2);
    unsigned before = open_fd_count();
    uint16_t port = fixture_add_listener(f, 1);
    fixture_order_now(f, 0, FAKE_IGNORE_QUEUE);
    fixture_order_now(f, 1, FAKE_IGNORE_QUEUE);
    int clients[20];
    for (unsigned i = 0; i < 20; i++)
        assert_true((clients[i] = client_connect(port)) >= 0);
    assert_int_equal(supervisor_remove_listener(f->sup, 1), 0);
    assert_int_equal(supervisor_remove_listener(f->sup, 1), ERR_NOT_FOUND);
    assert_int_equal(fixture_add_listener_fd(f, 1, port, -1, &why), ERR_EXISTS);
    assert_int_equal(fixture_add_listener_fd(f, 2, port, -1, &why), ERR_EXISTS);
    for (unsigned i = 0; i < 20; i++) {
        WAIT_UNTIL(f, client_has_answer(clients[i], &answer));
        close(clients[i]);
    }
    WAIT_UNTIL(f, f->removed_count == 1);
    assert_int_equal(client_connect(port), -1);
    assert_int_equal(open_fd_count(), before);
    assert_int_equal(f->death_count, 0);
    assert_int_equal(fixture_add_listener_fd(f, 1, port, -1, &why), 0);
}

static void test_a_listener_on_its_way_out_survives_the_death_of_its_worker(void **state)
{
    struct fixture *f = *state;
    struct fake_answer answer;

    fixture_start(f, 1);
    uint16_t port = fixture_add_listener(f, 1);
    fixture_order_now(f, 0, FAKE_HANG);
    int client = client_connect(port);
    assert_int_equal(supervisor_remove_listener(f->sup, 1), 0);
    pid_t pid = slot_pid(f, 0);
    kill(pid, SIGKILL);
    WAIT_UNTIL(f, f->death_count == 1);
    fixture_order(f, 0, FAKE_SERVE);
    WAIT_UNTIL(f, client_has_answer(client, &answer));
    assert_int_not_equal(answer.pid, pid);
    WAIT_UNTIL(f, f->removed_count == 1);
    close(client);
}

static void test_a_socket_passed_in_is_shared_by_all_workers(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in sin = loopback(0);
    socklen_t len = sizeof sin;
    char text[256];
    struct strbuf why = STRBUF_OF(text);
    int inherited = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(inherited, (struct sockaddr *)&sin, sizeof sin), 0);
    assert_int_equal(getsockname(inherited, (struct sockaddr *)&sin, &len), 0);
    fixture_start(f, 2);
    assert_int_equal(fixture_add_listener_fd(f, 1, ntohs(sin.sin_port), inherited, &why), ERR_INVALID);
    assert_int_equal(listen(inherited, 16), 0);
    strbuf_reset(&why);
    assert_int_equal(fixture_add_listener_fd(f, 1, ntohs(sin.sin_port), inherited, &why), 0);
    fixture_order_now(f, 0, FAKE_IGNORE_QUEUE);
    assert_int_equal(client_ask(f, ntohs(sin.sin_port)).slot, 1);
    fixture_order_now(f, 1, FAKE_IGNORE_QUEUE);
    fixture_order_now(f, 0, FAKE_SERVE);
    assert_int_equal(client_ask(f, ntohs(sin.sin_port)).slot, 0);
    close(inherited);
}

/* ---- the number of workers ---- */

static void set_count(struct fixture *f, unsigned count)
{
    char text[256];
    struct strbuf why = STRBUF_OF(text);

    assert_int_equal(supervisor_set_worker_count(f->sup, count, &why), 0);
    assert_int_equal(supervisor_worker_count(f->sup), count);
}

/* A connection that the worker of this slot keeps open until the client closes it; it serves as usual afterwards. */
static int hold_connection(struct fixture *f, uint16_t port, unsigned slot)
{
    struct fake_answer answer;

    fixture_order_now(f, slot, FAKE_HOLD);
    for (unsigned tries = 0; tries < 1000; tries++) {
        int fd = client_connect(port);
        assert_true(fd >= 0);
        WAIT_UNTIL(f, client_has_answer(fd, &answer));
        if (answer.slot == slot) {
            fixture_order_now(f, slot, FAKE_SERVE);
            return fd;
        }
        close(fd);
    }
    fail_msg("no connection reached slot %u", slot);
    return -1;
}

static void test_more_workers_share_the_load(void **state)
{
    struct fixture *f = *state;
    uint16_t port = fixture_start(f, 1);
    char text[256];
    struct strbuf why = STRBUF_OF(text);
    unsigned seen = 0;

    set_count(f, 4);
    WAIT_UNTIL(f, f->ready_count == 2);
    for (unsigned tries = 0; seen != 15 && tries < 1000; tries++)
        seen |= 1u << client_ask(f, port).slot;
    assert_int_equal(seen, 15);
    assert_int_equal(supervisor_set_worker_count(f->sup, 0, &why), ERR_RANGE);
    assert_int_equal(supervisor_set_worker_count(f->sup, SHM_WORKERS_MAX + 1, &why), ERR_RANGE);
}

static void prepare_count(struct fixture *f, unsigned count)
{
    char text[256];
    struct strbuf why = STRBUF_OF(text);

    assert_int_equal(supervisor_prepare_worker_count(f->sup, count, &why), 0);
}

static void test_sockets_prepared_for_more_workers_get_no_connection_until_they_are_used(void **state)
{
    struct fixture *f = *state;
    uint16_t port = fixture_start(f, 2);
    unsigned before = open_fd_count(), seen = 0;

    prepare_count(f, 8);
    assert_int_equal(open_fd_count(), before + 6);
    for (unsigned i = 0; i < 100; i++)
        assert_true(client_ask(f, port).slot < 2); /* nobody would answer at the others */
    supervisor_abort_worker_count(f->sup);
    supervisor_abort_worker_count(f->sup);
    assert_int_equal(open_fd_count(), before);

    prepare_count(f, 4);
    uint16_t second = fixture_add_listener(f, 1); /* for as many workers */
    set_count(f, 4);
    WAIT_UNTIL(f, f->ready_count == 2);
    for (unsigned tries = 0; seen != 255 && tries < 1000; tries++)
        seen |= 1u << client_ask(f, port).slot | 16u << client_ask(f, second).slot;
    assert_int_equal(seen, 255);
}

static void test_too_few_descriptors_for_more_workers_change_nothing(void **state)
{
    struct fixture *f = *state;
    uint16_t port = fixture_start(f, 2);
    unsigned before = open_fd_count();
    struct rlimit whole, scarce;
    char text[256];
    struct strbuf why = STRBUF_OF(text);

    fixture_add_listener(f, 1);
    before += 2;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &whole), 0);
    scarce = whole;
    scarce.rlim_cur = before + 15; /* highest number: a little more than there are */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &scarce), 0);
    assert_int_equal(supervisor_prepare_worker_count(f->sup, 64, &why), ERR_NO_SPACE);
    assert_non_null(strstr(text, "LimitNOFILE"));
    assert_int_equal(supervisor_set_worker_count(f->sup, 64, &why), ERR_NO_SPACE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &whole), 0);
    assert_int_equal(open_fd_count(), before);
    assert_int_equal(supervisor_worker_count(f->sup), 2);
    for (unsigned i = 0; i < 100; i++)
        client_ask(f, port);
}

/* A stream of clients runs all the while; every single one must be served. */
static void test_fewer_workers_lose_no_connection(void **state)
{
    struct fixture *f = *state;
    uint16_t port = fixture_start(f, 4);
    struct fake_answer answer;
    unsigned before = open_fd_count(), served = 0;
    int held = hold_connection(f, port, 3);

    set_count(f, 1);
    while (f->death_count < 2) {
        answer = client_ask(f, port);
        served++;
        if (f->sup->settling_looks > 0)
            assert_int_equal(answer.slot, 0); /* surplus slots get nothing new from the first moment */
    }
    assert_true(served > 0);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(client_ask(f, port).slot, 0);
    assert_true(slot_is(f, 3, "retiring"));
    assert_int_equal(recv(held, &answer, sizeof answer, MSG_DONTWAIT), -1); /* still open */
    assert_int_equal(errno, EAGAIN);
    close(held);
    WAIT_UNTIL(f, f->death_count == 3);
    assert_int_equal(log_count(f, "worker exited"), 3);
    assert_int_equal(log_count(f, "worker started"), 4);
    assert_true(open_fd_count() < before);
}

/** Has it the filter that drops SYNs? */
static bool refuses_new(int fd)
{
    socklen_t instructions = 0;

    return getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &instructions) == 0 && instructions > 0;
}

/* Steering alone is not enough in the moment in which the kernel takes a socket out of its group. */
static void test_surplus_sockets_refuse_handshakes_before_they_are_closed(void **state)
{
    struct fixture *f = *state;
    fixture_start(f, 2);
    const int *fds = f->sup->listeners[0]->fds;

    set_count(f, 1);
    WAIT_UNTIL(f, fds[1] < 0 || refuses_new(fds[1]));
    assert_true(fds[1] >= 0);
    assert_false(refuses_new(fds[0]));
    WAIT_UNTIL(f, f->death_count == 1);
    assert_false(refuses_new(fds[0]));
}

#define CLIENTS 40

/** Two workers that accept nothing for now, and clients in the queues of both. */
static void fill_queues(struct fixture *f, uint16_t port, int clients[CLIENTS])
{
    fixture_order_now(f, 0, FAKE_IGNORE_QUEUE);
    fixture_order_now(f, 1, FAKE_IGNORE_QUEUE);
    for (unsigned i = 0; i < CLIENTS; i++)
        assert_true((clients[i] = client_connect(port)) >= 0);
}

static void test_what_waits_for_a_surplus_worker_is_served_first(void **state)
{
    struct fixture *f = *state;
    uint16_t port = fixture_start(f, 2);
    struct fake_answer answer;
    int clients[CLIENTS];

    fill_queues(f, port, clients);
    fixture_order(f, 0, FAKE_SERVE);
    set_count(f, 1);
    unsigned by_surplus = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        WAIT_UNTIL(f, client_has_answer(clients[i], &answer));
        by_surplus += answer.slot == 1;
        close(clients[i]);
    }
    assert_true(by_surplus > 0);
    WAIT_UNTIL(f, f->death_count == 1);
}

static void test_a_retiring_worker_comes_back_and_one_that_is_gone_is_started_again(void **state)
{
    struct fixture *f = *state;
    uint16_t port = fixture_start(f, 3);
    int held = hold_connection(f, port, 2);
    pid_t pid = slot_pid(f, 2);
    set_count(f, 1);
    WAIT_UNTIL(f, f->death_count == 1 && slot_is(f, 2, "retiring"));
    fixture_order(f, 2, FAKE_SERVE);
    set_count(f, 3);
    WAIT_UNTIL(f, f->ready_count == 2);
    assert_int_equal(slot_pid(f, 2), pid);
    unsigned seen = 0;
    for (unsigned tries = 0; seen != 7 && tries < 1000; tries++)
        seen |= 1u << client_ask(f, port).slot;
    assert_int_equal(seen, 7);
    close(held);
}

static void test_a_change_during_a_change_is_done_after_it(void **state)
{
    struct fixture *f = *state;
    uint16_t port = fixture_start(f, 4);

    set_count(f, 1);
    set_count(f, 2);
    set_count(f, 3);
    assert_int_equal(f->sup->worker_count, 1);
    WAIT_UNTIL(f, f->ready_count == 2);
    assert_int_equal(f->sup->worker_count, 3);
    WAIT_UNTIL(f, slot_is(f, 3, "empty"));
    unsigned seen = 0;
    for (unsigned tries = 0; seen != 7 && tries < 1000; tries++)
        seen |= 1u << client_ask(f, port).slot;
    assert_int_equal(seen, 7);
}

static void test_a_surplus_worker_that_dies_while_settling_leaves_a_successor_for_its_queue(void **state)
{
    struct fixture *f = *state;
    uint16_t port = fixture_start(f, 2);
    struct fake_answer answer;
    int clients[CLIENTS];

    fill_queues(f, port, clients);
    set_count(f, 1);
    kill(slot_pid(f, 1), SIGKILL);
    fixture_order(f, 0, FAKE_SERVE);
    for (unsigned i = 0; i < CLIENTS; i++) {
        WAIT_UNTIL(f, client_has_answer(clients[i], &answer));
        close(clients[i]);
    }
    WAIT_UNTIL(f, slot_is(f, 1, "empty"));
    assert_int_equal(f->death_count, 2);
}

static void test_drain_during_a_change_ends(void **state)
{
    struct fixture *f = *state;

    fixture_start(f, 3);
    set_count(f, 1);
    set_count(f, 2);
    supervisor_drain(f->sup);
    WAIT_UNTIL(f, f->gone_count == 1);
    assert_int_equal(f->death_count, 3);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], HANDOVER_SUBCOMMAND) == 0)
        return fake_worker_main(argv[0]);

#define CASE(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_a_listener_added_later_reaches_every_worker),
        CASE(test_settings_properties_and_geoip_reach_workers_and_successors),
        CASE(test_an_address_in_use_is_refused_and_nothing_stays_behind),
        CASE(test_a_removed_listener_serves_its_queue_and_is_free_again),
        CASE(test_a_listener_on_its_way_out_survives_the_death_of_its_worker),
        CASE(test_a_socket_passed_in_is_shared_by_all_workers),
        CASE(test_more_workers_share_the_load),
        CASE(test_sockets_prepared_for_more_workers_get_no_connection_until_they_are_used),
        CASE(test_too_few_descriptors_for_more_workers_change_nothing),
        CASE(test_fewer_workers_lose_no_connection),
        CASE(test_surplus_sockets_refuse_handshakes_before_they_are_closed),
        CASE(test_what_waits_for_a_surplus_worker_is_served_first),
        CASE(test_a_retiring_worker_comes_back_and_one_that_is_gone_is_started_again),
        CASE(test_a_change_during_a_change_is_done_after_it),
        CASE(test_a_surplus_worker_that_dies_while_settling_leaves_a_successor_for_its_queue),
        CASE(test_drain_during_a_change_ends),
    };
    return cmocka_run_group_tests_name("supervisor_listeners", tests, NULL, NULL);
}
