/* The two ways in which the yardstick moves bytes. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "yardstick.h"

#define AT_ONCE (256 * 1024) /* of a read, and the size of a pipe */

static uint8_t buffer[AT_ONCE];

/** The end of what `from` sends; false when that was the last of both. */
static bool pass_end_on(struct side *from)
{
    from->is_read_done = true;
    if (from->other->is_read_done)
        return false;
    shutdown(from->other->fd, SHUT_WR);
    return true;
}

static bool flush(struct side *s)
{
    ssize_t n = send(s->fd, s->rest + s->start, s->end - s->start, MSG_NOSIGNAL);

    if (n > 0)
        s->start += (size_t)n;
    if (s->start < s->end)
        return false;
    free(s->rest);
    s->rest = NULL;
    return true;
}

static void keep_rest(struct side *s, const uint8_t *at, size_t len)
{
    s->rest = malloc(len);
    if (s->rest == NULL)
        abort();
    memcpy(s->rest, at, len);
    s->start = 0;
    s->end = len;
}

bool yardstick_copy(struct side *from)
{
    struct side *to = from->other;

    while (!from->is_read_done && (to->rest == NULL || flush(to))) {
        ssize_t n = recv(from->fd, buffer, sizeof buffer, 0);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0)
            return n == 0 && pass_end_on(from);
        ssize_t sent = send(to->fd, buffer, (size_t)n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return false;
        if (sent < n)
            keep_rest(to, buffer + (sent > 0 ? sent : 0), (size_t)(n - (sent > 0 ? sent : 0)));
        if ((size_t)n < sizeof buffer && !from->is_ending) /* all that there was; more will be told */
            return true;
    }
    return true;
}

static bool empty_pipe(struct side *from)
{
    while (from->in_pipe > 0) {
        ssize_t n =
            splice(from->pipe[0], NULL, from->other->fd, NULL, from->in_pipe, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (n <= 0)
            return false;
        from->in_pipe -= (size_t)n;
    }
    return true;
}

bool yardstick_splice(struct side *from)
{
    if (from->pipe[0] < 0 && (pipe2(from->pipe, O_NONBLOCK) != 0 || fcntl(from->pipe[1], F_SETPIPE_SZ, AT_ONCE) < 0))
        return false;
    while (!from->is_read_done && empty_pipe(from)) {
        ssize_t n = splice(from->fd, NULL, from->pipe[1], NULL, AT_ONCE, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0)
            return n == 0 && pass_end_on(from);
        from->in_pipe = (size_t)n;
    }
    return true;
}
