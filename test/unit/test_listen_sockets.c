/* Listening sockets: who can reach them, who else is in the way, what accepted connections inherit. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "free_port.h"
#include "listen_sockets.h"

static char why_text[256];
static struct strbuf why;

static const struct listen_addr ANY = {.is_dual_stack = true};
static const struct listen_addr ANY4 = {.addr = {.family = 4}};
static const struct listen_addr ANY6 = {.addr = {.family = 6}};
static const struct listen_addr LOOP4 = {.addr = {.family = 4, .bytes = {127, 0, 0, 1}}};
static const struct listen_addr LOOP6 = {.addr = {.family = 6, .bytes = {[15] = 1}}};

static int setup(void **state)
{
    (void)state;
    why = STRBUF_OF(why_text);
    return 0;
}

static struct listen_addr at_port(struct listen_addr addr, uint16_t port)
{
    addr.port = port;
    return addr;
}

static socklen_t loopback(int family, uint16_t port, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    out->ss_family = (sa_family_t)family;
    if (family == AF_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)out;
        v4->sin_port = htons(port);
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return sizeof *v4;
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    v6->sin6_port = htons(port);
    v6->sin6_addr = in6addr_loopback;
    return sizeof *v6;
}

/* A socket of some other program: bound to loopback, port 0 for a free one; *port_out gets it. */
static int other_socket(uint16_t port, bool reuse_port, uint16_t *port_out)
{
    struct sockaddr_storage ss;
    socklen_t len = loopback(AF_INET, port, &ss);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (reuse_port)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
    *port_out = ntohs(((struct sockaddr_in *)&ss)->sin_port);
    return fd;
}

