/* Supervision of workers, with real processes: births, deaths, hangs, the queue of a dead worker, the end. */

#include "supervisor_fixture.h"

static void test_a_worker_is_born_with_the_handover_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    uint64_t handover = ((uint64_t)1 << HANDOVER_FD_END) - 1;

    int leak = fcntl(0, F_DUPFD, 20); /* as a careless parent of the master would leave one: not close-on-exec */

    signal(SIGPIPE, SIG_IGN);
    setenv("MCPROXY_SECRET", "x", 1);
    setenv("MALLOC_ARENA_MAX", "1", 1);
    fixture_start(f, 3);
    for (unsigned i = 0; i < 3; i++) {
        const struct fake_report *r = &f->orders->report[i];
        char name[32];

        snprintf(name, sizeof name, "mc-proxy: worker %u", i);
        assert_string_equal(r->name, name);
        assert_int_equal(atomic_load(&r->fd_bits), handover);
        assert_true(atomic_load(&r->pgid_is_own));
        assert_true(atomic_load(&r->signals_are_reset));
        assert_int_equal(atomic_load(&r->idle_timeout_ms), 1234);
        assert_null(strstr(r->environment, "PATH="));
        assert_null(strstr(r->environment, "MCPROXY_SECRET"));
        assert_non_null(strstr(r->environment, "MALLOC_ARENA_MAX=1"));
    }
    close(leak);
    unsetenv("MALLOC_ARENA_MAX");
    unsetenv("MCPROXY_SECRET");
    assert_int_equal(log_count(f, "worker ready"), 3);
}

static void test_a_binary_that_cannot_run_is_an_error_with_its_reason(void **state)
{
    struct fixture *f = *state;
    char text[256];
    struct strbuf why = STRBUF_OF(text);
    int no_program = open("/dev/null", O_RDONLY | O_CLOEXEC);

    fixture_make_supervisor(f, 2, no_program);
    assert_int_equal(supervisor_start(f->sup, &why), ERR_SYSTEM);
    assert_string_equal(text, strerror(EACCES));
    assert_int_equal(log_count(f, "cannot start a worker"), 1);
    close(no_program);
}

/** Milliseconds until it has a successor. */
static uint64_t kill_and_wait(struct fixture *f, unsigned slot)
{
    pid_t pid = slot_pid(f, slot);
    uint64_t killed_ms = clock_monotonic_ms();

    kill(pid, SIGKILL);
    WAIT_UNTIL(f, slot_pid(f, slot) != pid && slot_pid(f, slot) != 0);
    return clock_monotonic_ms() - killed_ms;
}

static void test_a_killed_worker_is_replaced_at_once_and_its_counts_are_taken_back(void **state)
{
    struct fixture *f = *state;
    uint16_t port = fixture_start(f, 1);
    struct shm_worker_stats *stats = &f->stats.stats->workers[0];
    pid_t pid = slot_pid(f, 0);

    client_ask(f, port);
    client_ask(f, port);
    atomic_store(&f->stats.stats->active[0][0], 5);
    atomic_store(&stats->pinned_epoch, 3);
    atomic_store(&stats->pid, (uint64_t)pid);
    uint64_t replaced_ms = kill_and_wait(f, 0);

    print_message("replaced after %llu ms\n", (unsigned long long)replaced_ms);
    assert_int_equal(atomic_load(&f->stats.stats->active[0][0]), 0);
    assert_int_equal(atomic_load(&stats->pinned_epoch), 0);
    assert_int_equal(atomic_load(&stats->pid), 0);
    assert_int_equal(atomic_load(&stats->accepted_before), 2);
    assert_int_equal(f->death_count, 1);
    assert_int_equal(f->deaths[0].pid, pid);
    assert_true(WIFSIGNALED(f->deaths[0].status) && WTERMSIG(f->deaths[0].status) == SIGKILL);
    assert_int_equal(f->drained_count, 1);
    assert_int_equal(log_count(f, "worker died worker=0"), 1);
    assert_int_equal(log_count(f, "signal=9"), 1);
    WAIT_UNTIL(f, slot_is(f, 0, "running"));
    assert_int_equal(client_ask(f, port).pid, slot_pid(f, 0));
    for (unsigned tries = 0; replaced_ms >= 1000;
         tries++) { /* we may have had to wait for a processor; five are replaced at once */
        assert_true(tries < 4);
        replaced_ms = kill_and_wait(f, 0);
        WAIT_UNTIL(f, slot_is(f, 0, "running"));
    }
}

