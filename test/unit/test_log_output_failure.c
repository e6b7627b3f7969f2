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

/** A FIFO's reader goes away in the middle of a line and another one comes: it learns how many lines it missed. */
static void test_new_reader_of_a_fifo_learns_what_it_missed(void **state)
{
    (void)state;
    char path[] = "/tmp/mc-proxy-fifo-XXXXXX";
    static struct account account;
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    unsigned n = 0;

    assert_non_null(loop);
    close(mkstemp(path));
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    int ours = open(path, O_WRONLY);
    struct log_output *o = log_output_new(ours);
    assert_non_null(o);
    log_output_start(o, loop);

    while (n < 5)
        log_numbered(o, n++);
    ev_run(loop, EVRUN_NOWAIT);
    account_read(&account, reader, 1 << 20);
    assert_int_equal(account.lines, 5);
    close(reader);
    while (n < 5000) {
        log_numbered(o, n++);
        if (n % 500 == 0)
            ev_run(loop, EVRUN_NOWAIT);
    }
    assert_int_equal(log_output_dropped(o), 495); /* the first try failed; the rest waits for the second */

    reader = open(path, O_RDONLY | O_NONBLOCK);
    uint64_t until_ms = clock_monotonic_ms() + 5000;
    while (account.next < n && clock_monotonic_ms() < until_ms) {
        ev_run(loop, EVRUN_ONCE);
        account_read(&account, reader, 1 << 20);
    }
    assert_int_equal(account.next, n);
    assert_int_equal(account.dropped, 495);
    assert_int_equal(account.notices, 1);

    close(reader);
    close(ours);
    log_output_free(&o);
    ev_loop_destroy(loop);
    unlink(path);
}

/** A disk that is full in the middle of a line: when there is space again, the line is completed first, then comes the notice. */
static void test_full_disk_leaves_no_half_line(void **state)
{
    (void)state;
    char path[] = "/tmp/mc-proxy-log-XXXXXX";
    static struct account account;
    struct rlimit limit;
    int file = mkstemp(path);
    int reader = open(path, O_RDONLY);
    struct log_output *o = log_output_new(file);
    unsigned n = 0;

    unlink(path);
    assert_non_null(o);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    struct rlimit small = {.rlim_cur = 5003, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    while (n < 1000)
        log_numbered(o, n++);
    assert_false(log_output_flush(o, 0));
    account_read(&account, reader, 1 << 20);
    assert_true(account.partial_len > 0); /* or this is no test */
    assert_int_equal(log_output_dropped(o), 1000 - account.lines - 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_true(log_output_flush(o, 0));
    log_numbered(o, n++);
    account_read(&account, reader, 1 << 20);
    assert_int_equal(account.next, n);
    assert_int_equal(account.notices, 1);
    assert_int_equal(account.dropped, log_output_dropped(o));
    log_output_free(&o);
    close(file);
    close(reader);
}

/** A disk that gets room a few bytes at a time: writing fails within every line, the notices too, and no count is lost or doubled. */
static void test_disk_with_a_little_room_at_a_time(void **state)
{
    (void)state;
    char path[] = "/tmp/mc-proxy-log-XXXXXX";
    static struct account account;
    struct rlimit limit;
    int file = mkstemp(path);
    int reader = open(path, O_RDONLY);
    struct log_output *o = log_output_new(file);
    unsigned n = 0;

    unlink(path);
    assert_non_null(o);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    for (struct rlimit small = limit; n < 6000; small.rlim_cur = n * 7ull) {
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        for (int k = 0; k < 3; k++)
            log_numbered(o, n++);
        (void)log_output_flush(o, 0);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_true(log_output_flush(o, 0));
    account_read(&account, reader, 1 << 20);
    assert_true(account.notices > 50);
    assert_int_equal(account.next, n);
    assert_int_equal(account.dropped, log_output_dropped(o));
    log_output_free(&o);
    close(file);
    close(reader);
}

/** The reader goes away while a notice is in the buffer and more lines were dropped since: both counts come in the next one. */
static void test_counts_add_up_over_two_gaps_and_a_closed_reader(void **state)
{
    (void)state;
    static struct account account;
    char path[] = "/tmp/mc-proxy-fifo-XXXXXX";
    unsigned n = 0;

    close(mkstemp(path));
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    int ours = open(path, O_WRONLY);
    struct log_output *o = log_output_new(ours);
    assert_non_null(o);
    for (int gap = 0; gap < 3;
         gap++) { /* each time some 100 KiB are read: a notice and new lines find room behind the old ones */
        for (int k = 0; k < 30000; k++)
            log_numbered(o, n++);
        for (int k = 0; k < 25; k++) {
            account_read(&account, reader, 4096);
            assert_false(log_output_flush(o, 0));
        }
    }
    assert_int_equal(account.notices, 0);
    close(reader);
    assert_false(log_output_flush(o, 0));
    reader = open(path, O_RDONLY | O_NONBLOCK);
    for (bool is_all = false; !is_all || account.next < n;) {
        is_all = log_output_flush(o, 0);
        account_read(&account, reader, 1 << 20);
    }
    assert_int_equal(account.lines + account.dropped, n);
    assert_int_equal(account.dropped, log_output_dropped(o));
    log_output_free(&o);
    close(reader);
    close(ours);
    unlink(path);
}

/** The notice itself is lost with the reader, again and again: its count must come back in the next one. */
static void test_lost_notice_is_made_good(void **state)
{
    (void)state;
    static struct account account;
    char path[] = "/tmp/mc-proxy-fifo-XXXXXX";

    close(mkstemp(path));
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    int ours = open(path, O_WRONLY);
    struct log_output *o = log_output_new(ours);
    assert_non_null(o);
    close(reader);
    for (unsigned n = 0; n < 10; n++) {
        log_numbered(o, n);
        assert_false(log_output_flush(o, 0)); /* tries the notice of the lines before, and fails */
        assert_int_equal(log_output_dropped(o), n + 1);
    }
    reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_true(log_output_flush(o, 0));
    log_output_stop(o);
    account_read(&account, reader, 1 << 20);
    assert_int_equal(account.notices, 1);
    assert_int_equal(account.dropped, 10);
    log_output_free(&o);
    close(reader);
    close(ours);
    unlink(path);
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
