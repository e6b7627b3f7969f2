#ifndef HALF_OPEN_H
#define HALF_OPEN_H

/* A client whose handshake stands still, for the tests that include this header. */

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>

static inline socklen_t half_open_loopback(int family, uint16_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof *out);
    out->ss_family = (sa_family_t)family;
    if (family == AF_INET) {
        v4->sin_port = htons(port);
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return sizeof *v4;
    }
    v6->sin6_port = htons(port);
    v6->sin6_addr = in6addr_loopback;
    return sizeof *v6;
}

/** Begin to connect, and be deaf to the SYN-ACK. -1: the host has no such family. */
static inline int half_open_begin(int family, uint16_t port)
{
    struct sock_filter deaf[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog program = {.len = 1, .filter = deaf};
    struct sockaddr_storage ss;
    socklen_t len = half_open_loopback(family, port, &ss);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
    if (connect(fd, (struct sockaddr *)&ss, len) == 0 || errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

/** Hear again: the SYN-ACK is repeated a second after the first. */
static inline void half_open_go_on(int fd)
{
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &(int){0}, sizeof(int)), 0);
}

static inline bool half_open_is_connected(int fd)
{
    struct pollfd pfd = {.fd = fd, .events = POLLOUT};
    int error = -1;
    socklen_t len = sizeof error;

    return poll(&pfd, 1, 0) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}

#endif
