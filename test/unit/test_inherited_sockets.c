/* Sockets from before our time: taken from the environment at fixed numbers, so every case runs in a process of its own. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "inherited_sockets.h"

#define NEED(condition)                                                     \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #condition); \
            _exit(1);                                                       \
        }                                                                   \
    } while (0)

/* ---- in the child ---- */

/* Away from the numbers that sockets are passed at. */
static int listening(uint16_t *port, bool reuse_port)
{
    struct sockaddr_in sin = {
        .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof sin;
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    if (reuse_port)
        NEED(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0);
    NEED(bind(fd, (struct sockaddr *)&sin, sizeof sin) == 0 && listen(fd, 5) == 0);
    NEED(getsockname(fd, (struct sockaddr *)&sin, &len) == 0);
    *port = ntohs(sin.sin_port);
    int moved = fcntl(fd, F_DUPFD, 100);
    close(fd);
    return moved;
}

/* Put these at 3 and up and describe them in the environment. */
static void pass(const int *fds, unsigned count, const char *names)
{
    char text[32];
    int moved[16];

    for (unsigned i = 0; i < count; i++)
        moved[i] = fcntl(fds[i], F_DUPFD, 200);
    for (unsigned i = 0; i < count; i++)
        NEED(dup2(moved[i], 3 + (int)i) >= 0);
    snprintf(text, sizeof text, "%u", count);
    setenv("LISTEN_FDS", text, 1);
    snprintf(text, sizeof text, "%d", getpid());
    setenv("LISTEN_PID", text, 1);
    setenv("LISTEN_FDNAMES", names, 1);
}

static struct listen_addr loopback(uint16_t port)
{
    return (struct listen_addr){.addr = {.family = 4, .bytes = {127, 0, 0, 1}}, .port = port};
}

static struct inherited_sockets set;
static struct inherited_choice choice;
static char why_text[256];

static int init(void)
{
    struct strbuf why = STRBUF_OF(why_text);
    return inherited_sockets_init(&set, &why);
}

static int choose(uint16_t port)
{
    struct strbuf why = STRBUF_OF(why_text);
    struct listen_addr addr = loopback(port);
    return inherited_sockets_choose(&set, &addr, &choice, &why);
}

static void case_nothing(void)
{
    NEED(init() == 0 && set.count == 0 && set.upgrade_fd == -1);
    setenv("LISTEN_FDS", "3", 1);
    NEED(init() == 0 && set.count == 0); /* without a pid it is nobody's */
    setenv("LISTEN_FDS", "3", 1);
    setenv("LISTEN_PID", "1", 1);
    NEED(init() == 0 && set.count == 0);
    NEED(getenv("LISTEN_FDS") == NULL && getenv("LISTEN_PID") == NULL);
}

static void case_environment_and_flags(void)
{
    uint16_t port = 0;
    int fd = listening(&port, false);

    pass(&fd, 1, "web");
    setenv("LISTEN_PIDFDID", "7", 1);
    NEED(init() == 0 && set.count == 1);
    NEED(strcmp(set.items[0].name, "web") == 0 && set.items[0].fd == 3 && set.items[0].slot == -1);
    NEED((fcntl(3, F_GETFD) & FD_CLOEXEC) != 0);
    NEED(getenv("LISTEN_FDS") == NULL && getenv("LISTEN_PID") == NULL && getenv("LISTEN_FDNAMES") == NULL);
    NEED(getenv("LISTEN_PIDFDID") == NULL);
    NEED(choose(port) == 0 && choice.shared_fd == 3 && choice.count == 0 && !choice.is_foreign);
    free(choice.fds);
    NEED(choose(port) == 0 && choice.shared_fd == -1 && choice.count == 0); /* taken */
    free(choice.fds);
    inherited_sockets_fini(&set);
    NEED(fcntl(3, F_GETFD) < 0);
}

static void case_own_sockets_come_in_the_order_of_their_slots(void)
{
    uint16_t port = 0;
    int fds[4];
    struct listen_addr addr;

    for (unsigned i = 0; i < 4; i++)
        fds[i] = listening(&port, true);
    pass(fds, 4, "listener-2-x:listener-10:listener-0-y:listener-1-");
    NEED(init() == 0 && set.count == 4);
    addr = loopback(port);
    NEED(inherited_sockets_slots(&set, &addr) == 4);
    NEED(choose(port) == 0 && choice.count == 4 && !choice.is_foreign && choice.shared_fd == -1);
    NEED(choice.fds[0] == 5 && choice.fds[1] == 6 && choice.fds[2] == 3 && choice.fds[3] == 4);
    free(choice.fds);
    NEED(inherited_sockets_slots(&set, &addr) == 0);
    inherited_sockets_fini(&set);
}

static void case_names_that_are_none(void)
{
    static const char *const names[] = {"listener-",   "listener-x", "listener-256", "listener-99999999999",
                                        "listener-1x", "Listener-1", "listener--1",  "my-listener-1",
                                        "listener 1",  "",           "listener-+1"};

    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        uint16_t port = 0;
        int fd = listening(&port, true);
        pass(&fd, 1, names[i]);
        NEED(init() == 0 && set.count == 1 && set.items[0].slot == -1);
        NEED(choose(port) == 0 && choice.is_foreign && choice.count == 1);
        free(choice.fds);
        inherited_sockets_fini(&set);
    }
}

