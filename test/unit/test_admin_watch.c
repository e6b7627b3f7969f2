/* WatchConnections: whoever watches gets every connection that fits and has ended, in order; who does not keep up loses some, is told
 * how many and where, and costs a bounded queue. */

#include "admin_fixture.h"

#include "access_record.h"
#include "random_numbers.h"

#define WATCH     SERVICE "WatchConnections"
#define QUEUE_MAX (256u << 10) /* bytes that a slow client is kept waiting for */

typedef McProxy__V1__WatchConnectionsRequest request;
typedef McProxy__V1__WatchConnectionsResponse response;

/* ---- those who watch ---- */

struct filter {
    char sni[24], client[24], reason[24], listener[24];
};

static struct grpc_call *watch_for(struct fixture *f, struct filter filter)
{
    request r;

    mc_proxy__v1__watch_connections_request__init(&r);
    r.sni_pattern = filter.sni;
    r.client_cidr = filter.client;
    r.reason = filter.reason;
    r.listener_addr = filter.listener;
    return fixture_ask(f, WATCH, &r.base);
}

static struct grpc_call *watch_all(struct fixture *f)
{
    return watch_for(f, (struct filter){0});
}

/** The client has read everything that waits for it. */
static void take_all(struct grpc_call *call)
{
    call->queued = 0;
}

/** What the i-th message says. Connections of the tests have numbers; 0: it only tells of losses. */
struct told {
    uint64_t conn, lost;
};

static struct told told(const struct grpc_call *call, unsigned i)
{
    response *r = fake_answer(call, i, &mc_proxy__v1__watch_connections_response__descriptor);
    struct told t = {.conn = r->connection != NULL ? r->connection->conn : 0, .lost = r->lost};

    assert_true(r->connection == NULL || r->connection->conn > 0);
    mc_proxy__v1__watch_connections_response__free_unpacked(r, NULL);
    return t;
}

/** The i-th message is of this connection (0: of none), behind so many that were lost; i is the last one. */
static void expect_last(const struct grpc_call *call, unsigned i, uint64_t conn, uint64_t lost)
{
    assert_int_equal(call->answer_count, i + 1);
    struct told t = told(call, i);
    assert_int_equal(t.conn, conn);
    assert_int_equal(t.lost, lost);
}

/* ---- connections that end ---- */

struct ended {
    const char *listener, *client, *sni, *reason;
};

static const struct ended usual = {":443", "192.0.2.1", "www.example.com", "finished"};

static void end_one(struct fixture *f, uint64_t conn, const struct ended *c)
{
    char why_text[128];
    struct strbuf why = STRBUF_OF(why_text);
    struct ip_endpoint client = {.port = 5000};
    struct log_event e;

    assert_int_equal(ip_addr_parse(bytes_of_str(c->client), &client.addr, &why), 0);
    log_event_begin_always(&e, LOG_INFO, ACCESS_RECORD_MESSAGE);
    log_event_u64(&e, LOG_KEY_CONN, conn);
    log_event_cstr(&e, LOG_KEY_LISTENER, c->listener);
    log_event_endpoint(&e, LOG_KEY_CLIENT, &client);
    log_event_cstr(&e, LOG_KEY_SNI, c->sni);
    log_event_cstr(&e, LOG_KEY_REASON, c->reason);
    admin_take_record(f->admin, log_event_record(&e));
}

static void test_ended_connections_come_to_all_who_watch(void **state)
{
    struct fixture *f = *state;
    struct log_event e;

    end_one(f, 1, &usual); /* nobody watches */
    struct grpc_call *first = watch_all(f);
    end_one(f, 2, &usual);
    struct grpc_call *second = watch_all(f);
    end_one(f, 3, &usual);
    log_event_begin_always(&e, LOG_INFO, "another record");
    log_event_u64(&e, LOG_KEY_CONN, 4);
    admin_take_record(f->admin, log_event_record(&e));
    admin_take_record(f->admin, bytes_of("no record at all", 16));
    admin_tick(f->admin);
    expect_last(first, 1, 3, 0);
    assert_int_equal(told(first, 0).conn, 2);
    expect_last(second, 0, 3, 0);
    fake_free(first);
    end_one(f, 5, &usual);
    expect_last(second, 1, 5, 0);
    fake_free(second);
    end_one(f, 6, &usual);
}

