/* Listening sockets: one per worker slot, all or none, with errors that say what to do. */

#include "listen_sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "err.h"
#include "log_event.h"

#define PROBE_PAUSE_NS 10000000L /* 10 ms */

/** A socket option as a row: what every listening socket gets. */
struct socket_option {
    int level;
    int name;
    int value;
};

static const struct socket_option inherited_options[] = {
    {IPPROTO_TCP, TCP_NODELAY, 1},    {SOL_SOCKET, SO_KEEPALIVE, 1}, {IPPROTO_TCP, TCP_KEEPIDLE, 60},
    {IPPROTO_TCP, TCP_KEEPINTVL, 15}, {IPPROTO_TCP, TCP_KEEPCNT, 4},
};

struct errno_row {
    int error_number;
    int code;
    const char *text;
};

static const struct errno_row errno_rows[] = {
    {EADDRINUSE, ERR_IN_USE,
     "address already in use: another program, or another mc-proxy, listens there; stop it or choose another port"},
    {EACCES, ERR_SYSTEM,
     "permission denied: a port below net.ipv4.ip_unprivileged_port_start (1024) needs root or CAP_NET_BIND_SERVICE"},
    {EADDRNOTAVAIL, ERR_NOT_FOUND, "this host has no such address; add it to an interface or listen on another"},
    {EAFNOSUPPORT, ERR_NOT_FOUND, "this host has no IPv6; use an IPv4 address"},
    {EMFILE, ERR_NO_SPACE, "no file descriptor left; raise the limit (LimitNOFILE)"},
    {ENFILE, ERR_NO_SPACE, "no file descriptor left on this host (fs.file-max)"},
    {ENOBUFS, ERR_NO_SPACE, "the kernel is short of memory"},
    {ENOMEM, ERR_NO_SPACE, "the kernel is short of memory"},
};

static int listen_fail(int error_number, struct strbuf *why)
{
    for (size_t i = 0; i < sizeof errno_rows / sizeof errno_rows[0]; i++) {
        if (errno_rows[i].error_number == error_number) {
            strbuf_add(why, errno_rows[i].text);
            return errno_rows[i].code;
        }
    }
    strbuf_add(why, strerror(error_number));
    return ERR_SYSTEM;
}

/* The socket address to bind; for a dual-stack address that of `family`. */
static socklen_t listen_sockaddr(const struct listen_addr *addr, int family, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof *out);
    out->ss_family = (sa_family_t)family;
    if (family == AF_INET) {
        v4->sin_port = htons(addr->port);
        if (!addr->is_dual_stack)
            memcpy(&v4->sin_addr, addr->addr.bytes, sizeof v4->sin_addr);
        return sizeof *v4;
    }
    v6->sin6_port = htons(addr->port);
    if (!addr->is_dual_stack)
        memcpy(&v6->sin6_addr, addr->addr.bytes, sizeof v6->sin6_addr);
    return sizeof *v6;
}

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value);
}

/* A bound socket, or -1 with errno. */
static int bind_socket(const struct listen_addr *addr, bool reuse_port)
{
    int family = addr->addr.family == 4 ? AF_INET : AF_INET6;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0 && errno == EAFNOSUPPORT && addr->is_dual_stack) {
        family = AF_INET;
        fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    }
    if (fd < 0)
        return -1;

    struct sockaddr_storage ss;
    socklen_t len = listen_sockaddr(addr, family, &ss);
    if (set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) == 0 &&
        (!reuse_port || set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) == 0) &&
        (family == AF_INET || set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, !addr->is_dual_stack) == 0) &&
        bind(fd, (struct sockaddr *)&ss, len) == 0)
        return fd;

    int error_number = errno;
    close(fd);
    errno = error_number;
    return -1;
}

static int set_inherited_options(int fd)
{
    for (size_t i = 0; i < sizeof inherited_options / sizeof inherited_options[0]; i++) {
        const struct socket_option *o = &inherited_options[i];
        if (set_int(fd, o->level, o->name, o->value) != 0)
            return -1;
    }
    return 0;
}

