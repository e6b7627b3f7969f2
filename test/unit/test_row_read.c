/* Files of routes and rules: what each format takes, and what is said, with its line, about what it does not take. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "row_account.h"

#define TEXT ROW_FORMAT_TEXT
#define CSV  ROW_FORMAT_CSV
#define JSON ROW_FORMAT_JSON

struct read_case {
    const char *name;
    enum row_kind kind;
    enum row_format format;
    const char *in;
    const char *rows;     /* as text */
    const char *problems; /* "LINE: ..." */
};

#define HEADER "listener_addr,hostname,backend,send_proxy_protocol\n"
#define WWW    ":443 www.example.com 10.0.0.5:8443\n"

/* clang-format off */
static const struct read_case cases[] = {
    {"text", ROW_ROUTE, TEXT, ":443 www.example.com 10.0.0.5:8443", WWW, ""},
    {"text, nothing", ROW_ROUTE, TEXT, "", "", ""},
    {"text, blanks and line ends", ROW_ROUTE, TEXT, "\n \t\r\n  :443\twww.example.com  10.0.0.5:8443 \r\n", WWW, ""},
    {"text, comments", ROW_ROUTE, TEXT, "# a\n; b\n:443 www.example.com 10.0.0.5:8443 # c\n:443 x 1.2.3.4:5 ;d\n",
     WWW ":443 x 1.2.3.4:5\n", ""},
    {"text, a '#' within a word", ROW_ROUTE, TEXT, ":443 x unix:/a#b", ":443 x unix:/a#b\n", ""},
    {"text, the flag", ROW_ROUTE, TEXT, ":443 * [::1]:1 send_proxy_protocol\n", ":443 * [::1]:1 send_proxy_protocol\n", ""},
    {"text, canonical form", ROW_ROUTE, TEXT, "[::1]:443 WWW.Example.COM. [2001:DB8:0::1]:443\n",
     "[::1]:443 www.example.com [2001:db8::1]:443\n", ""},
    {"text, a mark of byte order", ROW_ROUTE, TEXT, "\xef\xbb\xbf:443 www.example.com 10.0.0.5:8443", WWW, ""},
    {"text, quotes", ROW_ROUTE, TEXT, ":443 x \"unix:/a b\\\"\\\\\\x0a#\"\n", ":443 x \"unix:/a b\\\"\\\\\\x0a#\"\n", ""},
    {"text, a quote without end", ROW_ROUTE, TEXT, "\n:443 x \"unix:/a\n" WWW, WWW, "2: a quote has no end\n"},
    {"text, no blank behind quotes", ROW_ROUTE, TEXT, ":443 x \"unix:/a\"b", "", "1: a blank is missing behind a quote\n"},
    {"text, an escape in capitals", ROW_ROUTE, TEXT, ":443 x \"unix:/a\\x0A\"\n", ":443 x \"unix:/a\\x0a\"\n", ""},
    {"text, an escape that is none", ROW_ROUTE, TEXT, ":443 x \"unix:/\\x[0\"", "", "1: behind a backslash come \", \\ or xNN\n"},
    {"text, other blanks", ROW_ROUTE, TEXT, ":443\fwww.example.com\v10.0.0.5:8443", WWW, ""},
    {"text, an empty word in front", ROW_ROUTE, TEXT, "\"\" a.b 1.2.3.4:5\n", "", NULL},
    {"text, a wrong escape", ROW_ROUTE, TEXT, ":443 x \"unix:/\\n\"", "", "1: behind a backslash come \", \\ or xNN\n"},
    {"text, a wrong escape at the end", ROW_ROUTE, TEXT, ":443 x \"unix:/\\", "", "1: behind a backslash come \", \\ or xNN\n"},
    {"text, no listener", ROW_ROUTE, TEXT, "www.example.com 10.0.0.5:8443", "", "1: listener is missing\n"},
    {"text, no backend", ROW_ROUTE, TEXT, ":443 www.example.com\n", "", "1: backend is missing\n"},
    {"text, no hostname", ROW_ROUTE, TEXT, ":443\n", "", "1: hostname is missing\n"},
    {"text, a wrong flag", ROW_ROUTE, TEXT, ":443 a.b 1.2.3.4:5 proxy\n", "",
     "1: proxy is one word too many: expected LISTENER HOSTNAME BACKEND [send_proxy_protocol]\n"},
    {"text, too much", ROW_ROUTE, TEXT, ":443 a.b 1.2.3.4:5 send_proxy_protocol x y z\n", "",
     "1: x is one word too many: expected LISTENER HOSTNAME BACKEND [send_proxy_protocol]\n"},
    {"text, several problems", ROW_ROUTE, TEXT, ":0 a.b 1.2.3.4:5\n" WWW ":443 a..b 1.2.3.4:5\n:443 a.b 1.2.3.4\n", WWW,
     "1: listener :0: port must be 1 to 65535\n"
     "3: hostname a..b: must not have an empty label (two dots in a row, or one in front)\n"
     "4: backend 1.2.3.4: port is missing, write 1.2.3.4:443\n"},
    {"text, bytes that are no text", ROW_ROUTE, TEXT, ":443 \033[2J 1.2.3.4:5\n", "", NULL},

    {"rules", ROW_RULE, TEXT, "ip 192.0.2.7\ncidr 198.51.100.0/24\ncountry KP\n",
     "ip 192.0.2.7\ncidr 198.51.100.0/24\ncountry KP\n", ""},
    {"rules without type", ROW_RULE, TEXT, "192.0.2.7\n198.51.100.0/24 ; SBL1\nKP\n2001:db8::7\n2001:db8::/32",
     "ip 192.0.2.7\ncidr 198.51.100.0/24\ncountry KP\nip 2001:db8::7\ncidr 2001:db8::/32\n", ""},
    {"rules in canonical form", ROW_RULE, TEXT, "::ffff:192.0.2.7\nip 2001:DB8:0:0::7\n", "ip 192.0.2.7\nip 2001:db8::7\n", ""},
    {"rules of wrong type", ROW_RULE, TEXT, "address 192.0.2.7\n", "", "1: type address: expected ip, cidr or country\n"},
    {"rules of too many words", ROW_RULE, TEXT, "ip 192.0.2.7 x\n", "", "1: there are more than two words: expected TYPE VALUE\n"},
    {"rules of wrong value", ROW_RULE, TEXT, "kp\n", "", "1: country kp: a country is two capital letters like KP (ISO 3166-1)\n"},

    {"csv", ROW_ROUTE, CSV, HEADER ":443,www.example.com,10.0.0.5:8443,false\r\n:443,x,1.2.3.4:5,true",
     WWW ":443 x 1.2.3.4:5 send_proxy_protocol\n", ""},
    {"csv, other order, no flag", ROW_ROUTE, CSV, "backend,hostname,listener_addr\n10.0.0.5:8443,www.example.com,:443\n", WWW, ""},
    {"csv, words for flags", ROW_ROUTE, CSV, HEADER ":1,a,1.2.3.4:5,1\n:1,b,1.2.3.4:5,TRUE\n:1,c,1.2.3.4:5,\n:1,d,1.2.3.4:5,maybe\n",
     ":1 a 1.2.3.4:5 send_proxy_protocol\n:1 b 1.2.3.4:5 send_proxy_protocol\n:1 c 1.2.3.4:5\n",
     "5: send_proxy_protocol: expected true or false\n"},
    {"csv, quotes", ROW_ROUTE, CSV, HEADER ":1,\"a\",\"unix:/a,\"\"b\"\"\nc\",false\n:1,b,1.2.3.4,false\n",
     ":1 a \"unix:/a,\\\"b\\\"\\x0ac\"\n", "4: backend 1.2.3.4: port is missing, write 1.2.3.4:443\n"},
    {"csv, a quote without end", ROW_ROUTE, CSV, HEADER ":1,\"a", "", "2: a quote has no end\n"},
    {"csv, a quote at the end", ROW_ROUTE, CSV, HEADER ":1,\"", "", "2: a quote has no end\n"},
    {"csv, quotes at the end", ROW_RULE, CSV, "type,value\nip,\"192.0.2.7\"", "ip 192.0.2.7\n", ""},
    {"csv, a return at the end", ROW_RULE, CSV, "type,value\nip,192.0.2.7\r", "ip 192.0.2.7\n", ""},
    {"csv, a return behind quotes at the end", ROW_RULE, CSV, "type,value\nip,\"192.0.2.7\"\r", "ip 192.0.2.7\n", ""},
    {"csv, a return within", ROW_RULE, CSV, "type,value\nip,\"192.0.2.7\"\rx\n", "", "2: a comma is missing behind a quote\n"},
    {"csv, a comma at the end", ROW_RULE, CSV, "type,value\nip,", "", "2: value is missing\n"},
    {"csv, a wrong quote and too many fields", ROW_RULE, CSV, "type,value\n\"a\"b,,,,,,,,,,,,,,,,,,,,", "", "2: a comma is missing behind a quote\n"},
    {"csv, a header with a wrong quote", ROW_RULE, CSV, "\"type\"x,value\nip,192.0.2.7\n", "", "1: a comma is missing behind a quote\n"},
    {"csv, text behind a quote", ROW_ROUTE, CSV, HEADER ":1,\"a\"b,c,d\n", "", "2: a comma is missing behind a quote\n"},
    {"csv, empty lines", ROW_ROUTE, CSV, HEADER "\n\r\n:443,www.example.com,10.0.0.5:8443,\n\n", WWW, ""},
    {"csv, too few fields", ROW_ROUTE, CSV, HEADER ":1,a\n", "", "2: it has 2 fields, the header 4\n"},
    {"csv, too many fields", ROW_ROUTE, CSV, HEADER ",,,,,,,,,,,,,,,,,,,,\n", "", "2: there are too many fields\n"},
    {"csv, a wrong header", ROW_ROUTE, CSV, "host,backend\na,b\n", "",
     "1: the header has a column host; expected each once: listener_addr,hostname,backend,send_proxy_protocol\n"},
    {"csv, a column twice", ROW_RULE, CSV, "type,type\n", "", "1: the header has a column type; expected each once: type,value\n"},
    {"csv, nothing", ROW_ROUTE, CSV, "", "", ""},
    {"csv, rules", ROW_RULE, CSV, "type,value\nip,192.0.2.7\n,KP\n", "ip 192.0.2.7\ncountry KP\n", ""},

    {"json", ROW_ROUTE, JSON, "[{\"listener_addr\":\":443\",\"hostname\":\"www.example.com\",\"backend\":\"10.0.0.5:8443\"}]", WWW, ""},
    {"json, the flag", ROW_ROUTE, JSON,
     "[{\"send_proxy_protocol\":true,\"listener_addr\":\":1\",\"hostname\":\"a\",\"backend\":\"1.2.3.4:5\"},\n"
     "{\"send_proxy_protocol\":false,\"listener_addr\":\":1\",\"hostname\":\"b\",\"backend\":\"1.2.3.4:5\"}]\n",
     ":1 a 1.2.3.4:5 send_proxy_protocol\n:1 b 1.2.3.4:5\n", ""},
    {"json lines", ROW_RULE, JSON, "{\"value\":\"KP\"}\n{\"type\":\"ip\",\"value\":\"192.0.2.7\"}\n", "country KP\nip 192.0.2.7\n", ""},
    {"json, nothing", ROW_RULE, JSON, " \n", "", ""},
    {"json, an empty array", ROW_RULE, JSON, "[]", "", ""},
    {"json, an empty object", ROW_RULE, JSON, "[\n{}]", "", "2: value is missing\n"},
    {"json, a wrong key", ROW_RULE, JSON, "[{\"v\":\"KP\"}]", "", "1: there is a key v; expected type, value\n"},
    {"json, a key twice", ROW_RULE, JSON, "[{\"value\":\"KP\",\n\"value\":\"KP\"}]", "", "2: value is there twice\n"},
    {"json, a wrong type", ROW_RULE, JSON, "[{\"value\":1}]", "", "1: value: expected a string\n"},
    {"json, a string for a flag", ROW_RULE, JSON, "[{\"value\":true}]", "", "1: value: expected a string\n"},
    {"json, a wrong flag", ROW_ROUTE, JSON, "[{\"send_proxy_protocol\":\"true\"}]", "", "1: send_proxy_protocol: expected true or false\n"},
    {"json, a comma too many", ROW_RULE, JSON, "[{\"value\":\"KP\"},]", "country KP\n", "1: expected an object, ',' or ']'\n"},
    {"json, a comma too many within", ROW_RULE, JSON, "[{\"value\":\"KP\",}]", "", "1: expected a key and its value, ',' or '}'\n"},
    {"json, no comma", ROW_RULE, JSON, "[{\"value\":\"KP\"}{\"value\":\"KP\"}]", "country KP\n", "1: expected an object, ',' or ']'\n"},
    {"json, no end", ROW_RULE, JSON, "[{\"value\":\"KP\"}\n\n", "country KP\n", "3: expected an object, ',' or ']'\n"},
    {"json, something behind", ROW_RULE, JSON, "[] {}", "", "1: expected nothing behind the array\n"},
    {"json, no objects", ROW_RULE, JSON, "[\"KP\"]", "", "1: expected an object, ',' or ']'\n"},
    {"json, something else", ROW_RULE, JSON, "\"KP\"", "", "1: expected an array of objects\n"},
    {"json, no json", ROW_RULE, JSON, "[{\"value\":KP}]", "", "1: value: this is no JSON\n"},
};
/* clang-format on */