static void test_the_server_hears_whether_anybody_watches(void **state)
{
    struct fixture *f = *state;
    struct grpc_call *calls[3];

    assert_false(admin_is_watched(f->admin));
    for (unsigned i = 0; i < 3; i++)
        calls[i] = watch_all(f);
    assert_true(admin_is_watched(f->admin) && f->is_watched);
    assert_int_equal(f->watching_told, 1);
    for (unsigned i = 0; i < 3; i++) { /* from the middle of the list, its end and its beginning */
        assert_true(f->is_watched);
        fake_free(calls[(i + 1) % 3]);
    }
    assert_false(admin_is_watched(f->admin) || f->is_watched);
    assert_int_equal(f->watching_told, 2);
}

static void test_there_is_room_for_so_many(void **state)
{
    struct fixture *f = *state;
    struct grpc_call *calls[16];

    for (unsigned i = 0; i < 16; i++)
        calls[i] = watch_all(f);
    struct grpc_call *more = watch_all(f);
    expect_status(more, GRPC_RESOURCE_EXHAUSTED, "there are 16 watchers already");
    fake_free(more);
    fake_free(calls[7]);
    calls[7] = watch_all(f);
    end_one(f, 1, &usual);
    for (unsigned i = 0; i < 16; i++) {
        expect_last(calls[i], 0, 1, 0);
        fake_free(calls[i]);
    }
    assert_false(f->is_watched);
}

/* ---- which connections ---- */

static const struct ended ends[] = {
    {":443", "192.0.2.1", "www.example.com", "finished"},
    {"127.0.0.1:8443", "192.0.2.200", "a.b.example.com", "no_route"},
    {":443", "2001:db8::7", "", "no_route"},
};
#define ENDS (sizeof ends / sizeof ends[0])

static const struct {
    struct filter filter;
    const char *conns;
} filters[] = {
    {{"", "", "", ""}, "123"},
    {{"www.example.com", "", "", ""}, "1"},
    {{"*.example.com", "", "", ""}, "12"},
    {{"*", "", "", ""}, "123"},
    {{"", "192.0.2.200", "", ""}, "2"},
    {{"", "192.0.2.0/24", "", ""}, "12"},
    {{"", "2001:db8::/32", "", ""}, "3"},
    {{"", "", "no_route", ""}, "23"},
    {{"", "", "", ":443"}, "13"},
    {{"", "", "", "127.0.0.1:8443"}, "2"},
    {{"*.example.com", "192.0.2.0/24", "no_route", "127.0.0.1:8443"}, "2"},
    {{"*.example.com", "192.0.2.0/24", "no_route", ":443"}, ""},
};

static void test_only_what_fits_comes_and_only_that_is_lost(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        struct grpc_call *call = watch_for(f, filters[i].filter);
        struct grpc_call *slow = watch_for(f, filters[i].filter);
        size_t wanted = strlen(filters[i].conns);
        slow->queued = QUEUE_MAX;
        for (unsigned n = 0; n < ENDS; n++)
            end_one(f, n + 1, &ends[n]);
        assert_int_equal(call->answer_count, wanted);
        for (unsigned n = 0; n < wanted; n++)
            assert_int_equal(told(call, n).conn, filters[i].conns[n] - '0');
        assert_int_equal(slow->answer_count, 0);
        take_all(slow);
        admin_tick(f->admin);
        if (wanted > 0)
            expect_last(slow, 0, 0, wanted);
        assert_int_equal(slow->answer_count, wanted > 0);
        fake_free(call);
        fake_free(slow);
    }
}

