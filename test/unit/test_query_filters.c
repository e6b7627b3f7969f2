/* Which open connections a question means: those are listed, counted or closed, and nobody else. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>

#include "addr_of.h"
#include "query_fixture.h"
#include "strbuf.h"

/* clang-format off */
static const struct {
    uint16_t listener;
    const char *client, *name, *route; /* route NULL: it waits for its hello */
} conns[] = {
    {0, "192.0.2.1", "www.example.com", "www.example.com"},         /* 1 */
    {1, "192.0.2.1", "www.example.com", "*.example.com"},           /* 2 */
    {0, "192.0.2.200", "a.b.example.com", "*.example.com"},         /* 3 */
    {1, "2001:db8::7", "www.example.com", "*"},                     /* 4 */
    {0, "2001:db8:1::7", "", "*"},                                  /* 5 */
    {1, "198.51.100.1", "", NULL},                                  /* 6 */
};

static const struct {
    struct ctl_query query;
    const char *network, *ids;
} filters[] = {
    {{0}, NULL, "123456"},
    {{.conn = 3}, NULL, "3"},
    {{.conn = 7}, NULL, ""},
    {{.has_listener = 1, .listener = 0}, NULL, "135"},
    {{.has_listener = 1, .listener = 1}, NULL, "246"},
    {{.has_listener = 1, .listener = 2}, NULL, ""},
    {{.has_listener = 0, .listener = 1}, NULL, "123456"},
    {{0}, "192.0.2.1/32", "12"},
    {{0}, "192.0.2.0/24", "123"},
    {{0}, "0.0.0.0/0", "1236"},
    {{0}, "2001:db8::/32", "45"},
    {{0}, "2001:db8:1::/48", "5"},
    {{.route = "www.example.com"}, NULL, "1"},
    {{.route = "*.example.com"}, NULL, "23"},
    {{.route = "*"}, NULL, "45"},
    {{.route = "example.com"}, NULL, ""},
    {{.route = "*.b.example.com"}, NULL, ""},
    {{.route = "*.example.com", .has_listener = 1, .listener = 0}, "192.0.2.0/24", "3"},
    {{.route = "*.example.com", .conn = 2}, "192.0.2.0/24", "2"},
    {{.route = "*.example.com", .conn = 4}, NULL, ""},
};
/* clang-format on */
#define CONNS   (sizeof conns / sizeof conns[0])
#define FILTERS (sizeof filters / sizeof filters[0])

static void open_conns(struct fixture *f)
{
    for (size_t i = 0; i < CONNS; i++) {
        struct conn *c = open_conn(f, conns[i].listener, addr_of(conns[i].client));
        if (conns[i].route != NULL)
            relay(c, conns[i].name, conns[i].route, "10.0.0.5:8443");
    }
}

static struct ctl_query query_of(size_t filter, enum ctl_query_action action)
{
    char why_text[128];
    struct strbuf why = STRBUF_OF(why_text);
    struct ctl_query query = filters[filter].query;

    query.action = (uint8_t)action;
    if (filters[filter].network != NULL)
        assert_int_equal(ip_cidr_parse(bytes_of_str(filters[filter].network), &query.client, &why), 0);
    return query;
}

static void test_all_that_is_asked_for_must_fit(void **state)
{
    struct fixture *f = *state;

    open_conns(f);
    for (size_t i = 0; i < FILTERS; i++) {
        size_t count = strlen(filters[i].ids);
        memset(f->seen, 0, sizeof f->seen);
        assert_int_equal(ask_all(f, query_of(i, CTL_QUERY_LIST)), count);
        for (unsigned id = 1; id <= CONNS; id++) {
            if (f->seen[id] != (strchr(filters[i].ids, (char)('0' + id)) != NULL))
                fail_msg("filter %zu: connection %u was listed %u times", i, id, f->seen[id]);
        }
        memset(f->seen, 0, sizeof f->seen);
        assert_int_equal(ask_all(f, query_of(i, CTL_QUERY_COUNT)), count);
        expect_seen(f, 1, CONNS, 0);
    }
    assert_int_equal(f->worker->conn_count, CONNS);
}

static void test_who_is_meant_is_closed_and_nobody_else(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < FILTERS; i++) {
        uint64_t first_id = f->worker->conn_serial + 1;
        int fds[CONNS];
        f->closed = 0;
        open_conns(f);
        for (uint32_t place = 0; place < CONNS; place++) {
            struct conn *c = pool_at(&f->worker->conns, place, CONN_MAGIC);
            c->id -= first_id - 1; /* 1 to 6 again */
            fds[c->id - 1] = c->front.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        }
        assert_int_equal(ask_all(f, query_of(i, CTL_QUERY_CLOSE)), strlen(filters[i].ids));
        assert_int_equal(f->closed, strlen(filters[i].ids));
        assert_int_equal(f->worker->conn_count, CONNS - strlen(filters[i].ids));
        for (unsigned id = 1; id <= CONNS; id++) {
            bool is_open = fcntl(fds[id - 1], F_GETFD) >= 0;
            assert_int_equal(is_open, strchr(filters[i].ids, (char)('0' + id)) == NULL);
        }
        assert_int_equal(ask_all(f, query_of(i, CTL_QUERY_CLOSE)), 0); /* the dead are not closed again */
        (void)ask_all(f, (struct ctl_query){.action = CTL_QUERY_CLOSE});
        conn_io_end_turn(f->worker);
        assert_int_equal(f->worker->conns.used, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUERY_TEST(test_all_that_is_asked_for_must_fit),
        QUERY_TEST(test_who_is_meant_is_closed_and_nobody_else),
    };
    return cmocka_run_group_tests_name("query_filters", tests, NULL, NULL);
}
