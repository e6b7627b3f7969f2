/* The shared rate limiter between processes: what they admit together is what one would. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "fork_child.h"
#include "rate_fixture.h"

#define PROCESSES 4

struct tally {
    _Atomic uint32_t ready;
    _Atomic uint64_t admitted;
};

/** Each of the processes calls run() at the same time; how many were admitted altogether. */
static uint64_t run_in_processes(struct limiter *l, uint64_t (*run)(struct limiter *l))
{
    struct tally *tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t children[PROCESSES];

    assert_true(tally != MAP_FAILED);
    for (unsigned i = 0; i < PROCESSES; i++) {
        children[i] = fork_child();
        if (children[i] != 0)
            continue;
        atomic_fetch_add(&tally->ready, 1);
        while (atomic_load(&tally->ready) < PROCESSES)
            usleep(50);
        atomic_fetch_add(&tally->admitted, run(l));
        _exit(0);
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status = 0;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    uint64_t total = atomic_load(&tally->admitted);
    munmap(tally, sizeof *tally);
    return total;
}

static uint64_t hammer_at_one_time(struct limiter *l)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < 300000; i++)
        count += admit(l, ipv4(7), START);
    return count;
}

static void processes_together_get_exactly_the_limit(void **state)
{
    static const uint32_t limits[] = {1, 10, 1000, 250000};
    (void)state;

    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct limiter l = limiter_new(limits[i], 3600000);
        assert_int_equal(run_in_processes(&l, hammer_at_one_time), limits[i]);
        limiter_free(&l);
    }
}

static uint64_t hammer_for_a_while(struct limiter *l)
{
    uint64_t count = 0;
    uint64_t until = clock_monotonic_ns() + SECOND / 4;

    for (uint64_t now; (now = clock_monotonic_ns()) < until;)
        count += admit(l, ipv4(7), now);
    return count;
}

static void processes_together_get_the_limit_and_what_comes_back(void **state)
{
    uint64_t total = 0;
    (void)state;

    /* What comes back while none of them gets a processor may be more than the quota, and is lost: in one of some tries it is not. */
    for (unsigned tries = 0; total < 100 + 240; tries++) {
        struct limiter l = limiter_new(100, 100);
        uint64_t begin = clock_monotonic_ns();
        total = run_in_processes(&l, hammer_for_a_while);
        uint64_t at_most = 100 + (clock_monotonic_ns() - begin) / 1000000 + 2; /* one comes back each millisecond */
        limiter_free(&l);
        assert_true(total <= at_most && tries < 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processes_together_get_exactly_the_limit),
        cmocka_unit_test(processes_together_get_the_limit_and_what_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
