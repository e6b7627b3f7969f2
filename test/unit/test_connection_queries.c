/* Questions about connections: every worker is asked to its end, one part at a time, and whoever goes leaves nothing behind. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "connection_queries.h"
#include "err.h"
#include "shm_layout.h"

#define SLOTS 4

struct fake {
    struct connection_queries *queries;
    bool is_there[SLOTS];
    struct ctl_query asked[SLOTS]; /* query_id 0: nothing open */
    unsigned asks[SLOTS];
};

struct asker {
    struct connection_query *query;
    uint64_t matched;
    unsigned parts, ends;
    bool is_full;
    bool gives_up; /* with the next part */
};

static bool ask(void *context, unsigned slot, const struct ctl_query *query)
{
    struct fake *f = context;

    if (slot >= SLOTS || !f->is_there[slot])
        return false;
    assert_int_equal(f->asked[slot].query_id, 0); /* never two at a time */
    f->asked[slot] = *query;
    f->asks[slot]++;
    return true;
}

static void on_part(void *context, const struct ctl_query_answer *answer, struct bytes records)
{
    struct asker *a = context;

    assert_int_equal(records.len, 0);
    a->parts++;
    a->matched += answer->matched;
    if (a->gives_up)
        connection_query_end(&a->query);
}

static void on_done(void *context)
{
    struct asker *a = context;

    a->ends++;
    connection_query_end(&a->query);
}

static bool has_room(void *context)
{
    return !((struct asker *)context)->is_full;
}

static const struct connection_query_events events = {on_part, on_done, has_room};

static void begin(struct fake *f, struct asker *a)
{
    const struct ctl_query query = {.action = CTL_QUERY_COUNT};

    assert_int_equal(connection_query_begin(f->queries, &query, &events, a, &a->query), 0);
    connection_query_run(a->query);
}

/** The worker of a slot says what it has. */
static bool answer(struct fake *f, unsigned slot, uint64_t cursor, uint32_t matched)
{
    struct ctl_query_answer message = {.query_id = f->asked[slot].query_id, .cursor = cursor, .matched = matched};

    f->asked[slot] = (struct ctl_query){0};
    return connection_queries_take(f->queries, slot, bytes_of(&message, sizeof message));
}

static int setup(void **state)
{
    static struct fake fake;

    fake = (struct fake){.is_there = {true, false, true, true}};
    fake.queries = connection_queries_new(ask, &fake);
    *state = &fake;
    return fake.queries == NULL;
}

static int teardown(void **state)
{
    connection_queries_free(&((struct fake *)*state)->queries);
    return 0;
}

static void test_every_worker_is_asked_to_its_end(void **state)
{
    struct fake *f = *state;
    struct asker a = {0};

    begin(f, &a);
    assert_int_equal(f->asked[0].cursor, 0);
    assert_true(answer(f, 0, 512, 10));
    assert_int_equal(f->asked[0].cursor, 512);
    assert_true(answer(f, 0, CTL_QUERY_END, 1));
    assert_int_equal(f->asked[2].cursor, 0); /* slot 1 has no worker */
    assert_true(answer(f, 2, CTL_QUERY_END, 100));
    assert_int_equal(a.ends, 0);
    assert_true(answer(f, 3, CTL_QUERY_END, 1000));
    assert_int_equal(a.ends, 1);
    assert_int_equal(a.matched, 1111);
    assert_int_equal(a.parts, 4);
}

static void test_nobody_to_ask(void **state)
{
    struct fake *f = *state;
    struct asker a = {0};

    memset(f->is_there, 0, sizeof f->is_there);
    begin(f, &a);
    assert_int_equal(a.ends, 1);
    assert_null(a.query);
}

static void test_who_has_no_room_is_asked_again(void **state)
{
    struct fake *f = *state;
    struct asker a = {.is_full = true};

    begin(f, &a);
    connection_queries_resume(f->queries);
    assert_int_equal(f->asks[0], 0);
    a.is_full = false;
    connection_queries_resume(f->queries);
    assert_int_equal(f->asks[0], 1);
    a.is_full = true;
    assert_true(answer(f, 0, 512, 1)); /* a part that was asked for comes all the same */
    assert_int_equal(f->asks[0], 1);
    connection_query_end(&a.query);
}

