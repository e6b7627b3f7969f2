/* Which route takes a name: precedence, depth, separation of listeners, names without end. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "shm_hash.h"
#include "tables_fixture.h"

struct precedence_case {
    const char *name;
    int32_t backend; /* -1: no route */
};

struct route_row {
    uint16_t listener;
    const char *pattern;
    uint32_t backend;
};

static const struct route_row rows[] = {
    {0, "www.example.com", 1},
    {0, "*.example.com", 2},
    {0, "*.apps.example.com", 3},
    {0, "example.com", 4},
    {0, "*.com", 5},
    {0, "*", 6},
    {0, "*.a.b.c.example.org", 7},
    {1, "www.example.com", 8},
    {1, "*.example.com", 9},
    {2, "*", 10},
    {3, "com", 11},
    {1023, "*.net", 12},
};

static const struct precedence_case listener0[] = {
    {"www.example.com", 1},
    {"example.com", 4},
    {"api.example.com", 2},
    {"a.b.c.d.example.com", 2},
    {"x.apps.example.com", 3},
    {"y.x.apps.example.com", 3},
    {"apps.example.com", 2},  /* a wildcard does not cover its own name */
    {"a.www.example.com", 2}, /* exact only */
    {"example.net", 6},
    {"other.com", 5},
    {"com", 6},
    {"xexample.com", 5}, /* labels, not characters */
    {"x.a.b.c.example.org", 7},
    {"a.b.c.example.org", 6},
    {"b.c.example.org", 6},
    {"org", 6},
    {"", 6}, /* no SNI */
};

static const struct precedence_case listener1[] = {
    {"www.example.com", 8}, {"api.example.com", 9}, {"example.com", -1}, {"www.example.org", -1}, {"", -1},
};

static const struct precedence_case listener3[] = {{"com", 11}, {"a.com", -1}, {"", -1}};

static void expect(const struct tables_fixture *f, uint16_t listener, const struct precedence_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int32_t got = fixture_match(f, listener, cases[i].name);
        if (got != cases[i].backend)
            fail_msg("listener %u '%s': backend %d, expected %d", listener, cases[i].name, got, cases[i].backend);
    }
}
#define EXPECT(f, listener, cases) expect(f, listener, cases, sizeof(cases) / sizeof(cases)[0])

static void put_rows(struct tables_fixture *f)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_true(fixture_put(f, rows[i].listener, rows[i].pattern, rows[i].backend));
}

static void precedence_is_exact_then_longest_wildcard_then_any(void **state)
{
    struct tables_fixture f;
    (void)state;

    fixture_init(&f, 64 << 20, 0);
    put_rows(&f);
    EXPECT(&f, 0, listener0);
    EXPECT(&f, 1, listener1);
    EXPECT(&f, 3, listener3);
    assert_int_equal(fixture_match(&f, 2, "anything.at.all"), 10);
    assert_int_equal(fixture_match(&f, 2, ""), 10);
    assert_int_equal(fixture_match(&f, 1023, "a.net"), 12);
    assert_int_equal(fixture_match(&f, 1022, "a.net"), -1);
    fixture_fini(&f);
}

static void empty_tables_have_no_route(void **state)
{
    struct tables_fixture f;
    (void)state;

    fixture_init(&f, 64 << 20, 0);
    assert_int_equal(fixture_match(&f, 0, "www.example.com"), -1);
    assert_int_equal(fixture_match(&f, 0, ""), -1);
    fixture_fini(&f);
}

