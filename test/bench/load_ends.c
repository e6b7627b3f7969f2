/* The sockets of the load: how its two ends come into being. */

#include "load_ends.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "bench_hello.h"
#include "load_options.h"

static uint8_t hello[65536];
static uint8_t *hello_name; /* in the hello; NULL: it is always the same name */

_Noreturn void load_die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

uint64_t load_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int load_listen(unsigned number)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(opt.backend)};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    addr.sin_addr.s_addr = htonl(number == 0 ? INADDR_LOOPBACK : 0x7f000200u + number);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 || listen(fd, 4096) != 0)
        load_die("listen");
    return fd;
}

/** Clients of one address run out of ports: each connection takes the next of many addresses, unless one is given. */
static void choose_address(int fd, uint64_t number)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = opt.from};
    const int on = 1;

    if (opt.from.s_addr == 0)
        addr.sin_addr.s_addr = htonl(0x7f010001u + (uint32_t)(number % opt.sources));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0)
        load_die("bind");
}

/** A name by chance, others in each run: those of the run before may still be in the proxy's cache (xorshift64). */
static void choose_name(void)
{
    static uint64_t random;
    char name[32]; /* the compiler does not know that numbers have seven digits */

    if (random == 0)
        random = load_now_ns() | 1;
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    unsigned number = (unsigned)((random >> 32) * opt.names >> 32);
    snprintf(name, sizeof name, LOAD_NAME, number, number % 100);
    memcpy(hello_name, name, LOAD_NAME_LEN);
}

int load_connect(uint64_t number, bool is_silent, bool *sent_out)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(opt.proxy), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (fd < 0)
        load_die("socket");
    choose_address(fd, number);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)
        load_die("connect");
    if (hello_name != NULL)
        choose_name();
    /* On loopback the handshake is over when connect() returns. */
    *sent_out = is_silent || send(fd, hello, opt.hello, MSG_NOSIGNAL) == (ssize_t)opt.hello;
    return fd;
}

void load_make_hello(void)
{
    char name[32];

    snprintf(name, sizeof name, LOAD_NAME, 0u, 0u);
    bench_hello_make(hello, opt.hello, opt.names > 0 ? name : opt.name);
    if (opt.names > 0 && (hello_name = memmem(hello, opt.hello, name, LOAD_NAME_LEN)) == NULL)
        abort();
}

void load_raise_descriptor_limit(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}
