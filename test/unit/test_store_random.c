/* Random changes and transactions against a plain list: the same routes in the same order, also after reopening. */

#include "store_fixture.h"

#define NAMES    40
#define BACKENDS 9

struct shadow {
    int names[NAMES];
    int backends[NAMES];
    int count;
};

static int shadow_find(const struct shadow *shadow, int name)
{
    for (int i = 0; i < shadow->count; i++) {
        if (shadow->names[i] == name)
            return i;
    }
    return -1;
}

static void shadow_put(struct shadow *shadow, int name, int backend)
{
    int at = shadow_find(shadow, name);

    if (at < 0)
        shadow->names[at = shadow->count++] = name;
    shadow->backends[at] = backend;
}

static bool shadow_remove(struct shadow *shadow, int name)
{
    int at = shadow_find(shadow, name);

    if (at < 0)
        return false;
    shadow->count--;
    for (int i = at; i < shadow->count; i++) {
        shadow->names[i] = shadow->names[i + 1];
        shadow->backends[i] = shadow->backends[i + 1];
    }
    return true;
}

static void expect_shadow(struct fixture *f, struct store *store, const struct shadow *shadow)
{
    char text[4096];
    struct strbuf lines = STRBUF_OF(text);

    for (int i = 0; i < shadow->count; i++)
        strbuf_addf(&lines, ":8443 n%d b:%d 0\n", shadow->names[i], shadow->backends[i]);
    expect_routes(f, store, text);
}

static void random_change(struct fixture *f, struct store *store, struct shadow *shadow, unsigned *seed)
{
    int name = rand_r(seed) % NAMES, backend = 1 + rand_r(seed) % BACKENDS;
    char hostname[16], target[16];
    struct store_route route = {":8443", hostname, target, false};
    enum store_put put_as;

    snprintf(hostname, sizeof hostname, "n%d", name);
    snprintf(target, sizeof target, "b:%d", backend);
    if (rand_r(seed) % 3 != 0) {
        int at = shadow_find(shadow, name);
        enum store_put expected = at < 0                            ? STORE_PUT_ADDED
                                  : shadow->backends[at] == backend ? STORE_PUT_UNCHANGED
                                                                    : STORE_PUT_REPLACED;
        expect_rc(f, store_put_route(store, &route, &put_as, &f->why), 0);
        assert_int_equal(put_as, expected);
        shadow_put(shadow, name, backend);
    } else {
        bool was_there = shadow_remove(shadow, name);
        expect_rc(f, store_remove_route(store, ":8443", hostname, &f->why), was_there ? 0 : ERR_NOT_FOUND);
    }
}

static void test_random_changes_against_a_list(void **state)
{
    struct fixture *f = *state;
    struct shadow shadow = {.count = 0}, before;
    unsigned seed = 20240517;

    raw_sql(f->db, "VACUUM"); /* an empty database made by hand is as good as none */
    struct store *store = must_open(f);
    store_close(&store);
    raw_sql(f->db, "INSERT INTO listeners (addr, seeded_at) VALUES (':8443', 1)");
    store = must_open(f);
    for (int round = 0; round < 60; round++) {
        bool in_transaction = rand_r(&seed) % 2 == 0, is_kept = rand_r(&seed) % 3 != 0;
        before = shadow;
        if (in_transaction)
            expect_rc(f, store_begin(store, &f->why), 0);
        for (int i = rand_r(&seed) % 12; i > 0; i--)
            random_change(f, store, &shadow, &seed);
        expect_shadow(f, store, &shadow);
        if (in_transaction && is_kept) {
            expect_rc(f, store_commit(store, &f->why), 0);
        } else if (in_transaction) {
            store_rollback(store);
            shadow = before;
        }
        expect_shadow(f, store, &shadow);
        if (round % 7 == 0) {
            store_close(&store);
            store = must_open(f);
            expect_shadow(f, store, &shadow);
        }
    }
    store_close(&store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_random_changes_against_a_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
