/* The shared rate limiter when more come than it has room for: full buckets, and a flood that no stranger is to suffer from. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "random_numbers.h"
#include "rate_fixture.h"
#include "shm_hash.h"

#ifdef MCPROXY_SANITIZED
#define FLOOD     1500000u
#define INNOCENTS 300000u
#else
#define FLOOD     8000000u
#define INNOCENTS 4000000u
#endif

static uint32_t bucket_of(uint32_t n)
{
    struct ip_addr addr = ipv4(n);
    uint64_t words[2] = {4, 0};

    memcpy(&words[1], addr.bytes, 4);
    return (uint32_t)(shm_hash_words64(seed, words, 2) % RATE_BUCKETS);
}

/** Addresses that share a bucket. */
static void find_neighbours(uint32_t *out, unsigned count)
{
    uint32_t bucket = bucket_of(1);

    for (uint32_t n = 1; count > 0; n++) {
        if (bucket_of(n) == bucket) {
            *out++ = n;
            count--;
        }
    }
}

static void a_full_bucket_forgets_the_one_nearest_to_its_end(void **state)
{
    enum { OLD = RATE_BUCKET_WORDS, NEW = 40 };
    uint32_t n[OLD + NEW];
    struct limiter l = limiter_new(10, 10000);
    (void)state;

    find_neighbours(n, OLD + NEW);
    for (unsigned i = 0; i < OLD; i++) /* full to the last one, later and later */
        assert_int_equal(admitted(&l, ipv4(n[i]), START + i * SECOND / 10, 20), 10);
    uint64_t now = START + OLD * SECOND / 10;
    for (unsigned i = 0; i < NEW; i++)
        assert_true(admit(&l, ipv4(n[OLD + i]), now));
    for (unsigned i = OLD; i-- > 1;)
        assert_false(admit(&l, ipv4(n[i]), now));
    assert_int_equal(rate_table_used(l.table, now), RATE_BUCKET_WORDS);
    assert_int_equal(admitted(&l, ipv4(n[0]), now, 20), 10); /* forgotten, so it gets more, not less */
    limiter_free(&l);
}

/* Everybody in the table is over the limit; then strangers come. At worst eight words of 22 tag bits could be taken for theirs. */
static void a_flood_refuses_no_stranger(void **state)
{
    struct limiter l = limiter_new(1, 60000);
    uint32_t refused = 0;
    double bound = (double)INNOCENTS * RATE_BUCKET_WORDS / (1 << 22);
    (void)state;

    for (uint32_t i = 0; i < FLOOD; i++)
        (void)admit(&l, ipv6(rng64() | 1ull << 63, rng64()), START);
    print_message("%u of %u words in use\n", rate_table_used(l.table, START), RATE_BUCKETS * RATE_BUCKET_WORDS);
    for (uint32_t i = 0; i < INNOCENTS; i++)
        refused += !admit(&l, ipv6(i, 0), START);
    print_message("%u of %u strangers refused, %.1f expected at worst\n", refused, INNOCENTS, bound);
    assert_true(refused <= bound + 6 * (bound < 1 ? 1 : bound / 2)); /* far beyond what chance does */
    limiter_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_bucket_forgets_the_one_nearest_to_its_end),
        cmocka_unit_test(a_flood_refuses_no_stranger),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
