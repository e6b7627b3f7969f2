/* The log ring: whole records in order or a counted drop; dead, damaged and hostile writers cost records, never the reader. */

#include "log_ring.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fork_child.h"

#define DATA_BYTES LOG_RING_DATA_BYTES_MIN

/* Places in the mapping that hostile tests aim at (the picture in log_ring.c). */
#define HEAD_AT 64
#define TAIL_AT 128
#define DATA_AT 4096

#define GUARD_BYTES 4096

struct rig {
    uint8_t *mapping;
    uint64_t bytes;
    struct log_ring_reader reader;
    struct log_ring *writer;
};

static struct rig rig_new(void)
{
    struct rig g = {.bytes = log_ring_segment_bytes(DATA_BYTES)};

    g.mapping = mmap(NULL, g.bytes + GUARD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(g.mapping, MAP_FAILED);
    assert_int_equal(mprotect(g.mapping + g.bytes, GUARD_BYTES, PROT_NONE), 0); /* one byte too far is a SIGSEGV */
    log_ring_reader_init(&g.reader, g.mapping, g.bytes);
    g.writer = log_ring_attach(g.mapping, g.bytes);
    assert_non_null(g.writer);
    return g;
}

static void rig_free(struct rig *g)
{
    munmap(g->mapping, g->bytes + GUARD_BYTES);
}

static uint64_t peek(const struct rig *g, size_t at)
{
    uint64_t value;
    memcpy(&value, g->mapping + at, sizeof value);
    return value;
}

static void poke(struct rig *g, size_t at, uint64_t value)
{
    memcpy(g->mapping + at, &value, sizeof value);
}

/* A small generator of our own, so that a failure can be run again. */
static uint64_t random_state;
static uint32_t random_next(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33);
}

/** Record number n: 12 to 2048 bytes that say which one it is, all the way to the end. */
static size_t make_record(uint64_t n, uint8_t *out)
{
    size_t len = 12 + (n * 2654435761u >> 7) % (LOG_RING_RECORD_MAX - 11);

    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(n + i);
    memcpy(out, &n, sizeof n);
    return len;
}

static uint64_t assert_whole_record(const uint8_t *got, size_t len)
{
    uint8_t expected[LOG_RING_RECORD_MAX];
    uint64_t n;

    assert_true(len >= 12);
    memcpy(&n, got, sizeof n);
    assert_int_equal(len, make_record(n, expected));
    assert_memory_equal(got, expected, len);
    return n;
}

static bool write_record(struct rig *g, uint64_t n)
{
    uint8_t record[LOG_RING_RECORD_MAX];
    size_t len = make_record(n, record);
    return log_ring_write(g->writer, bytes_of(record, len));
}

static void test_records_come_out_in_order(void **state)
{
    (void)state;
    struct rig g = rig_new();
    uint8_t out[LOG_RING_RECORD_MAX];
    uint64_t written = 0;
    uint64_t read = 0;

    random_state = 1;
    while (written < 20000) { /* some 300 times round the ring, with every distance between writer and reader */
        for (uint32_t k = random_next() % 60; k > 0 && write_record(&g, written); k--)
            written++;
        for (uint32_t k = random_next() % 60; k > 0 && read < written; k--) {
            size_t len = log_ring_read(&g.reader, out, sizeof out);
            assert_int_equal(assert_whole_record(out, len), read);
            read++;
        }
    }
    while (read < written) {
        assert_int_equal(assert_whole_record(out, log_ring_read(&g.reader, out, sizeof out)), read);
        read++;
    }
    assert_int_equal(log_ring_read(&g.reader, out, sizeof out), 0);
    rig_free(&g);
}

static void test_full_ring_drops_and_counts(void **state)
{
    (void)state;
    struct rig g = rig_new();
    uint8_t out[LOG_RING_RECORD_MAX];
    uint8_t record[28]; /* 32 bytes framed: divides the ring */
    uint64_t fits = 0;

    memset(record, 7, sizeof record);
    while (log_ring_write(g.writer, bytes_of(record, sizeof record)))
        fits++;
    assert_int_equal(fits, DATA_BYTES / 32); /* not one byte unused */
    for (int i = 0; i < 9; i++)
        assert_false(log_ring_write(g.writer, bytes_of(record, sizeof record)));
    assert_int_equal(log_ring_take_dropped(&g.reader), 10);
    assert_int_equal(log_ring_take_dropped(&g.reader), 0);

    assert_int_equal(log_ring_read(&g.reader, out, sizeof out), sizeof record);
    assert_true(log_ring_write(g.writer, bytes_of(record, sizeof record)));
    assert_false(log_ring_write(g.writer, bytes_of(record, sizeof record)));
    assert_int_equal(log_ring_take_dropped(&g.reader), 1);
    for (uint64_t i = 0; i < fits; i++)
        assert_int_equal(log_ring_read(&g.reader, out, sizeof out), sizeof record);
    assert_int_equal(log_ring_read(&g.reader, out, sizeof out), 0);
    rig_free(&g);
}

