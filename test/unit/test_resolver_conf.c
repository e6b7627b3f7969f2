/* A resolv.conf that changes under the resolver: the next look-up asks whom it names, and so do those under way. */

#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/socket.h>

#include <cmocka.h>

#include "clock.h"
#include "fake_dns.h"
#include "log_event.h"
#include "resolv_conf.h"
#include "resolver.h"
#include "run_until.h"

#define FIRST  "127.0.0.1"
#define SECOND "127.0.0.2"

/* libc's function, also c-ares's: so many times there is no descriptor for resolv.conf. */
static unsigned opens_to_fail;

FILE *fopen(const char *path, const char *mode)
{
    FILE *(*real)(const char *, const char *) = (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen");
    const char *slash = strrchr(path, '/');

    if (opens_to_fail > 0 && slash != NULL && strcmp(slash, "/resolv.conf") == 0) {
        opens_to_fail--;
        errno = EMFILE;
        return NULL;
    }
    return real(path, mode);
}

FILE *fopen64(const char *path, const char *mode);
FILE *fopen64(const char *path, const char *mode)
{
    return fopen(path, mode);
}

struct bench {
    struct ev_loop *loop;
    struct ev_timer tick;
    struct fake_dns first, second;
    struct resolver *resolver;
    char folder[32];
    char conf[64];
    unsigned answers;
    struct addr_set last;
    unsigned changes_logged, refusals_logged;
};

static void on_tick(EV_P_ ev_timer *timer, int revents)
{
    (void)loop;
    (void)timer;
    (void)revents;
}

static void on_log(struct bytes record, void *context)
{
    struct bench *b = context;
    struct log_record_reader r;

    assert_int_equal(log_record_open(&r, record), 0);
    b->changes_logged += bytes_equal_str(r.message, "resolv.conf has changed: names are asked for as it says");
    b->refusals_logged +=
        bytes_equal_str(r.message, "resolv.conf has changed and cannot be used: names are asked for as before");
}

static void on_answer(const char *name, const struct addr_set *addrs, void *context)
{
    struct bench *b = context;

    (void)name;
    b->answers++;
    b->last = *addrs;
}

/** The file that names this server, put in place at once. */
static void name_server(struct bench *b, const char *server)
{
    char fresh[80];

    snprintf(fresh, sizeof fresh, "%s/fresh", b->folder);
    FILE *file = fopen(fresh, "we");
    assert_non_null(file);
    fprintf(file, "nameserver %s\n", server);
    fclose(file);
    assert_int_equal(rename(fresh, b->conf), 0);
}

static struct fake_name first_names[] = {{.name = "app.test", .ttl = 1, .v4 = {"10.0.0.1"}},
                                         {.name = "slow.test", .ttl = 1, .is_mute = true}};
static struct fake_name second_names[] = {{.name = "app.test", .ttl = 1, .v4 = {"10.0.0.2"}},
                                          {.name = "slow.test", .ttl = 1, .v4 = {"10.0.0.3"}},
                                          {.name = "new.test", .ttl = 1, .v4 = {"10.0.0.4"}}};

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);

    b->loop = ev_loop_new(EVFLAG_AUTO);
    ev_timer_init(&b->tick, on_tick, 0.005, 0.005);
    ev_timer_start(b->loop, &b->tick);
    uint16_t port = fake_dns_start_at(&b->first, b->loop, first_names, 2, 1, 0); /* resolv.conf names no ports */
    fake_dns_start_at(&b->second, b->loop, second_names, 3, 2, port);
    snprintf(b->folder, sizeof b->folder, "/tmp/mc-proxy-dns-XXXXXX");
    if (mkdtemp(b->folder) == NULL)
        return -1;
    snprintf(b->conf, sizeof b->conf, "%s/resolv.conf", b->folder);
    name_server(b, FIRST);
    log_set_sink(on_log, b);
    struct resolver_options options = {.resolv_conf = b->conf,
                                       .port = port,
                                       .ttl_min_ms = 50,
                                       .ttl_max_ms = 50,
                                       .query_timeout_ms = 60000,
                                       .retry_min_ms = 60000,
                                       .retry_max_ms = 60000};
    assert_int_equal(resolver_new(b->loop, &options, on_answer, b, &b->resolver), 0);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;

    resolver_free(&b->resolver);
    fake_dns_stop(&b->first);
    fake_dns_stop(&b->second);
    ev_timer_stop(b->loop, &b->tick);
    ev_loop_destroy(b->loop);
    log_set_sink(NULL, NULL);
    unlink(b->conf);
    rmdir(b->folder);
    free(b);
    return 0;
}

static void expect_last(const struct bench *b, uint8_t last_byte)
{
    assert_int_equal(b->last.count, 1);
    assert_int_equal(b->last.addrs[0].bytes[3], last_byte);
}

static void test_the_next_look_up_asks_the_new_server(void **state)
{
    struct bench *b = *state;

    assert_int_equal(resolver_watch(b->resolver, "app.test"), 0);
    RUN_UNTIL(b, b->answers == 1);
    expect_last(b, 1);
    name_server(b, SECOND);
    RUN_UNTIL(b, b->answers == 2);
    expect_last(b, 2);
    assert_int_equal(b->changes_logged, 1);
    unsigned asked = b->first.asked;
    RUN_UNTIL(b, second_names[0].asked >= 5);
    assert_int_equal(b->first.asked, asked); /* nothing goes to the old one any more */
    assert_int_equal(b->changes_logged, 1);
}