static void test_what_waits_for_a_killed_worker_is_served_by_its_successor(void **state)
{
    struct fixture *f = *state;
    uint16_t port = fixture_start(f, 1);
    pid_t pid = slot_pid(f, 0);
    struct fake_answer answer;
    int clients[20];

    fixture_order_now(f, 0, FAKE_HANG);
    for (unsigned i = 0; i < 20; i++)
        assert_true((clients[i] = client_connect(port)) >= 0);
    fixture_order(f, 0, FAKE_SERVE);
    kill(pid, SIGKILL);
    for (unsigned i = 0; i < 20; i++) {
        WAIT_UNTIL(f, client_has_answer(clients[i], &answer));
        close(clients[i]);
    }
    assert_int_not_equal(answer.pid, pid);
    assert_int_equal(answer.pid, slot_pid(f, 0));
}

static void test_a_worker_that_somebody_else_has_reaped_is_replaced_as_well(void **state)
{
    struct fixture *f = *state;
    uint16_t port = fixture_start(f, 1);
    pid_t pid = slot_pid(f, 0);

    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    WAIT_UNTIL(f, slot_pid(f, 0) != pid && slot_pid(f, 0) != 0);
    assert_int_equal(log_count(f, "somebody else has reaped a worker"), 1);
    assert_int_equal(f->death_count, 1);
    WAIT_UNTIL(f, slot_is(f, 0, "running"));
    client_ask(f, port);
}

static void test_slots_in_which_nobody_answers_are_told_from_replacements(void **state)
{
    struct fixture *f = *state;

    fixture_start(f, 2);
    for (unsigned i = 0; i < 3; i++) {
        pid_t pid = slot_pid(f, 1);
        kill(pid, SIGKILL);
        WAIT_UNTIL(f, slot_pid(f, 1) != pid && slot_is(f, 1, "running"));
        assert_true(supervisor_is_answering(f->sup));
    }
    uint64_t begun_ms = clock_monotonic_ms();
    fixture_order(f, 1, FAKE_DIE_AT_START);
    kill(slot_pid(f, 1), SIGKILL);
    WAIT_UNTIL(f, !supervisor_is_answering(f->sup));
    assert_in_range(clock_monotonic_ms() - begun_ms, 10000, 25000);
    fixture_order(f, 1, FAKE_SERVE);
    WAIT_UNTIL(f, supervisor_is_answering(f->sup));
}

static void test_a_binary_that_dies_at_every_start_is_started_once_a_second(void **state)
{
    struct fixture *f = *state;

    fixture_start(f, 2);
    fixture_order(f, 0, FAKE_DIE_AT_START);
    uint64_t begun_ms = clock_monotonic_ms();
    kill(slot_pid(f, 0), SIGKILL);
    WAIT_UNTIL(f, f->death_count >= 10);
    /* The successors of the first five come at once, those of the sixth to the ninth a second after each other. */
    uint64_t took_ms = f->deaths[9].at_ms - begun_ms;
    if (took_ms < 3900) {
        fixture_print(f);
        fail_msg("death 10 came after %llu ms", (unsigned long long)took_ms);
    }
    assert_true(WIFEXITED(f->deaths[1].status) && WEXITSTATUS(f->deaths[1].status) == 3);
    assert_true(slot_is(f, 1, "running")); /* the other slot does not care */
    fixture_order(f, 0, FAKE_SERVE);
    WAIT_UNTIL(f, slot_is(f, 0, "running"));
}

