/* Lists by pages in the order of first insertion, and limits that are stored. */

#include "state_fixture.h"

#define IP STORE_RULE_IP

/* ---- lists ---- */

static void test_the_order_of_first_insertion_survives_replacing_and_a_restart(void **state)
{
    struct proxy *p = *state;

    must_apply(p, put_on(FIRST, "z.example", "10.0.0.1:1"));
    must_apply(p, put_on(FIRST, "a.example", "10.0.0.2:1"));
    must_apply(p, put_on(FIRST, "m.example", "10.0.0.3:1"));
    must_apply(p, put_on(FIRST, "z.example", "10.0.0.9:1"));
    must_apply(p, remove_on(FIRST, "a.example"));
    must_apply(p, put_on(FIRST, "a.example", "10.0.0.4:1"));
    static const char expected[] =
        ":443 z.example 10.0.0.9:1 0\n:443 m.example 10.0.0.3:1 0\n:443 a.example 10.0.0.4:1 0\n";
    expect_database(p, expected);
    proxy_reopen(p);
    expect_database(p, expected);
    expect_route(p, FIRST, "z.example", "10.0.0.9:1");
}

static int read_pages(struct proxy *p, uint32_t limit, char *out, size_t size)
{
    struct strbuf lines = strbuf_init(out, size);
    struct state_page page = {.limit = limit};
    int pages = 0;

    do {
        expect_rc(p->f, state_each_route(p->state, bytes_of_str(FIRST), &page, add_route_line, &lines, &p->f->why), 0);
        pages++;
    } while (page.position != 0);
    return pages;
}

static void test_pages_put_together_are_the_list(void **state)
{
    struct proxy *p = *state;
    char whole[2048], pieces[2048], name[32];

    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "n%d.example", 97 * i % 20);
        must_apply(p, put_on(i % 4 == 3 ? SECOND : FIRST, name, "10.0.0.1:1"));
    }
    assert_int_equal(read_pages(p, UINT32_MAX, whole, sizeof whole), 1);
    for (uint32_t limit = 1; limit <= 16; limit++) {
        assert_int_equal(read_pages(p, limit, pieces, sizeof pieces), (15 + limit - 1) / limit);
        assert_string_equal(pieces, whole);
    }
}

static void test_a_row_that_goes_between_pages_moves_no_other(void **state)
{
    struct proxy *p = *state;
    struct state_page page = {.limit = 2};
    char text[512];
    struct strbuf lines = STRBUF_OF(text);
    static const char *const values[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"};

    for (size_t i = 0; i < 5; i++)
        must_apply(p, rule_change(STATE_ADD_RULE, IP, values[i]));
    expect_rc(p->f, state_each_rule(p->state, &page, add_rule_line, &lines, &p->f->why), 0);
    must_apply(p, rule_change(STATE_REMOVE_RULE, IP, values[0]));
    must_apply(p, rule_change(STATE_REMOVE_RULE, IP, values[2]));
    expect_rc(p->f, state_each_rule(p->state, &page, add_rule_line, &lines, &p->f->why), 0);
    assert_int_equal(page.position, 0);
    assert_string_equal(text, "ip 192.0.2.1\nip 192.0.2.2\nip 192.0.2.4\nip 192.0.2.5\n");
    page.position = UINT64_MAX;
    expect_rc(p->f, state_each_rule(p->state, &page, add_rule_line, &lines, &p->f->why), 0);
    assert_int_equal(page.position, 0);
}

static int stop_at_once(const struct store_rule *rule, void *ctx)
{
    (void)rule;
    ++*(int *)ctx;
    return ERR_CLOSED;
}

static void test_a_reader_may_stop(void **state)
{
    struct proxy *p = *state;
    struct state_page page = {.limit = 10};
    int calls = 0;

    must_apply(p, rule_change(STATE_ADD_RULE, IP, "192.0.2.1"));
    must_apply(p, rule_change(STATE_ADD_RULE, IP, "192.0.2.2"));
    assert_int_equal(state_each_rule(p->state, &page, stop_at_once, &calls, &p->f->why), ERR_CLOSED);
    assert_int_equal(calls, 1);
    must_apply(p, rule_change(STATE_REMOVE_RULE, IP, "192.0.2.2"));
}

/* ---- limits ---- */

static void test_a_stored_limit_is_in_force_and_beats_the_file(void **state)
{
    struct proxy *p = *state;
    uint16_t id = id_of_listener(p, SECOND);

    assert_int_equal(state_max_connections(p->state, id), 7);
    expect_rc(p->f, state_set_max_connections(p->state, bytes_of_str(SECOND), 12, &p->f->why), 0);
    assert_int_equal(state_max_connections(p->state, id), 12);
    proxy_reopen(p);
    assert_int_equal(state_max_connections(p->state, id_of_listener(p, SECOND)), 12);
    expect_rc(p->f, state_set_max_connections(p->state, bytes_of_str(SECOND), 0, &p->f->why), 0);
    proxy_reopen(p);
    assert_int_equal(state_max_connections(p->state, id_of_listener(p, SECOND)), 0);
    int rc = state_set_max_connections(p->state, bytes_of_str("x"), 0, &p->f->why);
    assert_int_equal(strncmp(p->f->words, "listener_addr: ", 15), 0);
    expect_rc(p->f, rc, ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROXY_TEST(test_the_order_of_first_insertion_survives_replacing_and_a_restart),
        PROXY_TEST(test_pages_put_together_are_the_list),
        PROXY_TEST(test_a_row_that_goes_between_pages_moves_no_other),
        PROXY_TEST(test_a_reader_may_stop),
        PROXY_TEST(test_a_stored_limit_is_in_force_and_beats_the_file),
    };

    if (access("/dev/shm", W_OK) == 0)
        fixture_root = "/dev/shm";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
