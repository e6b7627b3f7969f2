/* Connecting to a server, and saying so that it helps why that is not possible. */

#include "client_dial.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "client_link.h"
#include "clock.h"
#include "err.h"

int client_wait(int fd, short events, uint64_t deadline_ms)
{
    struct pollfd p = {.fd = fd, .events = events};

    for (;;) {
        uint64_t now = clock_monotonic_ms();
        uint64_t left = deadline_ms > now ? deadline_ms - now : 0;
        int n = poll(&p, 1, left > INT_MAX ? INT_MAX : (int)left);
        if (n > 0)
            return p.revents;
        if (n == 0 && clock_monotonic_ms() >= deadline_ms)
            return 0;
        if (n < 0 && errno != EINTR)
            return -1;
    }
}

/* ---- words ---- */

static void explain_permission(const struct client_endpoint *endpoint, struct strbuf *why)
{
    struct stat st;
    const struct passwd *owner = NULL;

    strbuf_add(why, "permission denied; ");
    if (endpoint->path != NULL && stat(endpoint->path, &st) == 0)
        owner = getpwuid(st.st_uid);
    if (owner != NULL)
        strbuf_addf(why, "the socket belongs to %s: run this as that user, or with sudo", owner->pw_name);
    else
        strbuf_add(why, "run this as the user that the server runs as, or with sudo");
}

static int explain(const struct client_endpoint *endpoint, int error, struct strbuf *why)
{
    strbuf_addf(why, "cannot reach the server at %s: ", endpoint->text);
    switch (error) {
    case ENOENT: strbuf_add(why, "there is no such socket; is the server running?"); return ERR_NOT_FOUND;
    case ECONNREFUSED: strbuf_add(why, "nobody listens there; is the server running?"); return ERR_NOT_FOUND;
    case EACCES:
    case EPERM: explain_permission(endpoint, why); return ERR_SYSTEM;
    case ENOTSOCK:
    case EPROTOTYPE: strbuf_add(why, "that is no socket of a server"); return ERR_SYSTEM;
    case ETIMEDOUT: strbuf_add(why, "no answer in time"); return ERR_TIMEOUT;
    default: strbuf_add(why, strerror(error)); return ERR_SYSTEM;
    }
}

/* ---- connecting ---- */

/** 0 or an errno. */
static int finish_connect(int fd, uint64_t deadline_ms)
{
    int error = 0;
    socklen_t len = sizeof error;
    int events = client_wait(fd, POLLOUT, deadline_ms);

    if (events <= 0)
        return events == 0 ? ETIMEDOUT : errno;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
}

/** 0 with a connected socket, or an errno. */
static int connect_to(int family, const struct sockaddr *addr, socklen_t len, uint64_t deadline_ms, int *fd_out)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int error = 0;

    if (fd < 0)
        return errno;
    if (connect(fd, addr, len) != 0) {
        /* A Unix socket whose queue is full says EAGAIN at once, and cannot be waited for by poll(). */
        while (errno == EAGAIN && clock_monotonic_ms() < deadline_ms) {
            (void)poll(NULL, 0, 10);
            if (connect(fd, addr, len) == 0)
                errno = 0;
        }
        error = errno == EINPROGRESS || errno == EINTR ? finish_connect(fd, deadline_ms)
                : errno == EAGAIN                      ? ETIMEDOUT
                                                       : errno;
    }
    if (error != 0)
        close(fd);
    else
        *fd_out = fd;
    return error;
}

static int dial_unix(const struct client_endpoint *endpoint, uint64_t deadline_ms, int *fd_out, struct strbuf *why)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(endpoint->path);

    if (len == 0 || len >= sizeof addr.sun_path) {
        strbuf_addf(why, "%s: the path of a Unix socket has 1 to %zu bytes", endpoint->text, sizeof addr.sun_path - 1);
        return ERR_INVALID;
    }
    memcpy(addr.sun_path, endpoint->path, len + 1);
    int error = connect_to(AF_UNIX, (const struct sockaddr *)&addr, sizeof addr, deadline_ms, fd_out);
    return error == 0 ? 0 : explain(endpoint, error, why);
}

static int dial_tcp(const struct client_endpoint *endpoint, uint64_t deadline_ms, int *fd_out, struct strbuf *why)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    const int on = 1;
    int error = ECONNREFUSED;
    int gai = getaddrinfo(endpoint->host, endpoint->port, &hints, &found);

    if (gai != 0) {
        strbuf_addf(why, "cannot reach the server at %s: %s", endpoint->text,
                    gai == EAI_SYSTEM ? strerror(errno) : gai_strerror(gai));
        return ERR_SYSTEM;
    }
    for (const struct addrinfo *a = found; a != NULL && error != 0; a = a->ai_next)
        error = connect_to(a->ai_family, a->ai_addr, a->ai_addrlen, deadline_ms, fd_out);
    freeaddrinfo(found);
    if (error != 0)
        return explain(endpoint, error, why);
    (void)setsockopt(*fd_out, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return 0;
}

int client_dial(const struct client_endpoint *endpoint, uint64_t deadline_ms, int *fd_out, struct strbuf *why)
{
    return endpoint->path != NULL ? dial_unix(endpoint, deadline_ms, fd_out, why)
                                  : dial_tcp(endpoint, deadline_ms, fd_out, why);
}