static void case_somebody_elses_come_last_and_only_once(void)
{
    uint16_t port = 0;
    int fds[3];

    for (unsigned i = 0; i < 3; i++)
        fds[i] = listening(&port, true);
    pass(fds, 2, "web:listener-0");
    NEED(init() == 0 && choose(port) == 0);
    NEED(choice.count == 2 && choice.fds[0] == 4 && choice.fds[1] == 3 && !choice.is_foreign);
    free(choice.fds);
    inherited_sockets_fini(&set);
    pass(fds, 3, "web:web:listener-0");
    NEED(init() == 0 && choose(port) == ERR_INVALID);
    NEED(strstr(why_text, "must list it once") != NULL);
    inherited_sockets_fini(&set);
}

static void case_the_same_socket_twice_is_one(void)
{
    uint16_t port = 0;
    int fd = listening(&port, true);
    int fds[] = {fd, fd, fd};

    pass(fds, 3, "web:listener-4-z:web");
    NEED(init() == 0 && set.count == 1 && set.items[0].slot == 4 && strcmp(set.items[0].name, "listener-4-z") == 0);
    NEED(fcntl(4, F_GETFD) < 0 && fcntl(5, F_GETFD) < 0);
    inherited_sockets_fini(&set);
}

static void case_what_is_no_listener(void)
{
    uint16_t port = 0;
    int bound = socket(AF_INET, SOCK_STREAM, 0), file = open("/dev/null", O_RDONLY),
        udp = socket(AF_INET, SOCK_DGRAM, 0);
    int fds[] = {bound, file, udp, listening(&port, false)};

    pass(fds, 4, "a:b");
    NEED(init() == 0 && set.count == 4);
    for (unsigned i = 0; i < 4; i++)
        NEED(set.items[i].is_listener == (i == 3));
    NEED(strcmp(set.items[1].name, "b") == 0 && strcmp(set.items[2].name, "") == 0);
    inherited_sockets_fini(&set);
}

static void case_a_count_beyond_what_is_open(void)
{
    uint16_t port = 0;
    int fd = listening(&port, false);

    close(200);
    pass(&fd, 1, "web");
    for (int other = 4; other < 300; other++)
        close(other);
    setenv("LISTEN_FDS", "90", 1);
    NEED(init() == 0 && set.count == 1);
    inherited_sockets_fini(&set);
}

static void case_counts_that_are_none(void)
{
    static const char *const counts[] = {"", "x", "-1", "1x", " 1", "99999999999999999999", "1000000"};
    uint16_t port = 0;
    int fd = listening(&port, false);

    for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        pass(&fd, 1, "web");
        setenv("LISTEN_FDS", counts[i], 1);
        NEED(init() == ERR_INVALID && set.count == 0);
    }
    pass(&fd, 1, "web");
    setenv("LISTEN_FDS", "0", 1);
    NEED(init() == 0 && set.count == 0);
}

static void case_the_link_is_kept_apart(void)
{
    uint16_t port = 0;
    int pair[2];
    NEED(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    int fds[] = {listening(&port, true), pair[0]};

    pass(fds, 2, "listener-0:upgrade");
    NEED(init() == 0 && set.count == 1 && set.upgrade_fd == 4 && (fcntl(4, F_GETFD) & FD_CLOEXEC) != 0);
    inherited_sockets_fini(&set);
    NEED(set.upgrade_fd == -1 && fcntl(4, F_GETFD) < 0);
}

static void case_names_are_legal_and_come_back(void)
{
    static const struct {
        struct listen_addr addr;
        const char *name;
    } cases[] = {{{.is_dual_stack = true, .port = 443}, "listener-3-_443"},
                 {{.addr = {.family = 4, .bytes = {127, 0, 0, 1}}, .port = 80}, "listener-3-127.0.0.1_80"},
                 {{.addr = {.family = 6, .bytes = {[15] = 1}}, .port = 80}, "listener-3-[__1]_80"}};

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[INHERITED_NAME_MAX + 1];
        struct strbuf name = STRBUF_OF(text);
        inherited_socket_name(&cases[i].addr, 3, &name);
        NEED(strcmp(text, cases[i].name) == 0);
        strbuf_reset(&name);
        inherited_shared_name(&cases[i].addr, &name);
        NEED(strncmp(text, "shared-", 7) == 0 && strchr(text, ':') == NULL);
    }
}

/* ---- in the parent ---- */

struct row {
    const char *name;
    void (*fn)(void);
};

static void run_in_child(void **state)
{
    const struct row *row = *state;
    int status;

    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        row->fn();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0)
        fail_msg("%s: status %d", row->name, status);
}

#define ROW(fn) \
    {           \
#fn, fn \
    }

int main(void)
{
    static struct row rows[] = {
        ROW(case_nothing),
        ROW(case_environment_and_flags),
        ROW(case_own_sockets_come_in_the_order_of_their_slots),
        ROW(case_names_that_are_none),
        ROW(case_somebody_elses_come_last_and_only_once),
        ROW(case_the_same_socket_twice_is_one),
        ROW(case_what_is_no_listener),
        ROW(case_a_count_beyond_what_is_open),
        ROW(case_counts_that_are_none),
        ROW(case_the_link_is_kept_apart),
        ROW(case_names_are_legal_and_come_back),
    };
    struct CMUnitTest tests[sizeof rows / sizeof rows[0]];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        tests[i] = (struct CMUnitTest){.name = rows[i].name, .test_func = run_in_child, .initial_state = &rows[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