static void test_what_is_no_filter_is_refused(void **state)
{
    static const struct {
        struct filter filter;
        enum grpc_status status;
        const char *why;
    } rows[] = {
        {{"a..b", "", "", ""}, GRPC_INVALID_ARGUMENT, "sni_pattern: "},
        {{"", "192.0.2.0/33", "", ""}, GRPC_INVALID_ARGUMENT, "client_cidr: "},
        {{"", "", "tired", ""}, GRPC_INVALID_ARGUMENT, "reason: "},
        {{"", "", "", "nowhere"}, GRPC_INVALID_ARGUMENT, "listener_addr: "},
        {{"", "", "", ":444"}, GRPC_NOT_FOUND, "listener_addr: "},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct grpc_call *call = watch_for(f, rows[i].filter);
        expect_status(call, rows[i].status, rows[i].why);
        fake_free(call);
    }
    assert_int_equal(f->watching_told, 0);
}

/* ---- who does not keep up ---- */

/** 253 bytes, so that a queue is full soon. */
static const char *long_name(void)
{
    static char name[HOSTNAME_MAX + 1];

    memset(name, 'n', sizeof name - 1);
    return name;
}

static void test_a_full_queue_loses_records_and_the_next_message_tells(void **state)
{
    struct fixture *f = *state;
    struct grpc_call *slow = watch_all(f);
    struct ended c = usual;
    uint64_t conn = 0;

    c.sni = long_name();
    while (slow->queued < QUEUE_MAX) {
        end_one(f, ++conn, &c);
        assert_int_equal(slow->answer_count, conn);
    }
    unsigned kept = slow->answer_count;
    assert_true(slow->queued < QUEUE_MAX + 1000); /* one message beyond it */
    for (unsigned i = 0; i < 100; i++) {
        end_one(f, ++conn, &c);
        admin_tick(f->admin);
    }
    assert_int_equal(slow->answer_count, kept);
    take_all(slow);
    end_one(f, ++conn, &c);
    expect_last(slow, kept, conn, 100);
    end_one(f, ++conn, &c);
    admin_tick(f->admin);
    expect_last(slow, kept + 1, conn, 0); /* told once */
    fake_free(slow);
}

static void test_one_who_is_slow_costs_the_others_nothing(void **state)
{
    struct fixture *f = *state;
    struct grpc_call *calls[3];

    for (unsigned i = 0; i < 3; i++)
        calls[i] = watch_all(f);
    calls[1]->queued = QUEUE_MAX; /* exactly full */
    calls[2]->queued = QUEUE_MAX - 1;
    end_one(f, 1, &usual);
    expect_last(calls[0], 0, 1, 0);
    assert_int_equal(calls[1]->answer_count, 0);
    expect_last(calls[2], 0, 1, 0);
    admin_tick(f->admin);
    assert_int_equal(calls[1]->answer_count, 0);
    calls[1]->queued = QUEUE_MAX - 1;
    admin_tick(f->admin); /* told even if no connection ends any more */
    expect_last(calls[1], 0, 0, 1);
    take_all(calls[1]);
    admin_tick(f->admin);
    assert_int_equal(calls[1]->answer_count, 1);
    for (unsigned i = 0; i < 3; i++)
        fake_free(calls[i]);
}

/** Connections come in order, and between two of them exactly those are missing that the later message says. */
static uint64_t expect_no_gaps(const struct grpc_call *call)
{
    uint64_t last = 0;

    for (unsigned i = 0; i < call->answer_count; i++) {
        struct told t = told(call, i);
        last += t.lost;
        if (t.conn != 0 && t.conn != ++last)
            fail_msg("message %u is of connection %llu, not %llu", i, (unsigned long long)t.conn,
                     (unsigned long long)last);
    }
    return last;
}

