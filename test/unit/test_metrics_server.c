/* The metrics endpoint with real sockets: answers, connections that stay, hostile ones that do not, and moving to another address. */

#include <errno.h>
#include <ev.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "err.h"
#include "free_port.h"
#include "metrics_server.h"

#define REQUEST "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
#define LARGE   (64u * 1024 * 1024) /* more than any socket buffer */

struct fixture {
    struct ev_loop *loop;
    struct metrics_server *server;
    struct listen_addr addr;
    size_t body_len;
    bool is_out_of_memory;
    unsigned renders;
};

static char got[1 << 20];

static void on_render(void *context, struct metrics_text *out)
{
    static const char chunk[] = "0123456789abcde\n";
    struct fixture *f = context;

    f->renders++;
    for (size_t i = 0; i < f->body_len; i += sizeof chunk - 1)
        metrics_text_add(out, chunk);
    out->failed |= f->is_out_of_memory;
}

static struct listen_addr loopback(uint16_t port)
{
    return (struct listen_addr){.addr = {.family = 4, .bytes = {127, 0, 0, 1}}, .port = port};
}

static int move_to(struct fixture *f, const struct listen_addr *addr)
{
    char text[256];
    struct strbuf why = STRBUF_OF(text);
    struct metrics_endpoint *prepared = NULL;
    int rc = metrics_server_prepare(f->server, addr, &prepared, &why);

    assert_int_equal(rc == 0, why.len == 0);
    if (rc == 0)
        metrics_server_commit(f->server, &prepared);
    assert_null(prepared);
    return rc;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    *state = f;
    assert_non_null(f);
    f->loop = ev_loop_new(EVFLAG_AUTO);
    f->addr = loopback(free_port());
    f->body_len = 160;
    assert_int_equal(metrics_server_new(f->loop, on_render, f, &f->server), 0);
    assert_int_equal(move_to(f, &f->addr), 0);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    metrics_server_free(&f->server);
    assert_null(f->server);
    ev_loop_destroy(f->loop);
    free(f);
    return 0;
}

static void turn(struct fixture *f, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        ev_run(f->loop, EVRUN_NOWAIT);
        usleep(500);
    }
}

static int try_connect(const struct listen_addr *addr)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(addr->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&sin, sizeof sin) == 0 || errno == EINPROGRESS) {
        struct sockaddr_in peer;
        socklen_t len = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0)
            return fd;
    }
    close(fd);
    return -1;
}

static int client(struct fixture *f)
{
    int fd = try_connect(&f->addr), on = 1;

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    turn(f, 2);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/** Read for some turns; the end: *ended_out, and errno is 0 if it was an orderly one. What came is in got. */
static size_t hear(struct fixture *f, int fd, bool *ended_out)
{
    size_t len = 0;

    *ended_out = false;
    for (unsigned i = 0; i < 20 && !*ended_out; i++) {
        turn(f, 1);
        ssize_t n = recv(fd, got + len, sizeof got - 1 - len, 0);
        *ended_out = n == 0 || (n < 0 && errno != EAGAIN);
        errno = n == 0 ? 0 : errno;
        len += n > 0 ? (size_t)n : 0;
    }
    got[len] = '\0';
    return len;
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what))
        n++;
    return n;
}

static void test_answers(void **state)
{
    static const struct {
        const char *request, *begins, *has;
        bool ends;
        unsigned bodies;
    } cases[] = {
        {REQUEST, "HTTP/1.1 200 OK\r\n",
         "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: 160\r\n", false, 10},
        {"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n", "Content-Length: 160\r\n", false, 0},
        {"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\n",
         "Connection: close\r\n", true, 10},
        {"GET /metrics HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n", "Connection: close\r\n", true, 10},
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 Not Found\r\n", "/metrics", false, 0},
        {"PUT /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 405 ", "Allow: GET, HEAD\r\n", false, 0},
        {"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", "HTTP/1.1 405 ", "Connection: close\r\n",
         true, 0},
        {"\x16\x03\x01", "HTTP/1.1 400 Bad Request\r\n", "Connection: close\r\n", true, 0},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 505 ", "Connection: close\r\n", true, 0},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool ended;
        int fd = client(f);
        say(fd, cases[i].request);
        hear(f, fd, &ended);
        if (strncmp(got, cases[i].begins, strlen(cases[i].begins)) != 0 || strstr(got, cases[i].has) == NULL ||
            ended != cases[i].ends || count(got, "0123456789abcde\n") != cases[i].bodies)
            fail_msg("case %zu: %s", i, got);
        assert_int_equal(count(got, "Date: "), 1);
        close(fd);
    }
}

