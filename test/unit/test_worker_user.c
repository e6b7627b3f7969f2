/* Who workers become: by name, by default, and never the next best because a look-up failed. */

#include <errno.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "worker_user.h"

/* The user database of this host, as the case at hand has it: in the place of libc's functions. */
static struct {
    const char *users[2]; /* ids are 100, 101 */
    const char *failing;
    int error;
    uid_t own;
    bool is_root_named; /* the first one is a second name of root's */
} host;

uid_t geteuid(void)
{
    return host.own;
}

struct passwd *getpwnam(const char *name)
{
    static struct passwd found;
    static char kept[32];

    errno = ENOENT; /* as some sources leave it */
    if (host.failing != NULL && strcmp(host.failing, name) == 0) {
        errno = host.error;
        return NULL;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (host.users[i] != NULL && strcmp(host.users[i], name) == 0) {
            strcpy(kept, name);
            found = (struct passwd){.pw_name = kept, .pw_uid = host.is_root_named ? 0 : 100 + i, .pw_gid = 200 + i};
            return &found;
        }
    }
    return NULL;
}

static void users_are_found_or_the_start_fails(void **state)
{
    static const struct {
        const char *configured, *users[2], *failing;
        int error;
        int rc;
        const char *name; /* who they become */
        const char *why;
    } rows[] = {
        {NULL, {"mc-proxy", "nobody"}, NULL, 0, 0, "mc-proxy", ""},
        {NULL, {"nobody", NULL}, NULL, 0, 0, "nobody", ""},
        {"www", {"www", "mc-proxy"}, NULL, 0, 0, "www", ""},
        {"www", {"mc-proxy", "nobody"}, NULL, 0, ERR_NOT_FOUND, "", "there is no user www"},
        {NULL, {NULL, NULL}, NULL, 0, ERR_NOT_FOUND, "", "no user nobody"},
        {NULL, {"mc-proxy", "nobody"}, "mc-proxy", ENOMEM, ERR_SYSTEM, "", "cannot look up mc-proxy: Cannot allocate"},
        {NULL, {"mc-proxy", "nobody"}, "mc-proxy", EMFILE, ERR_SYSTEM, "", "cannot look up mc-proxy"},
        {NULL, {"nobody", NULL}, "mc-proxy", ENFILE, ERR_SYSTEM, "", "cannot look up mc-proxy"},
        {NULL, {"nobody", NULL}, "mc-proxy", EIO, ERR_SYSTEM, "", "cannot look up mc-proxy"},
        {NULL, {"nobody", NULL}, "mc-proxy", EINTR, ERR_SYSTEM, "", "cannot look up mc-proxy"},
        {NULL, {"nobody", NULL}, "mc-proxy", ESRCH, 0, "nobody", ""},        /* getpwnam(3): not found, too */
        {NULL, {"mc-proxy", "nobody"}, "nobody", ENOMEM, 0, "mc-proxy", ""}, /* nobody asks for that one */
        {"www", {"www", NULL}, "www", ENOMEM, ERR_SYSTEM, "", "cannot look up www"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[256];
        struct strbuf why = STRBUF_OF(text);
        struct worker_user user;
        memset(&host, 0, sizeof host);
        memcpy(host.users, rows[i].users, sizeof host.users);
        host.failing = rows[i].failing;
        host.error = rows[i].error;
        assert_int_equal(worker_user_find(rows[i].configured, &user, &why), rows[i].rc);
        assert_non_null(strstr(text, rows[i].why));
        assert_string_equal(rows[i].rc == 0 ? user.name : "", rows[i].name);
        assert_true((user.uid != UINT32_MAX) == (rows[i].rc == 0));
    }
}

static void nobody_becomes_root(void **state)
{
    char text[256];
    struct strbuf why = STRBUF_OF(text);
    struct worker_user user;

    (void)state;
    memset(&host, 0, sizeof host);
    host.users[0] = "toor";
    host.is_root_named = true;
    assert_int_equal(worker_user_find("toor", &user, &why), ERR_INVALID);
    assert_int_equal(user.uid, UINT32_MAX);
}

static void without_root_they_stay_who_they_are(void **state)
{
    char text[256];
    struct strbuf why = STRBUF_OF(text);
    struct worker_user user;

    (void)state;
    memset(&host, 0, sizeof host);
    host.own = 1000;
    assert_int_equal(worker_user_find("not asked for", &user, &why), 0);
    assert_int_equal(user.uid, UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_are_found_or_the_start_fails),
        cmocka_unit_test(nobody_becomes_root),
        cmocka_unit_test(without_root_they_stay_who_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