static void test_several_take_turns_at_a_worker(void **state)
{
    struct fake *f = *state;
    struct asker a = {0}, b = {0};

    begin(f, &a);
    uint64_t first = f->asked[0].query_id;
    begin(f, &b);
    assert_int_equal(f->asked[0].query_id, first);
    assert_true(answer(f, 0, 512, 1));
    assert_int_not_equal(f->asked[0].query_id, first); /* b's turn, although a has more to come */
    assert_true(answer(f, 0, 512, 1));
    assert_int_equal(f->asked[0].query_id, first);
    assert_int_equal(f->asked[0].cursor, 512);
    connection_query_end(&a.query);
    assert_true(answer(f, 0, CTL_QUERY_END, 1)); /* nobody's any more */
    assert_int_equal(a.matched, 1);
    assert_int_equal(f->asked[0].cursor, 512); /* b goes on */
    connection_query_end(&b.query);
}

static void test_a_worker_that_dies_is_finished(void **state)
{
    struct fake *f = *state;
    struct asker a = {0}, b = {0};

    begin(f, &a);
    begin(f, &b);
    assert_true(answer(f, 0, 512, 5)); /* now b is asked, and a has begun with it */
    f->asked[0] = (struct ctl_query){0};
    f->is_there[0] = true; /* its successor is there already */
    connection_queries_worker_died(f->queries, 0);
    assert_int_equal(f->asks[0], 2); /* not asked from the middle of what another had */
    assert_true(answer(f, 2, CTL_QUERY_END, 1));
    assert_true(answer(f, 2, CTL_QUERY_END, 1));
    assert_true(answer(f, 3, CTL_QUERY_END, 1));
    assert_true(answer(f, 3, CTL_QUERY_END, 1));
    assert_int_equal(a.ends + b.ends, 2);
    assert_int_equal(a.matched, 7);
    assert_int_equal(b.matched, 2);
}

static void test_answers_that_no_worker_of_ours_gives(void **state)
{
    struct fake *f = *state;
    struct asker a = {0};

    begin(f, &a);
    uint64_t id = f->asked[0].query_id;
    assert_true(answer(f, 0, 512, 0));
    f->asked[0].query_id = id + 1;
    assert_false(answer(f, 0, 1024, 0)); /* to what was never asked */
    f->asked[0].query_id = id;
    assert_false(answer(f, 0, 512, 0)); /* on the spot for ever */
    f->asked[0].query_id = id - 1;
    assert_true(answer(f, 0, 5, 0)); /* to somebody before us: passed over */
    assert_int_equal(a.parts, 1);
    connection_query_end(&a.query);
}

static void test_who_ends_within_a_callback(void **state)
{
    struct fake *f = *state;
    struct asker a = {.gives_up = true}, b = {0};

    begin(f, &a);
    begin(f, &b);
    assert_true(answer(f, 0, 512, 1));
    assert_null(a.query);
    assert_int_equal(f->asks[0], 2); /* b's */
    connection_query_end(&b.query);
}

static void test_so_many_at_once(void **state)
{
    struct fake *f = *state;
    struct asker askers[CONNECTION_QUERIES_MAX] = {0};
    const struct ctl_query query = {.action = CTL_QUERY_COUNT};
    struct connection_query *more;

    for (unsigned i = 0; i < CONNECTION_QUERIES_MAX; i++)
        begin(f, &askers[i]);
    assert_int_equal(connection_query_begin(f->queries, &query, &events, NULL, &more), ERR_FULL);
    connection_query_end(&askers[3].query);
    assert_int_equal(connection_query_begin(f->queries, &query, &events, NULL, &more), 0);
    connection_query_end(&more);
    for (unsigned i = 0; i < CONNECTION_QUERIES_MAX; i++)
        connection_query_end(&askers[i].query);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_worker_is_asked_to_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_to_ask, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_has_no_room_is_asked_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_several_take_turns_at_a_worker, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_worker_that_dies_is_finished, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers_that_no_worker_of_ours_gives, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_ends_within_a_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(test_so_many_at_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