/* Taking routes out one by one uncovers what is behind them. */
static void removal_uncovers_the_next_best(void **state)
{
    static const struct {
        const char *remove;
        int32_t then;
    } steps[] = {{"a.b.example.com", 2}, {"*.b.example.com", 3}, {"*.example.com", 4}, {"*.com", 5}, {"*", -1}};
    struct tables_fixture f;
    (void)state;

    fixture_init(&f, 64 << 20, 0);
    fixture_put(&f, 0, "a.b.example.com", 1);
    fixture_put(&f, 0, "*.b.example.com", 2);
    fixture_put(&f, 0, "*.example.com", 3);
    fixture_put(&f, 0, "*.com", 4);
    fixture_put(&f, 0, "*", 5);
    assert_int_equal(fixture_match(&f, 0, "a.b.example.com"), 1);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        assert_int_equal(fixture_remove(&f, 0, steps[i].remove), 0);
        assert_int_equal(fixture_match(&f, 0, "a.b.example.com"), steps[i].then);
    }
    fixture_fini(&f);
}

/** labels times "a.", then tail. */
static void deep_name(char *out, unsigned labels, const char *tail)
{
    for (unsigned i = 0; i < labels; i++, out += 2)
        memcpy(out, "a.", 2);
    strcpy(out, tail);
}

static void every_depth_up_to_the_deepest_has_its_own_wildcard(void **state)
{
    struct tables_fixture f;
    char pattern[2 + 256];
    char name[256];
    (void)state;

    fixture_init(&f, 64 << 20, 0);
    memcpy(pattern, "*.", 2);
    for (unsigned labels = 0; labels < SHM_ROUTE_DEPTH_MAX; labels++) {
        deep_name(pattern + 2, labels, "z");
        assert_true(fixture_put(&f, 0, pattern, labels));
    }
    for (unsigned labels = 1; labels <= SHM_ROUTE_DEPTH_MAX; labels++) {
        deep_name(name, labels, "z");
        assert_int_equal(fixture_match(&f, 0, name), labels - 1);
    }
    /* And from the deepest down again. */
    deep_name(name, SHM_ROUTE_DEPTH_MAX, "z");
    for (unsigned labels = SHM_ROUTE_DEPTH_MAX; labels-- > 0;) {
        assert_int_equal(fixture_match(&f, 0, name), labels);
        deep_name(pattern + 2, labels, "z");
        assert_int_equal(fixture_remove(&f, 0, pattern), 0);
    }
    assert_int_equal(fixture_match(&f, 0, name), -1);
    fixture_fini(&f);
}

static void longest_names_match(void **state)
{
    struct tables_fixture f;
    char longest[254];
    (void)state;

    fixture_init(&f, 64 << 20, 0);
    memset(longest, 'x', 253);
    longest[63] = longest[127] = longest[191] = '.';
    longest[253] = '\0';
    fixture_put(&f, 0, longest, 1);
    assert_int_equal(fixture_match(&f, 0, longest), 1);
    longest[252] = 'y';
    assert_int_equal(fixture_match(&f, 0, longest), -1);
    fixture_fini(&f);
}

static void find_pattern_is_exact(void **state)
{
    struct tables_fixture f;
    struct route_match m;
    (void)state;

    fixture_init(&f, 64 << 20, 0);
    put_rows(&f);
    const struct shm_tables *shm = f.tables->shm;
    const struct shm_root *root = tables_root(f.tables);
    struct bytes example = bytes_of_str("example.com");
    assert_true(route_find_pattern(shm, root, 0, false, example, &m));
    assert_int_equal(number_of_backend(m.backend), 4);
    assert_true(route_find_pattern(shm, root, 0, true, example, &m));
    assert_int_equal(number_of_backend(m.backend), 2);
    assert_true(bytes_equal_str(shm_backend_text(m.backend), "10.0.0.2:8443"));
    assert_true(route_find_pattern(shm, root, 0, true, bytes_of(NULL, 0), &m));
    assert_int_equal(number_of_backend(m.backend), 6);
    assert_false(route_find_pattern(shm, root, 0, false, bytes_of(NULL, 0), &m));
    assert_false(route_find_pattern(shm, root, 1, false, example, &m));
    fixture_fini(&f);
}

