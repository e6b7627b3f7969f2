/* The service manager's store: told differences only, in an order that loses nothing, and again until it has taken them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "fd_store.h"
#include "notify.h"

struct fixture {
    int manager;
    struct notify notify;
    struct fd_store store;
    int fds[4]; /* different sockets */
    char heard[4096];
};

static int setup(void **state)
{
    static struct fixture fixture;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];

    fixture = (struct fixture){.manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0)};
    snprintf(name, sizeof name, "@mc-proxy-store-%d", getpid());
    memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
    if (bind(fixture.manager, (struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))) != 0)
        return -1;
    setenv("NOTIFY_SOCKET", name, 1);
    notify_init(&fixture.notify);
    fd_store_init(&fixture.store, &fixture.notify);
    for (unsigned i = 0; i < 4; i++)
        fixture.fds[i] = socket(AF_INET, SOCK_STREAM, 0);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    fd_store_fini(&f->store);
    for (unsigned i = 0; i < 4; i++)
        close(f->fds[i]);
    close(f->manager);
    return 0;
}

/* What the manager was told since the last call: "+name " and "-name ". Each + must come with one descriptor, and without polling. */
static const char *heard(struct fixture *f)
{
    char text[512], name[256];
    struct strbuf out = STRBUF_OF(f->heard);
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    ssize_t n;

    for (;;) {
        struct iovec iov = {.iov_base = text, .iov_len = sizeof text - 1};
        struct msghdr msg = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        if ((n = recvmsg(f->manager, &msg, 0)) < 0)
            return f->heard;
        text[n] = '\0';
        if (sscanf(text, "FDSTOREREMOVE=1\nFDNAME=%255s", name) == 1) {
            assert_null(CMSG_FIRSTHDR(&msg));
            strbuf_addf(&out, "-%s ", name);
            continue;
        }
        assert_int_equal(sscanf(text, "FDSTORE=1\nFDPOLL=0\nFDNAME=%255s", name), 1);
        const struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
        int fd = -1;
        assert_non_null(header);
        if (header != NULL)
            memcpy(&fd, CMSG_DATA(header), sizeof fd);
        close(fd);
        strbuf_addf(&out, "+%s ", name);
    }
}

/* names: one letter for each item, whose descriptor is f->fds[digit behind it] */
static int sync_to(struct fixture *f, const char *names)
{
    static struct fd_store_item items[8];
    unsigned count = 0;

    for (const char *c = names; *c != '\0'; c += 2, count++) {
        items[count] = (struct fd_store_item){.name = {*c}, .fd = f->fds[c[1] - '0']};
    }
    return fd_store_sync(&f->store, items, count);
}

static void test_only_differences_are_told_and_what_goes_goes_first(void **state)
{
    static const struct {
        const char *wanted, *told;
    } steps[] = {
        {"", ""},
        {"a0b1", "+a +b "},
        {"a0b1", ""},
        {"b1a0", ""},
        {"a0b1c2", "+c "},
        {"a0c2", "-b "},
        {"a3c2", "-a +a "}, /* the same name, another socket */
        {"a2c3",
         "-a -c +a +c "}, /* swapped: removed before anything is added, as the store knows sockets and not names */
        {"", "-a -c "},
        {"a0", "+a "},
    };
    struct fixture *f = *state;

    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        assert_int_equal(sync_to(f, steps[i].wanted), 0);
        const char *told = heard(f);
        if (strlen(told) != strlen(steps[i].told))
            fail_msg("step %u: %s", i, told);
        for (const char *c = steps[i].told; *c != '\0'; c += 3) {
            char word[3] = {c[0], c[1], '\0'};
            assert_non_null(strstr(told, word));
        }
        if (strchr(told, '+') != NULL && strrchr(told, '-') != NULL)
            assert_true(strrchr(told, '-') < strchr(told, '+'));
    }
}

static void test_what_an_earlier_run_left_is_removed_and_put_in_anew(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(fd_store_expect(&f->store, "a"), 0);
    assert_int_equal(fd_store_expect(&f->store, "gone"), 0);
    assert_int_equal(sync_to(f, "a0"), 0);
    assert_string_equal(heard(f) + strlen("-a -gone "), "+a ");
    assert_int_equal(sync_to(f, "a0"), 0);
    assert_string_equal(heard(f), "");
}

static void test_a_manager_that_takes_no_more_gets_the_rest_later(void **state)
{
    struct fixture *f = *state;
    unsigned filled = 0;

    while (notify_send(&f->notify, "FDSTOREREMOVE=1\nFDNAME=x"))
        filled++;
    assert_true(filled > 0);
    assert_int_equal(sync_to(f, "a0b1"), ERR_UNAVAILABLE);
    heard(f);
    assert_int_equal(sync_to(f, "a0b1"), 0);
    assert_string_equal(heard(f), "+a +b ");
    while (notify_send(&f->notify, "FDSTOREREMOVE=1\nFDNAME=x")) {
    }
    assert_int_equal(sync_to(f, "b1"), ERR_UNAVAILABLE);
    heard(f);
    assert_int_equal(sync_to(f, "b1"), 0);
    assert_string_equal(heard(f), "-a ");
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_only_differences_are_told_and_what_goes_goes_first),
        CASE(test_what_an_earlier_run_left_is_removed_and_put_in_anew),
        CASE(test_a_manager_that_takes_no_more_gets_the_rest_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
