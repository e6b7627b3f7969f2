#ifndef YARDSTICK_H
#define YARDSTICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** One of the two sockets of a connection. */
struct side {
    struct side *other;
    int fd;
    int pipe[2]; /* splicing: what was read from here and not yet taken by the other side; made at the first byte */
    size_t in_pipe;
    bool is_ending;    /* its peer has sent its end of stream: a short read does not mean that there is no more */
    bool is_read_done; /* its end of stream was passed on */
    bool is_gone;
    size_t start, end; /* copying: of rest */
    uint8_t *rest;     /* copying: what this side has not taken yet; NULL: nothing */
};

/**
 * Move what there is from one side to the other, until one of them has to be waited for.
 *
 * @return false when the connection is over
 */
typedef bool yardstick_pump_fn(struct side *from);

yardstick_pump_fn yardstick_copy;   /* through one buffer that all connections share */
yardstick_pump_fn yardstick_splice; /* through a pipe of 256 KiB of each side that sends */

#endif
