/* A Unix socket's name: who may have it, when it changes hands, whose file is removed. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "unix_socket.h"

static char folder[64], path[96], why_text[256];
static struct strbuf why;

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/mc-proxy-unix-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/admin.sock", folder);
    why = STRBUF_OF(why_text);
    return 0;
}

/* Nothing else may be left in the folder. */
static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static int connect_to(const char *where)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", where);
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0)
        return fd;
    int error_number = errno;
    close(fd);
    errno = error_number;
    return -1;
}

static bool has_visitor(const struct unix_socket *s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN};
    int fd = poll(&p, 1, 0) == 1 ? accept(s->fd, NULL, NULL) : -1;

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static struct unix_socket open_and_publish(void)
{
    struct unix_socket s;

    assert_int_equal(unix_socket_open(path, &s, &why), 0);
    assert_int_equal(unix_socket_publish(&s), 0);
    return s;
}

static unsigned mode_of(const char *file)
{
    struct stat st;

    return stat(file, &st) == 0 ? st.st_mode & 07777 : 0;
}

static void it_is_there_at_once_and_for_its_owner_only(void **state)
{
    static const mode_t masks[] = {0, 022, 077, 0777};

    (void)state;
    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        struct unix_socket s;
        mode_t before = umask(masks[i]);
        assert_int_equal(unix_socket_open(path, &s, &why), 0);
        assert_int_equal(access(path, F_OK), -1); /* not yet */
        assert_int_equal(unix_socket_publish(&s), 0);
        umask(before);
        assert_int_equal(mode_of(path), 0600);
        int fd = connect_to(path);
        assert_true(fd >= 0 && has_visitor(&s));
        close(fd);
        unix_socket_close(&s);
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(s.fd, -1);
        unix_socket_close(&s); /* once more does nothing */
    }
}

static void what_was_not_published_leaves_no_trace(void **state)
{
    struct unix_socket s;

    (void)state;
    assert_int_equal(unix_socket_open(path, &s, &why), 0);
    unix_socket_close(&s);
}

static void taking_the_name_needs_no_descriptor(void **state)
{
    struct unix_socket s;
    struct rlimit limit, none;

    (void)state;
    assert_int_equal(unix_socket_open(path, &s, &why), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 3; /* all that are open now are above */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int rc = unix_socket_publish(&s);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(rc, 0);
    int fd = connect_to(path);
    assert_true(fd >= 0 && has_visitor(&s));
    close(fd);
    unix_socket_close(&s);
}

static void no_descriptor_stays(void **state)
{
    struct unix_socket s;
    int before = open("/dev/null", O_RDONLY | O_CLOEXEC);

    (void)state;
    close(before);
    s = open_and_publish();
    unix_socket_close(&s);
    assert_int_equal(unix_socket_open(path, &s, &why), 0);
    unix_socket_close(&s);
    int after = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(after, before);
    close(after);
}

static void a_stale_one_is_replaced(void **state)
{
    struct unix_socket dead = open_and_publish(), s;

    (void)state;
    unix_socket_abandon(&dead); /* as after a kill: the file stays */
    assert_int_equal(connect_to(path), -1);
    assert_int_equal(unix_socket_open(path, &s, &why), 0);
    assert_int_equal(connect_to(path), -1);
    assert_int_equal(unix_socket_publish(&s), 0);
    int fd = connect_to(path);
    assert_true(fd >= 0 && has_visitor(&s));
    close(fd);
    unix_socket_close(&s);
}

static void one_that_is_served_is_left_alone(void **state)
{
    struct unix_socket live = open_and_publish(), s;

    (void)state;
    assert_int_equal(unix_socket_open(path, &s, &why), ERR_IN_USE);
    assert_non_null(strstr(why_text, "accepts connections there"));
    int fd = connect_to(path);
    assert_true(fd >= 0 && has_visitor(&live));
    close(fd);
    unix_socket_close(&live);
}

static void one_whose_queue_is_full_is_served_too(void **state)
{
    struct unix_socket s;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), visitors[3], count = 0;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    (void)state;
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(fd, 0), 0);
    visitors[count++] = connect_to(path);
    assert_int_equal(unix_socket_open(path, &s, &why), ERR_IN_USE);
    while (count > 0)
        close(visitors[--count]);
    close(fd);
}