int listen_sockets_probe(const struct listen_addr *addr, unsigned wait_ms, struct strbuf *why)
{
    const struct timespec pause = {.tv_nsec = PROBE_PAUSE_NS};
    uint64_t deadline = clock_monotonic_ms() + wait_ms;
    int fd;

    while ((fd = bind_socket(addr, false)) < 0 && errno == EADDRINUSE && clock_monotonic_ms() < deadline)
        nanosleep(&pause, NULL);
    if (fd < 0)
        return listen_fail(errno, why);
    close(fd);
    return 0;
}

/* The backlog is cut by the kernel to net.core.somaxconn, so the operator's value counts. */
static int open_one(const struct listen_addr *addr)
{
    int fd = bind_socket(addr, true);

    if (fd < 0 || (set_inherited_options(fd) == 0 && listen(fd, INT_MAX) == 0))
        return fd;

    int error_number = errno;
    close(fd);
    errno = error_number;
    return -1;
}

static void log_if_without_ipv6(const struct listen_addr *addr, int fd)
{
    int domain = AF_INET6;
    socklen_t len = sizeof domain;

    if (!addr->is_dual_stack || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0 || domain != AF_INET)
        return;
    struct log_event e;
    log_event_begin(&e, LOG_WARN, "this host has no IPv6, listening on IPv4 only");
    char text[16];
    struct strbuf port = STRBUF_OF(text);
    strbuf_addf(&port, ":%u", addr->port);
    log_event_cstr(&e, LOG_KEY_LISTENER, text);
    log_event_end(&e);
}

int listen_sockets_open(const struct listen_addr *addr, unsigned count, int *fds_out, struct strbuf *why)
{
    for (unsigned i = 0; i < count; i++) {
        fds_out[i] = open_one(addr);
        if (fds_out[i] < 0) {
            int rc = listen_fail(errno, why);
            listen_sockets_close(fds_out, i);
            return rc;
        }
    }
    if (count > 0)
        log_if_without_ipv6(addr, fds_out[0]);
    return 0;
}

static bool is_listening_tcp(int fd)
{
    int listening = 0, protocol = 0;
    socklen_t len = sizeof listening;

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0 || listening == 0)
        return false;
    len = sizeof protocol;
    return getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 && protocol == IPPROTO_TCP;
}

static int get_int(int fd, int level, int name)
{
    int value = 0;
    socklen_t len = sizeof value;

    return getsockopt(fd, level, name, &value, &len) == 0 ? value : -1;
}