static void run_case(const struct read_case *c)
{
    struct row_account account;
    struct row_list list;

    row_account_read(&account, &list, c->kind, c->format, bytes_of_str(c->in));
    char *rows = row_account_write(&list, TEXT);
    if (strcmp(rows, c->rows) != 0)
        fail_msg("%s: rows are %s", c->name, rows);
    if (c->problems != NULL && strcmp(account.problems, c->problems) != 0)
        fail_msg("%s: problems are %s", c->name, account.problems);
    if (c->problems == NULL)
        assert_true(list.problem_count == 1 && strchr(account.problems, '\033') == NULL);
    free(rows);
    row_list_fini(&list);
}

static void test_every_format(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
        run_case(&cases[i]);
}

/** Of every file that is good: no part of it, and no change of a byte of it, does more than give rows or problems. */
static void test_parts_and_changed_bytes_end_in_a_verdict(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = strlen(cases[i].in);
        for (size_t at = 0; at < len; at++) {
            char *text = malloc(len);
            struct row_account account;
            struct row_list list;
            assert_non_null(text);
            memcpy(text, cases[i].in, len);
            text[at] = (char)(text[at] ^ 0x21);
            row_account_read(&account, &list, cases[i].kind, cases[i].format, bytes_of(text, len));
            row_list_fini(&list);
            row_account_read(&account, &list, cases[i].kind, cases[i].format, bytes_of(text + at, len - at));
            row_list_fini(&list);
            free(text);
        }
    }
}