static void test_sizes_that_are_refused(void **state)
{
    (void)state;
    static uint8_t record[LOG_RING_RECORD_MAX + 1];
    static const struct {
        size_t len;
        bool is_taken;
    } cases[] = {{0, false}, {1, true}, {LOG_RING_RECORD_MAX, true}, {LOG_RING_RECORD_MAX + 1, false}};
    uint8_t out[LOG_RING_RECORD_MAX];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig g = rig_new();
        log_ring_sink(bytes_of(record, cases[i].len), g.writer);
        assert_int_equal(log_ring_read(&g.reader, out, sizeof out), cases[i].is_taken ? cases[i].len : 0);
        assert_int_equal(log_ring_take_dropped(&g.reader), cases[i].is_taken ? 0 : 1);
        rig_free(&g);
    }
}

static void test_attach_refuses_what_is_no_ring(void **state)
{
    (void)state;
    struct rig g = rig_new();

    assert_null(log_ring_attach(g.mapping, g.bytes - 1));
    assert_null(log_ring_attach(g.mapping, DATA_AT));
    assert_null(log_ring_attach(g.mapping, 0));
    poke(&g, 8, DATA_BYTES * 2);
    assert_null(log_ring_attach(g.mapping, g.bytes));
    poke(&g, 8, DATA_BYTES + 8);
    assert_null(log_ring_attach(g.mapping, g.bytes + 8));
    log_ring_recover(&g.reader);
    assert_non_null(log_ring_attach(g.mapping, g.bytes));
    poke(&g, 0, 0);
    assert_null(log_ring_attach(g.mapping, g.bytes));
    rig_free(&g);
}

static void test_successor_goes_on_where_the_dead_worker_stopped(void **state)
{
    (void)state;
    struct rig g = rig_new();
    uint8_t out[LOG_RING_RECORD_MAX];

    for (uint64_t n = 0; n < 40; n++) {
        assert_true(write_record(&g, n));
        if (n % 10 == 9) {
            g.writer = log_ring_attach(g.mapping, g.bytes);
            assert_non_null(g.writer);
        }
        if (n >= 20)
            assert_int_equal(assert_whole_record(out, log_ring_read(&g.reader, out, sizeof out)), n - 20);
    }
    rig_free(&g);
}

/** Positions as a worker that ran wild may leave them: its successor's records must come through after at most one loss. */
static void test_successor_of_a_wild_worker(void **state)
{
    (void)state;
    static const uint64_t wild[] = {0, 1, 8, 4095, DATA_BYTES, DATA_BYTES + 8, UINT64_MAX, UINT64_MAX - 7, 1ull << 63};
    static const size_t count = sizeof wild / sizeof wild[0];
    uint8_t out[LOG_RING_RECORD_MAX];

    for (size_t i = 0; i < count * count; i++) {
        struct rig g = rig_new();
        assert_true(write_record(&g, 1));
        poke(&g, HEAD_AT, wild[i / count]);
        poke(&g, TAIL_AT, wild[i % count]);
        for (int k = 0; k < 3; k++) {
            g.writer = log_ring_attach(g.mapping, g.bytes);
            assert_non_null(g.writer);
            while (log_ring_read(&g.reader, out, sizeof out) > 0)
                ;
        }
        for (int k = 0; k < 2; k++) {
            (void)write_record(&g, 2);
            while (log_ring_read(&g.reader, out, sizeof out) > 0)
                ;
        }
        log_ring_recover(&g.reader);
        (void)log_ring_take_dropped(&g.reader);
        g.writer = log_ring_attach(g.mapping, g.bytes);
        for (uint64_t n = 10; n < 13; n++) {
            assert_true(write_record(&g, n));
            assert_int_equal(assert_whole_record(out, log_ring_read(&g.reader, out, sizeof out)), n);
        }
        assert_int_equal(log_ring_take_dropped(&g.reader), 0);
        rig_free(&g);
    }
}

