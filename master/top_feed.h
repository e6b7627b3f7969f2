#ifndef TOP_FEED_H
#define TOP_FEED_H

#include <stdint.h>
#include <sys/types.h>

#include "check.h"

struct cli_command;
struct client_counts;
struct client_options;

/*
 * Connections as they end (WatchConnections), beside a command that does something else meanwhile: a child process follows the stream,
 * as our client waits for one call at a time, and hands it on through a pipe. When the stream ends, the child begins a new one. Behind
 * a reader who is too slow the pipe is full, then the stream, and the server counts what it leaves out.
 */
struct top_feed {
    pid_t pid;
    int fd; /* readable when there is something; -1: none */
    uint64_t lost;
};

/** @return 0, or ERR_SYSTEM with errno */
int top_feed_start(struct top_feed *feed, const struct cli_command *command,
                   const struct client_options *options) MUST_CHECK;

/** Take what is there, a bounded part of it. */
void top_feed_read(struct top_feed *feed, struct client_counts *counts);

/** Also of one that was not started (fd -1). */
void top_feed_stop(struct top_feed *feed);

#endif