/** Words, objects and keys that are longer than any good one; and bytes that no C string has. */
static void test_what_is_too_long_or_has_a_nul_is_said(void **state)
{
    static const struct {
        enum row_format format;
        const char *head, *tail, *problem;
        size_t len;
    } files[] = {
        {TEXT, ":443 x \"unix:/", "\"\n", "1: the line is too long", 5000},
        {TEXT, ":443 a.b 1.2.3.4:5 ", "\n", "1: xxxxxxxxxx", 300},
        {CSV, "", ",type\n", "1: the header has a column xxxxxxxxxx", 300},
        {JSON, "{\"backend\":\"", "\"}", "1: backend: a string is too long", 1025},
        {JSON, "{\"", "\":1}", "1: there is a key xxxxxxxxxx", 300},
    };
    static char text[8192];

    (void)state;
    for (unsigned i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct strbuf out = STRBUF_OF(text);
        struct row_account account;
        struct row_list list;
        strbuf_add(&out, files[i].head);
        for (size_t j = 0; j < files[i].len; j++)
            strbuf_add_char(&out, 'x');
        strbuf_add(&out, files[i].tail);
        row_account_read(&account, &list, ROW_ROUTE, files[i].format, bytes_of(text, out.len));
        if (list.problem_count != 1 || strstr(account.problems, files[i].problem) != account.problems)
            fail_msg("%u: %s", i, account.problems);
        row_list_fini(&list);
    }
    struct row_account account;
    struct row_list list;
    row_account_read(&account, &list, ROW_ROUTE, TEXT, bytes_of(":443 x \"\\x\0000\"", 14));
    assert_int_equal(list.problem_count, 1);
    row_list_fini(&list);
    assert_int_equal(row_format_guess("-", bytes_of("\0[", 2)), TEXT);
}

