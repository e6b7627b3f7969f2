/* Waiting for time, keys and signals at once: signals are blocked but for the wait itself, so that none is missed. */

#include "terminal.h"

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

static struct {
    struct termios before;
    bool has_keys;
    sigset_t outside; /* of the wait */
} terminal;

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};

static volatile sig_atomic_t has_ended, has_resized;

static void on_end(int number)
{
    (void)number;
    has_ended = 1;
}

static void on_resize(int number)
{
    (void)number;
    has_resized = 1;
}

void terminal_begin(void)
{
    const struct sigaction end = {.sa_handler = on_end}, resize = {.sa_handler = on_resize};
    sigset_t ours;

    sigemptyset(&ours);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        sigaddset(&ours, signals[i]);
        sigaction(signals[i], signals[i] == SIGWINCH ? &resize : &end, NULL);
    }
    sigprocmask(SIG_BLOCK, &ours, &terminal.outside);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigdelset(&terminal.outside, signals[i]); /* also one that was blocked when we were started */
    /* In the background, to change the terminal would stop us. */
    if (tcgetattr(STDIN_FILENO, &terminal.before) != 0 || tcgetpgrp(STDIN_FILENO) != getpgrp())
        return;
    struct termios keys = terminal.before;
    keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    keys.c_cc[VMIN] = 1;
    keys.c_cc[VTIME] = 0;
    terminal.has_keys = tcsetattr(STDIN_FILENO, TCSANOW, &keys) == 0;
}

void terminal_end(void)
{
    if (terminal.has_keys)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal.before); /* a terminal that is gone needs nothing */
    terminal.has_keys = false;
}

/** A key was pressed; true: the one that ends. */
static bool read_key(void)
{
    char key;
    ssize_t n = read(STDIN_FILENO, &key, 1);

    if (n <= 0)
        terminal.has_keys = false; /* it is gone; a signal comes, or the time */
    return n == 1 && (key == 'q' || key == 'Q' || key == 3);
}

enum terminal_event terminal_wait(int fd, uint64_t until_ms)
{
    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();
        uint64_t left_ms = until_ms > now_ms ? until_ms - now_ms : 0;
        struct timespec timeout = {.tv_sec = (time_t)(left_ms / 1000), .tv_nsec = (long)(left_ms % 1000) * 1000000};
        struct pollfd fds[] = {{.fd = terminal.has_keys ? STDIN_FILENO : -1, .events = POLLIN},
                               {.fd = fd, .events = POLLIN}};
        int count = ppoll(fds, 2, &timeout, &terminal.outside);

        if (has_ended != 0 || (count > 0 && fds[0].revents != 0 && read_key()))
            return TERMINAL_END;
        if (has_resized != 0) {
            has_resized = 0;
            return TERMINAL_RESIZED;
        }
        if (count > 0 && fds[1].revents != 0)
            return TERMINAL_READABLE;
        if (count == 0 || left_ms == 0)
            return TERMINAL_NOTHING;
    }
}