static void test_a_look_up_under_way_is_begun_anew(void **state)
{
    struct bench *b = *state;

    assert_int_equal(resolver_watch(b->resolver, "slow.test"), 0);
    RUN_UNTIL(b, first_names[1].asked > 0); /* and will not answer for a minute */
    name_server(b, SECOND);
    assert_int_equal(resolver_watch(b->resolver, "new.test"), 0);
    RUN_UNTIL(b, b->answers == 2);
    assert_int_equal(resolver_unsettled_count(b->resolver), 0);
    assert_int_equal(resolver_addresses(b->resolver, "slow.test").addrs[0].bytes[3], 3);
    assert_int_equal(resolver_addresses(b->resolver, "new.test").addrs[0].bytes[3], 4);
}

static void test_a_failed_name_is_asked_again_when_told(void **state)
{
    struct bench *b = *state;

    assert_int_equal(resolver_watch(b->resolver, "new.test"), 0);
    RUN_UNTIL(b, resolver_unsettled_count(b->resolver) == 0); /* does not exist; the next try is in a minute */
    name_server(b, SECOND);
    resolver_retry(b->resolver);
    resolver_retry(b->resolver); /* queued already */
    RUN_UNTIL(b, b->answers == 1);
    expect_last(b, 4);
}

static void test_a_file_that_is_gone_changes_nothing(void **state)
{
    struct bench *b = *state;

    assert_int_equal(resolver_watch(b->resolver, "app.test"), 0);
    RUN_UNTIL(b, b->answers == 1);
    assert_int_equal(unlink(b->conf), 0);
    unsigned asked = first_names[0].asked;
    RUN_UNTIL(b, first_names[0].asked >= asked + 3);
    assert_int_equal(b->changes_logged + b->refusals_logged, 0);
    name_server(b, SECOND);
    RUN_UNTIL(b, b->answers == 2);
    expect_last(b, 2);
}

static void test_names_are_forgotten_in_the_middle_of_a_change(void **state)
{
    struct bench *b = *state;

    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(resolver_watch(b->resolver, "slow.test"), 0);
        RUN_UNTIL(b, first_names[1].asked > 0);
        name_server(b, i % 2 == 0 ? SECOND : FIRST);
        resolver_unwatch(b->resolver, "slow.test");
        assert_int_equal(resolver_watch(b->resolver, "app.test"), 0);
        unsigned answers = b->answers;
        RUN_UNTIL(b, b->answers > answers);
        resolver_unwatch(b->resolver, "app.test");
        first_names[1].asked = i % 2 == 0 ? 1 : 0;
    }
}

/** Neither the server that c-ares takes without a file, nor the old one for ever. */
static void test_a_file_that_cannot_be_opened_is_read_later(void **state)
{
    struct bench *b = *state;

    name_server(b, SECOND);
    for (unsigned tries = 0; tries < 3; tries++) {
        opens_to_fail = 1 + tries % 2; /* c-ares's; and the one that asks why it has no server */
        assert_int_equal(resolver_watch(b->resolver, tries == 0 ? "app.test" : tries == 1 ? "slow.test" : "x.test"), 0);
        RUN_UNTIL(b, opens_to_fail == 0);
    }
    assert_int_equal(b->refusals_logged, 1); /* said once */
    assert_int_equal(b->changes_logged, 0);
    assert_int_equal(resolver_watch(b->resolver, "new.test"), 0);
    RUN_UNTIL(b, b->changes_logged == 1);
    RUN_UNTIL(b, resolver_addresses(b->resolver, "new.test").count == 1);
    assert_int_equal(resolver_addresses(b->resolver, "new.test").addrs[0].bytes[3], 4);
}

static void test_which_files_name_another_server(void **state)
{
    static const struct {
        const char *text;
        bool names_another;
    } rows[] = {
        {"", false},
        {"# nothing\nsearch example.com\n", false},
        {"nameserver 127.0.0.1\n", false},
        {"nameserver\t127.0.0.1\nnameserver 127.0.0.2\n", true},
        {"nameserver 192.0.2.1\n", true},
        {"nameserver 192.0.2.1", true},
        {"nameserver ::1\n", true},
        {"nameserver dns.example.com\n", false},
        {"nameservers 192.0.2.1\n", false},
        {"#nameserver 192.0.2.1\n", false},
    };
    struct bench *b = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        FILE *file = fopen(b->conf, "we");
        assert_non_null(file);
        fputs(rows[i].text, file);
        fclose(file);
        assert_int_equal(resolv_conf_names_another(b->conf, FIRST), rows[i].names_another);
    }
    opens_to_fail = 1;
    assert_true(resolv_conf_names_another(b->conf, FIRST));
    assert_true(resolv_conf_names_another(b->folder, FIRST)); /* opens, but reading is an error */
    unlink(b->conf);
    assert_false(resolv_conf_names_another(b->conf, FIRST));
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_the_next_look_up_asks_the_new_server),
        CASE(test_a_look_up_under_way_is_begun_anew),
        CASE(test_a_failed_name_is_asked_again_when_told),
        CASE(test_a_file_that_is_gone_changes_nothing),
        CASE(test_names_are_forgotten_in_the_middle_of_a_change),
        CASE(test_a_file_that_cannot_be_opened_is_read_later),
        CASE(test_which_files_name_another_server),
    };

    return cmocka_run_group_tests_name("resolver_conf", tests, NULL, NULL);
}