static void test_a_connection_serves_many_requests_in_any_pieces(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);
    bool ended;

    for (size_t cut = 0; cut < strlen(REQUEST); cut++) {
        char first[sizeof REQUEST];
        memcpy(first, REQUEST, cut);
        first[cut] = '\0';
        say(fd, first);
        turn(f, 2);
        assert_int_equal(f->renders, cut);
        say(fd, &REQUEST[cut]);
        hear(f, fd, &ended);
        assert_int_equal(count(got, "HTTP/1.1 200 OK"), 1);
        assert_false(ended);
    }
    close(fd);
}

/* Closing with unread bytes would be a reset, which may overtake the answer. */
static void test_who_goes_on_sending_gets_his_answer_all_the_same(void **state)
{
    static char part[10000];
    struct fixture *f = *state;
    int fd = client(f);
    bool ended;

    say(fd, "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(send(fd, part, sizeof part, MSG_NOSIGNAL), sizeof part);
        turn(f, 3);
    }
    shutdown(fd, SHUT_WR);
    hear(f, fd, &ended);
    assert_int_equal(errno, 0);
    assert_true(ended);
    assert_int_equal(count(got, "HTTP/1.1 405 "), 1);
    close(fd);
}

static void test_requests_in_one_piece_are_answered_one_a_turn(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);
    bool ended;

    say(fd, REQUEST REQUEST REQUEST REQUEST);
    for (unsigned i = 1; i <= 4; i++) {
        turn(f, 1);
        assert_int_equal(f->renders, i);
    }
    hear(f, fd, &ended);
    assert_int_equal(count(got, "HTTP/1.1 200 OK"), 4);
    assert_false(ended);
    close(fd);
}

static void test_no_request_is_read_while_an_answer_waits(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);

    f->body_len = LARGE;
    say(fd, REQUEST REQUEST);
    turn(f, 20);
    assert_int_equal(f->renders, 1);
    for (unsigned i = 0; i < 1000; i++)
        (void)send(fd, REQUEST, strlen(REQUEST), MSG_NOSIGNAL);
    turn(f, 20);
    assert_int_equal(f->renders, 1);
    close(fd);
    turn(f, 5);
}

static void test_a_large_answer_arrives_whole(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);
    size_t len = 0, body = 0;
    char last = 0;
    static char buffer[1 << 20];

    f->body_len = 8u << 20;
    say(fd, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    for (unsigned i = 0; i < 5000; i++) {
        ssize_t n = recv(fd, buffer, sizeof buffer, 0);
        if (n == 0)
            break;
        for (ssize_t at = 0; at < n; last = buffer[at++])
            body += buffer[at] == '\n' && last == 'e';
        len += n > 0 ? (size_t)n : 0;
        ev_run(f->loop, EVRUN_NOWAIT);
    }
    assert_true(len > (8u << 20));
    assert_int_equal(body, (8u << 20) / 16);
    close(fd);
}

static void test_a_full_house_gives_the_place_of_who_waited_longest(void **state)
{
    struct fixture *f = *state;
    int fds[METRICS_CLIENTS_MAX];
    bool ended;

    for (unsigned i = 0; i < METRICS_CLIENTS_MAX; i++)
        fds[i] = client(f);
    say(fds[0], REQUEST); /* the oldest has just been served, so it is the youngest */
    hear(f, fds[0], &ended);
    int late = client(f);
    say(late, REQUEST);
    hear(f, late, &ended);
    assert_int_equal(count(got, "HTTP/1.1 200 OK"), 1);
    hear(f, fds[1], &ended);
    assert_true(ended);
    for (unsigned i = 0; i < METRICS_CLIENTS_MAX; i++) {
        if (i == 1)
            continue;
        say(fds[i], REQUEST);
        hear(f, fds[i], &ended);
        assert_int_equal(count(got, "HTTP/1.1 200 OK"), 1);
        assert_false(ended);
    }
    for (unsigned i = 0; i < METRICS_CLIENTS_MAX; i++)
        close(fds[i]);
    close(late);
}

static void test_when_all_are_being_answered_a_new_one_is_turned_away(void **state)
{
    struct fixture *f = *state;
    int fds[METRICS_CLIENTS_MAX];
    bool ended;

    f->body_len = 16u << 20;
    for (unsigned i = 0; i < METRICS_CLIENTS_MAX; i++) {
        fds[i] = client(f);
        say(fds[i], REQUEST);
        turn(f, 3);
    }
    int late = client(f);
    hear(f, late, &ended);
    assert_true(ended);
    assert_int_equal(f->renders, METRICS_CLIENTS_MAX);
    for (unsigned i = 0; i < METRICS_CLIENTS_MAX; i++)
        close(fds[i]);
    close(late);
    turn(f, 5);
    f->body_len = 16;
    fds[0] = client(f);
    say(fds[0], REQUEST);
    hear(f, fds[0], &ended);
    assert_int_equal(count(got, "HTTP/1.1 200 OK"), 1);
    close(fds[0]);
}

