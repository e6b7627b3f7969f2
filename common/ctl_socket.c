/* The control socket's two system calls: what both ends of it have in common, with every way a message can be wrong. */

#include "ctl_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "err.h"

/* Room for more descriptors than any message of ours has, so that a wrong one is seen, and closed, rather than cut off. */
#define CTL_PASSED_FDS_MAX 4

union ctl_control {
    struct cmsghdr align;
    uint8_t space[CMSG_SPACE(CTL_PASSED_FDS_MAX * sizeof(int))];
};

_Static_assert(sizeof(struct ctl_header) == 8, "the payload behind the header is aligned to 8");

static int ctl_send_error(int error_number)
{
    switch (error_number) {
    case EAGAIN: return ERR_UNAVAILABLE;
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN: return ERR_CLOSED;
    case EMSGSIZE: return ERR_TOO_LARGE;
    case ENOMEM:
    case ENOBUFS:
    case ETOOMANYREFS: return ERR_NO_MEMORY;
    default: return ERR_SYSTEM;
    }
}

/* struct iovec has no const, although sendmsg only reads. */
static struct iovec ctl_iovec(struct bytes b)
{
    union {
        const uint8_t *read_only;
        void *any;
    } base = {.read_only = b.ptr};

    return (struct iovec){.iov_base = base.any, .iov_len = b.len};
}

static void ctl_attach_fd(struct msghdr *msg, union ctl_control *control, int fd)
{
    msg->msg_control = control->space;
    msg->msg_controllen = CMSG_SPACE(sizeof fd);

    struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(cmsg), &fd, sizeof fd);
}

int ctl_send(int fd, uint16_t type, struct bytes payload, int passed_fd)
{
    if (payload.len > CTL_MSG_MAX - sizeof(struct ctl_header))
        return ERR_TOO_LARGE;

    struct ctl_header header = {.type = type, .len = (uint32_t)payload.len};
    struct iovec parts[2] = {{.iov_base = &header, .iov_len = sizeof header}, ctl_iovec(payload)};
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};
    union ctl_control control = {.space = {0}};
    ssize_t n;

    if (passed_fd >= 0)
        ctl_attach_fd(&msg, &control, passed_fd);
    do
        n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? ctl_send_error(errno) : 0;
}

static int ctl_recv_error(int error)
{
    switch (error) {
    case EAGAIN: return ERR_UNAVAILABLE;
    case ECONNRESET: return ERR_CLOSED;
    case ENOBUFS:
    case ENOMEM: return ERR_NO_MEMORY;
    default: return ERR_SYSTEM;
    }
}

/* Collects the descriptors that came along; returns how many. */
static unsigned ctl_take_fds(struct msghdr *msg, int fds[CTL_PASSED_FDS_MAX])
{
    unsigned count = 0;

    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL; cmsg = CMSG_NXTHDR(msg, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n && count < CTL_PASSED_FDS_MAX; i++)
            memcpy(&fds[count++], CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
    }
    return count;
}

/* What is wrong with a message that arrived: 0 if nothing. */
static int ctl_verdict(const struct msghdr *msg, const struct ctl_header *header, size_t len, unsigned fd_count)
{
    if ((msg->msg_flags & MSG_CTRUNC) != 0 && fd_count == 0)
        return ERR_NO_SPACE;
    if ((msg->msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0 || fd_count > 1)
        return ERR_PROTOCOL;
    if (len < sizeof *header || header->reserved != 0 || header->len != len - sizeof *header)
        return ERR_PROTOCOL;
    return 0;
}

int ctl_recv(int fd, uint8_t *buffer, size_t capacity, struct ctl_header *header_out, struct bytes *payload_out,
             int *passed_fd_out)
{
    struct iovec part = {.iov_base = buffer, .iov_len = capacity};
    union ctl_control control;
    struct msghdr msg = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    struct ctl_header header = {0};
    int fds[CTL_PASSED_FDS_MAX];
    ssize_t n;

    CHECK(capacity >= sizeof header && (uintptr_t)buffer % 8 == 0);
    do
        n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return ctl_recv_error(errno);
    if (n == 0)
        return ERR_CLOSED;

    unsigned fd_count = ctl_take_fds(&msg, fds);
    if ((size_t)n >= sizeof header)
        memcpy(&header, buffer, sizeof header);
    int rc = ctl_verdict(&msg, &header, (size_t)n, fd_count);
    if (rc != 0) {
        for (unsigned i = 0; i < fd_count; i++)
            close(fds[i]);
        return rc;
    }
    *header_out = header;
    *payload_out = bytes_of(buffer + sizeof header, header.len);
    *passed_fd_out = fd_count == 1 ? fds[0] : -1;
    return 0;
}