/* The hash of a suffix inside a name is the hash of the suffix alone, wherever the words of eight bytes fall. */
static void suffix_hash_does_not_depend_on_what_is_before_it(void **state)
{
    const uint64_t seed[2] = {1, 2};
    const char *name = "abcdefghijklmnopqrstuvwxyz0123456789-abcdefghijklmnopqrstuvwxyz";
    size_t len = strlen(name);
    (void)state;

    struct shm_hash_name whole;
    shm_hash_name_init(&whole, seed, bytes_of(name, len));
    for (size_t n = 0; n <= len; n++) {
        struct shm_hash_name alone;
        /* An exact copy, so that the address sanitizer sees a read in front of it or behind it. */
        char *copy = malloc(n + 1);
        memcpy(copy, name + len - n, n);
        copy[n] = '\0';
        char *exact = realloc(copy, n > 0 ? n : 1);
        shm_hash_name_init(&alone, seed, bytes_of(exact, n));
        assert_int_equal(shm_hash_name_suffix(&whole, n, 7), shm_hash_name_suffix(&alone, n, 7));
        free(exact);
    }
}

static void hash_depends_on_seed_context_and_every_byte(void **state)
{
    const uint64_t seed[2] = {1, 2};
    const uint64_t other_seed[2] = {1, 3};
    char name[] = "www.example.com";
    struct shm_hash_name h;
    (void)state;

    shm_hash_name_init(&h, seed, bytes_of_str(name));
    uint32_t tag = shm_hash_name_suffix(&h, strlen(name), 0);
    assert_int_not_equal(shm_hash_name_suffix(&h, strlen(name), 1), tag);
    shm_hash_name_init(&h, other_seed, bytes_of_str(name));
    assert_int_not_equal(shm_hash_name_suffix(&h, strlen(name), 0), tag);
    for (size_t i = 0; i < strlen(name); i++) {
        name[i] ^= 1;
        shm_hash_name_init(&h, seed, bytes_of_str(name));
        assert_int_not_equal(shm_hash_name_suffix(&h, strlen(name), 0), tag);
        name[i] ^= 1;
    }
}

/* A hostile name of 127 one-letter labels probes no more suffixes than there are wildcard depths. */
static void hostile_names_cost_no_more_probes_than_depths(void **state)
{
    struct tables_fixture f;
    char name[256];
    struct route_match m;
    (void)state;

    fixture_init(&f, 64 << 20, 0);
    fixture_put(&f, 0, "*.a.z", 1);
    fixture_put(&f, 0, "*.b", 2);
    deep_name(name, 126, "z");
    assert_int_equal(fixture_match(&f, 0, name), 1);
    deep_name(name, 126, "y");
    assert_int_equal(fixture_match(&f, 0, name), -1);

    /* Depths 1 and 2 are probed, no other: a route at a depth whose bit is not set is never asked for. */
    struct shm_route_depths *depths = tables_at(f.tables, tables_root(f.tables)->route_depths);
    assert_int_equal(atomic_load(&depths[0].words[0]), 6);
    assert_int_equal(atomic_load(&depths[0].words[1]), 0);
    atomic_store(&depths[0].words[0], 2);
    deep_name(name, 126, "z");
    assert_false(route_match_name(f.tables->shm, tables_root(f.tables), 0, bytes_of_str(name), &m));
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(precedence_is_exact_then_longest_wildcard_then_any),
        cmocka_unit_test(empty_tables_have_no_route),
        cmocka_unit_test(removal_uncovers_the_next_best),
        cmocka_unit_test(every_depth_up_to_the_deepest_has_its_own_wildcard),
        cmocka_unit_test(longest_names_match),
        cmocka_unit_test(find_pattern_is_exact),
        cmocka_unit_test(suffix_hash_does_not_depend_on_what_is_before_it),
        cmocka_unit_test(hash_depends_on_seed_context_and_every_byte),
        cmocka_unit_test(hostile_names_cost_no_more_probes_than_depths),
    };
    return cmocka_run_group_tests_name("route_table", tests, NULL, NULL);
}
