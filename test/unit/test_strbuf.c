/* Text buffers: what fits, what is cut, and that nothing is ever written behind the end. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "strbuf.h"

#define GUARD 0x5a

static void test_begins_empty(void **state)
{
    (void)state;
    char data[8];
    memset(data, GUARD, sizeof data);
    struct strbuf s = STRBUF_OF(data);
    assert_int_equal(s.capacity, 8);
    assert_int_equal(s.len, 0);
    assert_false(s.overflowed);
    assert_string_equal(data, "");
}

static void test_pieces_add_up(void **state)
{
    (void)state;
    char data[64];
    struct strbuf s = STRBUF_OF(data);
    strbuf_add(&s, "port ");
    strbuf_addf(&s, "%d of %s", 443, "x");
    strbuf_add_char(&s, ':');
    strbuf_add_bytes(&s, bytes_of("abcd", 3));
    strbuf_add_bytes(&s, bytes_of(NULL, 0));
    strbuf_add(&s, "");
    assert_string_equal(data, "port 443 of x:abc");
    assert_int_equal(s.len, strlen(data));
    assert_false(s.overflowed);

    strbuf_add_bytes(&s, bytes_of("\0z", 2)); /* a NUL from outside is a byte as any other */
    assert_int_equal(s.len, 19);
    assert_memory_equal(data + 17, "\0z", 3);
}

static void add_plain(struct strbuf *s, const char *text)
{
    strbuf_add(s, text);
}

static void add_formatted(struct strbuf *s, const char *text)
{
    strbuf_addf(s, "%s", text);
}

static void add_chars(struct strbuf *s, const char *text)
{
    for (; *text != '\0'; text++)
        strbuf_add_char(s, *text);
}

/* Every capacity against every length: cut exactly at the capacity, flagged exactly when cut, the byte behind untouched. */
static void test_overfill(void **state)
{
    (void)state;
    static void (*const adders[])(struct strbuf *, const char *) = {add_plain, add_formatted, add_chars};
    static const char text[] = "0123456789abcdef";

    for (size_t a = 0; a < sizeof adders / sizeof adders[0]; a++) {
        for (size_t capacity = 1; capacity <= 18; capacity++) {
            for (size_t skip = 0; skip < sizeof text; skip++) {
                char data[32];
                size_t len = sizeof text - 1 - skip;
                size_t kept = len < capacity ? len : capacity - 1;
                memset(data, GUARD, sizeof data);
                struct strbuf s = strbuf_init(data, capacity);

                adders[a](&s, text + skip);
                assert_int_equal(s.len, kept);
                assert_int_equal(s.overflowed, len >= capacity);
                assert_memory_equal(data, text + skip, kept);
                assert_int_equal(data[kept], '\0');
                assert_int_equal(data[capacity], GUARD);
            }
        }
    }
}

static void test_overflow_sticks_until_reset(void **state)
{
    (void)state;
    char data[4];
    struct strbuf s = STRBUF_OF(data);
    strbuf_add(&s, "abcd");
    assert_true(s.overflowed);
    strbuf_add(&s, "");
    strbuf_addf(&s, "%s", "");
    strbuf_add_char(&s, 'x');
    assert_true(s.overflowed);
    assert_string_equal(data, "abc");
    strbuf_reset(&s);
    assert_false(s.overflowed);
    assert_string_equal(data, "");
    strbuf_addf(&s, "%d", 123);
    assert_false(s.overflowed);
    assert_string_equal(data, "123");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begins_empty),
        cmocka_unit_test(test_pieces_add_up),
        cmocka_unit_test(test_overfill),
        cmocka_unit_test(test_overflow_sticks_until_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
