/* Who waits for a hello, how many may, and who goes when there are more: from connections to the budget and back. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn_wait.h"
#include "query_fixture.h"

/** Somebody who has been silent for so long that an event would have told of a hello. */
static struct conn *wait_silently(struct fixture *f, struct ip_addr client)
{
    struct conn *c = open_conn(f, 0, client);

    c->setup->accept_tick = f->worker->wheel.now - 2;
    conn_wait_begin(c);
    return c;
}

static void test_how_many_may_wait(void **state)
{
    static const struct {
        uint32_t setting, conn_cap, expected;
    } cases[] = {
        {CTL_PENDING_HELLOS_AUTO, 0, 64},
        {CTL_PENDING_HELLOS_AUTO, 256, 64},
        {CTL_PENDING_HELLOS_AUTO, 257, 65},
        {CTL_PENDING_HELLOS_AUTO, 4000, 1000},
        {CTL_PENDING_HELLOS_AUTO, 32768, 8192},
        {CTL_PENDING_HELLOS_AUTO, UINT32_MAX - 4, 8192},
        {1, 4000, 1},
        {100000, 4000, 100000},
        {0, 4000, UINT32_MAX},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        f->worker->settings.max_pending_hellos = cases[i].setting;
        f->worker->conn_cap = cases[i].conn_cap;
        conn_wait_limit(f->worker);
        assert_int_equal(f->worker->hellos.cap, cases[i].expected);
    }
}

static void test_who_has_waited_longest_goes(void **state)
{
    struct fixture *f = *state;
    struct worker *w = f->worker;

    w->settings.max_pending_hellos = 3;
    conn_wait_limit(w);
    for (unsigned i = 0; i < 5; i++)
        (void)wait_silently(f, client_number(i << 8)); /* each from a network of its own */
    assert_int_equal(w->hellos.count, 5);
    conn_wait_evict(w);
    assert_int_equal(w->hellos.count, 3);
    assert_int_equal(atomic_load(&f->stats[0].closed[CLOSE_HELLO_EVICTED]), 2);
    conn_io_end_turn(w);
    struct ctl_query everybody = {0};
    assert_int_equal(ask_all(f, everybody), 3);
    expect_seen(f, 1, 2, 0);
    expect_seen(f, 3, 5, 1);
    conn_wait_evict(w);
    assert_int_equal(w->hellos.count, 3);
}

static void test_a_hello_that_came_makes_room(void **state)
{
    struct fixture *f = *state;
    struct worker *w = f->worker;

    w->settings.max_pending_hellos = 1;
    conn_wait_limit(w);
    struct conn *first = wait_silently(f, client_number(1));
    struct conn *second = wait_silently(f, client_number(2));
    relay(first, "www.example.com", "*", "192.0.2.1:443");
    conn_wait_evict(w);
    assert_int_equal(w->hellos.count, 1);
    assert_int_equal(second->magic, CONN_MAGIC);
    assert_int_equal(atomic_load(&f->stats[0].closed[CLOSE_HELLO_EVICTED]), 0);
}

static void test_behind_a_proxy_header_the_announced_address_counts(void **state)
{
    struct fixture *f = *state;
    struct worker *w = f->worker;
    struct conn *c = wait_silently(f, client_number(0));

    assert_int_equal(c->setup->wait.network, hello_network_of(&c->client.addr));
    c->client.addr = client_number(1 << 8);
    conn_wait_begin(c);
    assert_int_equal(c->setup->wait.network, hello_network_of(&c->client.addr));
    assert_int_equal(w->hellos.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUERY_TEST(test_how_many_may_wait),
        QUERY_TEST(test_who_has_waited_longest_goes),
        QUERY_TEST(test_a_hello_that_came_makes_room),
        QUERY_TEST(test_behind_a_proxy_header_the_announced_address_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
