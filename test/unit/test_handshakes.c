/* Half-open connections: seen where they are, and only there. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "free_port.h"
#include "half_open.h"
#include "handshakes.h"
#include "listen_sockets.h"

enum { V4, V6, BOTH, ANY4, OTHER4, ADDRS };

static const struct listen_addr ADDR[ADDRS] = {
    [V4] = {.addr = {.family = 4, .bytes = {127, 0, 0, 1}}},
    [V6] = {.addr = {.family = 6, .bytes = {[15] = 1}}},
    [BOTH] = {.is_dual_stack = true},
    [ANY4] = {.addr = {.family = 4}},
    [OTHER4] = {.addr = {.family = 4, .bytes = {127, 0, 0, 2}}},
};

/** Which of the five addresses on this port have a handshake under way, as bits; of another port none ever has. */
static unsigned look(uint16_t port)
{
    struct listen_addr addrs[ADDRS + 1];
    bool is_pending[ADDRS + 1];
    unsigned bits = 0;

    for (unsigned i = 0; i < ADDRS; i++) {
        addrs[i] = ADDR[i];
        addrs[i].port = port;
    }
    addrs[ADDRS] = (struct listen_addr){.is_dual_stack = true, .port = (uint16_t)(port + 1)};
    memset(is_pending, 1, sizeof is_pending);
    assert_int_equal(handshakes_look(addrs, ADDRS + 1, is_pending), 0);
    assert_false(is_pending[ADDRS]);
    for (unsigned i = 0; i < ADDRS; i++)
        bits |= (unsigned)is_pending[i] << i;
    return bits;
}

/** The same, once it is (or is not) what is expected: a packet may still be on its way when connect() has returned. */
static unsigned look_for(uint16_t port, unsigned expected_bits)
{
    unsigned bits = look(port);

    for (unsigned i = 0; i < 10000 && bits != expected_bits; i++) {
        usleep(1000);
        bits = look(port);
    }
    return bits;
}

static void expect_seen(unsigned listen_at, int client_family, unsigned expected_bits)
{
    char text[256];
    struct strbuf why = STRBUF_OF(text);
    struct listen_addr addr = ADDR[listen_at];
    int fds[1];

    addr.port = free_port();
    if (listen_sockets_open(&addr, 1, fds, &why) != 0)
        return; /* no IPv6 here */
    assert_int_equal(look(addr.port), 0);
    int client = half_open_begin(client_family, addr.port);
    if (client >= 0) {
        assert_int_equal(look_for(addr.port, expected_bits), expected_bits);
        close(client);
    }
    listen_sockets_close(fds, 1);
}

static void test_a_handshake_is_seen_at_every_address_that_takes_it(void **state)
{
    (void)state;
    expect_seen(V4, AF_INET, 1 << V4 | 1 << BOTH | 1 << ANY4);
    expect_seen(V6, AF_INET6, 1 << V6 | 1 << BOTH);
    expect_seen(BOTH, AF_INET, 1 << V4 | 1 << BOTH | 1 << ANY4);
    expect_seen(BOTH, AF_INET6, 1 << V6 | 1 << BOTH);
}

static void test_many_handshakes_need_many_answers_of_the_kernel(void **state)
{
    enum { MANY = 900 };
    char text[256];
    struct strbuf why = STRBUF_OF(text);
    struct listen_addr first = ADDR[V4], last = ADDR[V4];
    int fds[2], clients[MANY];
    bool is_pending[2];

    (void)state;
    first.port = free_port();
    last.port = free_port();
    assert_int_equal(listen_sockets_open(&first, 1, &fds[0], &why), 0);
    assert_int_equal(listen_sockets_open(&last, 1, &fds[1], &why), 0);
    for (unsigned i = 0; i < MANY; i++)
        assert_true((clients[i] = half_open_begin(AF_INET, i == 0 ? last.port : first.port)) >= 0);
    assert_int_not_equal(look_for(last.port, 1 << V4 | 1 << BOTH | 1 << ANY4), 0); /* it was begun before the others */
    assert_int_equal(handshakes_look((struct listen_addr[]){first, last}, 2, is_pending), 0);
    assert_true(is_pending[0] && is_pending[1]);
    for (unsigned i = 0; i < MANY; i++)
        close(clients[i]);
    listen_sockets_close(fds, 2);
}

static void test_a_completed_one_is_seen_no_more(void **state)
{
    char text[256];
    struct strbuf why = STRBUF_OF(text);
    struct listen_addr addr = ADDR[V4];
    int fds[1];

    (void)state;
    addr.port = free_port();
    assert_int_equal(listen_sockets_open(&addr, 1, fds, &why), 0);
    int client = half_open_begin(AF_INET, addr.port);
    assert_int_not_equal(look_for(addr.port, 1 << V4 | 1 << BOTH | 1 << ANY4), 0);
    half_open_go_on(client);
    assert_int_equal(poll(&(struct pollfd){.fd = client, .events = POLLOUT}, 1, 10000), 1);
    assert_true(half_open_is_connected(client));
    assert_int_equal(look_for(addr.port, 0), 0);
    close(client);
    listen_sockets_close(fds, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_handshake_is_seen_at_every_address_that_takes_it),
        cmocka_unit_test(test_many_handshakes_need_many_answers_of_the_kernel),
        cmocka_unit_test(test_a_completed_one_is_seen_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
