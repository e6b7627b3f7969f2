/* Reading a piece of a file when calls are cut short or interrupted. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "read_at.h"

static size_t at_most;      /* bytes that a call gives */
static unsigned interrupts; /* calls that fail with EINTR before one does not */
static int error;           /* of the next call; 0: none */

/* In the place of libc's. */
ssize_t pread(int fd, void *to, size_t len, off_t at)
{
    static unsigned failed;

    if (error != 0 || failed++ < interrupts) {
        errno = error != 0 ? error : EINTR;
        return -1;
    }
    failed = 0;
    if (lseek(fd, at, SEEK_SET) != at)
        return -1;
    return read(fd, to, len < at_most ? len : at_most);
}

static int file_of(const char *text)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    return fd;
}

static void test_all_is_read_however_it_is_cut(void **state)
{
    int fd = file_of("0123456789");

    (void)state;
    for (at_most = 1; at_most <= 11; at_most++) {
        for (interrupts = 0; interrupts < 3; interrupts++) {
            char got[11] = "";
            assert_int_equal(read_at(fd, got, 8, 1), 8);
            assert_string_equal(got, "12345678");
        }
    }
    close(fd);
}

static void test_less_at_the_end_only(void **state)
{
    int fd = file_of("0123456789");
    char got[20] = "";

    (void)state;
    at_most = 4, interrupts = 0;
    assert_int_equal(read_at(fd, got, sizeof got, 3), 7);
    assert_string_equal(got, "3456789");
    assert_int_equal(read_at(fd, got, sizeof got, 10), 0);
    close(fd);
}

static void test_an_error_is_told(void **state)
{
    int fd = file_of("0123456789");
    char got[4];

    (void)state;
    error = EIO;
    assert_int_equal(read_at(fd, got, sizeof got, 0), -1);
    assert_int_equal(errno, EIO);
    error = 0;
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_is_read_however_it_is_cut),
        cmocka_unit_test(test_less_at_the_end_only),
        cmocka_unit_test(test_an_error_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
