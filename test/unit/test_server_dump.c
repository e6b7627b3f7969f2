/* The master's panic record: what its parts say of themselves, as far as they are there. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server_internal.h"
#include "state_fixture.h"

/** What a process that fails a CHECK with this server at work says last. */
static void panic_with(const struct server *s, char *out, size_t size)
{
    int ends[2], status;
    size_t len = 0;

    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        server_dump_at_panic(s);
        CHECK(s == NULL);
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t n; (n = read(ends[0], out + len, size - 1 - len)) > 0;)
        len += (size_t)n;
    out[len] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void test_before_anything_is_there(void **state)
{
    struct server s = {.magic = SERVER_MAGIC, .is_stopping = true};
    char text[4096];

    (void)state;
    panic_with(&s, text, sizeof text);
    assert_non_null(strstr(text, "check=\"s == NULL\""));
    assert_non_null(strstr(text, "\npanic: server started=no stopping=yes "));
    assert_null(strstr(text, "tables"));
}

static void test_the_state_and_its_tables(void **state)
{
    struct proxy *p = *state;
    struct server s = {.magic = SERVER_MAGIC, .state = p->state};
    char text[4096];

    must_apply(p, put_on(FIRST, "a.example", "127.0.0.1:1"));
    must_apply(p, put_on(FIRST, "b.example", "localhost:1"));
    must_apply(p, rule_change(STATE_ADD_RULE, STORE_RULE_IP, "192.0.2.1"));
    panic_with(&s, text, sizeof text);
    assert_non_null(strstr(text, "\npanic: state generation="));
    assert_non_null(strstr(text, "\npanic: tables generation="));
    assert_non_null(strstr(text, "\npanic: routes routes=2 "));
    assert_non_null(strstr(text, "\npanic: firewall ip_rules=1 "));
    assert_non_null(strstr(text, "\npanic: backends backends=2 "));
    assert_non_null(strstr(text, "\npanic: resolver names=1 "));
    assert_non_null(strstr(text, "\npanic:   name=localhost state="));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_anything_is_there),
        PROXY_TEST(test_the_state_and_its_tables),
    };
    return cmocka_run_group_tests_name("server_dump", tests, NULL, NULL);
}