static void anything_else_is_left_alone(void **state)
{
    struct unix_socket s;
    int fd = open(path, O_CREAT | O_WRONLY, 0644);

    (void)state;
    assert_int_equal(write(fd, "precious", 8), 8);
    close(fd);
    assert_int_equal(unix_socket_open(path, &s, &why), ERR_IN_USE);
    assert_non_null(strstr(why_text, "no socket is there"));
    unlink(path);
    /* Also if it came after the first look. */
    assert_int_equal(unix_socket_open(path, &s, &why), 0);
    close(open(path, O_CREAT | O_WRONLY, 0644));
    assert_int_equal(unix_socket_publish(&s), ERR_IN_USE);
    assert_int_equal(mode_of(path), 0644);
    unix_socket_close(&s);
    assert_int_equal(mode_of(path), 0644);
    unlink(path);
    /* A link is followed by nobody. */
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_int_equal(unix_socket_open(path, &s, &why), ERR_IN_USE);
}

static void the_file_of_a_successor_stays(void **state)
{
    struct unix_socket old = open_and_publish(), successor;

    (void)state;
    assert_int_equal(rename(path, "/tmp/mc-proxy-unix-aside"), 0);
    assert_int_equal(unix_socket_open(path, &successor, &why), 0);
    assert_int_equal(unix_socket_publish(&successor), 0);
    unlink("/tmp/mc-proxy-unix-aside");
    unix_socket_close(&old);
    int fd = connect_to(path);
    assert_true(fd >= 0 && has_visitor(&successor));
    close(fd);
    unix_socket_close(&successor);
}

static void a_folder_that_is_not_there_is_said(void **state)
{
    struct unix_socket s;
    char elsewhere[128];

    (void)state;
    snprintf(elsewhere, sizeof elsewhere, "%s/none/admin.sock", folder);
    assert_int_equal(unix_socket_open(elsewhere, &s, &why), ERR_SYSTEM);
    assert_string_equal(why_text, "the folder cannot be opened: No such file or directory");
}

/* The hidden name is longer than the last part of the path: the folder must not count. */
static void the_longest_path_works(void **state)
{
    struct unix_socket s;
    char deep_data[BACKEND_UNIX_PATH_MAX + 1], parent_data[BACKEND_UNIX_PATH_MAX + 1];
    struct strbuf deep = STRBUF_OF(deep_data), parent = STRBUF_OF(parent_data);

    (void)state;
    strbuf_addf(&parent, "%s/", folder);
    while (parent.len < BACKEND_UNIX_PATH_MAX - 2)
        strbuf_add_char(&parent, 'd');
    strbuf_addf(&deep, "%s/s", parent.data);
    assert_int_equal(deep.len, BACKEND_UNIX_PATH_MAX);
    assert_int_equal(mkdir(parent.data, 0700), 0);
    assert_int_equal(unix_socket_open(deep.data, &s, &why), 0);
    assert_int_equal(unix_socket_publish(&s), 0);
    int fd = connect_to(deep.data);
    assert_true(fd >= 0);
    close(fd);
    unix_socket_close(&s);
    assert_int_equal(rmdir(parent.data), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(it_is_there_at_once_and_for_its_owner_only),
        TEST(what_was_not_published_leaves_no_trace),
        TEST(taking_the_name_needs_no_descriptor),
        TEST(no_descriptor_stays),
        TEST(a_stale_one_is_replaced),
        TEST(one_that_is_served_is_left_alone),
        TEST(one_whose_queue_is_full_is_served_too),
        TEST(anything_else_is_left_alone),
        TEST(the_file_of_a_successor_stays),
        TEST(a_folder_that_is_not_there_is_said),
        TEST(the_longest_path_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