static unsigned open_clients(const struct fixture *f)
{
    char text[256];
    struct strbuf dump = STRBUF_OF(text);
    const char *at;

    metrics_server_dump(f->server, &dump);
    assert_non_null(at = strstr(text, "clients="));
    return (unsigned)strtoul(at + strlen("clients="), NULL, 10);
}

/* One says nothing, one sends byte by byte, one takes its answer byte by byte. */
static void test_who_takes_his_time_is_cut_off_after_10_s(void **state)
{
    static const char dripped[] = "GET /metrics HTTP/1.1\r\nHost: a long one that goes on and on and on and on";
    struct fixture *f = *state;
    uint64_t begun_ms = clock_monotonic_ms(), took_ms = 0; /* before the first of them */
    int silent = client(f), dripping = client(f), reading = client(f);

    f->body_len = LARGE;
    say(reading, REQUEST);
    for (unsigned i = 0; took_ms < 40000 && open_clients(f) > 0; i++) {
        (void)send(dripping, &dripped[i % (sizeof dripped - 1)], 1, MSG_NOSIGNAL);
        (void)recv(reading, got, 100, 0);
        turn(f, 200);
        took_ms = clock_monotonic_ms() - begun_ms;
        if (took_ms < 9500)
            assert_int_equal(open_clients(f), 3);
    }
    assert_in_range(took_ms, 9500, 30000);
    assert_int_equal(f->renders, 1);
    close(silent);
    close(dripping);
    close(reading);
}

static void test_without_memory_the_answer_says_so(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);
    bool ended;

    f->is_out_of_memory = true;
    say(fd, REQUEST);
    hear(f, fd, &ended);
    assert_int_equal(count(got, "HTTP/1.1 503 Service Unavailable\r\n"), 1);
    assert_true(ended);
    close(fd);
}

static void test_it_moves_and_those_connected_stay(void **state)
{
    struct fixture *f = *state;
    struct listen_addr other = loopback(free_port());
    struct listen_addr wildcard = {.addr = {.family = 4}, .port = f->addr.port};
    int fd = client(f);
    bool ended;

    assert_int_equal(move_to(f, &f->addr), 0); /* nothing happens */
    assert_int_equal(move_to(f, &other), 0);
    assert_int_equal(try_connect(&f->addr), -1);
    int moved = try_connect(&other);
    assert_true(moved >= 0);
    say(fd, REQUEST);
    hear(f, fd, &ended);
    assert_int_equal(count(got, "HTTP/1.1 200 OK"), 1);
    close(fd);
    close(moved);
    assert_int_equal(move_to(f, &f->addr), 0);
    assert_int_equal(move_to(f, &wildcard), 0); /* over our own, narrower address */
    fd = client(f);
    close(fd);
    assert_int_equal(move_to(f, NULL), 0);
    assert_int_equal(try_connect(&f->addr), -1);
    assert_int_equal(move_to(f, &f->addr), 0);
    close(client(f));
}

static void test_an_address_in_use_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof sin;
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct metrics_endpoint *none = NULL;

    assert_int_equal(bind(other, (struct sockaddr *)&sin, len), 0);
    assert_int_equal(listen(other, 1), 0);
    assert_int_equal(getsockname(other, (struct sockaddr *)&sin, &len), 0);
    struct listen_addr taken = loopback(ntohs(sin.sin_port));
    assert_int_equal(move_to(f, &taken), ERR_IN_USE);
    close(client(f));
    close(other);

    /* Prepared, and then something else of the reload failed. */
    char text[256];
    struct strbuf why = STRBUF_OF(text);
    assert_int_equal(metrics_server_prepare(f->server, &taken, &none, &why), 0);
    assert_non_null(none);
    metrics_server_abort(&none);
    assert_null(none);
    metrics_server_abort(&none);
    close(client(f));
    assert_int_equal(try_connect(&taken), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_answers),
        TEST(test_a_connection_serves_many_requests_in_any_pieces),
        TEST(test_who_goes_on_sending_gets_his_answer_all_the_same),
        TEST(test_requests_in_one_piece_are_answered_one_a_turn),
        TEST(test_no_request_is_read_while_an_answer_waits),
        TEST(test_a_large_answer_arrives_whole),
        TEST(test_a_full_house_gives_the_place_of_who_waited_longest),
        TEST(test_when_all_are_being_answered_a_new_one_is_turned_away),
        TEST(test_who_takes_his_time_is_cut_off_after_10_s),
        TEST(test_without_memory_the_answer_says_so),
        TEST(test_it_moves_and_those_connected_stay),
        TEST(test_an_address_in_use_changes_nothing),
    };
    return cmocka_run_group_tests_name("metrics_server", tests, NULL, NULL);
}