static void test_a_hung_worker_is_killed_and_replaced(void **state)
{
    struct fixture *f = *state;

    fixture_start(f, 2);
    pid_t pid = slot_pid(f, 1), other = slot_pid(f, 0);
    uint64_t hung_ms = clock_monotonic_ms();
    fixture_order_now(f, 1, FAKE_HANG);
    WAIT_UNTIL(f, f->death_count == 1);
    assert_true(clock_monotonic_ms() - hung_ms >= 1900);
    fixture_order(f, 1, FAKE_SERVE);
    WAIT_UNTIL(f, slot_is(f, 1, "running"));
    assert_int_not_equal(slot_pid(f, 1), pid);
    assert_int_equal(slot_pid(f, 0), other);
    assert_int_equal(f->death_count, 1);
    assert_int_equal(log_count(f, "reason=its heartbeat has stood still for 2 s"), 1);
}

/* Both stand still for longer than the limit, as in a frozen container; then both go on. Time alone would have killed the worker. */
static void test_a_master_that_was_suspended_kills_nobody(void **state)
{
    struct fixture *f = *state;
    struct timespec suspended = {.tv_sec = 3};
    uint16_t port = fixture_start(f, 1);
    pid_t pid = slot_pid(f, 0);
    int status;

    kill(pid, SIGSTOP);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    nanosleep(&suspended, NULL);
    ev_run(f->loop, EVRUN_ONCE); /* the first look happens while the worker still stands */
    ev_run(f->loop, EVRUN_ONCE);
    kill(pid, SIGCONT);
    assert_int_equal(client_ask(f, port).pid, pid);
    assert_int_equal(f->death_count, 0);
}

static void test_a_worker_that_breaks_the_rules_is_replaced(void **state)
{
    static const struct {
        enum fake_order order;
        const char *reason;
    } cases[] = {{FAKE_BAD_MESSAGE, "it sent a message that is none"},
                 {FAKE_UNASKED, "it gave up a listener that it was not asked to"},
                 {FAKE_CLOSE_CONTROL, "it closed its control socket and did not exit"}};
    struct fixture *f = *state;
    uint16_t port = fixture_start(f, 1);

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture_order(f, 0, cases[i].order);
        WAIT_UNTIL(f, f->death_count == i + 1);
        assert_int_equal(log_count(f, cases[i].reason), 1);
        WAIT_UNTIL(f, slot_is(f, 0, "running"));
        assert_int_equal(client_ask(f, port).pid, slot_pid(f, 0));
    }
}

static void test_fifty_deaths_leave_no_descriptor_behind(void **state)
{
    struct fixture *f = *state;

    fixture_start(f, 1);
    unsigned before = open_fd_count();
    for (unsigned i = 0; i < 50; i++) {
        kill(slot_pid(f, 0), SIGKILL);
        WAIT_UNTIL(f, f->death_count == i + 1);
        memset(&f->sup->respawn, 0, sizeof f->sup->respawn); /* forget the burst: this is not about pace */
        WAIT_UNTIL(f, slot_is(f, 0, "running"));
    }
    assert_int_equal(open_fd_count(), before);
    assert_int_equal(atomic_load(&f->orders->report[0].starts), 51);
}

/* ---- the end ---- */

static void test_drain_serves_the_queue_keeps_running_connections_and_ends(void **state)
{
    struct fixture *f = *state;
    uint16_t port = fixture_start(f, 1);
    struct fake_answer answer;

    fixture_order_now(f, 0, FAKE_HOLD);
    int held = client_connect(port);
    WAIT_UNTIL(f, client_has_answer(held, &answer));
    fixture_order_now(f, 0, FAKE_IGNORE_QUEUE);
    int waiting = client_connect(port);
    assert_true(waiting >= 0);

    supervisor_drain(f->sup);
    WAIT_UNTIL(f, client_has_answer(waiting, &answer));
    WAIT_UNTIL(f, !supervisor_slot_has_sockets(f->sup, 0));
    assert_int_equal(client_connect(port), -1); /* the master let go of the socket as well */
    assert_int_equal(f->gone_count, 0);
    assert_true(slot_is(f, 0, "draining"));
    close(held);
    WAIT_UNTIL(f, f->gone_count == 1);
    assert_true(WIFEXITED(f->deaths[0].status) && WEXITSTATUS(f->deaths[0].status) == 0);
    assert_int_equal(log_count(f, "worker exited"), 1);
    assert_int_equal(log_count(f, "worker started"), 1);
    close(waiting);
}

