/* sd_notify(3)'s protocol: one datagram of lines to the socket in $NOTIFY_SOCKET, with descriptors if there are some. */

#include "notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "log_event.h"

#define STATE_MAX 4096 /* a state of ours is much shorter */

_Static_assert(sizeof((struct notify *)0)->socket == sizeof((struct sockaddr_un *)0)->sun_path, "a whole sun_path");

/* ---- the environment ---- */

/** 1..UINT64_MAX; 0 for anything else. */
static uint64_t parse_number(const char *text)
{
    char *end;

    if (text == NULL || text[0] < '0' || text[0] > '9')
        return 0;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' ? value : 0;
}

/** A watchdog that was set for another process, the shell that started us for instance, is none of ours. */
static uint64_t watchdog_of_environment(void)
{
    const char *pid = getenv("WATCHDOG_PID");

    if (pid != NULL && parse_number(pid) != (uint64_t)getpid())
        return 0;
    return parse_number(getenv("WATCHDOG_USEC"));
}

static const char *fault_of_socket(const char *path)
{
    if (path[0] != '/' && path[0] != '@')
        return "it must begin with / or @";
    if (path[1] == '\0')
        return "it names no socket";
    /* unix(7): a path has its NUL, an abstract name has none but begins with one. */
    if (strlen(path) >= sizeof((struct notify *)0)->socket)
        return "it is longer than 107 bytes";
    return NULL;
}

void notify_init(struct notify *notify)
{
    const char *path = getenv("NOTIFY_SOCKET");
    const char *fault = path != NULL && path[0] != '\0' ? fault_of_socket(path) : NULL;

    *notify = (struct notify){0};
    if (path == NULL || path[0] == '\0')
        return;
    if (fault != NULL) {
        struct log_event e;
        log_event_begin(&e, LOG_WARN, "$NOTIFY_SOCKET cannot be used: the service manager will not hear of us");
        log_event_cstr(&e, LOG_KEY_PATH, path);
        log_event_cstr(&e, LOG_KEY_ERROR, fault);
        log_event_end(&e);
        return;
    }
    memcpy(notify->socket, path, strlen(path) + 1);
    notify->watchdog_us = watchdog_of_environment();
}

bool notify_is_wanted(const struct notify *notify)
{
    return notify->socket[0] != '\0';
}

/* ---- sending ---- */

static socklen_t socket_address(const struct notify *notify, struct sockaddr_un *out)
{
    size_t len = strlen(notify->socket);

    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(out->sun_path, notify->socket, len);
    if (notify->socket[0] != '@')
        return (socklen_t)sizeof *out;
    out->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static ssize_t send_datagram(const struct notify *notify, const char *state, const int *fds, unsigned count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(NOTIFY_FDS_MAX * sizeof(int))];
    } control = {0};
    struct sockaddr_un address;
    union {
        const char *text;
        void *any;
    } base = {.text = state}; /* sendmsg(2) only reads */
    struct iovec iov = {.iov_base = base.any, .iov_len = strlen(state)};
    struct msghdr msg = {
        .msg_name = &address, .msg_namelen = socket_address(notify, &address), .msg_iov = &iov, .msg_iovlen = 1};

    if (count > 0) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    ssize_t n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    int error_number = errno;
    close(fd);
    errno = error_number;
    return n;
}

bool notify_send_fds(struct notify *notify, const char *state, const int *fds, unsigned count)
{
    CHECK(count <= NOTIFY_FDS_MAX);
    if (!notify_is_wanted(notify))
        return true;
    if (send_datagram(notify, state, fds, count) >= 0)
        return true;
    if (notify->lost++ == 0)
        log_errno(LOG_WARN, "a message to the service manager is lost; further ones are only counted", errno,
                  LOG_KEY_PATH, notify->socket);
    return false;
}

bool notify_send(struct notify *notify, const char *state)
{
    return notify_send_fds(notify, state, NULL, 0);
}

bool notify_sendf(struct notify *notify, const char *format, ...)
{
    char text[STATE_MAX];
    struct strbuf state = STRBUF_OF(text);
    va_list args;

    va_start(args, format);
    strbuf_addv(&state, format, args);
    va_end(args);
    return notify_send(notify, text);
}

bool notify_reloading(struct notify *notify)
{
    return notify_sendf(notify, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)(clock_monotonic_ns() / 1000));
}

void notify_add_text(struct strbuf *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++)
        strbuf_add_char(out, *c >= ' ' && *c <= '~' ? *c : '?');
}
