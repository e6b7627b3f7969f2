#ifndef TERMINAL_H
#define TERMINAL_H

#include <stdint.h>

/*
 * Keys without Enter and without echo on the terminal behind standard input, for as long as a command shows something that is renewed;
 * the ways in which such a command ends (SIGINT, SIGTERM, SIGHUP); and a terminal that changes its size. One per process. A signal
 * that comes while nothing waits is seen by the next wait.
 */

enum terminal_event {
    TERMINAL_NOTHING, /* the time has come */
    TERMINAL_END,     /* a signal, or the key q */
    TERMINAL_RESIZED,
    TERMINAL_READABLE, /* the descriptor */
};

/** Take signals and keys. Without a terminal, or in the background, there are no keys. */
void terminal_begin(void);

/** The terminal as it was; signals stay taken, as the command ends next. Does nothing where there were no keys. */
void terminal_end(void);

/**
 * Wait until something happens, at the latest until a moment of the monotonic clock.
 *
 * @param fd        wait for this to be readable too; -1: none
 * @param until_ms  of clock_monotonic_ms(); one that is past: only look
 */
enum terminal_event terminal_wait(int fd, uint64_t until_ms);

#endif