static void test_what_is_written_reads_the_same(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (enum row_format format = TEXT; format <= JSON; format++) {
            struct row_account account;
            struct row_list first, second;
            row_account_read(&account, &first, cases[i].kind, cases[i].format, bytes_of_str(cases[i].in));
            char *text = row_account_write(&first, format);
            row_account_read(&account, &second, cases[i].kind, format, bytes_of_str(text));
            assert_int_equal(second.problem_count, 0);
            char *rows = row_account_write(&second, TEXT);
            assert_string_equal(rows, cases[i].rows);
            free(rows);
            free(text);
            row_list_fini(&first);
            row_list_fini(&second);
        }
    }
}

static void test_a_listener_for_lines_without_one(void **state)
{
    char why_data[128];
    struct strbuf why = STRBUF_OF(why_data);
    struct row_account account = {.out = STRBUF_OF(account.problems)};
    struct row_list list;

    (void)state;
    row_list_init(&list, ROW_ROUTE, row_account_problem, &account);
    assert_int_not_equal(row_list_set_listener(&list, "443", &why), 0);
    assert_true(why.len > 0);
    assert_int_equal(row_list_set_listener(&list, "0.0.0.0:443", &why), 0);
    row_read(&list, TEXT, bytes_of_str("a.b 1.2.3.4:5 send_proxy_protocol\n:1 c.d 1.2.3.4:5\n"));
    row_read(&list, CSV, bytes_of_str("hostname,backend\ne.f,1.2.3.4:5\n"));
    char *rows = row_account_write(&list, TEXT);
    assert_string_equal(rows,
                        "0.0.0.0:443 a.b 1.2.3.4:5 send_proxy_protocol\n:1 c.d 1.2.3.4:5\n0.0.0.0:443 e.f 1.2.3.4:5\n");
    free(rows);
    row_list_fini(&list);
}