static void test_damage_empties_the_ring_and_counts_one(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        size_t at;
        uint64_t value;
    } cases[] = {
        {"head before tail", HEAD_AT, (uint64_t)-8},
        {"head far ahead", HEAD_AT, DATA_BYTES + 8},
        {"head between two records", HEAD_AT, 12},
        {"head inside the record", HEAD_AT, 8},
        {"length zero", DATA_AT, 0},
        {"length above the maximum", DATA_AT, LOG_RING_RECORD_MAX + 1},
        {"length beyond head", DATA_AT, 100},
        {"skip with nothing behind", DATA_AT, UINT32_MAX},
    };
    uint8_t out[LOG_RING_RECORD_MAX];
    uint8_t record[28] = {0};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig g = rig_new();
        assert_true(log_ring_write(g.writer, bytes_of(record, sizeof record)));
        poke(&g, cases[i].at, cases[i].value);
        for (int k = 0; k < 3; k++)
            assert_int_equal(log_ring_read(&g.reader, out, sizeof out), 0);
        if (log_ring_take_dropped(&g.reader) != 1)
            fail_msg("%s: not counted once", cases[i].what);
        rig_free(&g);
    }
}

static void test_skip_onto_a_skip_is_damage(void **state)
{
    (void)state;
    struct rig g = rig_new();
    uint8_t out[LOG_RING_RECORD_MAX];
    uint8_t record[2004] = {0}; /* 2008 framed: 32 of them leave 1280 bytes before the end */

    for (int i = 0; i < 32; i++) {
        assert_true(log_ring_write(g.writer, bytes_of(record, sizeof record)));
        assert_int_equal(log_ring_read(&g.reader, out, sizeof out), sizeof record);
    }
    assert_true(log_ring_write(g.writer, bytes_of(record, sizeof record)));
    assert_int_equal(peek(&g, HEAD_AT), DATA_BYTES + 2008);
    poke(&g, DATA_AT, UINT32_MAX);
    assert_int_equal(log_ring_read(&g.reader, out, sizeof out), 0);
    assert_int_equal(log_ring_take_dropped(&g.reader), 1);
    assert_true(log_ring_write(g.writer, bytes_of(record, sizeof record)));
    assert_int_equal(log_ring_read(&g.reader, out, sizeof out), sizeof record);
    rig_free(&g);
}

static void test_record_across_the_end_is_damage(void **state)
{
    (void)state;
    struct rig g = rig_new();
    uint8_t out[LOG_RING_RECORD_MAX];
    uint8_t record[2004] = {0};
    uint32_t len = 2000; /* 1280 bytes are left */

    for (int i = 0; i < 32; i++) {
        assert_true(log_ring_write(g.writer, bytes_of(record, sizeof record)));
        assert_int_equal(log_ring_read(&g.reader, out, sizeof out), sizeof record);
    }
    memcpy(g.mapping + DATA_AT + (size_t)32 * 2008, &len, sizeof len);
    poke(&g, HEAD_AT, 34ull * 2008);
    assert_int_equal(log_ring_read(&g.reader, out, sizeof out), 0);
    assert_int_equal(log_ring_take_dropped(&g.reader), 1);
    rig_free(&g);
}

static void test_random_bytes_never_upset_the_reader(void **state)
{
    (void)state;
    struct rig g = rig_new();
    uint8_t out[LOG_RING_RECORD_MAX];

    random_state = 2;
    for (size_t i = DATA_AT; i < g.bytes; i++)
        g.mapping[i] = (uint8_t)random_next();
    for (int round = 0; round < 100000; round++) {
        for (int k = 0; k < 8; k++) {
            size_t at = DATA_AT + random_next() % (DATA_BYTES / 4) * 4;
            uint32_t word = random_next() % 3 == 0 ? UINT32_MAX : random_next() % (LOG_RING_RECORD_MAX + 64);
            memcpy(g.mapping + at, &word, sizeof word);
        }
        for (size_t at = 0; at < 192; at += 8) { /* the whole head: magic, size, positions, counter */
            if (random_next() % 4 == 0)
                poke(&g, at, (uint64_t)random_next() << 32 | random_next());
        }
        if (round % 2 == 0) /* often close enough to the reader's own tail to be looked at */
            poke(&g, HEAD_AT, g.reader.tail + random_next() % (DATA_BYTES / 8 + 2) * (random_next() % 8 == 0 ? 3 : 8));
        for (int k = 0; k < 4; k++)
            assert_true(log_ring_read(&g.reader, out, sizeof out) <= LOG_RING_RECORD_MAX);
        (void)log_ring_take_dropped(&g.reader);
    }
    log_ring_recover(&g.reader);
    g.writer = log_ring_attach(g.mapping, g.bytes);
    assert_non_null(g.writer);
    assert_true(write_record(&g, 5));
    assert_int_equal(assert_whole_record(out, log_ring_read(&g.reader, out, sizeof out)), 5);
    rig_free(&g);
}