static int try_connect(int family, uint16_t port)
{
    struct sockaddr_storage ss;
    socklen_t len = loopback(family, port, &ss);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&ss, len) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool can_connect(int family, uint16_t port)
{
    int fd = try_connect(family, port);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool host_has_ipv6(void)
{
    struct sockaddr_storage ss;
    socklen_t len = loopback(AF_INET6, 0, &ss);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&ss, len) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

static void test_each_address_is_reached_by_its_families(void **state)
{
    static const struct {
        const struct listen_addr *addr;
        bool v4, v6;
    } cases[] = {
        {&ANY, true, true}, {&ANY4, true, false}, {&ANY6, false, true}, {&LOOP4, true, false}, {&LOOP6, false, true}};

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct listen_addr addr = at_port(*cases[i].addr, free_port());
        int fds[2];

        if (addr.addr.family == 6 && !host_has_ipv6())
            continue;
        assert_int_equal(listen_sockets_probe(&addr, 0, &why), 0);
        assert_int_equal(listen_sockets_open(&addr, 2, fds, &why), 0);
        assert_int_equal(can_connect(AF_INET, addr.port), cases[i].v4);
        if (host_has_ipv6())
            assert_int_equal(can_connect(AF_INET6, addr.port), cases[i].v6);
        listen_sockets_close(fds, 2);
        assert_int_equal(fds[0], -1);
        assert_false(can_connect(AF_INET, addr.port));
    }
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;

    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void test_accepted_connections_inherit_what_they_need(void **state)
{
    struct listen_addr addr = at_port(LOOP4, free_port());
    struct linger linger = {.l_onoff = 1};
    socklen_t len = sizeof linger;
    int fds[1];

    (void)state;
    assert_int_equal(listen_sockets_open(&addr, 1, fds, &why), 0);
    assert_true((fcntl(fds[0], F_GETFL) & O_NONBLOCK) != 0);
    assert_int_equal(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    int client = try_connect(AF_INET, addr.port);
    int accepted = accept4(fds[0], NULL, NULL, SOCK_CLOEXEC);
    assert_true(accepted >= 0);
    assert_true(option(accepted, IPPROTO_TCP, TCP_NODELAY) != 0);
    assert_true(option(accepted, SOL_SOCKET, SO_KEEPALIVE) != 0);
    assert_int_equal(option(accepted, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    assert_int_equal(option(accepted, IPPROTO_TCP, TCP_KEEPINTVL), 15);
    assert_int_equal(option(accepted, IPPROTO_TCP, TCP_KEEPCNT), 4);
    assert_int_equal(option(accepted, SOL_SOCKET, SO_RCVLOWAT), 1);
    assert_int_equal(getsockopt(accepted, SOL_SOCKET, SO_LINGER, &linger, &len), 0);
    assert_int_equal(linger.l_onoff, 0);
    close(accepted);
    close(client);
    listen_sockets_close(fds, 1);
}

static void test_the_backlog_is_the_systems(void **state)
{
    struct listen_addr addr = at_port(LOOP4, free_port());
    struct tcp_info info;
    socklen_t len = sizeof info;
    unsigned somaxconn = 0;
    int fds[1];
    FILE *file = fopen("/proc/sys/net/core/somaxconn", "re");

    (void)state;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%u", &somaxconn), 1);
    fclose(file);
    assert_int_equal(listen_sockets_open(&addr, 1, fds, &why), 0);
    assert_int_equal(getsockopt(fds[0], IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    assert_int_equal(info.tcpi_sacked, somaxconn); /* of a listening socket: its backlog */
    listen_sockets_close(fds, 1);
}

static void test_another_listener_is_found_in_every_disguise(void **state)
{
    static const struct listen_addr *const ours[] = {&LOOP4, &ANY4, &ANY};

    (void)state;
    for (int reuse_port = 0; reuse_port <= 1; reuse_port++) {
        uint16_t port;
        int other = other_socket(0, reuse_port != 0, &port);
        assert_int_equal(listen(other, 1), 0);
        for (unsigned i = 0; i < sizeof ours / sizeof ours[0]; i++) {
            struct listen_addr addr = at_port(*ours[i], port);
            strbuf_reset(&why);
            assert_int_equal(listen_sockets_probe(&addr, 0, &why), ERR_IN_USE);
            assert_non_null(strstr(why_text, "address already in use"));
        }
        close(other);
        struct listen_addr addr = at_port(LOOP4, port);
        assert_int_equal(listen_sockets_probe(&addr, 0, &why), 0);
    }
}

static void test_the_probe_waits_for_an_address_to_become_free(void **state)
{
    uint16_t port;
    int other = other_socket(0, false, &port);
    struct listen_addr addr = at_port(LOOP4, port);

    (void)state;
    assert_int_equal(listen(other, 1), 0);
    pid_t holder = fork(); /* another process has the socket, and goes away by itself */
    if (holder == 0) {
        poll(NULL, 0, 150);
        _exit(0);
    }
    close(other);
    assert_int_equal(listen_sockets_probe(&addr, 20000, &why), 0);
    assert_string_equal(why_text, "");
    assert_int_equal(waitpid(holder, NULL, 0), holder);
}

/** The last word of a handshake may still be on its way when connect() has returned. */
static int accept_one(int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
        assert_int_equal(poll(&(struct pollfd){.fd = listener, .events = POLLIN}, 1, 10000), 1);
    return fd;
}

static void test_connections_that_linger_from_before_are_not_in_the_way(void **state)
{
    struct listen_addr addr = at_port(LOOP4, free_port());
    int fds[1];

    (void)state;
    assert_int_equal(listen_sockets_open(&addr, 1, fds, &why), 0);
    int client = try_connect(AF_INET, addr.port), open_client = try_connect(AF_INET, addr.port);
    int accepted = accept_one(fds[0]), still_open = accept_one(fds[0]);
    close(accepted); /* the server closes first: TIME_WAIT is on its side */
    close(client);
    listen_sockets_close(fds, 1);
    assert_int_equal(listen_sockets_probe(&addr, 0, &why), 0);
    assert_int_equal(listen_sockets_open(&addr, 1, fds, &why), 0);
    listen_sockets_close(fds, 1);
    close(still_open);
    close(open_client);
}

static void test_errors_say_what_to_do(void **state)
{
    struct listen_addr nowhere = {.addr = {.family = 4, .bytes = {192, 0, 2, 77}}, .port = 4443};
    struct listen_addr addr = at_port(LOOP4, free_port());
    struct rlimit limit, low;
    int fds[64];

    (void)state;
    assert_int_equal(listen_sockets_probe(&nowhere, 0, &why), ERR_NOT_FOUND);
    assert_non_null(strstr(why_text, "no such address"));

    /* In the middle of many: those made before are closed again. */
    strbuf_reset(&why);
    int lowest = dup(0);
    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = (struct rlimit){.rlim_cur = (rlim_t)lowest + 10, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    int rc = listen_sockets_open(&addr, 64, fds, &why);
    int after = dup(0);
    close(after);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(rc, ERR_NO_SPACE);
    assert_non_null(strstr(why_text, "descriptor"));
    assert_int_equal(after, lowest);
    assert_false(can_connect(AF_INET, addr.port));
}

/* Run in a child, because what it gives up cannot be had again; 0 if all is well. */
static int as_unprivileged_child(int (*check)(void))
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0)
        _exit(check());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static int check_low_port(void)
{
    struct listen_addr low = at_port(LOOP4, 99);
    struct strbuf reason = STRBUF_OF(why_text);

    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        return 1;
    if (listen_sockets_probe(&low, 0, &reason) != ERR_SYSTEM)
        return 2;
    return strstr(why_text, "CAP_NET_BIND_SERVICE") != NULL ? 0 : 3;
}

static void test_a_low_port_needs_a_capability(void **state)
{
    unsigned start = 0;
    FILE *file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");

    (void)state;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%u", &start), 1);
    fclose(file);
    if (start <= 99)
        skip();
    assert_int_equal(as_unprivileged_child(check_low_port), 0);
}

/* A host without IPv6, as far as this process can tell: socket(AF_INET6) fails. */
static bool forbid_ipv6(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int check_without_ipv6(void)
{
    struct listen_addr addr = at_port(ANY, free_port());
    struct strbuf reason = STRBUF_OF(why_text);
    int fds[2];

    if (!forbid_ipv6())
        return 1;
    if (listen_sockets_probe(&addr, 0, &reason) != 0 || listen_sockets_open(&addr, 2, fds, &reason) != 0)
        return 2;
    if (!can_connect(AF_INET, addr.port))
        return 3;
    addr = at_port(ANY6, addr.port);
    if (listen_sockets_probe(&addr, 0, &reason) != ERR_NOT_FOUND || strstr(why_text, "no IPv6") == NULL)
        return 4;
    return 0;
}

static void test_dual_stack_without_ipv6_is_ipv4(void **state)
{
    (void)state;
    assert_int_equal(as_unprivileged_child(check_without_ipv6), 0);
}

static void test_balance_spares_the_last_sockets(void **state)
{
    struct listen_addr addr = at_port(LOOP4, free_port());
    int fds[4], clients[64];
    unsigned hits[4] = {0};

    (void)state;
    assert_int_equal(listen_sockets_open(&addr, 4, fds, &why), 0);
    assert_int_equal(listen_sockets_balance(fds[3], 2), 0);
    for (unsigned i = 0; i < 64; i++)
        assert_true((clients[i] = try_connect(AF_INET, addr.port)) >= 0);
    for (unsigned i = 0; i < 4; i++) {
        int fd;
        for (; (fd = accept4(fds[i], NULL, NULL, SOCK_CLOEXEC)) >= 0; hits[i]++)
            close(fd);
        if (i == 1 && hits[0] + hits[1] < 64) { /* the last word of a handshake may still be on its way */
            assert_true(poll((struct pollfd[]){{.fd = fds[0], .events = POLLIN}, {.fd = fds[1], .events = POLLIN}}, 2,
                             10000) > 0);
            i = UINT_MAX; /* all again */
        }
    }
    assert_int_equal(hits[0] + hits[1], 64);
    assert_true(hits[0] > 0 && hits[1] > 0);
    for (unsigned i = 0; i < 64; i++)
        close(clients[i]);
    assert_int_equal(listen_sockets_balance(fds[0], 0), 0);
    assert_int_equal(listen_sockets_balance(fds[0], 0), 0); /* nothing to undo is fine */
    listen_sockets_close(fds, 4);
}

static void test_overlap(void **state)
{
    static const struct {
        const struct listen_addr *a, *b;
        bool overlaps;
    } cases[] = {{&ANY, &LOOP4, true},  {&ANY, &LOOP6, true},   {&ANY, &ANY, true},
                 {&ANY4, &LOOP4, true}, {&ANY4, &LOOP6, false}, {&ANY4, &ANY6, false},
                 {&ANY6, &LOOP6, true}, {&LOOP4, &LOOP4, true}, {&LOOP4, &LOOP6, false}};

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct listen_addr a = at_port(*cases[i].a, 443), b = at_port(*cases[i].b, 443);
        assert_int_equal(listen_addr_overlaps(&a, &b), cases[i].overlaps);
        assert_int_equal(listen_addr_overlaps(&b, &a), cases[i].overlaps);
        b.port = 444;
        assert_false(listen_addr_overlaps(&a, &b));
    }
}

int main(void)
{
#define CASE(function) cmocka_unit_test_setup(function, setup)
    const struct CMUnitTest tests[] = {
        CASE(test_each_address_is_reached_by_its_families),
        CASE(test_accepted_connections_inherit_what_they_need),
        CASE(test_the_backlog_is_the_systems),
        CASE(test_another_listener_is_found_in_every_disguise),
        CASE(test_the_probe_waits_for_an_address_to_become_free),
        CASE(test_connections_that_linger_from_before_are_not_in_the_way),
        CASE(test_errors_say_what_to_do),
        CASE(test_a_low_port_needs_a_capability),
        CASE(test_dual_stack_without_ipv6_is_ipv4),
        CASE(test_balance_spares_the_last_sockets),
        CASE(test_overlap),
    };
    return cmocka_run_group_tests_name("listen_sockets", tests, NULL, NULL);
}
