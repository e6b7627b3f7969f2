/* That it is the file's folder that is synced, and that what fails is told. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "folder_sync.h"

/* libc's function: what it was asked for, and an error in its place. */
static struct {
    unsigned calls;
    struct stat synced;
    int error;
} disk;

int fsync(int fd)
{
    disk.calls++;
    assert_int_equal(fstat(fd, &disk.synced), 0);
    errno = disk.error;
    return disk.error != 0 ? -1 : (int)syscall(SYS_fsync, fd);
}

static void the_folder_of_a_file_is_synced(void **state)
{
    char folder[] = "/tmp/mc-proxy-sync-XXXXXX", path[64];
    struct stat wanted;

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(stat(folder, &wanted), 0);
    snprintf(path, sizeof path, "%s/not-there.db", folder);
    memset(&disk, 0, sizeof disk);
    assert_int_equal(folder_sync_of(path), 0);
    assert_int_equal(disk.calls, 1);
    assert_true(disk.synced.st_ino == wanted.st_ino && disk.synced.st_dev == wanted.st_dev);
    assert_int_equal(stat("/", &wanted), 0);
    assert_int_equal(folder_sync_of("/not-there.db"), 0);
    assert_true(disk.synced.st_ino == wanted.st_ino && disk.synced.st_dev == wanted.st_dev);
    rmdir(folder);
}

static void what_fails_is_told(void **state)
{
    static char longest[8192];
    unsigned before = (unsigned)dup(0);

    (void)state;
    close((int)before);
    memset(&disk, 0, sizeof disk);
    assert_int_equal(folder_sync_of("/no/such/folder/file"), -1);
    assert_int_equal(errno, ENOENT);
    memset(longest, 'x', sizeof longest - 1);
    longest[0] = longest[sizeof longest - 2] = '/';
    assert_int_equal(folder_sync_of(longest), -1);
    assert_int_equal(errno, ENAMETOOLONG);
    assert_int_equal(disk.calls, 0);
    disk.error = EIO;
    assert_int_equal(folder_sync_of("/tmp/file"), -1);
    assert_int_equal(errno, EIO);
    int after = dup(0); /* the lowest that is free, as before: nothing stays open */
    assert_int_equal(after, before);
    close(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_folder_of_a_file_is_synced),
        cmocka_unit_test(what_fails_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