static void test_what_comes_and_what_is_told_lost_is_all_there_was(void **state)
{
    enum { WATCHERS = 5, CONNECTIONS = 4000 };
    struct fixture *f = *state;
    struct grpc_call *calls[WATCHERS];
    struct ended c = usual;

    for (unsigned i = 0; i < WATCHERS; i++)
        calls[i] = watch_all(f);
    for (uint64_t conn = 1; conn <= CONNECTIONS; conn++) {
        c.sni = long_name() + rng(50);
        end_one(f, conn, &c);
        for (unsigned i = 0; i < WATCHERS; i++) { /* the first never reads, the last nearly always */
            if (i > 0 && rng(40000) < (1u << 3 * i))
                take_all(calls[i]);
            assert_true(calls[i]->queued < QUEUE_MAX + 1000);
        }
        if (rng(100) == 0)
            admin_tick(f->admin);
    }
    assert_true(calls[0]->answer_count < CONNECTIONS / 2 && calls[1]->answer_count < CONNECTIONS);
    for (unsigned i = 0; i < WATCHERS; i++) {
        take_all(calls[i]);
        admin_tick(f->admin);
        assert_int_equal(expect_no_gaps(calls[i]), CONNECTIONS);
        fake_free(calls[i]);
    }
}

static void test_what_workers_dropped_is_told_to_all(void **state)
{
    struct fixture *f = *state;
    struct grpc_call *any = watch_all(f);
    struct grpc_call *picky = watch_for(f, (struct filter){.sni = "other.example.com"});

    admin_note_dropped(f->admin, 7);
    admin_note_dropped(f->admin, 5);
    end_one(f, 1, &usual);
    expect_last(any, 0, 1, 12);
    assert_int_equal(picky->answer_count, 0);
    admin_tick(f->admin);
    expect_last(any, 0, 1, 12);
    expect_last(picky, 0, 0, 12); /* whether or not they would have fitted: nobody knows */
    fake_free(any);
    fake_free(picky);
}

/* ---- the end ---- */

static void test_at_the_end_losses_are_told_first(void **state)
{
    struct fixture *f = *state;
    struct grpc_call *calls[2] = {watch_all(f), watch_all(f)};

    calls[0]->queued = QUEUE_MAX;
    end_one(f, 1, &usual);
    admin_end_streams(f->admin);
    expect_last(calls[0], 0, 0, 1);
    expect_last(calls[1], 0, 1, 0);
    end_one(f, 2, &usual); /* finished, but not gone yet: left alone */
    admin_note_dropped(f->admin, 3);
    admin_tick(f->admin);
    admin_end_streams(f->admin);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(calls[i]->answer_count, 1);
        assert_int_equal(calls[i]->status, GRPC_UNAVAILABLE);
        fake_free(calls[i]);
    }
}

static void test_a_watcher_without_memory_is_let_go(void **state)
{
    struct fixture *f = *state;
    struct grpc_call *poor = watch_all(f);
    struct grpc_call *other = watch_all(f);

    poor->memory_left = 0;
    end_one(f, 1, &usual);
    assert_int_equal(poor->status, GRPC_RESOURCE_EXHAUSTED);
    expect_last(other, 0, 1, 0);
    end_one(f, 2, &usual);
    expect_last(other, 1, 2, 0);
    other->memory_left = 0; /* for the words about a loss, while the server stops */
    admin_note_dropped(f->admin, 1);
    admin_end_streams(f->admin);
    assert_int_equal(other->status, GRPC_RESOURCE_EXHAUSTED);
    fake_free(poor);
    fake_free(other);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_ended_connections_come_to_all_who_watch),
        CASE(test_the_server_hears_whether_anybody_watches),
        CASE(test_there_is_room_for_so_many),
        CASE(test_only_what_fits_comes_and_only_that_is_lost),
        CASE(test_what_is_no_filter_is_refused),
        CASE(test_a_full_queue_loses_records_and_the_next_message_tells),
        CASE(test_one_who_is_slow_costs_the_others_nothing),
        CASE(test_what_comes_and_what_is_told_lost_is_all_there_was),
        CASE(test_what_workers_dropped_is_told_to_all),
        CASE(test_at_the_end_losses_are_told_first),
        CASE(test_a_watcher_without_memory_is_let_go),
    };
    return cmocka_run_group_tests_name("admin_watch", tests, NULL, NULL);
}
