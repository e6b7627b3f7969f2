/* Words between a server and its successor. */

#include "upgrade_link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"
#include "err.h"
#include "strbuf.h"

static const char *const words[] = {
    [UPGRADE_GIVE_DATABASE] = "GIVE-DATABASE",
    [UPGRADE_DATABASE_GIVEN] = "DATABASE-GIVEN",
    [UPGRADE_READY] = "READY",
    [UPGRADE_TAKE_OVER] = "TAKE-OVER",
    [UPGRADE_FAILED] = "FAILED",
    [UPGRADE_CALLED_OFF] = "CALLED-OFF",
};
#define WORD_COUNT (sizeof words / sizeof words[0])

int upgrade_link_make(int ends_out[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends_out) == 0 ? 0 : ERR_SYSTEM;
}

bool upgrade_link_is_one(int fd)
{
    int domain = 0, type = 0;
    socklen_t len = sizeof domain;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0 || domain != AF_UNIX)
        return false;
    len = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET;
}

int upgrade_link_send(int fd, enum upgrade_word word, const char *text)
{
    char message[UPGRADE_TEXT_MAX];
    struct strbuf out = STRBUF_OF(message);

    CHECK((unsigned)word < WORD_COUNT);
    strbuf_add(&out, words[word]);
    if (text[0] != '\0')
        strbuf_addf(&out, " %s", text);
    if (send(fd, message, out.len, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        return 0;
    return errno == EPIPE || errno == ECONNRESET ? ERR_CLOSED : ERR_SYSTEM;
}

static enum upgrade_word word_of(const char *message, size_t len)
{
    for (size_t i = 0; i < WORD_COUNT; i++) {
        if (strlen(words[i]) == len && memcmp(words[i], message, len) == 0)
            return (enum upgrade_word)i;
    }
    return UPGRADE_UNKNOWN;
}

int upgrade_link_receive(int fd, struct upgrade_message *out)
{
    char message[UPGRADE_TEXT_MAX];
    ssize_t n;

    do
        n = recv(fd, message, sizeof message - 1, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n == 0 || (n < 0 && errno == ECONNRESET))
        return ERR_CLOSED;
    if (n < 0)
        return errno == EAGAIN ? ERR_UNAVAILABLE : ERR_SYSTEM;
    message[n] = '\0';
    size_t len = strcspn(message, " ");
    out->word = word_of(message, len);
    struct strbuf text = STRBUF_OF(out->text);
    strbuf_add(&text, message[len] == ' ' ? message + len + 1 : "");
    return 0;
}

int upgrade_link_wait(int fd, unsigned timeout_ms, struct upgrade_message *out)
{
    uint64_t deadline_ms = clock_monotonic_ms() + timeout_ms, now_ms;
    int rc;

    while ((rc = upgrade_link_receive(fd, out)) == ERR_UNAVAILABLE && (now_ms = clock_monotonic_ms()) < deadline_ms) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        if (poll(&pfd, 1, (int)(deadline_ms - now_ms)) < 0 && errno != EINTR)
            return ERR_SYSTEM;
    }
    return rc == ERR_UNAVAILABLE ? ERR_TIMEOUT : rc;
}
