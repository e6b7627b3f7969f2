#ifndef FREE_PORT_H
#define FREE_PORT_H

/* Free TCP ports for listeners of tests; include behind cmocka.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>

/* Below the ephemeral range, so that no outgoing connection takes one meanwhile; the integration tests count through the same. */
#define FREE_PORT_FIRST 15000
#define FREE_PORT_LAST  30000

static inline bool free_port_is_free(int family, uint16_t port)
{
    struct sockaddr_storage ss = {.ss_family = (sa_family_t)family};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&ss;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ss;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return family == AF_INET6; /* no such thing here: nobody can be in the way */
    *(family == AF_INET ? &v4->sin_port : &v6->sin6_port) = htons(port);
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int));
    bool is_free = bind(fd, (struct sockaddr *)&ss, family == AF_INET ? sizeof *v4 : sizeof *v6) == 0 ||
                   (family == AF_INET6 && errno == EADDRNOTAVAIL);
    close(fd);
    return is_free;
}

/** One on which nobody listens, and that no test has been given for a long time: all count through them in one file. */
static inline uint16_t free_port(void)
{
    char path[64], text[16] = "";

    snprintf(path, sizeof path, "/tmp/mc-proxy-test-port.%u", (unsigned)getuid());
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && flock(fd, LOCK_EX) == 0);
    assert_true(read(fd, text, sizeof text - 1) >= 0);
    unsigned port = text[0] == '\0' ? FREE_PORT_FIRST : (unsigned)strtoul(text, NULL, 10);
    do {
        port = port < FREE_PORT_LAST ? port + 1 : FREE_PORT_FIRST;
    } while (!free_port_is_free(AF_INET, (uint16_t)port) || !free_port_is_free(AF_INET6, (uint16_t)port));
    int len = snprintf(text, sizeof text, "%u", port);
    assert_true(pwrite(fd, text, (size_t)len, 0) == len && ftruncate(fd, len) == 0);
    close(fd);
    return (uint16_t)port;
}

#endif