int listen_sockets_describe(int fd, struct listen_addr *addr_out, bool *has_reuse_port_out)
{
    static const uint8_t any[16];
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof ss;

    if (!is_listening_tcp(fd) || getsockname(fd, (struct sockaddr *)&ss, &len) != 0)
        return ERR_INVALID;
    struct ip_endpoint end = ip_endpoint_of_sockaddr(&ss);
    if (end.addr.family == 0)
        return ERR_INVALID;
    *addr_out = (struct listen_addr){.addr = end.addr, .port = end.port};
    if (end.addr.family == 6 && memcmp(end.addr.bytes, any, sizeof any) == 0 &&
        get_int(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 0)
        *addr_out = (struct listen_addr){.is_dual_stack = true, .port = end.port};
    *has_reuse_port_out = get_int(fd, SOL_SOCKET, SO_REUSEPORT) == 1;
    return 0;
}

/* A duplicate of a socket that we did not open, made as ours are. -1 with errno. */
static int adopt_one(int inherited_fd)
{
    int flags = fcntl(inherited_fd, F_GETFL);

    /* A predecessor that was about to end may have left listen_sockets_refuse_new() in force. ENOENT: it has not. */
    if (set_int(inherited_fd, SOL_SOCKET, SO_DETACH_FILTER, 0) != 0 && errno != ENOENT)
        return -1;
    if (flags < 0 || fcntl(inherited_fd, F_SETFL, flags | O_NONBLOCK) != 0 || set_inherited_options(inherited_fd) != 0)
        return -1;
    return fcntl(inherited_fd, F_DUPFD_CLOEXEC, 3);
}

int listen_sockets_adopt(const int *inherited_fds, unsigned count, int *fds_out, struct strbuf *why)
{
    for (unsigned i = 0; i < count; i++) {
        fds_out[i] = adopt_one(inherited_fds[i]);
        if (fds_out[i] < 0) {
            int rc = listen_fail(errno, why);
            listen_sockets_close(fds_out, i);
            return rc;
        }
    }
    if (count == 0 || listen_sockets_balance(fds_out[0], 0) == 0)
        return 0;
    int rc = listen_fail(errno, why);
    listen_sockets_close(fds_out, count);
    return rc;
}

int listen_sockets_share(int inherited_fd, unsigned count, int *fds_out, struct strbuf *why)
{
    if (!is_listening_tcp(inherited_fd)) {
        strbuf_add(why, "the descriptor passed in is no listening TCP socket");
        return ERR_INVALID;
    }
    for (unsigned i = 0; i < count; i++) {
        fds_out[i] = adopt_one(inherited_fd);
        if (fds_out[i] < 0) {
            int rc = listen_fail(errno, why);
            listen_sockets_close(fds_out, i);
            return rc;
        }
    }
    return 0;
}

static int attach_program(int fd, int option, struct sock_filter *code, size_t size)
{
    struct sock_fprog program;

    memset(&program, 0, sizeof program); /* padding too: the kernel copies it all */
    program.len = (unsigned short)(size / sizeof *code);
    program.filter = code;
    return setsockopt(fd, SOL_SOCKET, option, &program, sizeof program) == 0 ? 0 : ERR_SYSTEM;
}

/*
 * Linux has no call to take one socket out of an SO_REUSEPORT group, and a closed one takes its queue with it. A classic BPF program
 * of the group may choose by index, though: random mod count. A handshake stays with the socket that got its SYN, so a fresh draw per
 * packet does no harm.
 */
int listen_sockets_balance(int fd, unsigned count)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, count),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };

    if (count > 0)
        return attach_program(fd, SO_ATTACH_REUSEPORT_CBPF, code, sizeof code);
    /* ENOENT: no program was attached. */
    return set_int(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0) == 0 || errno == ENOENT ? 0 : ERR_SYSTEM;
}

/*
 * A socket's filter sees a packet from its TCP header on (tcp_v4_rcv(), tcp_v6_rcv()), also one for a handshake that is under way.
 * The 14th byte holds the flags; a SYN without ACK begins a handshake.
 */
int listen_sockets_refuse_new(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TH_SYN | TH_ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TH_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };

    return attach_program(fd, SO_ATTACH_FILTER, code, sizeof code);
}

int listen_sockets_spare(int fd, unsigned count, struct strbuf *why)
{
    int *spare = calloc(count + 1, sizeof *spare); /* one more: calloc(0) may be NULL */
    int rc = 0;

    if (spare == NULL)
        return listen_fail(ENOMEM, why);
    for (unsigned i = 0; i < count && rc == 0; i++) {
        spare[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (spare[i] < 0) {
            rc = listen_fail(errno, why);
            count = i;
        }
    }
    listen_sockets_close(spare, count);
    free(spare);
    return rc;
}

void listen_sockets_close(int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

/* A dual-stack address takes everything on its port; a wildcard all of its family. */
static bool covers_family(const struct listen_addr *a, uint8_t family)
{
    static const uint8_t any[16];
    return a->is_dual_stack || (a->addr.family == family && memcmp(a->addr.bytes, any, sizeof any) == 0);
}

bool listen_addr_overlaps(const struct listen_addr *a, const struct listen_addr *b)
{
    if (a->port != b->port)
        return false;
    if (a->is_dual_stack || b->is_dual_stack)
        return true;
    return a->addr.family == b->addr.family && (covers_family(a, b->addr.family) || covers_family(b, a->addr.family) ||
                                                memcmp(a->addr.bytes, b->addr.bytes, sizeof a->addr.bytes) == 0);
}