static void test_formats_have_names(void **state)
{
    enum row_format format;

    (void)state;
    assert_true(row_format_find("text", &format) && format == TEXT);
    assert_true(row_format_find("csv", &format) && format == CSV);
    assert_true(row_format_find("json", &format) && format == JSON);
    assert_false(row_format_find("xml", &format));
}

static void test_formats_are_found(void **state)
{
    static const struct {
        const char *name, *text;
        enum row_format format;
    } files[] = {
        {"a.csv", "", CSV},
        {"a.json", "", JSON},
        {"a.jsonl", "", JSON},
        {"a.ndjson", ":443 a.b", JSON},
        {"a.txt", ":443 a.b", TEXT},
        {".csv", ":443 a.b", TEXT},
        {"-", "", TEXT},
        {"-", "[::1]:443 a.b 1.2.3.4:5", TEXT},
        {"-", "[2001:db8::1]:443 a.b 1.2.3.4:5", TEXT},
        {"-", " [\n {", JSON},
        {"-", "[]", JSON},
        {"-", "[", JSON},
        {"-", "{\"value\"", JSON},
        {"-", "hostname,backend\n", CSV},
        {"-", "type,value\n", CSV},
        {"-", "type", TEXT},
        {"-", "unknown,value\n", TEXT},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (row_format_guess(files[i].name, bytes_of_str(files[i].text)) != files[i].format)
            fail_msg("%s: %s", files[i].name, files[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_format),
        cmocka_unit_test(test_parts_and_changed_bytes_end_in_a_verdict),
        cmocka_unit_test(test_what_is_too_long_or_has_a_nul_is_said),
        cmocka_unit_test(test_what_is_written_reads_the_same),
        cmocka_unit_test(test_a_listener_for_lines_without_one),
        cmocka_unit_test(test_formats_have_names),
        cmocka_unit_test(test_formats_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