static void pause_us(long us)
{
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

/** A child that scribbles over the whole mapping while we read: lengths change between any two looks. */
static void test_scribbler_at_work(void **state)
{
    (void)state;
    struct rig g = rig_new();
    uint8_t out[LOG_RING_RECORD_MAX];
    pid_t child = fork_child();

    if (child == 0) {
        for (random_state = 3;;) {
            uint32_t at = random_next() % (DATA_BYTES / 4) * 4;
            uint32_t word = random_next() % 4 == 0 ? UINT32_MAX : random_next() % (2 * LOG_RING_RECORD_MAX);
            memcpy(g.mapping + DATA_AT + at, &word, sizeof word);
            poke(&g, HEAD_AT, peek(&g, HEAD_AT) + random_next() % 512 * 8ull);
        }
    }
    for (int round = 0; round < 400; round++) {
        for (int k = 0; k < 500; k++)
            assert_true(log_ring_read(&g.reader, out, sizeof out) <= LOG_RING_RECORD_MAX);
        pause_us(50);
    }
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    rig_free(&g);
}

/** What a producer in a process of its own wrote comes out whole and in order; what is missing is counted. */
static void test_producer_in_another_process(void **state)
{
    (void)state;
    enum { RECORDS = 60000 };
    struct rig g = rig_new();
    uint8_t out[LOG_RING_RECORD_MAX];
    uint64_t expected = 0;
    uint64_t got = 0;
    int status = -1;
    bool is_over = false;
    pid_t child = fork_child();

    if (child == 0) {
        for (uint64_t n = 0; n < RECORDS; n++) {
            (void)write_record(&g, n);
            if (n % 64 == 0)
                pause_us(1);
        }
        _exit(0);
    }
    for (;;) {
        size_t len = log_ring_read(&g.reader, out, sizeof out);
        if (len > 0) {
            uint64_t n = assert_whole_record(out, len);
            assert_true(n >= expected);
            expected = n + 1;
            got++;
        } else if (is_over) {
            break;
        } else {
            pause_us(100);
            is_over = waitpid(child, &status, WNOHANG) == child;
        }
    }
    assert_int_equal(status, 0);
    assert_int_equal(got + log_ring_take_dropped(&g.reader), RECORDS);
    rig_free(&g);
}

/** Producers killed at random moments, each followed by a successor on the same ring: never half a record, never one twice. */
static void test_producers_killed_at_random(void **state)
{
    (void)state;
    struct rig g = rig_new();
    uint8_t out[LOG_RING_RECORD_MAX];
    uint64_t expected = 0;

    random_state = 4;
    for (int life = 0; life < 150; life++) {
        pid_t child = fork_child();
        if (child == 0) {
            struct rig mine = g;
            mine.writer = log_ring_attach(g.mapping, g.bytes);
            for (uint64_t n = expected; mine.writer != NULL;) {
                if (write_record(&mine, n))
                    n++;
            }
            _exit(1);
        }
        for (uint64_t until = expected + random_next() % 60, waits = 0; expected < until || waits == 0;) {
            size_t len = log_ring_read(&g.reader, out, sizeof out);
            if (len > 0) {
                assert_int_equal(assert_whole_record(out, len), expected);
                expected++;
            } else {
                pause_us(random_next() % 200);
                waits++;
            }
        }
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        for (size_t len; (len = log_ring_read(&g.reader, out, sizeof out)) > 0; expected++)
            assert_int_equal(assert_whole_record(out, len), expected);
        assert_int_equal(g.reader.damaged, 0);
    }
    assert_true(expected > 1000);
    rig_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_come_out_in_order),
        cmocka_unit_test(test_full_ring_drops_and_counts),
        cmocka_unit_test(test_sizes_that_are_refused),
        cmocka_unit_test(test_attach_refuses_what_is_no_ring),
        cmocka_unit_test(test_successor_goes_on_where_the_dead_worker_stopped),
        cmocka_unit_test(test_successor_of_a_wild_worker),
        cmocka_unit_test(test_damage_empties_the_ring_and_counts_one),
        cmocka_unit_test(test_skip_onto_a_skip_is_damage),
        cmocka_unit_test(test_record_across_the_end_is_damage),
        cmocka_unit_test(test_random_bytes_never_upset_the_reader),
        cmocka_unit_test(test_scribbler_at_work),
        cmocka_unit_test(test_producer_in_another_process),
        cmocka_unit_test(test_producers_killed_at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
