/* Asking the kernel for half-open connections: a dump of sock_diag(7), of the one state that is no socket of anybody yet. */

#include "handshakes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "err.h"

#define NEW_SYN_RECV  12 /* TCP_NEW_SYN_RECV of the kernel: what half-open connections are since Linux 4.4 */
#define RETRIES_YOUNG 1  /* SYN-ACKs are repeated after 1 s, 3 s, 7 s, ... */
#define ANSWER_BYTES  32768

struct look {
    const struct listen_addr *addrs;
    unsigned count;
    bool *is_pending;
};

static int send_question(int fd, uint8_t family)
{
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 request;
    } question = {
        .header = {.nlmsg_len = sizeof question,
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .request = {.sdiag_family = family,
                    .sdiag_protocol = IPPROTO_TCP,
                    .idiag_states = 1u << TCP_SYN_RECV | 1u << NEW_SYN_RECV},
    };
    ssize_t n;

    do
        n = send(fd, &question, sizeof question, 0);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof question ? 0 : ERR_SYSTEM;
}

/** The local end. An IPv4 client of a socket for both families is told as IPv4-mapped IPv6. */
static struct ip_endpoint local_end(const struct inet_diag_msg *msg)
{
    struct sockaddr_storage ss = {.ss_family = msg->idiag_family};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&ss;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ss;

    if (msg->idiag_family == AF_INET) {
        v4->sin_port = msg->id.idiag_sport;
        memcpy(&v4->sin_addr, msg->id.idiag_src, sizeof v4->sin_addr);
    } else {
        v6->sin6_port = msg->id.idiag_sport;
        memcpy(&v6->sin6_addr, msg->id.idiag_src, sizeof v6->sin6_addr);
    }
    return ip_endpoint_of_sockaddr(&ss);
}

static bool takes(const struct listen_addr *addr, const struct ip_endpoint *end)
{
    static const uint8_t any[sizeof addr->addr.bytes];

    if (addr->port != end->port)
        return false;
    if (addr->is_dual_stack)
        return true;
    return addr->addr.family == end->addr.family &&
           (memcmp(addr->addr.bytes, any, sizeof any) == 0 || ip_addr_equal(&addr->addr, &end->addr));
}

static void note(struct look *look, const struct inet_diag_msg *msg)
{
    struct ip_endpoint end = local_end(msg);

    if (msg->idiag_retrans > RETRIES_YOUNG)
        return;
    for (unsigned i = 0; i < look->count; i++)
        look->is_pending[i] |= takes(&look->addrs[i], &end);
}

/** One datagram of the answer. 1: there is more to come. 0: that was the last. ERR_SYSTEM. */
static int take_answer(struct look *look, void *data, size_t len)
{
    struct nlmsghdr *header = data; /* not const: the macros cast */

    for (; NLMSG_OK(header, len); header = NLMSG_NEXT(header, len)) {
        if (header->nlmsg_type == NLMSG_DONE)
            return 0;
        if (header->nlmsg_type == NLMSG_ERROR || header->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
            return ERR_SYSTEM;
        note(look, NLMSG_DATA(header));
    }
    return 1;
}

static int look_at(int fd, uint8_t family, struct look *look)
{
    _Alignas(struct nlmsghdr) uint8_t answer[ANSWER_BYTES];
    int rc = send_question(fd, family);

    if (rc != 0)
        return rc;
    do {
        ssize_t n = recv(fd, answer, sizeof answer, 0);
        if (n < 0 && errno == EINTR)
            rc = 1;
        else
            rc = n <= 0 ? ERR_SYSTEM : take_answer(look, answer, (size_t)n);
    } while (rc == 1);
    return rc;
}

int handshakes_look(const struct listen_addr *addrs, unsigned count, bool *is_pending_out)
{
    struct look look = {.addrs = addrs, .count = count, .is_pending = is_pending_out};
    int rc;

    memset(is_pending_out, 0, count * sizeof *is_pending_out);
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return ERR_SYSTEM;
    rc = look_at(fd, AF_INET, &look);
    if (rc == 0)
        rc = look_at(fd, AF_INET6, &look);
    close(fd);
    return rc;
}
