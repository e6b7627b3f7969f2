/* Certificate, key and CA of the admin API: files as operators bring them, and what is said about each. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "admin_tls_check.h"
#include "strbuf.h"
#include "test_pems.h"

struct tls_case {
    const char *name;
    const char *cert, *key, *ca; /* what the files hold; NULL: not configured; "": there is no such file */
    const char *reports;         /* one line each: letter of the file, '!' or '?' (warning), beginning of the text */
};

#define BAD "what is this\n"

/* clang-format off */
static const struct tls_case cases[] = {
    {"all well", cert_text, key_text, cert_text, ""},
    {"without CA", cert_text, key_text, NULL, ""},
    {"no such files", "", "", "", "C!cannot be read: No such file\nK!cannot be read: No such file\nA!cannot be read: No such file\n"},
    {"no PEM", BAD, BAD, BAD, "C!holds no usable certificate: \nK!holds no usable private key: \nA!holds no usable certificate: \n"},
    {"a key as certificate", key_text, key_text, NULL, "C!holds no usable certificate: no start line\n"},
    {"a certificate as key", cert_text, cert_text, NULL, "K!holds no usable private key: \n"},
    {"another key", cert_text, other_key_text, NULL, "K!is not the key of tls_cert\n"},
    {"a key of another type", cert_text, other_type_key_text, NULL, "K!is not the key of tls_cert\n"},
    {"a key with passphrase", cert_text, passphrase_key_text, NULL, "K!is protected by a passphrase\n"},
    {"run out", expired_cert_text, key_text, NULL, "C?the certificate has expired\n"},
    {"a CA that has run out", cert_text, key_text, expired_cert_text, "A?the certificate has expired; nobody can use\n"},
    {"a key alone", NULL, key_text, NULL, ""},
    {"a CA alone", NULL, NULL, key_text, "A!holds no usable certificate: \n"},
};
/* clang-format on */

static void on_report(void *context, enum admin_tls_file file, bool is_warning, const char *text)
{
    struct strbuf *out = context;

    strbuf_addf(out, "%c%c%s\n", "CKA"[file], is_warning ? '?' : '!', text);
}

/** Do the lines of got begin with those of expected, one by one? */
static bool lines_match(const char *got, const char *expected)
{
    while (*expected != '\0') {
        size_t len = strcspn(expected, "\n");
        if (strncmp(got, expected, len) != 0)
            return false;
        got += strcspn(got, "\n");
        got += *got != '\0' ? 1 : 0;
        expected += len + 1;
    }
    return *got == '\0';
}

static const char *put_file(const char *folder, const char *name, const char *text, char path[128])
{
    snprintf(path, 128, "%s/%s", folder, name);
    unlink(path);
    if (text == NULL)
        return NULL;
    if (text[0] != '\0') {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs(text, f);
        fclose(f);
    }
    return path;
}

static void test_cases(void **state)
{
    char folder[] = "/tmp/test_admin_tls.XXXXXX", paths[3][128], data[2048];
    static const char *const names[] = {"cert", "key", "ca"};

    (void)state;
    assert_non_null(mkdtemp(folder));
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct strbuf got = STRBUF_OF(data);
        const char *cert = put_file(folder, names[0], cases[i].cert, paths[0]);
        const char *key = put_file(folder, names[1], cases[i].key, paths[1]);
        const char *ca = put_file(folder, names[2], cases[i].ca, paths[2]);
        admin_tls_check(&(struct admin_tls_files){cert, key, ca, "tls_cert"}, on_report, &got);
        if (!lines_match(data, cases[i].reports))
            fail_msg("%s: said\n%sexpected\n%s", cases[i].name, data, cases[i].reports);
    }
    for (unsigned i = 0; i < 3; i++)
        unlink(paths[i]);
    assert_int_equal(rmdir(folder), 0);
}

static void test_no_regular_file(void **state)
{
    char data[512];
    struct strbuf got = STRBUF_OF(data);

    (void)state;
    admin_tls_check(&(struct admin_tls_files){"/dev/null", "/tmp", "/dev/zero", "tls_cert"}, on_report, &got);
    assert_true(lines_match(data, "C!is no regular file\nK!is no regular file\nA!is no regular file\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_no_regular_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
