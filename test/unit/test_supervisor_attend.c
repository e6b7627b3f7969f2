/* What goes on while nobody turns the loop: workers that die or hang are replaced, and nothing else happens. */

#include "supervisor_fixture.h"

/* Attend as a master does that is in the middle of long work, until the condition holds. */
#define ATTEND_UNTIL(f, condition)                           \
    do {                                                     \
        uint64_t until_ms = clock_monotonic_ms() + LIMIT_MS; \
        while (!(condition)) {                               \
            assert_true(clock_monotonic_ms() < until_ms);    \
            supervisor_attend((f)->sup);                     \
            usleep(5000);                                    \
        }                                                    \
    } while (0)

static void attend_for(struct fixture *f, unsigned ms)
{
    uint64_t end_ms = clock_monotonic_ms() + ms;

    ATTEND_UNTIL(f, clock_monotonic_ms() >= end_ms);
}

static void test_a_worker_that_dies_is_replaced_and_its_successor_serves(void **state)
{
    struct fixture *f = *state;
    uint16_t port = fixture_start(f, 1);
    pid_t pid = slot_pid(f, 0);
    struct fake_answer answer;
    int clients[20];

    fixture_order_now(f, 0, FAKE_HANG);
    for (unsigned i = 0; i < 20; i++)
        assert_true((clients[i] = client_connect(port)) >= 0);
    kill(pid, SIGKILL);
    fixture_order(f, 0, FAKE_SERVE);
    atomic_store(&f->stats.stats->active[0][0], 5);
    ATTEND_UNTIL(f, slot_pid(f, 0) != pid && slot_pid(f, 0) != 0);
    assert_int_equal(atomic_load(&f->stats.stats->active[0][0]), 0);
    assert_int_equal(f->death_count, 1);
    assert_int_equal(f->drained_count, 1);
    assert_int_equal(log_count(f, "worker died worker=0"), 1);
    for (unsigned i = 0; i < 20; i++) {
        ATTEND_UNTIL(f, client_has_answer(clients[i], &answer));
        close(clients[i]);
        assert_int_equal(answer.pid, slot_pid(f, 0));
    }
    assert_true(slot_is(f, 0, "starting")); /* nobody has heard it say that it is ready */
    WAIT_UNTIL(f, slot_is(f, 0, "running"));
    assert_int_equal(client_ask(f, port).pid, slot_pid(f, 0));
    assert_int_equal(f->death_count, 1);
    assert_int_equal(f->ready_count, 1);
}

static void test_a_worker_that_hangs_is_found_killed_and_replaced(void **state)
{
    struct fixture *f = *state;

    fixture_start(f, 2);
    pid_t pid = slot_pid(f, 1), other = slot_pid(f, 0);
    uint64_t hung_ms = clock_monotonic_ms();
    fixture_order_now(f, 1, FAKE_HANG);
    ATTEND_UNTIL(f, log_count(f, "worker killed") == 1);
    assert_true(clock_monotonic_ms() - hung_ms >= 1900);
    fixture_order(f, 1, FAKE_SERVE);
    ATTEND_UNTIL(f, slot_pid(f, 1) != pid && slot_pid(f, 1) != 0);
    WAIT_UNTIL(f, slot_is(f, 1, "running"));
    assert_int_equal(slot_pid(f, 0), other);
    assert_int_equal(f->death_count, 1);
    assert_int_equal(log_count(f, "reason=its heartbeat has stood still for 2 s"), 1);
}

/* 10 s are the time that a worker has to be ready: not to be counted while nobody listens. */
static void test_a_successor_that_is_not_heard_for_long_is_left_alone(void **state)
{
    struct fixture *f = *state;

    fixture_start(f, 1);
    pid_t pid = slot_pid(f, 0);
    kill(pid, SIGKILL);
    ATTEND_UNTIL(f, slot_pid(f, 0) != pid && slot_pid(f, 0) != 0);
    pid = slot_pid(f, 0);
    attend_for(f, 11000);
    assert_int_equal(slot_pid(f, 0), pid);
    assert_true(supervisor_is_answering(f->sup));
    WAIT_UNTIL(f, slot_is(f, 0, "running"));
    assert_int_equal(slot_pid(f, 0), pid);
}

static void test_a_binary_that_dies_at_every_start_keeps_its_pace(void **state)
{
    struct fixture *f = *state;

    fixture_start(f, 1);
    fixture_order(f, 0, FAKE_DIE_AT_START);
    kill(slot_pid(f, 0), SIGKILL);
    attend_for(f, 1500);
    unsigned fds = open_fd_count();
    attend_for(f, 1500);
    assert_in_range(open_fd_count(), fds - 1, fds + 1); /* a channel more while one lives */
    assert_in_range(atomic_load(&f->orders->report[0].starts), 1 + RESPAWN_BURST, 1 + RESPAWN_BURST + 4);
}

/* Its end closes sockets and may be the end of all, of which others are told: that is for the loop. */
static void test_who_is_on_the_way_out_waits_for_the_loop(void **state)
{
    struct fixture *f = *state;
    char text[256];
    struct strbuf why = STRBUF_OF(text);

    fixture_start(f, 2);
    assert_int_equal(supervisor_set_worker_count(f->sup, 1, &why), 0);
    WAIT_UNTIL(f, slot_is(f, 1, "retiring") || slot_is(f, 1, "draining") || slot_is(f, 1, "empty"));
    unsigned deaths = f->death_count;
    if (slot_pid(f, 1) != 0)
        kill(slot_pid(f, 1), SIGKILL);
    attend_for(f, 100);
    assert_int_equal(f->death_count, deaths);
    WAIT_UNTIL(f, slot_is(f, 1, "empty"));

    supervisor_drain(f->sup);
    deaths = f->death_count;
    kill(slot_pid(f, 0), SIGKILL);
    attend_for(f, 100);
    assert_int_equal(f->death_count, deaths);
    assert_int_equal(f->gone_count, 0);
    WAIT_UNTIL(f, f->gone_count == 1);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], HANDOVER_SUBCOMMAND) == 0)
        return fake_worker_main(argv[0]);

#define CASE(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_a_worker_that_dies_is_replaced_and_its_successor_serves),
        CASE(test_a_worker_that_hangs_is_found_killed_and_replaced),
        CASE(test_a_successor_that_is_not_heard_for_long_is_left_alone),
        CASE(test_a_binary_that_dies_at_every_start_keeps_its_pace),
        CASE(test_who_is_on_the_way_out_waits_for_the_loop),
    };
    return cmocka_run_group_tests_name("supervisor attend", tests, NULL, NULL);
}
