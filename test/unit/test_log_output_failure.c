/* The log output when writing fails: a reader that left, a disk that is full. Counts stay exact and lines whole. */

#include "log_output.h"

#include <ev.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "log_account.h"

/** A log output and who reads it. */
struct pipe_of_lines {
    char path[32]; /* of a FIFO; "": a file without a name */
    int writer, reader;
    struct log_output *output;
};

static struct pipe_of_lines open_fifo(void)
{
    struct pipe_of_lines p = {.path = "/tmp/mc-proxy-fifo-XXXXXX"};

    close(mkstemp(p.path));
    unlink(p.path);
    assert_int_equal(mkfifo(p.path, 0600), 0);
    p.reader = open(p.path, O_RDONLY | O_NONBLOCK);
    p.writer = open(p.path, O_WRONLY);
    p.output = log_output_new(p.writer);
    assert_non_null(p.output);
    return p;
}

static struct pipe_of_lines open_file(void)
{
    char path[] = "/tmp/mc-proxy-log-XXXXXX";
    struct pipe_of_lines p = {.writer = mkstemp(path), .reader = open(path, O_RDONLY)};

    unlink(path);
    p.output = log_output_new(p.writer);
    assert_non_null(p.output);
    return p;
}

static void close_lines(struct pipe_of_lines *p)
{
    log_output_free(&p->output);
    close(p->reader);
    close(p->writer);
    if (p->path[0] != '\0')
        unlink(p->path);
}

/** A FIFO's reader goes away in the middle of a line and another one comes: it learns how many lines it missed. */
static void test_new_reader_of_a_fifo_learns_what_it_missed(void **state)
{
    (void)state;
    static struct account account;
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    unsigned n = 0;

    assert_non_null(loop);
    struct pipe_of_lines p = open_fifo();
    struct log_output *o = p.output;
    log_output_start(o, loop);

    while (n < 5)
        log_numbered(o, n++);
    ev_run(loop, EVRUN_NOWAIT);
    account_read(&account, p.reader, 1 << 20);
    assert_int_equal(account.lines, 5);
    close(p.reader);
    uint64_t closed_ms = clock_monotonic_ms();
    while (n < 5000) {
        log_numbered(o, n++);
        if (n % 500 == 0)
            ev_run(loop, EVRUN_NOWAIT);
    }
    uint64_t dropped = log_output_dropped(o);
    if (clock_monotonic_ms() - closed_ms < 1000)
        assert_int_equal(dropped, 495); /* the first try failed; the rest waits for the second */
    else
        assert_true(dropped >= 495); /* which has come: this process had to wait for a processor */

    p.reader = open(p.path, O_RDONLY | O_NONBLOCK);
    uint64_t until_ms = clock_monotonic_ms() + 30000;
    while (account.next < n && clock_monotonic_ms() < until_ms) {
        ev_run(loop, EVRUN_ONCE);
        account_read(&account, p.reader, 1 << 20);
    }
    assert_int_equal(account.next, n);
    assert_true(account.dropped >= dropped);
    assert_int_equal(account.dropped, log_output_dropped(o));
    assert_int_equal(account.notices, 1);

    close_lines(&p);
    ev_loop_destroy(loop);
}

/** A disk that is full in the middle of a line: when there is space again, the line is completed first, then comes the notice. */
static void test_full_disk_leaves_no_half_line(void **state)
{
    (void)state;
    struct pipe_of_lines p = open_file();
    struct log_output *o = p.output;
    static struct account account;
    struct rlimit limit;
    unsigned n = 0;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    struct rlimit small = {.rlim_cur = 5003, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    while (n < 1000)
        log_numbered(o, n++);
    assert_false(log_output_flush(o, 0));
    account_read(&account, p.reader, 1 << 20);
    assert_true(account.partial_len > 0); /* or this is no test */
    assert_int_equal(log_output_dropped(o), 1000 - account.lines - 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_true(log_output_flush(o, 0));
    log_numbered(o, n++);
    account_read(&account, p.reader, 1 << 20);
    assert_int_equal(account.next, n);
    assert_int_equal(account.notices, 1);
    assert_int_equal(account.dropped, log_output_dropped(o));
    close_lines(&p);
}

/** A disk that gets room a few bytes at a time: writing fails within every line, the notices too, and no count is lost or doubled. */
static void test_disk_with_a_little_room_at_a_time(void **state)
{
    (void)state;
    struct pipe_of_lines p = open_file();
    struct log_output *o = p.output;
    static struct account account;
    struct rlimit limit;
    unsigned n = 0;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    for (struct rlimit small = limit; n < 6000; small.rlim_cur = n * 7ull) {
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        for (int k = 0; k < 3; k++)
            log_numbered(o, n++);
        (void)log_output_flush(o, 0);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_true(log_output_flush(o, 0));
    account_read(&account, p.reader, 1 << 20);
    assert_true(account.notices > 50);
    assert_int_equal(account.next, n);
    assert_int_equal(account.dropped, log_output_dropped(o));
    close_lines(&p);
}

/** The reader goes away while a notice is in the buffer and more lines were dropped since: both counts come in the next one. */
static void test_counts_add_up_over_two_gaps_and_a_closed_reader(void **state)
{
    (void)state;
    static struct account account;
    unsigned n = 0;

    struct pipe_of_lines p = open_fifo();
    struct log_output *o = p.output;
    for (int gap = 0; gap < 3;
         gap++) { /* each time some 100 KiB are read: a notice and new lines find room behind the old ones */
        for (int k = 0; k < 30000; k++)
            log_numbered(o, n++);
        for (int k = 0; k < 25; k++) {
            account_read(&account, p.reader, 4096);
            assert_false(log_output_flush(o, 0));
        }
    }
    assert_int_equal(account.notices, 0);
    close(p.reader);
    assert_false(log_output_flush(o, 0));
    p.reader = open(p.path, O_RDONLY | O_NONBLOCK);
    for (bool is_all = false; !is_all || account.next < n;) {
        is_all = log_output_flush(o, 0);
        account_read(&account, p.reader, 1 << 20);
    }
    assert_int_equal(account.lines + account.dropped, n);
    assert_int_equal(account.dropped, log_output_dropped(o));
    close_lines(&p);
}

/** The notice itself is lost with the reader, again and again: its count must come back in the next one. */
static void test_lost_notice_is_made_good(void **state)
{
    (void)state;
    static struct account account;

    struct pipe_of_lines p = open_fifo();
    struct log_output *o = p.output;
    close(p.reader);
    for (unsigned n = 0; n < 10; n++) {
        log_numbered(o, n);
        assert_false(log_output_flush(o, 0)); /* tries the notice of the lines before, and fails */
        assert_int_equal(log_output_dropped(o), n + 1);
    }
    p.reader = open(p.path, O_RDONLY | O_NONBLOCK);
    assert_true(log_output_flush(o, 0));
    log_output_stop(o);
    account_read(&account, p.reader, 1 << 20);
    assert_int_equal(account.notices, 1);
    assert_int_equal(account.dropped, 10);
    close_lines(&p);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_new_reader_of_a_fifo_learns_what_it_missed),
        TEST(test_full_disk_leaves_no_half_line),
        TEST(test_disk_with_a_little_room_at_a_time),
        TEST(test_counts_add_up_over_two_gaps_and_a_closed_reader),
        TEST(test_lost_notice_is_made_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
