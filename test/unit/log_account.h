#ifndef LOG_ACCOUNT_H
#define LOG_ACCOUNT_H

/* For the tests of the log output: numbered lines, and a reader who checks that every missing one is accounted for. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "log_output.h"

#define HANG_S 60 /* a write that blocks ends the test by SIGALRM */

static inline int setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    alarm(HANG_S);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    alarm(0);
    return 0;
}

static inline void log_numbered(struct log_output *o, unsigned n)
{
    char text[200];
    int len = snprintf(text, sizeof text, "n=%u %*s.", n, (int)(n % 97), "");

    log_output_line(o, bytes_of(text, (size_t)len));
}

struct account {
    char partial[LOG_LINE_MAX_BYTES];
    size_t partial_len;
    unsigned next;    /* number that comes next if none is missing */
    unsigned lines;   /* numbered lines seen */
    uint64_t dropped; /* by the notices */
    unsigned notices;
};

static inline void account_line(struct account *a, const char *line)
{
    const char *notice = strstr(line, " level=WARN msg=\"log lines were dropped\" dropped=");

    if (notice != NULL) {
        uint64_t count = strtoull(strrchr(notice, '=') + 1, NULL, 10);
        assert_true(count > 0);
        a->next += (unsigned)count;
        a->dropped += count;
        a->notices++;
        return;
    }
    assert_int_equal(strncmp(line, "n=", 2), 0);
    assert_int_equal(strtoul(line + 2, NULL, 10), a->next);
    assert_int_equal(line[strlen(line) - 1], '.');
    a->next++;
    a->lines++;
}

static inline void account_bytes(struct account *a, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != '\n') {
            assert_true(a->partial_len < sizeof a->partial - 1);
            a->partial[a->partial_len++] = bytes[i];
            continue;
        }
        a->partial[a->partial_len] = '\0';
        a->partial_len = 0;
        account_line(a, a->partial);
    }
}

/** Read what is there without waiting; false at the end of file. */
static inline bool account_read(struct account *a, int fd, size_t max)
{
    char bytes[65536];

    while (max > 0) {
        ssize_t n = read(fd, bytes, max < sizeof bytes ? max : sizeof bytes);
        if (n <= 0)
            return n < 0;
        account_bytes(a, bytes, (size_t)n);
        max -= (size_t)n;
    }
    return true;
}

#endif