static void test_a_worker_that_dies_while_draining_is_not_replaced(void **state)
{
    struct fixture *f = *state;
    uint16_t port = fixture_start(f, 2);

    fixture_order_now(f, 0, FAKE_HANG);
    supervisor_drain(f->sup);
    kill(slot_pid(f, 0), SIGKILL);
    WAIT_UNTIL(f, f->gone_count == 1);
    assert_int_equal(f->death_count, 2);
    assert_int_equal(log_count(f, "worker started"), 2);
    assert_int_equal(client_connect(port), -1);
}

static void test_stop_now_ends_even_a_worker_that_does_not_listen(void **state)
{
    struct fixture *f = *state;

    fixture_start(f, 2);
    fixture_order_now(f, 1, FAKE_HANG);
    supervisor_drain(f->sup);
    uint64_t stop_ms = clock_monotonic_ms();
    supervisor_stop_now(f->sup);
    WAIT_UNTIL(f, f->gone_count == 1);
    assert_true(clock_monotonic_ms() - stop_ms < 18000); /* shutdown_timeout is 20 s */
    assert_int_equal(log_count(f, "reason=it did not exit in time"), 1);
}

static void test_drain_before_the_start_ends_too(void **state)
{
    struct fixture *f = *state;

    fixture_make_supervisor(f, 2, f->binary_fd);
    uint16_t port = fixture_add_listener(f, 0);
    supervisor_drain(f->sup);
    WAIT_UNTIL(f, f->gone_count == 1);
    assert_int_equal(client_connect(port), -1);
}

/* A worker sees the end of the control socket and goes by itself: here the supervisor's end is lost as if the master had died. */
static void test_workers_outlive_nobody_when_the_control_socket_ends(void **state)
{
    struct fixture *f = *state;

    fixture_start(f, 1);
    pid_t pid = slot_pid(f, 0);
    ctl_channel_free(&f->sup->slots[0].channel);
    WAIT_UNTIL(f, f->death_count == 1);
    assert_int_equal(f->deaths[0].pid, pid);
    assert_int_equal(WEXITSTATUS(f->deaths[0].status), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], HANDOVER_SUBCOMMAND) == 0)
        return fake_worker_main(argv[0]);

#define CASE(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_a_worker_is_born_with_the_handover_and_nothing_else),
        CASE(test_a_binary_that_cannot_run_is_an_error_with_its_reason),
        CASE(test_a_killed_worker_is_replaced_at_once_and_its_counts_are_taken_back),
        CASE(test_what_waits_for_a_killed_worker_is_served_by_its_successor),
        CASE(test_a_worker_that_somebody_else_has_reaped_is_replaced_as_well),
        CASE(test_slots_in_which_nobody_answers_are_told_from_replacements),
        CASE(test_a_binary_that_dies_at_every_start_is_started_once_a_second),
        CASE(test_a_hung_worker_is_killed_and_replaced),
        CASE(test_a_master_that_was_suspended_kills_nobody),
        CASE(test_a_worker_that_breaks_the_rules_is_replaced),
        CASE(test_fifty_deaths_leave_no_descriptor_behind),
        CASE(test_drain_serves_the_queue_keeps_running_connections_and_ends),
        CASE(test_a_worker_that_dies_while_draining_is_not_replaced),
        CASE(test_stop_now_ends_even_a_worker_that_does_not_listen),
        CASE(test_drain_before_the_start_ends_too),
        CASE(test_workers_outlive_nobody_when_the_control_socket_ends),
    };
    return cmocka_run_group_tests_name("supervisor", tests, NULL, NULL);
}
